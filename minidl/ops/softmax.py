"""Softmax: scores to probabilities.

The backwards are one expression in the output, for arrays and Tensors alike, so the input need not be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl.axes import norm_axis
from minidl.dtypes import require_float
from minidl.function import Primitive, call
from minidl.kernels import softmax as kernels
from minidl.ops.table import Sample, operation, require_tensor, run
from minidl.primitives import Exp
from minidl.tensor import Tensor


def shifted(x: np.ndarray, axis: int) -> np.ndarray:
    """x minus its maximum along the axis, so that exp cannot overflow; where all is -inf, NaN."""
    return x - x.max(axis, keepdims=True, initial=-np.inf)


def along(axis: int, function: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """A function that works along the last axis, along another one."""
    if axis == arrays[0].ndim - 1:
        return function(*arrays)
    return np.moveaxis(function(*(np.moveaxis(a, axis, -1) for a in arrays)), -1, axis)


def softmax_definition(x: Tensor, axis: int) -> Tensor:
    """p = exp(x - max) / Σ exp(x - max): a shift does not change it."""
    e = (x - x.detach().amax(axis, keepdim=True)).exp()
    return e / e.sum(axis, keepdim=True)


class Softmax(Primitive):
    """p_i = exp(x_i) / Σ_j exp(x_j).

    ∂p_i/∂x_j = p_i (δ_ij - p_j), so gx_j = Σ_i g_i p_i (δ_ij - p_j) = p_j (g_j - Σ_i g_i p_i).
    """

    keeps_output = True
    quiet = True
    definition = staticmethod(softmax_definition)

    def forward(self, x: np.ndarray) -> np.ndarray:
        return along(self.axis, lambda x: kernels.softmax_forward(x, False), x)

    def backward(self, g: Any) -> Any:
        if type(g) is np.ndarray:
            return along(self.axis, lambda g, y: kernels.softmax_backward(g, y, False), g, self.output)
        gp = g * self.output
        return gp - self.output * gp.sum(axis=self.axis, keepdims=True)


def log_softmax_definition(x: Tensor, axis: int) -> Tensor:
    """x - log Σ exp(x), computed on x - max."""
    x = x - x.detach().amax(axis, keepdim=True)
    return x - x.exp().sum(axis, keepdim=True).log()


class LogSoftmax(Primitive):
    """y_i = x_i - log Σ_j exp(x_j).

    ∂y_i/∂x_j = δ_ij - p_j with p = softmax(x) = exp(y), so gx_j = g_j - exp(y_j) Σ_i g_i.
    """

    keeps_output = True
    quiet = True
    definition = staticmethod(log_softmax_definition)

    def forward(self, x: np.ndarray) -> np.ndarray:
        return along(self.axis, lambda x: kernels.softmax_forward(x, True), x)

    def backward(self, g: Any) -> Any:
        if type(g) is np.ndarray:
            return along(self.axis, lambda g, y: kernels.softmax_backward(g, y, True), g, self.output)
        return g - call(Exp, self.output) * g.sum(axis=self.axis, keepdims=True)


def softmax_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Every axis, a number, nothing."""
    for shape, dim in (((3, 4), -1), ((2, 3, 4), 1), ((2, 5), 0), ((), 0), ((0, 3), 1), ((3, 1), 1)):
        yield Sample(rng.standard_normal(shape), dim)


def over(name: str, node: type[Primitive], input: Tensor, dim: int, dtype: Any) -> Tensor:
    require_tensor(name, input=input)
    input = input if dtype is None else input.to(dtype)
    require_float(name, input=input)
    axis = norm_axis(name, dim, input.ndim)
    if not input.ndim:
        return over(name, node, input.reshape(1), 0, None).reshape(())
    return run(node(axis=axis), input)


@operation(samples=softmax_samples, passes=Softmax)
def softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Probabilities from scores along a dimension: p_i = exp(x_i) / Σ_j exp(x_j).

    A score of -inf has probability 0; where all are -inf, the result is NaN.

    Args:
        input: scores, of any shape.
        dim: the dimension along which the probabilities add up to 1.
        dtype: cast the scores first.

    >>> import minidl, minidl.nn.functional as F
    >>> F.softmax(minidl.tensor([0.0, 0.0]), dim=0)
    tensor([0.5, 0.5])
    """
    return over("softmax", Softmax, input, dim, dtype)


@operation(samples=softmax_samples, passes=LogSoftmax)
def log_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The logarithm of `softmax`, x_i - log Σ_j exp(x_j), exact where probabilities underflow.

    >>> import minidl, minidl.nn.functional as F
    >>> F.log_softmax(minidl.tensor([0.0, 1000.0]), dim=0)
    tensor([-1000.,     0.])
    """
    return over("log_softmax", LogSoftmax, input, dim, dtype)


@operation(samples=softmax_samples)
def softmin(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """softmax(-x).

    >>> import minidl, minidl.nn.functional as F
    >>> F.softmin(minidl.tensor([0.0, 0.0]), dim=0)
    tensor([0.5, 0.5])
    """
    require_tensor("softmin", input=input)
    return softmax(-input, dim, dtype)
