"""PyTorch's functions that reduce dimensions, accumulate or sort along them, over the methods of Tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.ops.samples import calls, distinct, normal, on, positive, signed
from minidl.ops.table import Sample, operation, require_tensor
from minidl.tensor import Tensor

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "cumsum",
    "logsumexp",
    "max",
    "mean",
    "min",
    "norm",
    "prod",
    "sort",
    "std",
    "sum",
    "topk",
    "var",
]

Dims = int | Sequence[int] | None


@operation(samples=calls(on(2, 3), on(2, 3, 4, dim=(0, -1)), on(2, 3, dim=1, keepdim=True), on(2, 0, dim=1), on()))
def sum(
    input: Tensor,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    axis: Dims = None,
    keepdims: bool = False,
    dtype: Any = None,
) -> Tensor:
    """Σ over dimensions; integers and booleans add up as int64.

    >>> import minidl
    >>> minidl.sum(minidl.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=0)
    tensor([4., 6.])
    """
    require_tensor("sum", input=input)
    return input.sum(dim, keepdim, axis=axis, keepdims=keepdims, dtype=dtype)


@operation(samples=calls(on(2, 3), on(2, 3, 4, dim=(0, -1)), on(2, 3, dim=1, keepdim=True), on()))
def mean(
    input: Tensor,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    axis: Dims = None,
    keepdims: bool = False,
    dtype: Any = None,
) -> Tensor:
    """Σ / n over dimensions; of nothing it is NaN."""
    require_tensor("mean", input=input)
    return input.mean(dim, keepdim, axis=axis, keepdims=keepdims, dtype=dtype)


@operation(samples=calls(on(5), on(2, 3, 4, dim=(0, 2), keepdim=True), on(3, 4, dim=1, correction=0)))
def var(
    input: Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """The variance Σ (x - mean)² / (n - correction); correction is 1 by default, 0 with unbiased=False."""
    require_tensor("var", input=input)
    return input.var(dim, unbiased, keepdim, correction=correction)


@operation(samples=calls(on(5), on(2, 3, 4, dim=(0, 2), keepdim=True), on(3, 4, dim=1, correction=0)))
def std(
    input: Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """The standard deviation, √var."""
    require_tensor("std", input=input)
    return input.std(dim, unbiased, keepdim, correction=correction)


@operation(samples=calls(on(3, 4, draw=distinct), on(2, 3, 4, draw=distinct, dim=1, keepdim=True)))
def max(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest value of all; with a dim (values, indices) along it; with a second Tensor the elementwise maximum.

    Along a dim the first maximum gets the gradient; of all values, ties share it. NaN is larger than everything.

    >>> import minidl
    >>> values, indices = minidl.max(minidl.tensor([[1.0, 3.0], [4.0, 2.0]]), dim=1)
    >>> indices
    tensor([1, 0])
    """
    require_tensor("max", input=input)
    return input.max(dim, keepdim)


