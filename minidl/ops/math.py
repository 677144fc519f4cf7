"""PyTorch's elementwise functions, over the methods of Tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from minidl.ops.samples import Draw, binary, calls, distinct, normal, on, positive, signed, unary
from minidl.ops.table import Sample, operation, require_tensor
from minidl.tensor import Tensor

__all__ = [
    "abs",
    "add",
    "addcdiv",
    "addcmul",
    "ceil",
    "clamp",
    "clip",
    "cos",
    "div",
    "erf",
    "exp",
    "expm1",
    "floor",
    "lerp",
    "log",
    "log1p",
    "log2",
    "log10",
    "maximum",
    "minimum",
    "mul",
    "neg",
    "pow",
    "reciprocal",
    "round",
    "rsqrt",
    "sign",
    "sin",
    "sqrt",
    "square",
    "sub",
    "tanh",
    "where",
]

Operand = Tensor | float


# Arithmetic


@operation(samples=binary())
def add(input: Tensor, other: Operand, *, alpha: float = 1) -> Tensor:
    """input + alpha · other; shapes broadcast."""
    require_tensor("add", input=input)
    return input.add(other, alpha=alpha)


@operation(samples=binary())
def sub(input: Tensor, other: Operand, *, alpha: float = 1) -> Tensor:
    """input - alpha · other; shapes broadcast."""
    require_tensor("sub", input=input)
    return input.sub(other, alpha=alpha)


def of_three(draw: Draw) -> Callable[[np.random.Generator], Iterator[Sample]]:
    """Samples of three Tensors that broadcast, the last drawn so."""
    return calls(
        lambda rng: Sample(normal(rng, 2, 3), normal(rng, 3), draw(rng, 2, 1), value=0.5),
        lambda rng: Sample(normal(rng, 3), normal(rng, 2, 3), draw(rng)),
    )


@operation(samples=of_three(normal))
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value · tensor1 · tensor2; shapes broadcast."""
    require_tensor("addcmul", input=input, tensor1=tensor1, tensor2=tensor2)
    return input.addcmul(tensor1, tensor2, value=value)


@operation(samples=of_three(positive))
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value · tensor1 / tensor2; shapes broadcast."""
    require_tensor("addcdiv", input=input, tensor1=tensor1, tensor2=tensor2)
    return input.addcdiv(tensor1, tensor2, value=value)


@operation(
    samples=calls(
        lambda rng: Sample(normal(rng, 2, 3), normal(rng, 3), 0.25),
        lambda rng: Sample(normal(rng, 3), normal(rng, 2, 1), normal(rng, 2, 3)),
    )
)
def lerp(input: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """input + weight · (end - input): part of the way to `end`; shapes broadcast."""
    require_tensor("lerp", input=input, end=end)
    return input.lerp(end, weight)


@operation(samples=binary())
def mul(input: Tensor, other: Operand) -> Tensor:
    """input · other, elementwise; shapes broadcast."""
    require_tensor("mul", input=input)
    return input * other


@operation(samples=binary(normal, signed))
def div(input: Tensor, other: Operand) -> Tensor:
    """input / other, elementwise; shapes broadcast; integers are divided as float32."""
    require_tensor("div", input=input)
    return input / other


@operation(samples=binary(positive, normal))
def pow(input: Operand, exponent: Operand) -> Tensor:
    """input to the power of exponent, elementwise; either may be a number.

    >>> import minidl
    >>> minidl.pow(2.0, minidl.tensor([1.0, 2.0, 3.0]))
    tensor([2., 4., 8.])
    """
    if not isinstance(input, Tensor):
        require_tensor("pow", exponent=exponent)
    return input**exponent


@operation(samples=unary())
def neg(input: Tensor) -> Tensor:
    """-input."""
    require_tensor("neg", input=input)
    return -input


@operation(samples=unary(signed))
def abs(input: Tensor) -> Tensor:
    """|input|; the gradient at 0 is 0."""
    require_tensor("abs", input=input)
    return input.abs()


@operation(samples=unary(normal))
def square(input: Tensor) -> Tensor:
    """input²."""
    require_tensor("square", input=input)
    return input.square()


@operation(samples=unary(signed))
def reciprocal(input: Tensor) -> Tensor:
    """1 / input."""
    require_tensor("reciprocal", input=input)
    return input.reciprocal()


# Exponentials, roots and the like


@operation(samples=unary())
def exp(input: Tensor) -> Tensor:
    """e to the power of input."""
    require_tensor("exp", input=input)
    return input.exp()


@operation(samples=unary())
def expm1(input: Tensor) -> Tensor:
    """exp(input) - 1, exact near 0."""
    require_tensor("expm1", input=input)
    return input.expm1()


@operation(samples=unary(positive))
def log(input: Tensor) -> Tensor:
    """Natural logarithm."""
    require_tensor("log", input=input)
    return input.log()


@operation(samples=unary(positive))
def log1p(input: Tensor) -> Tensor:
    """log(1 + input), exact near 0."""
    require_tensor("log1p", input=input)
    return input.log1p()


@operation(samples=unary(positive))
def log2(input: Tensor) -> Tensor:
    """Logarithm to base 2."""
    require_tensor("log2", input=input)
    return input.log2()


@operation(samples=unary(positive))
def log10(input: Tensor) -> Tensor:
    """Logarithm to base 10."""
    require_tensor("log10", input=input)
    return input.log10()


@operation(samples=unary(positive))
def sqrt(input: Tensor) -> Tensor:
    """Square root."""
    require_tensor("sqrt", input=input)
    return input.sqrt()


@operation(samples=unary(positive))
def rsqrt(input: Tensor) -> Tensor:
    """1 / √input."""
    require_tensor("rsqrt", input=input)
    return input.rsqrt()


@operation(samples=unary())
def sin(input: Tensor) -> Tensor:
    """Sine, of radians."""
    require_tensor("sin", input=input)
    return input.sin()


@operation(samples=unary())
def cos(input: Tensor) -> Tensor:
    """Cosine, of radians."""
    require_tensor("cos", input=input)
    return input.cos()


@operation(samples=unary())
def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    require_tensor("tanh", input=input)
    return input.tanh()


@operation(samples=unary())
def erf(input: Tensor) -> Tensor:
    """The error function (2/√π) ∫₀ˣ e^(-t²) dt."""
    require_tensor("erf", input=input)
    return input.erf()


# Steps: the gradient is 0


@operation(samples=unary(signed))
def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1; the gradient is 0."""
    require_tensor("sign", input=input)
    return input.sign()


