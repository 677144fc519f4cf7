"""Primitives that reduce or accumulate along axes: sum, extreme values, product, cumulative sum.

Axes arrive normalised: a tuple of non-negative ints.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.function import Primitive, call
from minidl.kernels.elementwise import total
from minidl.primitives.shape import Cat, Expand


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape after a reduction that keeps its axes, as length 1."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


class Sum(Primitive):
    """Σ over axes; every summand gets the gradient of the sum."""

    def forward(self, a: Any) -> Any:
        self.source = a.shape
        return total(a, self.axes, self.keepdims)

    def backward(self, g: Any) -> Any:
        return call(Expand, g.reshape(kept_shape(self.source, self.axes)), shape=self.source)


class Extreme(Primitive):
    """The largest (or smallest) value over axes; tied values share the gradient evenly, NaN wins."""

    keeps_inputs = True
    keeps_output = True

    def forward(self, a: Any) -> Any:
        self.source = a.shape
        return self.compute(a, axis=self.axes, keepdims=self.keepdims)

    def backward(self, g: Any) -> Any:
        kept = kept_shape(self.source, self.axes)
        a, extreme = np.asarray(self.inputs[0]), np.asarray(self.output).reshape(kept)
        hits = (a == extreme) | (np.isnan(a) & np.isnan(extreme))
        return g.reshape(kept) * (hits / hits.sum(axis=self.axes, keepdims=True)).astype(a.dtype)


class Max(Extreme):
    """max over axes"""

    compute = staticmethod(np.max)


class Min(Extreme):
    """min over axes"""

    compute = staticmethod(np.min)


class Prod(Primitive):
    """Π over one axis. The gradient of a factor is the product of the others, which unlike output / factor is right
    when factors are 0.
    """

    keeps_inputs = True

    def forward(self, a: Any) -> Any:
        self.source = a.shape
        return np.multiply.reduce(a, self.axis, keepdims=self.keepdims)

    def backward(self, g: Any) -> Any:
        (a,) = self.inputs
        n, g = a.shape[self.axis], g.reshape(kept_shape(self.source, (self.axis,)))
        before = (slice(None),) * self.axis
        if n == 0:
            return a * 0.0
        others = [call(Prod, a[(*before, np.arange(n) != i)], axis=self.axis, keepdims=True) for i in range(n)]
        return g * call(Cat, *others, axis=self.axis)


class CumSum(Primitive):
    """Running sums along one axis; a value is in all later sums, so its gradient is the sum from there to the end."""

    def forward(self, a: Any) -> Any:
        return np.cumsum(a, self.axis, dtype=a.dtype if a.dtype.kind == "f" else None)

    def backward(self, g: Any) -> Any:
        backwards = (*(slice(None),) * self.axis, slice(None, None, -1))
        return call(CumSum, g[backwards], axis=self.axis)[backwards]
