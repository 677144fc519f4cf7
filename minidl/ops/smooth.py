"""Smooth activations: sigmoids, exponentials, and gates made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.axes import norm_axis
from minidl.function import Primitive, call
from minidl.kernels import curves
from minidl.kernels.activation import (
    gelu_gradient_task,
    gelu_task,
    mapped,
    mapped_gradient,
    sigmoid_gradient_task,
    sigmoid_task,
    silu_gradient_task,
    silu_task,
    worth,
)
from minidl.ops.activation import Curve, checked, off_kinks
from minidl.ops.table import Sample, operation, run
from minidl.primitives import Erf, Exp
from minidl.tensor import Tensor

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


class Sigmoid(Primitive):
    """y = 1 / (1 + e^-x) = ½ + ½ tanh(x / 2), which does not overflow; y' = y (1 - y)."""

    keeps_output = True

    @staticmethod
    def definition(x: Tensor) -> Tensor:
        """½ + ½ tanh(x / 2)"""
        return x.sigmoid()

    def forward(self, x: np.ndarray) -> np.ndarray:
        if worth(x):
            return mapped(sigmoid_task, x, 1)
        return np.tanh(x * 0.5) * 0.5 + 0.5

    def backward(self, g: Any) -> Any:
        if worth(g):
            return mapped_gradient(sigmoid_gradient_task, g, self.output, 0.5)
        return g * ((1.0 - self.output) * self.output)


@operation(samples=off_kinks, passes=Sigmoid)
def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-x).

    >>> import minidl, minidl.nn.functional as F
    >>> F.sigmoid(minidl.tensor([0.0, 100.0]))
    tensor([0.5, 1. ])
    """
    return run(Sigmoid(), checked("sigmoid", input))


@operation(samples=off_kinks)
def logsigmoid(input: Tensor) -> Tensor:
    """log sigmoid(x) = min(x, 0) - log(1 + e^-|x|).

    >>> import minidl, minidl.nn.functional as F
    >>> F.logsigmoid(minidl.tensor([-1000.0, -500.0]))
    tensor([-1000.,  -500.])
    """
    return -softplus(-checked("logsigmoid", input), threshold=math.inf)


class Softplus(Curve):
    """log(1 + e^z) / beta with z = beta · x, as max(z, 0) + log(1 + e^-|z|), or x where z is above the threshold.

    Nothing overflows. The derivative is e^z / (1 + e^z) = sigmoid(z), or 1.
    """

    kind = curves.SOFTPLUS

    @staticmethod
    def definition(x: Tensor, beta: float, threshold: float) -> Tensor:
        """max(z, 0) + log(1 + e^-|z|); where z = 0 both parts bend, and their sum has slope ½"""
        z = x * beta
        y = (z.maximum(0.0) + (-z.maximum(-z)).exp().log1p()) * (1 / beta)
        return y.where(~(z.detach() > threshold), x)


@operation(samples=off_kinks, passes=Softplus)
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta, a smooth ReLU; x itself where beta · x > threshold.

    >>> import minidl, minidl.nn.functional as F
    >>> F.softplus(minidl.tensor([0.0, 100.0]))
    tensor([  0.6931472, 100.       ])
    """
    return run(Softplus(beta=float(beta), threshold=float(threshold)), checked("softplus", input))


@operation(samples=off_kinks)
def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|).

    >>> import minidl, minidl.nn.functional as F
    >>> F.softsign(minidl.tensor([-1.0, 3.0]))
    tensor([-0.5 ,  0.75])
    """
    x = checked("softsign", input)
    return x / (x.abs() + 1.0)


@operation(samples=off_kinks)
def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x).

    >>> import minidl, minidl.nn.functional as F
    >>> F.tanhshrink(minidl.tensor([0.0, 100.0]))
    tensor([ 0., 99.])
    """
    x = checked("tanhshrink", input)
    return x - x.tanh()


class Elu(Curve):
    """scale · x where positive, else height · (e^(rate · x) - 1); so y' is scale, or height · rate · e^(rate · x)."""

    kind = curves.ELU

    @staticmethod
    def definition(x: Tensor, height: float, rate: float, scale: float) -> Tensor:
        """Both branches; what would overflow is not computed."""
        negative = x.where(~(x.detach() > 0), 0.0)
        return (x * scale).where(~(x <= 0), (negative * rate).expm1() * height)


@operation(samples=off_kinks, passes=Elu)
def elu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """x where positive, else alpha · (e^x - 1) (D. Clevert et al., 2016).

    >>> import minidl, minidl.nn.functional as F
    >>> F.elu(minidl.tensor([-1000.0, 2.0]))
    tensor([-1.,  2.])
    """
    return run(Elu(height=float(alpha), rate=1.0, scale=1.0), checked("elu", input))


