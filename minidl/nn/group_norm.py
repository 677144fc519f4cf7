"""Normalisation that needs no batch, as layers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from minidl.factories import empty
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.linear import at_least
from minidl.nn.module import Module
from minidl.nn.norm import Affine, BatchNorm
from minidl.nn.parameter import Parameter
from minidl.ops.table import require_tensor
from minidl.tensor import Tensor


class GroupNorm(Affine):
    """y = γ · (x - mean) / √(var + eps) + β, over groups of each image's channels (Y. Wu, K. He, 2018).

    The same in training and in evaluation: images do not see each other.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.GroupNorm(2, 4, eps=0.0)(minidl.tensor([[0.0, 2.0, 5.0, 3.0]])).detach()
    tensor([[-1.,  1.,  1., -1.]])

    Args:
        num_groups: groups that the channels are cut into.
        num_channels: C.
        eps: added to the (biased) variance.
        affine: whether γ (`weight`) and β (`bias`) are learnt, for each channel; they start as 1 and 0.
        bias: with False, and `affine`, only γ is learnt.
        dtype: of the parameters; float32 by default.

    Shapes:
        x (N, C, ...) -> y, the same; weight, bias (C,).

    Raises:
        ValueError: groups that do not divide C, a negative eps; at the call, an x with other channels.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.num_groups,) = at_least("GroupNorm", 1, num_groups=num_groups)
        (self.num_channels,) = at_least("GroupNorm", 0, num_channels=num_channels)
        if self.num_channels % self.num_groups or not eps >= 0:
            raise ValueError(
                f"GroupNorm: num_groups={num_groups} must divide num_channels={num_channels}, eps={eps} not be negative"
            )
        self.eps, self.affine = eps, affine
        self.register_affine(self.num_channels, affine, bias, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """x (N, C, ...) -> y, the same shape."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class InstanceNorm(BatchNorm):
    """What InstanceNorm1d and InstanceNorm2d share: each channel of each image by itself (D. Ulyanov et al., 2016).

    Arguments as `BatchNorm`, but by default nothing is learnt and no statistics are kept; with
    `track_running_stats=True` the running ones are used in evaluation.

    Raises:
        ValueError: num_features below 0 or a negative eps; at the call, x of another rank, or one value per channel.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias=bias, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        """x (N, C, ...), or (C, ...) for one -> y, the same shape."""
        name = type(self).__name__
        require_tensor(name, input=input)
        if input.ndim not in self.ranks:
            raise ValueError(
                f"{name}: expected x with {self.ranks[0]} or {self.ranks[1]} dimensions, not {input.shape}"
            )
        x = input if input.ndim == self.ranks[1] else input.unsqueeze(0)
        if x.shape[1] != self.num_features and not self.affine and not self.track_running_stats:
            warnings.warn(f"{name}: x has {x.shape[1]} channels, not {self.num_features}: {input.shape}", stacklevel=3)
        statistics = self.running_mean, self.running_var
        own = self.training or not self.track_running_stats
        y = F.instance_norm(x, *statistics, self.weight, self.bias, own, self.momentum or 0.0, self.eps)
        return y if input.ndim == self.ranks[1] else y.squeeze(0)


class InstanceNorm1d(InstanceNorm):
    """Instance norm of sequences. Arguments and errors as `InstanceNorm`.

    Shapes:
        x (N, C, L) or (C, L) -> y, the same; weight, bias, running_mean, running_var (C,).

    >>> import minidl
    >>> from minidl import nn
    >>> nn.InstanceNorm1d(1, eps=0.0)(minidl.tensor([[[1.0, 3.0]]]))
    tensor([[[-1.,  1.]]])
    """

    ranks = (2, 3)


class InstanceNorm2d(InstanceNorm):
    """Instance norm of images. Arguments and errors as `InstanceNorm`.

    Shapes:
        x (N, C, H, W) or (C, H, W) -> y, the same; weight, bias, running_mean, running_var (C,).

    >>> import minidl
    >>> from minidl import nn
    >>> nn.InstanceNorm2d(3)(minidl.randn(2, 3, 4, 4)).shape
    (2, 3, 4, 4)
    """

    ranks = (3, 4)


class RMSNorm(Module):
    """y = γ · x / √(mean(x²) + eps), over the last dimensions (B. Zhang, R. Sennrich, 2019).

    >>> import minidl
    >>> from minidl import nn
    >>> nn.RMSNorm(4)(minidl.tensor([3.0, 4.0, 0.0, 0.0])).detach()
    tensor([1.2, 1.6, 0. , 0. ])

    Args:
        normalized_shape: the lengths of the dimensions to normalise over; an int for the last one alone.
        eps: added to the mean; by default the distance from 1 to the next number of x's dtype.
        elementwise_affine: whether γ (`weight`) is learnt; it starts as 1.
        dtype: of the parameter; float32 by default.

    Shapes:
        x (..., *normalized_shape) -> y, the same; weight normalized_shape.

    Raises:
        ValueError: no dimensions, a negative eps; at the call, an x that does not end in normalized_shape.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        lengths = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
        self.normalized_shape = tuple(at_least("RMSNorm", 0, normalized_shape=n)[0] for n in lengths)
        if not self.normalized_shape or not (eps is None or eps >= 0):
            raise ValueError(f"RMSNorm: expects dimensions and eps >= 0, got {normalized_shape!r} and eps={eps}")
        self.eps, self.elementwise_affine = eps, elementwise_affine
        learnt = Parameter(empty(self.normalized_shape, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", learnt)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """γ = 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        """x (..., *normalized_shape) -> y, the same shape."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
