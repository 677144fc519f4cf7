"""Batch norm as layers, its parameters and its running statistics; layer norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.dtypes import int64
from minidl.factories import empty, zeros
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.linear import at_least
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.ops.table import require_tensor
from minidl.tensor import Tensor


class Affine(Module):
    """What norms learn: γ (`weight`), which starts as 1, and β (`bias`), as 0; None where one is not learnt."""

    def register_affine(self, shape: int | tuple[int, ...], affine: bool, bias: bool, dtype: Any) -> None:
        for name, learnt in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(name, Parameter(empty(shape, dtype=dtype)) if learnt else None)

    def reset_parameters(self) -> None:
        """γ = 1, β = 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class BatchNorm(Affine):
    """What BatchNorm1d and BatchNorm2d share.

    y = γ · (x - mean) / √(var + eps) + β, for each channel (S. Ioffe, C. Szegedy, "Batch normalization", 2015).

    In training, mean and (biased) variance are the batch's, and running averages move towards them, with the unbiased
    variance: running = (1 - momentum) · running + momentum · batch's. In evaluation the running ones take their place.

    Args:
        num_features: channels C.
        eps: added to the variance.
        momentum: weight of the newest batch in the running averages; None gives all batches the same weight.
        affine: whether γ (`weight`) and β (`bias`) are learnt; they start as 1 and 0.
        track_running_stats: without it, the batch's statistics are used in evaluation too.
        bias: with False, and `affine`, only γ is learnt.
        dtype: of parameters and statistics; float32 by default.

    Raises:
        ValueError: num_features below 0 or a negative eps; at the call, x of another rank, or in training a single
            value per channel.
    """

    ranks: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        (self.num_features,) = at_least(name, 0, num_features=num_features)
        for argument, value in (("eps", eps), ("momentum", momentum)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float | np.number)):
                raise TypeError(f"{name}: {argument} must be a number, not {value!r}")
        if not eps >= 0:
            raise ValueError(f"{name}: eps must not be negative, but is {eps}")
        self.eps, self.momentum = eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.register_affine(self.num_features, affine, bias, dtype)
        for buffer in ("running_mean", "running_var"):
            self.register_buffer(buffer, empty(self.num_features, dtype=dtype) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype=int64) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget all batches: mean 0, variance 1."""
        if self.track_running_stats:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """γ = 1, β = 0, and no batch seen."""
        self.reset_running_stats()
        super().reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """x (N, C, ...) -> y, the same shape."""
        require_tensor(type(self).__name__, input=input)
        if input.ndim not in self.ranks:
            ranks = " or ".join(map(str, self.ranks))
            raise ValueError(f"{type(self).__name__}: expected x with {ranks} dimensions, got shape {input.shape}")
        tracked = self.running_mean is not None
        momentum = self.momentum
        if momentum is None:  # the mean of n batches: the newest weighs 1/n
            momentum = 1 / (self.num_batches_tracked.item() + 1) if tracked else 0.0
        use_batch = self.training or not tracked
        output = F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, use_batch, momentum, self.eps
        )
        if self.training and tracked:
            self.num_batches_tracked.add_(1)
        return output

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(BatchNorm):
    """Batch norm of vectors or sequences. Arguments and errors as `BatchNorm`.

    Shapes:
        x (N, C) or (N, C, L) -> y, the same; weight, bias, running_mean, running_var (C,), num_batches_tracked ().

    >>> import minidl
    >>> from minidl import nn
    >>> nn.BatchNorm1d(1)(minidl.tensor([[1.0], [3.0]])).detach().round()
    tensor([[-1.],
            [ 1.]])
    """

    ranks = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch norm of images: mean and variance go over N, H and W. Arguments and errors as `BatchNorm`.

    Shapes:
        x (N, C, H, W) -> y, the same; weight, bias, running_mean, running_var (C,), num_batches_tracked ().

    >>> import minidl
    >>> from minidl import nn
    >>> nn.BatchNorm2d(3)(minidl.randn(2, 3, 4, 4)).shape
    (2, 3, 4, 4)
    """

    ranks = (4,)


class LayerNorm(Affine):
    """y = γ · (x - mean) / √(var + eps) + β, over the last dimensions (J. Ba et al., "Layer normalization", 2016).

    The same in training and in evaluation: rows do not see each other.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.LayerNorm(2, eps=0.0)(minidl.tensor([0.0, 2.0])).detach()
    tensor([-1.,  1.])

    Args:
        normalized_shape: the lengths of the dimensions to normalise over; an int for the last one alone.
        eps: added to the (biased) variance.
        elementwise_affine: whether γ (`weight`) and β (`bias`) are learnt; they start as 1 and 0.
        bias: with False only γ is learnt.
        dtype: of the parameters; float32 by default.

    Shapes:
        x (..., *normalized_shape) -> y, the same; weight, bias normalized_shape.

    Raises:
        ValueError: no dimensions, a negative eps; at the call, an x that does not end in normalized_shape.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        lengths = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
        self.normalized_shape = tuple(at_least("LayerNorm", 0, normalized_shape=n)[0] for n in lengths)
        if not self.normalized_shape or not eps >= 0:
            raise ValueError(f"LayerNorm: expects dimensions and eps >= 0, got {normalized_shape!r} and eps={eps}")
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.register_affine(self.normalized_shape, elementwise_affine, bias, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """x (..., *normalized_shape) -> y, the same shape."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )
