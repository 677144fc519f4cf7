"""Comparisons, logic and bits: what has no gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.axes import broadcast_shapes
from minidl.dtypes import common_dtype, int64

if TYPE_CHECKING:
    from minidl.tensor import Tensor

Operand = Any  # a Tensor, an ndarray or a number


class Comparison:
    """Elementwise comparisons: they give boolean Tensors."""

    __slots__ = ()
    __hash__ = object.__hash__

    def _without_gradient(self, name: str, ufunc: Callable[..., Any], other: Operand) -> Any:
        if not isinstance(other, Comparison):
            if not isinstance(other, int | float | np.ndarray | np.generic):
                return NotImplemented
            other = self._operand(other)
        a, b = self._array, other._array
        broadcast_shapes(name, a.shape, b.shape)
        dtype = common_dtype(name, a, b)
        with np.errstate(all="ignore"):
            return self._constant(np.asarray(ufunc(a.astype(dtype, copy=False), b.astype(dtype, copy=False))))

    def __eq__(self, other: Operand) -> Tensor:  # type: ignore[override]
        """Where self == other, elementwise."""
        return self._without_gradient("eq", np.equal, other)

    def __ne__(self, other: Operand) -> Tensor:  # type: ignore[override]
        """Where self != other, elementwise."""
        return self._without_gradient("ne", np.not_equal, other)

    def __lt__(self, other: Operand) -> Tensor:
        """Where self < other, elementwise."""
        return self._without_gradient("lt", np.less, other)

    def __le__(self, other: Operand) -> Tensor:
        """Where self <= other, elementwise."""
        return self._without_gradient("le", np.less_equal, other)

    def __gt__(self, other: Operand) -> Tensor:
        """Where self > other, elementwise."""
        return self._without_gradient("gt", np.greater, other)

    def __ge__(self, other: Operand) -> Tensor:
        """Where self >= other, elementwise."""
        return self._without_gradient("ge", np.greater_equal, other)

    def _bits(self, name: str, ufunc: Callable[..., Any], other: Operand) -> Any:
        for x in (self, other):
            if getattr(x, "dtype", int64).kind == "f" or isinstance(x, float):
                raise TypeError(f"{name}: operands must be boolean or integer")
        return self._without_gradient(name, ufunc, other)

    def __and__(self, other: Operand) -> Tensor:
        return self._bits("and", np.bitwise_and, other)

    def __or__(self, other: Operand) -> Tensor:
        return self._bits("or", np.bitwise_or, other)

    def __xor__(self, other: Operand) -> Tensor:
        return self._bits("xor", np.bitwise_xor, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Tensor:
        if self._array.dtype.kind == "f":
            raise TypeError("invert: the operand must be boolean or integer")
        return self._constant(np.asarray(np.invert(self._array)))

    def isnan(self) -> Tensor:
        """Where the value is NaN."""
        return self._constant(np.asarray(np.isnan(self._array)))

    def isinf(self) -> Tensor:
        """Where the value is infinite."""
        return self._constant(np.asarray(np.isinf(self._array)))

    def isfinite(self) -> Tensor:
        """Where the value is neither NaN nor infinite."""
        return self._constant(np.asarray(np.isfinite(self._array)))

    def logical_not(self) -> Tensor:
        """Where the value is 0 or False."""
        return self._constant(np.asarray(np.logical_not(self._array)))

    eq, ne, lt, le, gt, ge = __eq__, __ne__, __lt__, __le__, __gt__, __ge__

    def logical_or(self, other: Operand) -> Tensor:
        """Where either is true."""
        return self._without_gradient("logical_or", np.logical_or, other)

    def logical_and(self, other: Operand) -> Tensor:
        """Where both are true."""
        return self._without_gradient("logical_and", np.logical_and, other)

    def isclose(self, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
        """Where |self - other| <= atol + rtol · |other|, or both are the same infinity."""
        broadcast_shapes("isclose", self.shape, other.shape)
        return self._constant(np.asarray(np.isclose(self._array, other._array, rtol, atol, equal_nan)))

    def allclose(self, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
        """Whether |self - other| <= atol + rtol · |other| everywhere."""
        broadcast_shapes("allclose", self.shape, other.shape)
        return bool(np.allclose(self._array, other._array, rtol, atol, equal_nan))

    def equal(self, other: Tensor) -> bool:
        """Whether shapes and all values are the same."""
        return np.array_equal(self._array, other._array)
