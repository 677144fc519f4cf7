"""Activations: the bends between linear layers.

Those that networks use everywhere have passes of their own, one expression each way, written with operators that
arrays and Tensors share: such a backward serves every order of gradient, and keeps only what it needs. Others share a
kernel (`Curve`), and the rest are their formula.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from minidl.dtypes import require_float
from minidl.function import Function, Primitive
from minidl.kernels import curves
from minidl.kernels.activation import mapped, mapped_gradient, relu_gradient_task, relu_task, worth
from minidl.ops.table import Sample, operation, require_tensor, run
from minidl.tensor import Tensor


def checked(name: str, input: Tensor) -> Tensor:
    """The input, a floating-point Tensor."""
    require_tensor(name, input=input)
    require_float(name, input=input)
    return input


def off_kinks(rng: np.random.Generator) -> Iterator[Sample]:
    """Values to both sides of 0, ±0.5, ±1, ±3 and 6, but not near them."""
    places = [-4.3, -2.2, -1.6, -0.75, -0.22, 0.2, 0.7, 1.5, 2.4, 4.5, 7.1]
    for shape in ((3, 4), (2, 3, 2), (), (0, 3)):
        yield Sample(np.asarray(rng.choice(places, shape) + rng.uniform(-0.1, 0.1, shape)))


# ReLU and its kin: lines with bends


class Relu(Primitive):
    """max(x, 0). Forward let positive values (and NaN) pass, so backward lets their gradient: gx = g · [not y <= 0]."""

    keeps_output = True

    @staticmethod
    def definition(x: Tensor) -> Tensor:
        """x where it is positive (or NaN), else 0."""
        return x.relu()

    def forward(self, x: np.ndarray) -> np.ndarray:
        return mapped(relu_task, x, 0.4) if worth(x) else np.maximum(x, 0)

    def backward(self, g: Any) -> Any:
        if worth(g):
            return mapped_gradient(relu_gradient_task, g, self.output, 0.5)
        return g * ~(np.asarray(self.output) <= 0)


class Curve(Function):
    """y = f(x), value by value, so gx = g · f'(x). A subclass says which f; the options are its numbers, in order."""

    kind: ClassVar[int]

    def forward(self, x: np.ndarray) -> np.ndarray:
        return curves.curve(self.kind, x, tuple(self.options.values()))

    def backward(self, g: np.ndarray) -> np.ndarray:
        return curves.curve_gradient(self.kind, g, self.inputs[0], tuple(self.options.values()))


class LeakyRelu(Curve):
    """x, or slope · x where it is negative; so gx is g, or slope · g."""

    kind = curves.LEAKY

    @staticmethod
    def definition(x: Tensor, slope: float) -> Tensor:
        """x where it is positive, else slope · x."""
        return x.where(x > 0, x * slope)


class Clamp(Curve):
    """scale · (x + shift) with x clamped to low..high: two horizontal lines joined by one whose slope is scale.

    So gx = g · scale strictly between the ends, and 0 from the ends on, which is PyTorch's convention.
    """

    kind = curves.CLAMP

    @staticmethod
    def definition(x: Tensor, low: float, high: float, shift: float, scale: float) -> Tensor:
        """Each of the three lines in its place."""
        inside = (x + shift) * scale
        return inside.where(~(x <= low), (low + shift) * scale).where(~(x >= high), (high + shift) * scale)


class Hardswish(Curve):
    """x (x + 3) / 6 between -3 and 3, where its derivative is x / 3 + ½; to the left of it 0, to the right x."""

    kind = curves.HARDSWISH

    @staticmethod
    def definition(x: Tensor) -> Tensor:
        """x · relu6(x + 3) / 6, piece by piece."""
        return (x * (x + 3.0) * (1 / 6)).where(~(x <= -3), x * 0.0).where(~(x >= 3), x)


@operation(samples=off_kinks, passes=Relu)
def relu(input: Tensor) -> Tensor:
    """max(x, 0); the gradient at 0 is 0 (V. Nair, G. Hinton, 2010).

    >>> import minidl, minidl.nn.functional as F
    >>> F.relu(minidl.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return run(Relu(), checked("relu", input))


@operation(samples=off_kinks, passes=LeakyRelu)
def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where positive, else negative_slope · x (A. Maas et al., 2013).

    >>> import minidl, minidl.nn.functional as F
    >>> F.leaky_relu(minidl.tensor([-1.0, 2.0]), 0.5)
    tensor([-0.5,  2. ])
    """
    return run(LeakyRelu(slope=float(negative_slope)), checked("leaky_relu", input))


