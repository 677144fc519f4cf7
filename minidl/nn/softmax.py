"""Softmax and its kin as layers."""

from __future__ import annotations

from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.tensor import Tensor


class AlongDim(Module):
    """What the layers here share: a `dim`, whose values belong together and add up to 1."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(AlongDim):
    """e^x / Σ e^x along dim: probabilities.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Softmax(dim=1)(minidl.zeros(1, 4))
    tensor([[0.25, 0.25, 0.25, 0.25]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.softmax(input, self.dim)


class LogSoftmax(AlongDim):
    """x - log Σ e^x along dim: the logarithms of probabilities."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.log_softmax(input, self.dim)


class Softmin(AlongDim):
    """e^-x / Σ e^-x along dim."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.softmin(input, self.dim)
