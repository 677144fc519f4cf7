"""PyTorch's comparisons and tests of values: booleans come out, and no gradient goes back."""

from __future__ import annotations

from minidl.ops.samples import binary, unary
from minidl.ops.table import operation, require_tensor
from minidl.tensor import Tensor

__all__ = [
    "allclose",
    "eq",
    "equal",
    "ge",
    "gt",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "logical_and",
    "logical_not",
    "logical_or",
    "lt",
    "ne",
]

Operand = Tensor | float


@operation(samples=binary())
def eq(input: Tensor, other: Operand) -> Tensor:
    """Where input == other."""
    require_tensor("eq", input=input)
    return input == other


@operation(samples=binary())
def ne(input: Tensor, other: Operand) -> Tensor:
    """Where input != other."""
    require_tensor("ne", input=input)
    return input != other


@operation(samples=binary())
def lt(input: Tensor, other: Operand) -> Tensor:
    """Where input < other."""
    require_tensor("lt", input=input)
    return input < other


@operation(samples=binary())
def le(input: Tensor, other: Operand) -> Tensor:
    """Where input <= other."""
    require_tensor("le", input=input)
    return input <= other


@operation(samples=binary())
def gt(input: Tensor, other: Operand) -> Tensor:
    """Where input > other."""
    require_tensor("gt", input=input)
    return input > other


@operation(samples=binary())
def ge(input: Tensor, other: Operand) -> Tensor:
    """Where input >= other."""
    require_tensor("ge", input=input)
    return input >= other


@operation(samples=binary())
def logical_and(input: Tensor, other: Operand) -> Tensor:
    """Where neither is 0."""
    require_tensor("logical_and", input=input)
    return input.logical_and(other)


@operation(samples=binary())
def logical_or(input: Tensor, other: Operand) -> Tensor:
    """Where not both are 0."""
    require_tensor("logical_or", input=input)
    return input.logical_or(other)


@operation(samples=unary())
def logical_not(input: Tensor) -> Tensor:
    """Where input is 0."""
    require_tensor("logical_not", input=input)
    return input.logical_not()


@operation(samples=unary())
def isnan(input: Tensor) -> Tensor:
    """Where the value is NaN."""
    require_tensor("isnan", input=input)
    return input.isnan()


@operation(samples=unary())
def isinf(input: Tensor) -> Tensor:
    """Where the value is infinite."""
    require_tensor("isinf", input=input)
    return input.isinf()


@operation(samples=unary())
def isfinite(input: Tensor) -> Tensor:
    """Where the value is neither NaN nor infinite."""
    require_tensor("isfinite", input=input)
    return input.isfinite()


@operation(samples=binary())
def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Where |input - other| <= atol + rtol · |other|, or both are the same infinity; shapes broadcast."""
    require_tensor("isclose", input=input, other=other)
    return input.isclose(other, rtol, atol, equal_nan)


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all values are the same."""
    require_tensor("equal", input=input, other=other)
    return input.equal(other)


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether |input - other| <= atol + rtol · |other| everywhere."""
    require_tensor("allclose", input=input, other=other)
    return input.allclose(other, rtol, atol, equal_nan)
