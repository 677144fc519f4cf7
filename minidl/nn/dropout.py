"""Dropout as layers: active in training, the identity in evaluation."""

from __future__ import annotations

import numpy as np

from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.tensor import Tensor


def probability(layer: str, p: float, argument: str = "p") -> float:
    """p, if it is a number in 0..1."""
    if isinstance(p, bool) or not isinstance(p, int | float | np.number):
        raise TypeError(f"{layer}: {argument} must be a number, not {p!r}")
    if not 0 <= p <= 1:
        raise ValueError(f"{layer}: {argument} must be in 0..1, but is {p}")
    return p


class Dropout(Module):
    """In training, each value becomes 0 with probability p, and the others grow by 1 / (1 - p).

    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Dropout(0.5).eval()(minidl.ones(3))
    tensor([1., 1., 1.])

    Raises:
        ValueError: p outside of 0..1.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = probability("Dropout", p)

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.dropout(input, self.p) if self.training and self.p else input

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout2d(Module):
    """In training, each channel of each image becomes 0 as a whole with probability p; the others grow by 1 / (1 - p).

    J. Tompson et al., "Efficient object localization using convolutional networks", 2015.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Dropout2d(0.5)(minidl.ones(2, 3, 4, 4)).shape
    (2, 3, 4, 4)

    Raises:
        ValueError: p outside of 0..1.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = probability("Dropout2d", p)

    def forward(self, input: Tensor) -> Tensor:
        """x (N, C, H, W) -> the same."""
        return F.dropout2d(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