def prelu_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """One slope for all, and one for each channel."""
    for (sample,) in ([s] for s in off_kinks(rng)):
        yield Sample(*sample.args, rng.uniform(0.1, 0.5, 1))
    yield Sample(rng.choice([-1.0, 2.0], (2, 3, 2)), rng.uniform(0.1, 0.5, 3))


@operation(samples=prelu_samples)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where positive, else weight · x: a slope that is learnt, for all or for each channel (K. He et al., 2015).

    Args:
        input: (N, C, ...), or of any shape for one slope.
        weight: (C,), (1,) or ().

    >>> import minidl, minidl.nn.functional as F
    >>> F.prelu(minidl.tensor([-1.0, 2.0]), minidl.tensor([0.5]))
    tensor([-0.5,  2. ])
    """
    require_tensor("prelu", weight=weight)
    if weight.ndim > 1:
        raise ValueError(f"prelu: weight must be () or (C,), not {weight.shape}")
    x, slope = checked("prelu", input), weight
    if weight.ndim and weight.numel() != 1:
        channels = x.shape[1] if x.ndim > 1 else 1
        if weight.numel() != channels:
            raise ValueError(f"prelu: {weight.numel()} slopes for {channels} channels (input: {x.shape})")
        slope = weight.reshape((-1,) + (1,) * (x.ndim - 2))
    elif weight.ndim and not x.ndim:
        slope = weight.reshape(())
    return x.where(~(x <= 0), x * slope)


@operation(samples=off_kinks, passes=Clamp)
def relu6(input: Tensor) -> Tensor:
    """min(max(x, 0), 6); the gradient at both ends is 0.

    >>> import minidl, minidl.nn.functional as F
    >>> F.relu6(minidl.tensor([-1.0, 8.0]))
    tensor([0., 6.])
    """
    return run(Clamp(low=0.0, high=6.0, shift=0.0, scale=1.0), checked("relu6", input))


@operation(samples=off_kinks, passes=Clamp)
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """min(max(x, min_val), max_val); the gradient at both ends is 0.

    >>> import minidl, minidl.nn.functional as F
    >>> F.hardtanh(minidl.tensor([-2.0, 0.5]))
    tensor([-1. ,  0.5])
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val {min_val} is larger than max_val {max_val}")
    node = Clamp(low=float(min_val), high=float(max_val), shift=0.0, scale=1.0)
    return run(node, checked("hardtanh", input))


@operation(samples=off_kinks, passes=Clamp)
def hardsigmoid(input: Tensor) -> Tensor:
    """relu6(x + 3) / 6, a sigmoid of three lines.

    >>> import minidl, minidl.nn.functional as F
    >>> F.hardsigmoid(minidl.tensor([-4.0, 0.0, 4.0]))
    tensor([0. , 0.5, 1. ])
    """
    return run(Clamp(low=-3.0, high=3.0, shift=3.0, scale=1 / 6), checked("hardsigmoid", input))


@operation(samples=off_kinks, passes=Hardswish)
def hardswish(input: Tensor) -> Tensor:
    """x · relu6(x + 3) / 6 (A. Howard et al., "Searching for MobileNetV3", 2019).

    >>> import minidl, minidl.nn.functional as F
    >>> F.hardswish(minidl.tensor([-4.0, 4.0]))
    tensor([-0.,  4.])
    """
    return run(Hardswish(), checked("hardswish", input))


@operation(samples=off_kinks)
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, else 0.

    >>> import minidl, minidl.nn.functional as F
    >>> F.hardshrink(minidl.tensor([0.4, 2.0]))
    tensor([0., 2.])
    """
    x = checked("hardshrink", input)
    return x.where(~(x.abs() <= lambd), 0.0)


@operation(samples=off_kinks)
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, and 0 where |x| <= lambd.

    >>> import minidl, minidl.nn.functional as F
    >>> F.softshrink(minidl.tensor([0.4, 2.0]))
    tensor([0. , 1.5])
    """
    if not lambd >= 0:
        raise ValueError(f"softshrink: lambd must not be negative, but is {lambd}")
    x = checked("softshrink", input)
    moved = (x - lambd).where(~(x <= lambd), x + lambd)
    return moved.where(~(x.abs() <= lambd), x * 0.0)


def threshold_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """As the others, with a threshold away from the values."""
    for sample in off_kinks(rng):
        yield Sample(*sample.args, 1.0, -20.0)


@operation(samples=threshold_samples)
def threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    """x where x > threshold, else value.

    >>> import minidl, minidl.nn.functional as F
    >>> F.threshold(minidl.tensor([0.4, 2.0]), 1.0, -1.0)
    tensor([-1.,  2.])
    """
    x = checked("threshold", input)
    return x.where(~(x <= threshold), float(value))