@operation(samples=unary(distinct))
def floor(input: Tensor) -> Tensor:
    """The largest whole number not above; the gradient is 0."""
    require_tensor("floor", input=input)
    return input.floor()


@operation(samples=unary(distinct))
def ceil(input: Tensor) -> Tensor:
    """The smallest whole number not below; the gradient is 0."""
    require_tensor("ceil", input=input)
    return input.ceil()


@operation(samples=unary(distinct))
def round(input: Tensor) -> Tensor:
    """The nearest whole number, halves to even; the gradient is 0."""
    require_tensor("round", input=input)
    return input.round()


# Choices


def two_apart(rng: np.random.Generator) -> Sample:
    a, b = distinct(rng, 2, 3, 4)
    return Sample(a, b)


@operation(samples=calls(two_apart, lambda rng: Sample(distinct(rng, 3, 1), distinct(rng, 4) + 0.051)))
def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger of both, elementwise; a tie gives each half of the gradient; NaN wins."""
    require_tensor("maximum", input=input, other=other)
    return input.maximum(other)


@operation(samples=calls(two_apart, lambda rng: Sample(distinct(rng, 3, 1), distinct(rng, 4) + 0.051)))
def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of both, elementwise; a tie gives each half of the gradient; NaN wins."""
    require_tensor("minimum", input=input, other=other)
    return input.minimum(other)


@operation(
    samples=calls(
        on(3, 4, draw=distinct, min=-0.301, max=0.201),
        on(3, 4, draw=distinct, min=0.001),
        on(3, 4, draw=distinct, max=0.001),
        lambda rng: Sample(distinct(rng, 3, 4), *np.sort(distinct(rng, 2, 1, 4) + 0.051, axis=0)),
    )
)
def clamp(input: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """min(max(input, min), max); the gradient passes where min <= input <= max.

    >>> import minidl
    >>> minidl.clamp(minidl.tensor([-2.0, 0.5, 2.0]), -1, 1)
    tensor([-1. ,  0.5,  1. ])
    """
    require_tensor("clamp", input=input)
    return input.clamp(min, max)


clip = clamp


def where_samples(rng: np.random.Generator) -> Sample:
    return Sample(rng.random((2, 1, 4)) < 0.5, normal(rng, 3, 1), normal(rng, 4))


@operation(samples=calls(where_samples, lambda rng: Sample(rng.random(5) < 0.5, 2.0, normal(rng, 5))))
def where(condition: Tensor, input: Operand, other: Operand) -> Tensor:
    """input where the condition holds, else other; all three broadcast, and one of the two may be a number.

    >>> import minidl
    >>> x = minidl.tensor([-1.0, 2.0])
    >>> minidl.where(x > 0, x, 0.0)
    tensor([0., 2.])
    """
    require_tensor("where", condition=condition)
    if isinstance(input, Tensor):
        return input.where(condition, other)
    if isinstance(other, Tensor):
        return other.where(~condition, input)
    return Tensor(input).where(condition, other)
