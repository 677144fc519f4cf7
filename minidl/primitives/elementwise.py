"""Elementwise primitives: arithmetic with broadcasting, powers, exponentials, choices.

The one thing to know: where forward broadcast an input, backward sums over the broadcast axes (`unbroadcast`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.axes import broadcast_shapes
from minidl.function import Primitive, call
from minidl.kernels import activation as kernels
from minidl.kernels.elementwise import add, multiply, total


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum `g` over the axes along which an array of `shape` was repeated to give g's shape."""
    if g.shape == shape:
        return g
    new = g.ndim - len(shape)  # axes that broadcasting put in front
    stretched = [new + i for i, n in enumerate(shape) if n == 1 and g.shape[new + i] != 1]
    axes = (*range(new), *stretched)
    summed = total(g, axes, True) if type(g) is np.ndarray else g.sum(axis=axes, keepdims=True)
    return summed.reshape(shape)


class Binary(Primitive):
    """Two inputs that broadcast; `rule` gives the gradients before the broadcast axes are summed away."""

    shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None  # of the inputs, unless both have the result's
    __init__ = object.__init__  # there are no options, and a constructor of C's takes half the time

    def forward(self, a: Any, b: Any) -> Any:
        if a.shape != b.shape:
            broadcast_shapes(self.name, a.shape, b.shape)
            self.shapes = a.shape, b.shape
        return self.compute(a, b)

    def backward(self, g: Any) -> tuple[Any, Any]:
        need_a, need_b = self.needs
        ga, gb = self.rule_a(g) if need_a else None, self.rule_b(g) if need_b else None
        if self.shapes is None:
            return ga, gb
        shape_a, shape_b = self.shapes
        return unbroadcast(ga, shape_a) if need_a else None, unbroadcast(gb, shape_b) if need_b else None


class Add(Binary):
    """a + b"""

    compute = staticmethod(add)

    def rule_a(self, g: Any) -> Any:
        return g

    def rule_b(self, g: Any) -> Any:
        return g


class Sub(Binary):
    """a - b"""

    compute = staticmethod(np.subtract)

    def rule_a(self, g: Any) -> Any:
        return g

    def rule_b(self, g: Any) -> Any:
        return -g


class Mul(Binary):
    """a * b"""

    keeps_inputs = True
    compute = staticmethod(multiply)

    def rule_a(self, g: Any) -> Any:
        return call(Mul, g, self.inputs[1])

    def rule_b(self, g: Any) -> Any:
        return call(Mul, g, self.inputs[0])


class Div(Binary):
    """a / b"""

    quiet = True
    keeps_inputs = True

    def compute(self, a: Any, b: Any) -> Any:
        return np.true_divide(a, b)

    def rule_a(self, g: Any) -> Any:
        return g / self.inputs[1]

    def rule_b(self, g: Any) -> Any:
        a, b = self.inputs
        return -g * a / (b * b)


class Scale(Primitive):
    """c * a for a plain number c, which need keep neither."""

    def forward(self, a: Any) -> Any:
        return a * self.c

    def backward(self, g: Any) -> Any:
        return g * self.c


class Shift(Primitive):
    """a + c for a plain number c."""

    def forward(self, a: Any) -> Any:
        return a + self.c

    def backward(self, g: Any) -> Any:
        return g


class Pow(Binary):
    """a ** b; where b = 0 the gradient for a is 0, and where a = 0 and b >= 0 that for b is 0, as in PyTorch."""

    quiet = True
    keeps_inputs = True
    keeps_output = True

    def compute(self, a: Any, b: Any) -> Any:
        return np.power(a, b)

    def rule_a(self, g: Any) -> Any:
        a, b = self.inputs
        return where(b == 0, 0.0, g * b * a ** (b - 1))

    def rule_b(self, g: Any) -> Any:
        a, b = self.inputs
        flat = (a == 0) & (b >= 0)
        return where(flat, 0.0, g * self.output * log(where(flat, 1.0, a)))


class Power(Primitive):
    """a ** c for a plain number c."""

    quiet = True
    keeps_inputs = True

    def forward(self, a: Any) -> Any:
        if self.c == 2:
            return a * a
        return a**self.c

    def backward(self, g: Any) -> Any:
        (a,) = self.inputs
        if self.c == 0:
            return g * 0.0
        if self.c == 1:
            return g
        return g * (a if self.c == 2 else a ** (self.c - 1)) * self.c


class Maximum(Binary):
    """max(a, b); a tie gives each half of the gradient, NaN wins."""

    keeps_inputs = True
    compute = staticmethod(np.maximum)

    def rule_a(self, g: Any) -> Any:
        a, b = self.inputs
        return g * share(a, b, a < b)

    def rule_b(self, g: Any) -> Any:
        a, b = self.inputs
        return g * share(a, b, b < a)


class Minimum(Binary):
    """min(a, b); a tie gives each half of the gradient, NaN wins."""

    keeps_inputs = True
    compute = staticmethod(np.minimum)

    def rule_a(self, g: Any) -> Any:
        a, b = self.inputs
        return g * share(a, b, a > b)

    def rule_b(self, g: Any) -> Any:
        a, b = self.inputs
        return g * share(a, b, b > a)


def share(a: Any, b: Any, loses: Any) -> Any:
    """0 where this side loses, 1/2 at a tie, else 1: a constant, in the dtype of a."""
    a, b, loses = np.asarray(a), np.asarray(b), np.asarray(loses)
    return np.where(a == b, 0.5, ~loses).astype(a.dtype)


