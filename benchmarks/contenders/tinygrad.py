"""tinygrad: forward, or forward and gradients, captured once and replayed by TinyJit. It compiles with clang."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from tinygrad import Device, Tensor, TinyJit

from benchmarks.contenders import Contender, Vocabulary, cotangent, inputs
from benchmarks.kinds import Operation


class Words(Vocabulary):
    softmax = staticmethod(Tensor.softmax)
    relu = staticmethod(Tensor.relu)
    tanh = staticmethod(Tensor.tanh)

    def conv2d(self, x: Tensor, w: Tensor, b: Tensor, stride: int, padding: int, groups: int) -> Tensor:
        return x.conv2d(w, b, groups, stride, padding=padding)

    def max_pool2d(self, x: Tensor, size: int, stride: int) -> Any:
        return x.max_pool2d((size, size), stride)

    def avg_pool2d(self, x: Tensor, size: int, stride: int) -> Tensor:
        return x.avg_pool2d((size, size), stride)

    def batch_norm(self, x: Tensor, mean: None, var: None, w: Tensor, b: Tensor, training: bool) -> Tensor:
        axes = (0, 2, 3)
        return x.batchnorm(w, b, x.mean(axes), (x.var(axes, correction=0) + 1e-5).rsqrt())

    def layer_norm(self, x: Tensor, shape: tuple[int], w: Tensor, b: Tensor) -> Tensor:
        return x.layernorm() * w + b

    def cross_entropy(self, x: Tensor, labels: Tensor) -> Tensor:
        return x.sparse_categorical_crossentropy(labels)

    def gelu(self, x: Tensor) -> Tensor:
        return x.gelu("none")

    def linear(self, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return x.linear(w.T, b)


class Tinygrad(Contender):
    F = Words()

    def version(self) -> str:
        return version("tinygrad")

    def operation(self, workload: Operation, backward: bool) -> Callable[[], list[Any]]:
        arrays, floats = inputs(workload)
        tensors = [Tensor(array).realize() for array in arrays]
        g = None
        if backward:
            g = Tensor(cotangent(workload.function(self.F, *tensors).shape)).realize()

        @TinyJit
        def compiled(*given: Tensor) -> list[Tensor]:
            y = workload.function(self.F, *given)
            results = [y]
            if backward:
                results += y.gradient(*(given[i] for i in floats), gradient=g)
            y.realize(*results[1:])
            return results

        def run() -> list[Tensor]:
            results = compiled(*tensors)
            Device[Device.DEFAULT].synchronize()
            return results

        return run

    def arrays(self, results: list[Any]) -> list[np.ndarray]:
        return [result.numpy() for result in results]


def make(name: str, threads: int) -> Tinygrad:
    Tensor.zeros(1).contiguous().realize()  # fails here if there is no compiler
    return Tinygrad()
