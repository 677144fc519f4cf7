"""Losses as layers: how far an output is from its target.

All take `reduction`: "mean" (the default) and "sum" give one number, "none" one for each element or sample. Options
other than class weights are keywords, since PyTorch has deprecated ones between them.
"""

from __future__ import annotations

from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.tensor import Tensor

REDUCTIONS = ("mean", "sum", "none")


class Loss(Module):
    """What the losses share: the reduction. ValueError for an unknown one."""

    reductions = REDUCTIONS

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in self.reductions:
            known = ", ".join(self.reductions)
            raise ValueError(f"{type(self).__name__}: reduction must be one of {known}, not {reduction!r}")
        self.reduction = reduction


class WeightedLoss(Loss):
    """A loss with weights, which are a buffer: they are cast and saved with the module."""

    def __init__(self, weight: Tensor | None, reduction: str) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)


class CrossEntropyLoss(WeightedLoss):
    """-log softmax(x)[y], averaged over the batch, from logits x and class numbers (or probabilities) y.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.CrossEntropyLoss()(minidl.zeros(2, 10), minidl.tensor([3, 4]))
    tensor(2.3025851)

    Args:
        weight: (C,), how much each class counts.
        ignore_index: samples of this class do not count.
        reduction: "mean", "sum" or "none".
        label_smoothing: part of the target's probability that is spread over all classes, 0..1.

    Shapes:
        x (N, C) or (N, C, ...) or (C,); y (N,) or (N, ...) or () of class numbers, or as x of probabilities.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"CrossEntropyLoss: label_smoothing must be in 0..1, but is {label_smoothing}")
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """x (N, C), y (N,) -> the loss."""
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(WeightedLoss):
    """-x[y], averaged over the batch, from log-probabilities x and class numbers y. Arguments as CrossEntropyLoss."""

    def __init__(self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """x (N, C), y (N,) -> the loss."""
        return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class MSELoss(Loss):
    """(x - y)², averaged over all elements.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.MSELoss()(minidl.tensor([1.0, 2.0]), minidl.tensor([1.0, 4.0]))
    tensor(2.)
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Any shape, the same for both -> the loss."""
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(Loss):
    """|x - y|, averaged over all elements."""

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Any shape, the same for both -> the loss."""
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(Loss):
    """½ (x - y)² / beta where |x - y| < beta, else |x - y| - ½ beta. ValueError for a negative beta."""

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        if not beta >= 0:
            raise ValueError(f"SmoothL1Loss: beta must not be negative, but is {beta}")
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Any shape, the same for both -> the loss."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(Loss):
    """½ (x - y)² where |x - y| ≤ delta, else delta · (|x - y| - ½ delta). ValueError unless delta > 0.

    P. Huber, "Robust estimation of a location parameter", 1964.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not delta > 0:
            raise ValueError(f"HuberLoss: delta must be positive, but is {delta}")
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Any shape, the same for both -> the loss."""
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class BCELoss(WeightedLoss):
    """-(y log x + (1 - y) log(1 - x)), averaged, from probabilities x and y; `weight` rescales each element."""

    def __init__(self, weight: Tensor | None = None, *, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Any shape, the same for both -> the loss."""
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(WeightedLoss):
    """As BCELoss of sigmoid(x), from logits x, which does not overflow.

    Args:
        weight: rescales each element.
        reduction: "mean", "sum" or "none".
        pos_weight: how much positive targets count, for each class.
    """

    def __init__(
        self, weight: Tensor | None = None, *, reduction: str = "mean", pos_weight: Tensor | None = None
    ) -> None:
        super().__init__(weight, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Any shape, the same for both -> the loss."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class KLDivLoss(Loss):
    """Σ y (log y - x), the divergence of log-probabilities x from probabilities y (S. Kullback, R. Leibler, 1951).

    >>> import minidl
    >>> from minidl import nn
    >>> nn.KLDivLoss(reduction="batchmean")(minidl.tensor([[0.5, 0.5]]).log(), minidl.tensor([[1.0, 0.0]]))
    tensor(0.6931472)

    Args:
        reduction: "mean" over all values, "batchmean" over the batch (the divergence itself), "sum" or "none".
        log_target: whether y too are logarithms.
    """

    reductions = (*REDUCTIONS, "batchmean")

    def __init__(self, *, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Any shape, the same for both -> the loss."""
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)
