"""Losses of numbers against numbers: squared, absolute and bent errors, and cross-entropy of single probabilities.

`Distance` has both passes of all of them; a subclass says which loss it is: in mathematics, and by name to the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from minidl.axes import broadcast_shapes
from minidl.dtypes import require_float, require_same_dtype
from minidl.function import Function
from minidl.kernels import distances as kernels
from minidl.ops.loss import reduced
from minidl.ops.table import Sample, operation, require_tensor, run
from minidl.tensor import Tensor


class Distance(Function):
    """ℓ(x, t), value by value, and with a reduction their sum or mean, without writing them: g is then one number.

    So gx = g · ∂ℓ/∂x, or g / n · ∂ℓ/∂x of a mean of n; where ℓ depends on x - t alone, gt = -gx.
    """

    kind: ClassVar[int]

    def numbers(self) -> tuple[float, ...]:
        """What the kernel must know."""
        return ()

    def share(self, n: int) -> float:
        """What each of n losses counts."""
        return 1.0 if self.reduction != "mean" else 1 / n if n else np.nan

    def forward(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        y = kernels.distance(self.kind, x, t, self.numbers(), self.reduction != "none")
        return y if self.reduction != "mean" else y * self.share(x.size)

    def backward(self, g: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        x, t = self.inputs
        need_x, need_t = self.needs
        gx = kernels.distance_gradient(self.kind, g, x, t, self.numbers(), self.share(x.size), self.reduction != "none")
        return gx if need_x else None, self.of_target(g, gx) if need_t else None

    def of_target(self, g: np.ndarray, gx: np.ndarray) -> np.ndarray:
        """gt, given gx."""
        return -gx


class Squared(Distance):
    """ℓ = (x - t)², the squared error, so ∂ℓ/∂x = 2 (x - t)."""

    kind = kernels.SQUARE

    @staticmethod
    def definition(x: Tensor, t: Tensor, reduction: str) -> Tensor:
        """(x - t)²"""
        return reduced("mse_loss", (x - t) ** 2, reduction)


class Absolute(Distance):
    """ℓ = |x - t|, ∂ℓ/∂x = sign(x - t), which is 0 at 0"""

    kind = kernels.ABSOLUTE

    @staticmethod
    def definition(x: Tensor, t: Tensor, reduction: str) -> Tensor:
        """|x - t|"""
        return reduced("l1_loss", (x - t).abs(), reduction)


class Bent(Distance):
    """ℓ = scale · d² / 2 for d = x - t with |d| < bend, else a line that goes on with the same slope, scale · bend.

    So ∂ℓ/∂x = scale · d, clamped to -scale · bend .. scale · bend.
    """

    kind = kernels.HUBER

    @staticmethod
    def definition(x: Tensor, t: Tensor, bend: float, scale: float, reduction: str) -> Tensor:
        """The parabola within the bend, the line beyond."""
        d = x - t
        far = d.abs()
        loss = (d * d * 0.5).where(far.detach() < bend, (far - bend / 2) * bend)
        return reduced("huber_loss", loss * scale, reduction)

    def numbers(self) -> tuple[float, ...]:
        return self.bend, self.scale


class BinaryCrossEntropy(Distance):
    """ℓ = -t log x - (1 - t) log(1 - x), so ∂ℓ/∂x = (x - t) / (x (1 - x)) and ∂ℓ/∂t = log(1 - x) - log x.

    Logarithms are at least -100. x (1 - x) counts as at least 1e-12, so that the gradient at 0 and 1 is finite.
    """

    kind = kernels.BINARY

    @staticmethod
    def definition(x: Tensor, t: Tensor, reduction: str) -> Tensor:
        """The formula, with logarithms cut off."""
        loss = -(t * x.log().clamp(min=-100)) - (1 - t) * (1 - x).log().clamp(min=-100)
        return reduced("binary_cross_entropy", loss, reduction)

    def of_target(self, g: np.ndarray, gx: np.ndarray) -> np.ndarray:
        x, _ = self.inputs
        return g * self.share(x.size) * (np.maximum(np.log(1 - x), -100) - np.maximum(np.log(x), -100))


class LogitsCrossEntropy(Distance):
    """ℓ = (1 - t) x + log(1 + e^-x), the cross-entropy of σ(x); so ∂ℓ/∂x = 1 - t - σ(-x) = σ(x) - t and ∂ℓ/∂t = -x."""

    kind = kernels.LOGITS

    @staticmethod
    def definition(x: Tensor, t: Tensor, reduction: str) -> Tensor:
        """The formula, with log(1 + e^-x) as max(-x, 0) + log(1 + e^-|x|)"""
        loss = (1 - t) * x + log1p_exp(-x)
        return reduced("binary_cross_entropy_with_logits", loss, reduction)

    def of_target(self, g: np.ndarray, gx: np.ndarray) -> np.ndarray:
        x, _ = self.inputs
        return g * -self.share(x.size) * x


def log1p_exp(x: Tensor) -> Tensor:
    """log(1 + e^x)"""
    return (-x.abs()).exp().log1p() + x.maximum(0.0)


def measured(
    passes: type[Distance], name: str, input: Tensor, target: Tensor, reduction: str, **options: Any
) -> Tensor:
    """The loss, of arguments that broadcast."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{name}: reduction must be 'none', 'mean' or 'sum', not {reduction!r}")
    if input.shape != target.shape:
        shape = broadcast_shapes(name, input.shape, target.shape)
        input, target = input.expand(shape), target.expand(shape)
    return run(passes(reduction=reduction, **options), input, target)


