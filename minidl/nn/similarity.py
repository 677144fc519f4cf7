"""Vectors against vectors as layers, and the losses by which embeddings are learnt."""

from __future__ import annotations

from minidl.nn import functional as F
from minidl.nn.loss import Loss
from minidl.nn.module import Module
from minidl.tensor import Tensor


class CosineSimilarity(Module):
    """x1 · x2 / (max(‖x1‖, eps) · max(‖x2‖, eps)), along dim.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.CosineSimilarity()(minidl.tensor([[1.0, 0.0]]), minidl.tensor([[3.0, 4.0]]))
    tensor([0.6])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Shapes that broadcast -> that shape without dim."""
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """‖x1 - x2 + eps‖_p, along the last dim.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.PairwiseDistance(eps=0.0)(minidl.tensor([[3.0, 4.0]]), minidl.tensor([[0.0, 0.0]]))
    tensor([5.])
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """(..., D) and (..., D), which broadcast -> (...)."""
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class TripletMarginLoss(Loss):
    """max(0, d(a, p) - d(a, n) + margin), averaged: like is to be nearer than unlike. See `F.triplet_margin_loss`."""

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, *, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        if not margin > 0:
            raise ValueError(f"TripletMarginLoss: margin must be positive, but is {margin}")
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """(..., D), three times -> the loss."""
        options = self.margin, self.p, self.eps, self.swap
        return F.triplet_margin_loss(anchor, positive, negative, *options, reduction=self.reduction)


class CosineEmbeddingLoss(Loss):
    """1 - cos where y is 1, max(0, cos - margin) where y is -1, averaged. See `F.cosine_embedding_loss`."""

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """(N, D), (N, D) and (N,) -> the loss."""
        return F.cosine_embedding_loss(input1, input2, target, self.margin, reduction=self.reduction)


class MarginRankingLoss(Loss):
    """max(0, -y · (x1 - x2) + margin), averaged: the first is to be larger (y = 1) or smaller (y = -1)."""

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Shapes that broadcast -> the loss."""
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)
