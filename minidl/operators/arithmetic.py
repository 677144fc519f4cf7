"""Elementwise arithmetic and mathematics, and products of matrices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.axes import broadcast_shapes
from minidl.dtypes import bool_, common_dtype, float32, int64, require_float
from minidl.primitives import (
    Abs,
    Add,
    Clip,
    Cos,
    Div,
    Erf,
    Exp,
    Expm1,
    Log,
    Log1p,
    MatMul,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Pow,
    Power,
    Scale,
    Shift,
    Sin,
    Sqrt,
    Step,
    Sub,
    Tanh,
    Where,
)

if TYPE_CHECKING:
    from minidl.tensor import Tensor

Operand = Any  # a Tensor, an ndarray or a number
NUMBERS = frozenset((float, int))  # what may be plain, asked before the call that finds out


class Arithmetic:
    """Elementwise operators and functions. Operands broadcast; what is not a Tensor is a constant."""

    __slots__ = ()
    __hash__ = object.__hash__

    def _binary(self, primitive: Any, other: Operand, reverse: bool = False) -> Any:
        """Bring two operands to one dtype and run a primitive on them; NotImplemented for what is no operand."""
        if type(other) is not type(self) and not isinstance(other, Arithmetic):
            if not isinstance(other, int | float | np.ndarray | np.generic):
                return NotImplemented
            other = self._operand(other)
        a, b = self, other
        if a._array.dtype is not b._array.dtype:
            dtype = common_dtype(primitive.__name__.lower(), a._array, b._array)
            a, b = a.to(dtype), b.to(dtype)
        return self._apply(primitive(), b, a) if reverse else self._apply(primitive(), a, b)

    def _operand(self, other: Any) -> Tensor:
        """A number or an ndarray as a Tensor; a number takes our dtype, unless it is a float and we are int."""
        if isinstance(other, np.ndarray) and other.ndim:
            return type(self)._from_user(other)
        if not isinstance(other, int | float | np.ndarray | np.generic):
            raise TypeError(f"an operand must be a Tensor, an ndarray or a number, not {type(other).__name__}")
        fraction = isinstance(other, float | np.floating) or getattr(other, "dtype", bool_).kind == "f"
        dtype = self._array.dtype
        if dtype.kind != "f" and fraction:
            dtype = float32
        elif dtype == bool_ and not isinstance(other, bool | np.bool_):
            dtype = int64
        return self._constant(np.asarray(other).astype(dtype))

    def _is_plain(self, other: Operand) -> bool:
        """Whether `other` is a Python number that leaves our dtype as it is: no second operand need be kept."""
        kind = type(other)
        return (kind is float or kind is int) and self._array.dtype.kind == "f"

    def __add__(self, other: Operand) -> Tensor:
        if type(other) in NUMBERS and self._is_plain(other):
            return self._apply(Shift(c=other), self)
        return self._binary(Add, other)

    __radd__ = __add__

    def __sub__(self, other: Operand) -> Tensor:
        if type(other) in NUMBERS and self._is_plain(other):
            return self._apply(Shift(c=-other), self)
        return self._binary(Sub, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return self._binary(Sub, other, reverse=True)

    def __mul__(self, other: Operand) -> Tensor:
        if type(other) in NUMBERS and self._is_plain(other):
            return self._apply(Scale(c=other), self)
        return self._binary(Mul, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> Tensor:
        a = self if self._array.dtype.kind == "f" or getattr(other, "dtype", int64).kind == "f" else self.to(float32)
        return a._binary(Div, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        a = self if self._array.dtype.kind == "f" or getattr(other, "dtype", int64).kind == "f" else self.to(float32)
        return a._binary(Div, other, reverse=True)

    def __pow__(self, other: Operand) -> Tensor:
        if self._is_plain(other):
            return self._apply(Power(c=other), self)
        return self._binary(Pow, other)

    def __rpow__(self, other: Operand) -> Tensor:
        return self._binary(Pow, other, reverse=True)

    def __floordiv__(self, other: Operand) -> Tensor:
        return self._without_gradient("floor_divide", np.floor_divide, other)

    def __mod__(self, other: Operand) -> Tensor:
        return self._without_gradient("remainder", np.remainder, other)

    def __neg__(self) -> Tensor:
        return self._apply(Neg(), self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return self._apply(Abs(), self)

    # The named forms

    def add(self, other: Operand, *, alpha: float = 1) -> Tensor:
        """self + alpha · other."""
        return self + (other if alpha == 1 else other * alpha)

    def sub(self, other: Operand, *, alpha: float = 1) -> Tensor:
        """self - alpha · other."""
        return self - (other if alpha == 1 else other * alpha)

    def mul(self, other: Operand) -> Tensor:
        """self · other, elementwise."""
        return self * other

    def div(self, other: Operand) -> Tensor:
        """self / other, elementwise."""
        return self / other

    def pow(self, exponent: Operand) -> Tensor:
        """self to a power, elementwise."""
        return self**exponent

    def neg(self) -> Tensor:
        """-self."""
        return -self

    def abs(self) -> Tensor:
        """|self|; the gradient at 0 is 0."""
        return self.__abs__()

    def maximum(self, other: Operand) -> Tensor:
        """The larger of both, elementwise; a tie gives each half of the gradient; NaN wins."""
        return self._binary(Maximum, other)

    def minimum(self, other: Operand) -> Tensor:
        """The smaller of both, elementwise; a tie gives each half of the gradient; NaN wins."""
        return self._binary(Minimum, other)

    def addcmul(self, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
        """self + value · tensor1 · tensor2."""
        return self.add(tensor1 * tensor2, alpha=value)

    def addcdiv(self, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
        """self + value · tensor1 / tensor2."""
        return self.add(tensor1 / tensor2, alpha=value)

    def lerp(self, end: Tensor, weight: Operand) -> Tensor:
        """self + weight · (end - self): part of the way to `end`."""
        return self + (end - self) * weight

    # Mathematics

    def _unary(self, name: str, primitive: Any) -> Tensor:
        if self._array.dtype.kind != "f":
            require_float(name, input=self)
        return self._apply(primitive(), self)

    def exp(self) -> Tensor:
        """e to the power of self."""
        return self._unary("exp", Exp)

    def expm1(self) -> Tensor:
        """exp(self) - 1, exact near 0."""
        return self._unary("expm1", Expm1)

    def log(self) -> Tensor:
        """Natural logarithm."""
        return self._unary("log", Log)

    def log1p(self) -> Tensor:
        """log(1 + self), exact near 0."""
        return self._unary("log1p", Log1p)

    def log2(self) -> Tensor:
        """Logarithm to base 2."""
        return self.log() * (1 / math.log(2))

    def log10(self) -> Tensor:
        """Logarithm to base 10."""
        return self.log() * (1 / math.log(10))

    def sqrt(self) -> Tensor:
        """Square root."""
        return self._unary("sqrt", Sqrt)

    def rsqrt(self) -> Tensor:
        """1 / √self."""
        return 1.0 / self.sqrt()

    def square(self) -> Tensor:
        """self²."""
        return self**2

    def reciprocal(self) -> Tensor:
        """1 / self."""
        return 1.0 / self

    def sin(self) -> Tensor:
        """Sine, of radians."""
        return self._unary("sin", Sin)

    def cos(self) -> Tensor:
        """Cosine, of radians."""
        return self._unary("cos", Cos)

    def tanh(self) -> Tensor:
        """Hyperbolic tangent."""
        return self._unary("tanh", Tanh)

    def erf(self) -> Tensor:
        """The error function (2/√π) ∫₀ˣ e^(-t²) dt."""
        return self._unary("erf", Erf)

    def sigmoid(self) -> Tensor:
        """1 / (1 + e^-x), as ½ + ½ tanh(x/2), which does not overflow."""
        require_float("sigmoid", input=self)
        return (self * 0.5).tanh() * 0.5 + 0.5

    def relu(self) -> Tensor:
        """max(x, 0), composed of primitives; the gradient at 0 is 0. `F.relu` is the fused one."""
        require_float("relu", input=self)
        return self.where(~(self <= 0), 0.0)

    def _step(self, ufunc: Any) -> Tensor:
        return self._apply(Step(compute=ufunc), self)

    def sign(self) -> Tensor:
        """-1, 0 or 1; the gradient is 0."""
        return self._step(np.sign)

    def floor(self) -> Tensor:
        """The largest whole number not above; the gradient is 0."""
        return self._step(np.floor)

    def ceil(self) -> Tensor:
        """The smallest whole number not below; the gradient is 0."""
        return self._step(np.ceil)

    def round(self) -> Tensor:
        """The nearest whole number, halves to even; the gradient is 0."""
        return self._step(np.round)

    def clamp(self, min: Operand = None, max: Operand = None) -> Tensor:
        """min(max(self, min), max); the gradient passes where min <= self <= max. Limits are numbers or Tensors."""
        if min is None and max is None:
            raise ValueError("clamp: give min, max or both")
        if all(limit is None or self._is_plain(limit) for limit in (min, max)):
            return self._apply(Clip(low=min, high=max), self)
        out = self if min is None else self.where((self >= min) | self.isnan(), min)
        return out if max is None else out.where((out <= max) | out.isnan(), max)

    clip = clamp

    def where(self, condition: Tensor, other: Operand) -> Tensor:
        """self where the condition holds, else other; all three broadcast."""
        condition = condition._array if isinstance(condition, Arithmetic) else np.asarray(condition)
        if condition.dtype != bool_:
            raise TypeError(f"where: the condition must be boolean, not {condition.dtype}")
        other = other if isinstance(other, Arithmetic) else self._operand(other)
        dtype = common_dtype("where", self._array, other._array)
        broadcast_shapes("where", condition.shape, self._array.shape, other._array.shape)
        return self._apply(Where(condition=condition), self.to(dtype), other.to(dtype))

    # Products of matrices

    def __matmul__(self, other: Operand) -> Tensor:
        if type(other) is not type(self) and not isinstance(other, Arithmetic):
            if not isinstance(other, np.ndarray):
                return NotImplemented
            other = self._operand(other)
        a, b = self, other
        dtype = common_dtype("matmul", a._array, b._array)
        a, b = a.to(dtype), b.to(dtype)
        if not a.ndim or not b.ndim:
            raise ValueError(f"matmul: both operands need at least one dimension, not shapes {a.shape} and {b.shape}")
        row, column = a.ndim == 1, b.ndim == 1  # a vector is a row on the left, a column on the right
        if row:
            a = a.reshape(1, -1)
        if column:
            b = b.reshape(-1, 1)
        if a.shape[-1] != b.shape[-2]:
            raise ValueError(f"matmul: inner lengths differ: shapes {self.shape} and {other.shape}")
        broadcast_shapes("matmul", a.shape[:-2], b.shape[:-2])
        out = self._apply(MatMul(), a, b)
        if row:
            out = out.squeeze(-2)
        return out.squeeze(-1) if column else out

    def __rmatmul__(self, other: Operand) -> Tensor:
        return self._operand(other) @ self

    def matmul(self, other: Tensor) -> Tensor:
        """The matrix product; leading dimensions broadcast as in NumPy."""
        return self @ other

    mm = bmm = mv = dot = matmul

    def outer(self, vec2: Tensor) -> Tensor:
        """The outer product aᵢ bⱼ of two vectors."""
        if (self.ndim, np.ndim(vec2)) != (1, 1):
            raise ValueError(f"outer: takes 1 and 1 dimensions, not shapes {self.shape} and {np.shape(vec2)}")
        return self.unsqueeze(1) * vec2