def elementwise_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Pairs clear of the kink at equality, and of the bend at a distance of 1, and a pair of numbers."""
    target = rng.standard_normal((3, 4))
    x = target + rng.choice([-1.6, -0.4, 0.5, 1.7], (3, 4))
    for reduction in ("mean", "sum", "none"):
        yield Sample(x, target, reduction=reduction)
    yield Sample(np.array(0.3), np.array(1.9))


def compared(name: str, input: Tensor, target: Tensor) -> None:
    require_tensor(name, input=input, target=target)
    require_float(name, input=input, target=target)
    require_same_dtype(name, input=input, target=target)
    broadcast_shapes(name, input.shape, target.shape)


@operation(samples=elementwise_samples, passes=Squared)
def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """The squared error (input - target)², times weight if given.

    >>> import minidl, minidl.nn.functional as F
    >>> F.mse_loss(minidl.tensor([1.0, 3.0]), minidl.tensor([1.0, 1.0]))
    tensor(2.)
    """
    compared("mse_loss", input, target)
    if weight is None:
        return measured(Squared, "mse_loss", input, target, reduction)
    loss = measured(Squared, "mse_loss", input, target, "none")
    count = weight.expand(loss.shape).sum() if reduction == "mean" else None
    return reduced("mse_loss", loss * weight, reduction, count)


@operation(samples=elementwise_samples, passes=Absolute)
def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """The absolute error |input - target|; its gradient at 0 is 0.

    >>> import minidl, minidl.nn.functional as F
    >>> F.l1_loss(minidl.tensor([1.0, 3.0]), minidl.tensor([1.0, 1.0]))
    tensor(1.)
    """
    compared("l1_loss", input, target)
    return measured(Absolute, "l1_loss", input, target, reduction)


@operation(samples=elementwise_samples, passes=Bent)
def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d² / (2 beta) below a distance d of beta, else d - beta / 2 (R. Girshick, "Fast R-CNN", 2015).

    >>> import minidl, minidl.nn.functional as F
    >>> F.smooth_l1_loss(minidl.tensor([1.0, 3.0]), minidl.tensor([0.0, 0.0]), reduction="none")
    tensor([0.5, 2.5])
    """
    compared("smooth_l1_loss", input, target)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, but is {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)
    return measured(Bent, "smooth_l1_loss", input, target, reduction, bend=float(beta), scale=1 / beta)


@operation(samples=elementwise_samples, passes=Bent)
def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d² / 2 below a distance d of delta, else delta · (d - delta / 2) (P. Huber, 1964).

    >>> import minidl, minidl.nn.functional as F
    >>> F.huber_loss(minidl.tensor([1.0, 3.0]), minidl.tensor([0.0, 0.0]), reduction="none")
    tensor([0.5, 2.5])
    """
    compared("huber_loss", input, target)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be positive, but is {delta}")
    return measured(Bent, "huber_loss", input, target, reduction, bend=float(delta), scale=1.0)


def probability_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Probabilities well inside 0..1."""
    p, target = rng.uniform(0.1, 0.9, (3, 4)), rng.uniform(0.1, 0.9, (3, 4))
    yield Sample(p, target)
    yield Sample(p, target, weight=Tensor(rng.uniform(0.5, 2, (3, 4))), reduction="sum")


@operation(samples=probability_samples, passes=BinaryCrossEntropy)
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """-t log p - (1 - t) log(1 - p), with logarithms cut off at -100 so that a sure mistake costs 100, not infinity.

    >>> import minidl, minidl.nn.functional as F
    >>> F.binary_cross_entropy(minidl.tensor([0.0]), minidl.tensor([1.0]))
    tensor(100.)
    """
    compared("binary_cross_entropy", input, target)
    if input.shape != target.shape:
        raise ValueError(f"binary_cross_entropy: input has shape {input.shape} but target {target.shape}")
    p = input._array
    if p.size and (p.min() < 0 or p.max() > 1):
        raise ValueError("binary_cross_entropy: probabilities must be in 0..1; for scores use the one with logits")
    if weight is None:
        return measured(BinaryCrossEntropy, "binary_cross_entropy", input, target, reduction)
    loss = measured(BinaryCrossEntropy, "binary_cross_entropy", input, target, "none")
    return reduced("binary_cross_entropy", loss * weight, reduction)


@operation(samples=elementwise_samples, passes=LogitsCrossEntropy)
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross entropy of sigmoid(input), as (1 - t) x + (1 + (w - 1) t) log(1 + e^-x), which does not overflow.

    `pos_weight` is w, what a positive target counts.

    >>> import minidl, minidl.nn.functional as F
    >>> F.binary_cross_entropy_with_logits(minidl.tensor([0.0]), minidl.tensor([1.0]))
    tensor(0.6931472)
    """
    name = "binary_cross_entropy_with_logits"
    compared(name, input, target)
    if input.shape != target.shape:
        raise ValueError(f"{name}: input has shape {input.shape} but target {target.shape}")
    if weight is None and pos_weight is None:
        return measured(LogitsCrossEntropy, name, input, target, reduction)
    if pos_weight is None:
        loss = measured(LogitsCrossEntropy, name, input, target, "none")
    else:
        loss = (1 - target) * input + (1.0 + (pos_weight - 1.0) * target) * log1p_exp(-input)
    return reduced(name, loss if weight is None else loss * weight, reduction)
