"""JAX: forward and vjp, each compiled by XLA as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.contenders import CannotExpress, Contender, Vocabulary, cotangent, inputs
from benchmarks.kinds import Operation


class Words(Vocabulary):
    softmax = staticmethod(jax.nn.softmax)
    relu = staticmethod(jax.nn.relu)
    tanh = staticmethod(jnp.tanh)

    def conv2d(self, x: Any, w: Any, b: Any, stride: int, padding: int, groups: int) -> Any:
        pads = [(padding, padding)] * 2
        y = lax.conv_general_dilated(x, w, (stride, stride), pads, feature_group_count=groups)
        return y + b[:, None, None]

    def max_pool2d(self, x: Any, size: int, stride: int) -> Any:
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, size, size), (1, 1, stride, stride), "VALID")

    def avg_pool2d(self, x: Any, size: int, stride: int) -> Any:
        sums = lax.reduce_window(x, 0.0, lax.add, (1, 1, size, size), (1, 1, stride, stride), "VALID")
        return sums / size**2

    def batch_norm(self, x: Any, mean: None, var: None, w: Any, b: Any, training: bool) -> Any:
        scale = w[:, None, None] * lax.rsqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)
        return (x - x.mean((0, 2, 3), keepdims=True)) * scale + b[:, None, None]

    def layer_norm(self, x: Any, shape: tuple[int], w: Any, b: Any) -> Any:
        return (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * w + b

    def cross_entropy(self, x: Any, labels: Any) -> Any:
        return -jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1).mean()

    def gelu(self, x: Any) -> Any:
        return jax.nn.gelu(x, approximate=False)

    def linear(self, x: Any, w: Any, b: Any) -> Any:
        return x @ w.T + b


class Jax(Contender):
    F = Words()

    def version(self) -> str:
        return jax.__version__

    def operation(self, workload: Operation, backward: bool) -> Callable[[], list[Any]]:
        arrays, floats = inputs(workload)
        tensors = [jnp.asarray(array) for array in arrays]

        def forward(*leaves: Any) -> Any:
            given = list(tensors)
            for i, leaf in zip(floats, leaves, strict=True):
                given[i] = leaf
            return workload.function(self.F, *given)

        def both(g: Any, *leaves: Any) -> list[Any]:
            y, pull = jax.vjp(forward, *leaves)
            return [y, *pull(g)]

        leaves = [tensors[i] for i in floats]
        if not backward:
            compiled = jax.jit(forward)
            return lambda: [compiled(*leaves).block_until_ready()]
        g = jnp.asarray(cotangent(jax.eval_shape(forward, *leaves).shape))
        compiled = jax.jit(both)
        return lambda: jax.block_until_ready(compiled(g, *leaves))


def make(name: str, threads: int) -> Jax:
    if jax.default_backend() != "cpu":
        raise CannotExpress("JAX runs on an accelerator here, the others on the CPU")
    return Jax()