@operation(samples=calls(on(3, 4, draw=distinct), on(2, 3, 4, draw=distinct, dim=1, keepdim=True)))
def min(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest value of all, with a dim (values, indices) along it, with a second Tensor that of each pair."""
    require_tensor("min", input=input)
    return input.min(dim, keepdim)


@operation(samples=calls(on(3, 4, draw=distinct), on(2, 3, 4, draw=distinct, dim=(0, 2)), on(draw=distinct)))
def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The largest value over dimensions; tied values share the gradient evenly."""
    require_tensor("amax", input=input)
    return input.amax(dim, keepdim)


@operation(samples=calls(on(3, 4, draw=distinct), on(2, 3, 4, draw=distinct, dim=(0, 2)), on(draw=distinct)))
def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The smallest value over dimensions; tied values share the gradient evenly."""
    require_tensor("amin", input=input)
    return input.amin(dim, keepdim)


@operation(samples=calls(on(3, 4, draw=distinct), on(2, 3, draw=distinct, dim=1)))
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the (first) largest value along a dim, or in the flattened Tensor."""
    require_tensor("argmax", input=input)
    return input.argmax(dim, keepdim)


@operation(samples=calls(on(3, 4, draw=distinct), on(2, 3, draw=distinct, dim=1)))
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the (first) smallest value along a dim, or in the flattened Tensor."""
    require_tensor("argmin", input=input)
    return input.argmin(dim, keepdim)


def product_with_zeros(rng: np.random.Generator) -> Sample:
    """Columns with no, one and two factors that are 0."""
    a = signed(rng, 4, 3)
    a[1, 1] = a[0, 2] = a[2, 2] = 0
    return Sample(a, dim=0)


@operation(samples=calls(on(2, 3, draw=signed), on(2, 3, draw=signed, dim=1, keepdim=True), product_with_zeros))
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Π along a dim, or of all; the gradient is right where factors are 0."""
    require_tensor("prod", input=input)
    return input.prod(dim, keepdim, dtype=dtype)


@operation(samples=calls(on(4, dim=0), on(2, 3, 4, dim=1), on(2, 0, dim=1)))
def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running sums along a dim."""
    require_tensor("cumsum", input=input)
    return input.cumsum(dim, dtype=dtype)


@operation(samples=calls(on(4, dim=0), on(2, 3, 4, dim=(0, 2), keepdim=True)))
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """log Σ exp over dimensions; nothing overflows."""
    require_tensor("logsumexp", input=input)
    return input.logsumexp(dim, keepdim)


@operation(
    samples=calls(
        on(3, 4, draw=signed),
        on(3, 4, draw=signed, dim=1, keepdim=True),
        on(3, 4, draw=signed, p=3, dim=0),
        on(5, draw=signed, p=1),
        on(5, draw=distinct, p=float("inf")),
        on(4, draw=positive, p=0.5),
    )
)
def norm(
    input: Tensor, p: float | str | None = "fro", dim: Dims = None, keepdim: bool = False, dtype: Any = None
) -> Tensor:
    """The p-norm (Σ |x|^p)^(1/p) over dimensions; 2 by default, `inf` for the largest |x|. At 0 the gradient is 0."""
    require_tensor("norm", input=input)
    return (input if dtype is None else input.to(dtype)).norm(p, dim, keepdim)


@operation(samples=calls(on(5, draw=distinct), on(3, 4, draw=distinct, dim=0, descending=True), on()))
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """(values, indices): values in order along a dim, and where they were; equal values keep their order.

    >>> import minidl
    >>> values, indices = minidl.sort(minidl.tensor([3.0, 1.0, 2.0]))
    >>> indices
    tensor([1, 2, 0])
    """
    require_tensor("sort", input=input)
    return input.sort(dim, descending, stable)


@operation(samples=calls(on(5, draw=distinct), on(3, 4, draw=distinct, dim=0, descending=True)))
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that would sort along a dim."""
    require_tensor("argsort", input=input)
    return input.argsort(dim, descending, stable)


@operation(samples=calls(on(5, draw=distinct, k=2), on(3, 4, draw=distinct, k=3, dim=0, largest=False)))
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """(values, indices): the k largest (or smallest) values along a dim, in order, and where they were."""
    require_tensor("topk", input=input)
    return input.topk(k, dim, largest, sorted)


@operation(samples=calls(lambda rng: Sample(normal(rng, 3, 4) > 0), lambda rng: Sample(normal(rng, 3, 2), dim=1)))
def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether all values (along dims) are true."""
    require_tensor("all", input=input)
    return input.all(dim, keepdim)


@operation(samples=calls(lambda rng: Sample(normal(rng, 3, 4) > 0), lambda rng: Sample(normal(rng, 3, 2), dim=1)))
def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether any value (along dims) is true."""
    require_tensor("any", input=input)
    return input.any(dim, keepdim)
