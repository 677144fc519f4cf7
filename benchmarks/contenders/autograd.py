"""autograd (HIPS): gradients of NumPy functions. It has no convolution and no pooling to speak of."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import autograd.numpy as np
from autograd import make_vjp
from autograd.builtins import tuple as traced_tuple

from benchmarks.contenders import Contender, Vocabulary, cotangent, inputs
from benchmarks.kinds import Operation


class Words(Vocabulary):
    tanh = staticmethod(np.tanh)

    def relu(self, x: Any) -> Any:
        return np.maximum(x, 0)

    def batch_norm(self, x: Any, mean: None, var: None, w: Any, b: Any, training: bool) -> Any:
        axes = (0, 2, 3)
        scale = w[:, None, None] / np.sqrt(np.var(x, axes, keepdims=True) + 1e-5)
        return (x - np.mean(x, axes, keepdims=True)) * scale + b[:, None, None]

    def layer_norm(self, x: Any, shape: tuple[int], w: Any, b: Any) -> Any:
        root = np.sqrt(np.var(x, -1, keepdims=True) + 1e-5)
        return (x - np.mean(x, -1, keepdims=True)) / root * w + b

    def softmax(self, x: Any, axis: int) -> Any:
        e = np.exp(x - np.max(x, axis, keepdims=True))
        return e / np.sum(e, axis, keepdims=True)

    def cross_entropy(self, x: Any, labels: Any) -> Any:
        shifted = x - np.max(x, 1, keepdims=True)
        logs = np.log(np.sum(np.exp(shifted), 1))
        return np.mean(logs - shifted[np.arange(len(labels)), labels])

    def linear(self, x: Any, w: Any, b: Any) -> Any:
        return np.dot(x, w.T) + b

    @property
    def gelu(self) -> Callable[[Any], Any]:
        from autograd.scipy.special import erf  # SciPy is an extra of autograd

        return lambda x: 0.5 * x * (1 + erf(x * np.float32(0.5**0.5)))


class Autograd(Contender):
    F = Words()

    def version(self) -> str:
        return version("autograd")

    def operation(self, workload: Operation, backward: bool) -> Callable[[], list[Any]]:
        arrays, floats = inputs(workload)

        def forward(leaves: Any) -> Any:
            given: list[Any] = list(arrays)
            for i, position in enumerate(floats):
                given[position] = leaves[i]
            return workload.function(self.F, *given)

        leaves = tuple(arrays[i] for i in floats)
        y = forward(leaves)
        if not backward:
            return lambda: [forward(leaves)]
        g = cotangent(np.shape(y))

        def both() -> list[Any]:
            pull, y = make_vjp(lambda *xs: forward(traced_tuple(xs)), argnum=tuple(range(len(leaves))))(*leaves)
            return [y, *pull(g)]

        return both


def make(name: str, threads: int) -> Autograd:
    return Autograd()