def celu_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Several alphas; with a negative one the exponential grows."""
    for sample in off_kinks(rng):
        yield sample
        yield Sample(*sample.args, alpha=float(rng.choice([0.6, 2.5, -1.5])))
    yield Sample(rng.uniform(-2, -0.2, (2, 3)), alpha=0.6)


@operation(samples=celu_samples, passes=Elu)
def celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """x where positive, else alpha · (e^(x / alpha) - 1): smooth for every alpha (J. Barron, 2017).

    >>> import minidl, minidl.nn.functional as F
    >>> F.celu(minidl.tensor([-1000.0, 2.0]), alpha=0.5)
    tensor([-0.5,  2. ])
    """
    if alpha == 0:
        raise ValueError("celu: alpha must not be 0")
    x, node = checked("celu", input), Elu(height=float(alpha), rate=1 / alpha, scale=1.0)
    return run(node, x) if alpha > 0 else Elu.definition(x, **node.options)  # the kernel has no e^x - 1 for x > 0


@operation(samples=off_kinks, passes=Elu)
def selu(input: Tensor) -> Tensor:
    """scale · elu(x, alpha), with the two constants that keep mean 0 and variance 1 (G. Klambauer et al., 2017).

    >>> import minidl, minidl.nn.functional as F
    >>> F.selu(minidl.tensor([0.0, 1.0]))
    tensor([0.      , 1.050701])
    """
    return run(Elu(height=SELU_SCALE * SELU_ALPHA, rate=1.0, scale=SELU_SCALE), checked("selu", input))


class Silu(Primitive):
    """y = x · σ(x) with σ' = σ (1 - σ), so by the product rule y' = σ + x σ (1 - σ) = σ (1 + x (1 - σ))."""

    keeps_inputs = True

    @staticmethod
    def definition(x: Tensor) -> Tensor:
        """x · σ(x)"""
        return x * x.sigmoid()

    def forward(self, x: np.ndarray) -> np.ndarray:
        return mapped(silu_task, x, 1) if worth(x) else x * Sigmoid().forward(x)

    def backward(self, g: Any) -> Any:
        (x,) = self.inputs
        if worth(g):
            return mapped_gradient(silu_gradient_task, g, x, 1.2)
        s = call(Sigmoid, x)
        return g * (s * (x * (1.0 - s) + 1.0))


@operation(samples=off_kinks, passes=Silu)
def silu(input: Tensor) -> Tensor:
    """x · sigmoid(x), also called swish (S. Elfwing et al., 2017).

    >>> import minidl, minidl.nn.functional as F
    >>> F.silu(minidl.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """
    return run(Silu(), checked("silu", input))


class Mish(Curve):
    """y = x t with t = tanh(softplus(x)), so y' = t + x (1 - t²) σ(x): softplus' is σ."""

    kind = curves.MISH

    @staticmethod
    def definition(x: Tensor) -> Tensor:
        """x · tanh(softplus(x))"""
        return x * Softplus.definition(x, 1.0, 20.0).tanh()


@operation(samples=off_kinks, passes=Mish)
def mish(input: Tensor) -> Tensor:
    """x · tanh(softplus(x)) (D. Misra, 2019).

    >>> import minidl, minidl.nn.functional as F
    >>> F.mish(minidl.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """
    return run(Mish(), checked("mish", input))


class Gelu(Primitive):
    """y = x Φ(x) with Φ(x) = ½ (1 + erf(x / √2)), the normal distribution; y' = Φ(x) + x e^(-x²/2) / √(2π)."""

    keeps_inputs = True

    @staticmethod
    def definition(x: Tensor) -> Tensor:
        """x Φ(x)"""
        return x * ((x * math.sqrt(0.5)).erf() + 1.0) * 0.5

    def forward(self, x: np.ndarray) -> np.ndarray:
        return mapped(gelu_task, x, 0.4) if worth(x) else x * (0.5 * (1.0 + call(Erf, x * math.sqrt(0.5))))

    def backward(self, g: Any) -> Any:
        (x,) = self.inputs
        if worth(g):
            return mapped_gradient(gelu_gradient_task, g, x, 1)
        phi = (call(Erf, x * math.sqrt(0.5)) + 1.0) * 0.5
        return g * (phi + x * call(Exp, x * x * -0.5) * (1 / math.sqrt(2 * math.pi)))


class TanhGelu(Curve):
    """y = x σ(2u) with u = √(2/π) (x + 0.044715 x³), since ½ (1 + tanh u) = σ(2u); y' = σ + x σ (1 - σ) 2u'."""

    kind = curves.GELU

    @staticmethod
    def definition(x: Tensor) -> Tensor:
        """½ x (1 + tanh u)"""
        u = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
        return x * (u.tanh() + 1.0) * 0.5


def gelu_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Both forms."""
    for sample in off_kinks(rng):
        yield sample
        yield Sample(*sample.args, approximate="tanh")


@operation(samples=gelu_samples, passes=Gelu)
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x Φ(x), Φ the normal distribution; or with approximate="tanh" ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))).

    D. Hendrycks, K. Gimpel, "Gaussian error linear units", 2016.

    >>> import minidl, minidl.nn.functional as F
    >>> F.gelu(minidl.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """
    x = checked("gelu", input)
    if approximate == "tanh":
        return run(TanhGelu(), x)
    if approximate != "none":
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', not {approximate!r}")
    return run(Gelu(), x)


def glu_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Along the last and another dimension."""
    yield Sample(rng.standard_normal((3, 4)))
    yield Sample(rng.standard_normal((2, 4, 3)), dim=1)


@operation(samples=glu_samples)
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a · sigmoid(b) for the two halves a, b of the input along a dimension (Y. Dauphin et al., 2017).

    >>> import minidl, minidl.nn.functional as F
    >>> F.glu(minidl.tensor([2.0, 0.0]))
    tensor([1.])
    """
    x = checked("glu", input)
    axis = norm_axis("glu", dim, x.ndim)
    if not x.ndim or x.shape[axis] % 2:
        raise ValueError(f"glu: the length along dim {dim} must be even (input: {x.shape})")
    a, b = x.split(x.shape[axis] // 2, axis) if x.shape[axis] else (x, x)
    return a * sigmoid(b)