class Unary(Primitive):
    """One input, one ufunc."""

    __init__ = object.__init__

    def forward(self, a: Any) -> Any:
        return self.compute(a)


class Neg(Unary):
    """-a"""

    compute = staticmethod(np.negative)

    def backward(self, g: Any) -> Any:
        return -g


class Exp(Unary):
    """e^a: its own derivative, so backward uses the output."""

    quiet = True
    keeps_output = True

    def forward(self, a: Any) -> Any:
        return kernels.mapped(kernels.exp_task, a, 0.7) if kernels.worth(a) else np.exp(a)

    def backward(self, g: Any) -> Any:
        return g * self.output


class Expm1(Unary):
    """e^a - 1, exact near 0."""

    quiet = True
    keeps_output = True
    compute = staticmethod(np.expm1)

    def backward(self, g: Any) -> Any:
        return g * (self.output + 1.0)


class Log(Unary):
    """Natural logarithm."""

    quiet = True
    keeps_inputs = True

    def forward(self, a: Any) -> Any:
        return kernels.mapped(kernels.log_task, a, 1.2) if kernels.worth(a) else np.log(a)

    def backward(self, g: Any) -> Any:
        return g / self.inputs[0]


class Log1p(Unary):
    """ln(1 + a), exact near 0."""

    quiet = True
    keeps_inputs = True
    compute = staticmethod(np.log1p)

    def backward(self, g: Any) -> Any:
        return g / (self.inputs[0] + 1.0)


class Sqrt(Unary):
    """Square root: d√a = da / (2√a)."""

    quiet = True
    keeps_output = True
    compute = staticmethod(np.sqrt)

    def backward(self, g: Any) -> Any:
        return g / (self.output * 2.0)


class Sin(Unary):
    """sin a"""

    keeps_inputs = True
    compute = staticmethod(np.sin)

    def backward(self, g: Any) -> Any:
        return g * call(Cos, self.inputs[0])


class Cos(Unary):
    """cos a"""

    keeps_inputs = True
    compute = staticmethod(np.cos)

    def backward(self, g: Any) -> Any:
        return -g * call(Sin, self.inputs[0])


class Tanh(Unary):
    """tanh a: the derivative is 1 - tanh² a."""

    keeps_output = True

    def forward(self, a: Any) -> Any:
        return kernels.mapped(kernels.tanh_task, a, 1) if kernels.worth(a) else np.tanh(a)

    def backward(self, g: Any) -> Any:
        if kernels.worth(g):
            return kernels.mapped_gradient(kernels.tanh_gradient_task, g, self.output, 0.5)
        return g * (1.0 - self.output * self.output)


class Erf(Primitive):
    """The error function, (2/√π) ∫₀ᵃ e^(-t²) dt; its derivative is (2/√π) e^(-a²)."""

    keeps_inputs = True

    def forward(self, a: Any) -> Any:
        if kernels.worth(a):
            return kernels.mapped(kernels.erf_task, a, 2)
        return np.vectorize(math.erf, otypes=[a.dtype])(a) if a.size else a.copy()

    def backward(self, g: Any) -> Any:
        a = self.inputs[0]
        return g * call(Exp, -a * a) * (2.0 / math.sqrt(math.pi))


class Abs(Unary):
    """|a|; the gradient at 0 is 0."""

    keeps_inputs = True
    compute = staticmethod(np.abs)

    def backward(self, g: Any) -> Any:
        return g * np.sign(np.asarray(self.inputs[0]))


class Step(Primitive):
    """A function that is constant between its steps, such as floor or sign: its gradient is 0."""

    def forward(self, a: Any) -> Any:
        return self.compute(a)

    def backward(self, g: Any) -> Any:
        return g * 0.0


class Clip(Primitive):
    """min(max(a, low), high) for plain numbers; the gradient passes where low <= a <= high."""

    keeps_inputs = True

    def forward(self, a: Any) -> Any:
        return np.clip(a, self.low, self.high)

    def backward(self, g: Any) -> Any:
        a = np.asarray(self.inputs[0])
        inside = np.ones(a.shape, bool)
        if self.low is not None:
            inside &= a >= self.low
        if self.high is not None:
            inside &= a <= self.high
        return g * inside.astype(a.dtype)


class Where(Binary):
    """a where the condition holds, else b; all three broadcast."""

    __init__ = Primitive.__init__

    def forward(self, a: Any, b: Any) -> Any:
        self.shapes = a.shape, b.shape
        return self.compute(a, b)

    def compute(self, a: Any, b: Any) -> Any:
        return np.where(self.condition, a, b)

    def rule_a(self, g: Any) -> Any:
        return call(Where, g, np.zeros((), g.dtype), condition=self.condition)

    def rule_b(self, g: Any) -> Any:
        return call(Where, np.zeros((), g.dtype), g, condition=self.condition)


def where(condition: Any, a: Any, b: Any) -> Any:
    """`np.where` for arrays and Tensors alike; numbers take the other branch's dtype."""
    dtype = b.dtype if isinstance(a, (int, float)) else a.dtype
    if isinstance(a, (int, float)):
        a = np.asarray(a, dtype)
    if isinstance(b, (int, float)):
        b = np.asarray(b, dtype)
    return call(Where, a, b, condition=np.asarray(condition))


def log(a: Any) -> Any:
    """The natural logarithm of an array or a Tensor."""
    return call(Log, a)
