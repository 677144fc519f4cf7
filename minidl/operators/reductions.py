"""Reductions over dimensions: sums, extreme values, statistics, and running or sorted values along one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minidl.axes import as_int, norm_axes, norm_axis
from minidl.dtypes import require_float
from minidl.primitives import CumSum, Gather, Max, Min, Prod, Sum

if TYPE_CHECKING:
    from minidl.tensor import Tensor

Axes = int | Sequence[int] | None


class Extremes(NamedTuple):
    """What `max`, `min`, `sort` and `topk` along a dimension return."""

    values: Any
    indices: Any


class Reductions:
    """Reductions take PyTorch's `dim=, keepdim=` or NumPy's `axis=, keepdims=`; without either they reduce all."""

    __slots__ = ()

    def sum(
        self, dim: Axes = None, keepdim: bool = False, *, axis: Axes = None, keepdims: bool = False, dtype: Any = None
    ) -> Tensor:
        """Σ over dimensions; integers and booleans add up as int64."""
        x = self if dtype is None else self.to(dtype)
        axes = norm_axes("sum", dim if axis is None else axis, x._array.ndim)
        return x._apply(Sum(axes=axes, keepdims=keepdim or keepdims), x)

    def mean(
        self, dim: Axes = None, keepdim: bool = False, *, axis: Axes = None, keepdims: bool = False, dtype: Any = None
    ) -> Tensor:
        """The mean over dimensions: Σ / n; of nothing it is NaN."""
        x = self if dtype is None else self.to(dtype)
        require_float("mean", input=x)
        axes = norm_axes("mean", dim if axis is None else axis, x._array.ndim)
        n = math.prod(x._array.shape[i] for i in axes)
        return x._apply(Sum(axes=axes, keepdims=keepdim or keepdims), x) * (1 / n if n else math.nan)

    def var(
        self,
        dim: Axes = None,
        unbiased: bool = True,
        keepdim: bool = False,
        *,
        correction: float | None = None,
        axis: Axes = None,
        keepdims: bool = False,
    ) -> Tensor:
        """The variance Σ (x - mean)² / (n - correction); correction is 1 by default, 0 with unbiased=False."""
        require_float("var", input=self)
        if isinstance(dim, bool):  # PyTorch's other form, var(unbiased)
            dim, unbiased = None, dim
        if correction is None:
            correction = 1 if unbiased else 0
        axes = norm_axes("var", dim if axis is None else axis, self._array.ndim)
        n = math.prod(self._array.shape[i] for i in axes)
        centred = self - self.mean(axes, keepdim=True) if axes else self * 0.0
        total = (centred * centred).sum(axes or None, keepdim=keepdim or keepdims)
        degrees = max(n - correction, 0)
        return total * (1 / degrees) if degrees else total / 0.0

    def std(
        self,
        dim: Axes = None,
        unbiased: bool = True,
        keepdim: bool = False,
        *,
        correction: float | None = None,
        axis: Axes = None,
        keepdims: bool = False,
    ) -> Tensor:
        """The standard deviation, √var."""
        return self.var(dim, unbiased, keepdim, correction=correction, axis=axis, keepdims=keepdims).sqrt()

    def _extreme(self, name: str, primitive: Any, dim: Axes, keepdim: bool) -> Tensor:
        axes = norm_axes(name, dim, self._array.ndim)
        if any(self._array.shape[i] == 0 for i in axes):
            raise ValueError(f"{name}: nothing to choose from along an empty dimension of shape {self.shape}")
        return self._apply(primitive(axes=axes, keepdims=keepdim), self)

    def amax(self, dim: Axes = None, keepdim: bool = False, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """The largest value over dimensions; tied values share the gradient evenly."""
        return self._extreme("amax", Max, dim if axis is None else axis, keepdim or keepdims)

    def amin(self, dim: Axes = None, keepdim: bool = False, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """The smallest value over dimensions; tied values share the gradient evenly."""
        return self._extreme("amin", Min, dim if axis is None else axis, keepdim or keepdims)

    def max(self, dim: Any = None, keepdim: bool = False, *, axis: int | None = None, keepdims: bool = False) -> Any:
        """The largest value of all; with a dim (values, indices) along it; with a Tensor the elementwise maximum.

        Along a dim the first maximum gets the gradient; of all values, ties share it.
        """
        if isinstance(dim, Reductions):
            return self.maximum(dim)
        dim = dim if axis is None else axis
        if dim is None:
            return self._extreme("max", Max, None, False)
        return self._chosen("max", np.argmax, dim, keepdim or keepdims)

    def min(self, dim: Any = None, keepdim: bool = False, *, axis: int | None = None, keepdims: bool = False) -> Any:
        """The smallest value of all; with a dim (values, indices) along it; with a Tensor the elementwise minimum."""
        if isinstance(dim, Reductions):
            return self.minimum(dim)
        dim = dim if axis is None else axis
        if dim is None:
            return self._extreme("min", Min, None, False)
        return self._chosen("min", np.argmin, dim, keepdim or keepdims)

    def _chosen(self, name: str, chooser: Any, dim: int, keepdim: bool) -> Extremes:
        axis = norm_axis(name, dim, self._array.ndim)
        if not self._array.ndim:
            return Extremes(self.clone(), self._constant(np.zeros((), np.int64)))
        if not self._array.shape[axis]:
            raise ValueError(f"{name}: nothing to choose from along dim {axis} of shape {self.shape}")
        index = chooser(self._array, axis=axis, keepdims=True)
        values = self._apply(Gather(index=index, axis=axis), self)
        if not keepdim:
            values, index = values.squeeze(axis), index.squeeze(axis)
        return Extremes(values, self._constant(index))

    def _argument(self, name: str, chooser: Any, dim: int | None, keepdim: bool) -> Tensor:
        if dim is not None:
            dim = norm_axis(name, dim, self._array.ndim)
        if not (self._array.size if dim is None else self._array.ndim == 0 or self._array.shape[dim]):
            raise ValueError(f"{name}: nothing to choose from in shape {self.shape}")
        if not self._array.ndim:
            return self._constant(np.zeros((), np.int64))
        return self._constant(np.asarray(chooser(self._array, axis=dim, keepdims=keepdim)))

    def argmax(self, dim: int | None = None, keepdim: bool = False, *, axis: int | None = None) -> Tensor:
        """The index of the (first) largest value along a dim, or in the flattened Tensor."""
        return self._argument("argmax", np.argmax, dim if axis is None else axis, keepdim)

    def argmin(self, dim: int | None = None, keepdim: bool = False, *, axis: int | None = None) -> Tensor:
        """The index of the (first) smallest value along a dim, or in the flattened Tensor."""
        return self._argument("argmin", np.argmin, dim if axis is None else axis, keepdim)

    def prod(self, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        """Π along a dim, or of all; the gradient is right where factors are 0."""
        x = self if dtype is None else self.to(dtype)
        if dim is None:
            return x._apply(Prod(axis=0, keepdims=False), x.reshape(-1))
        axis = norm_axis("prod", dim, x._array.ndim)
        return x._apply(Prod(axis=axis, keepdims=keepdim), x) if x._array.ndim else x.clone()

    def cumsum(self, dim: int, *, dtype: Any = None) -> Tensor:
        """Running sums along a dim."""
        x = self if dtype is None else self.to(dtype)
        axis = norm_axis("cumsum", dim, x._array.ndim)
        return x._apply(CumSum(axis=axis), x) if x._array.ndim else x.clone()

    def logsumexp(self, dim: Axes, keepdim: bool = False) -> Tensor:
        """log Σ exp over dimensions, as m + log Σ exp(x - m) with m the maximum, so that nothing overflows."""
        require_float("logsumexp", input=self)
        axes = norm_axes("logsumexp", dim, self._array.ndim)
        peak = np.max(self._array, axis=axes, keepdims=True, initial=-np.inf)
        peak = self._constant(np.where(np.isfinite(peak), peak, 0).astype(self.dtype))
        out = (self - peak).exp().sum(axes or None, keepdim=True).log() + peak
        return out if keepdim else out.reshape([n for i, n in enumerate(self.shape) if i not in axes])

    def softmax(self, dim: int, dtype: Any = None) -> Tensor:
        """exp(x) / Σ exp(x) along a dim; composed of primitives: `F.softmax` is the fused one."""
        x = self if dtype is None else self.to(dtype)
        return x.log_softmax(dim).exp()

    def log_softmax(self, dim: int, dtype: Any = None) -> Tensor:
        """x - log Σ exp(x) along a dim; composed of primitives: `F.log_softmax` is the fused one."""
        x = self if dtype is None else self.to(dtype)
        require_float("log_softmax", input=x)
        return x - x.logsumexp(norm_axis("log_softmax", dim, x.ndim), keepdim=True)

    def norm(self, p: float | str | None = "fro", dim: Axes = None, keepdim: bool = False) -> Tensor:
        """The p-norm (Σ |x|^p)^(1/p) over dimensions; 2 by default, `inf` for the largest value. 0 has gradient 0."""
        require_float("norm", input=self)
        if p in ("fro", None, 2):
            total = (self * self).sum(dim, keepdim)
            zero = total == 0.0
            return total.where(~zero, 1.0).sqrt().where(~zero, 0.0)
        if p in (math.inf, -math.inf):
            return self.abs().amax(dim, keepdim) if p > 0 else self.abs().amin(dim, keepdim)
        if p == 0:
            return (self != 0).to(self.dtype).sum(dim, keepdim)
        if p == 1:
            return self.abs().sum(dim, keepdim)
        return (self.abs() ** p).sum(dim, keepdim) ** (1 / p)

    def all(self, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """Whether all values (along dims) are true."""
        axes = norm_axes("all", dim, self._array.ndim)
        return self._constant(np.asarray(np.all(self._array, axis=axes, keepdims=keepdim)))

    def any(self, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """Whether any value (along dims) is true."""
        axes = norm_axes("any", dim, self._array.ndim)
        return self._constant(np.asarray(np.any(self._array, axis=axes, keepdims=keepdim)))

    def sort(self, dim: int = -1, descending: bool = False, stable: bool = True) -> Extremes:
        """Values in order along a dim, and the indices they had; equal values keep their order, NaN counts as largest.

        `stable=False` only lets go of a promise; the sort is stable all the same.
        """
        if not self._array.ndim:
            return Extremes(self.clone(), self._constant(np.zeros((), np.int64)))
        axis = norm_axis("sort", dim, self._array.ndim)
        index = self._order(axis, descending)
        return Extremes(self._apply(Gather(index=index, axis=axis), self), self._constant(index))

    def _order(self, axis: int, descending: bool) -> np.ndarray:
        if not descending:
            return np.argsort(self._array, axis=axis, kind="stable")
        # Sorting the reversed array and reversing the result keeps equal values in order.
        n = self._array.shape[axis]
        backwards = np.argsort(np.flip(self._array, axis), axis=axis, kind="stable")
        return np.ascontiguousarray(np.flip(n - 1 - backwards, axis))

    def argsort(self, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
        """The indices that would sort along a dim."""
        return self.sort(dim, descending, stable).indices

    def topk(self, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Extremes:
        """The k largest (or smallest) values along a dim, in order, and their indices."""
        axis = norm_axis("topk", dim, self._array.ndim)
        n = self._array.shape[axis] if self._array.ndim else 1
        k = as_int("topk", "k", k)
        if not 0 <= k <= n:
            raise ValueError(f"topk: k={k} is out of range for a dim of length {n}")
        if not self._array.ndim:
            return self.sort()
        index = np.take(self._order(axis, largest), np.arange(k), axis)
        return Extremes(self._apply(Gather(index=index, axis=axis), self), self._constant(index))
