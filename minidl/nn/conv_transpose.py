"""Transposed convolutions as layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl.nn import functional as F
from minidl.nn.conv import Filters
from minidl.ops.windows import numbers
from minidl.tensor import Tensor

Size = int | Sequence[int]


class ConvTranspose(Filters):
    """What ConvTranspose1d and ConvTranspose2d share: every value of x puts a learnt filter into a larger y.

    Args:
        in_channels: C, channels of x.
        out_channels: K, channels of y.
        kernel_size: lengths of the filters, an int or one for each direction.
        stride: how far apart neighbours put their filters.
        padding: what is cut off each side of y.
        output_padding: so much less is cut off at the end, where a stride leaves the size open.
        groups: the channels fall into that many parts, each with filters of its own.
        bias: whether there is a b.
        dilation: distance of a filter's values.
        padding_mode: "zeros".
        dtype: of the parameters; float32 by default.

    Initial values:
        weight and bias uniform in ±1/√fan_in, fan_in = K / groups · the filter's size, as PyTorch has them.

    Raises:
        ValueError: sizes below 1, negative padding, groups that do not divide C and K, another padding_mode; at the
            call, an output_size that no output_padding leads to. TypeError: sizes that are not ints.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups)
        name, n = type(self).__name__, self.directions
        self.padding = numbers(name, "padding", padding, 0, n)
        self.output_padding = numbers(name, "output_padding", output_padding, 0, n)
        if padding_mode != "zeros":
            raise ValueError(f"{name}: padding_mode must be 'zeros', not {padding_mode!r}")
        self.padding_mode = padding_mode
        self._make_parameters((self.in_channels, self.out_channels // self.groups), bias, dtype)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """x (N, C, ...) -> y (N, K, ...), of a size that is asked for if a stride leaves it open."""
        more = self.output_padding if output_size is None else self._more(input, output_size)
        return self.operation(
            input, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation
        )

    def _more(self, x: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output_padding that leads to a size."""
        name, n = type(self).__name__, self.directions
        wanted = numbers(name, "output_size", list(output_size)[-n:], 0, n)
        if len(output_size) not in (n, x.ndim):
            raise ValueError(f"{name}: output_size {tuple(output_size)} must have {n} or {x.ndim} lengths: {x.shape}")
        sides = zip(x.shape[-n:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        least = [(length - 1) * s - 2 * p + d * (r - 1) + 1 for length, r, s, p, d in sides]
        more = tuple(length - n for length, n in zip(wanted, least, strict=True))
        if any(not 0 <= m < s for m, s in zip(more, self.stride, strict=True)):
            most = [n + s - 1 for n, s in zip(least, self.stride, strict=True)]
            raise ValueError(f"{name}: output_size must be in {least} to {most}, not {list(wanted)} (x: {x.shape})")
        return more


class ConvTranspose1d(ConvTranspose):
    """Transposed convolution of sequences. Arguments, initial values and errors as `ConvTranspose`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.ConvTranspose1d(64, 40, 4, stride=2, padding=1)(minidl.zeros(3, 64, 50)).shape
    (3, 40, 100)

    Shapes:
        x (N, C, T) -> y (N, K, P), P = (T - 1)·stride - 2·padding + dilation·(S - 1) + output_padding + 1;
        weight (C, K / groups, S), bias (K,). Also without N.
    """

    directions = 1
    operation = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(ConvTranspose):
    """Transposed convolution of images. Arguments, initial values and errors as `ConvTranspose`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.ConvTranspose2d(8, 3, 3, stride=2, padding=1)(minidl.zeros(2, 8, 16, 16), output_size=(32, 32)).shape
    (2, 3, 32, 32)

    Shapes:
        x (N, C, H, W) -> y (N, K, P, Q), P = (H - 1)·stride - 2·padding + dilation·(R - 1) + output_padding + 1, Q
        likewise; weight (C, K / groups, R, S), bias (K,). Also without N.
    """

    directions = 2
    operation = staticmethod(F.conv_transpose2d)
