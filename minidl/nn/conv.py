"""Convolution as a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl.factories import empty
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.linear import at_least
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.ops.windows import pair, same_padding
from minidl.tensor import Tensor

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class Conv2d(Module):
    """A learnt window slides over images: y[n, k] = b[k] + Σ_c w[k, c] ⋆ x[n, c].

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Conv2d(3, 8, 5, padding=2)(minidl.zeros(2, 3, 32, 32)).shape
    (2, 8, 32, 32)

    Args:
        in_channels: C, channels of x.
        out_channels: K, channels of y.
        kernel_size: height R and width S of the window, an int or a pair.
        stride: how far the window moves.
        padding: rows and columns added on each side; "same" keeps the size (stride 1 only), "valid" is 0.
        dilation: distance of the pixels that a window sees.
        groups: the channels fall into that many parts, each with windows of its own; C is a depthwise convolution.
        bias: whether there is a b.
        padding_mode: what is added: "zeros", "reflect" (the image mirrored, without its edge), "replicate" (its edge),
            "circular" (its other side).
        dtype: of the parameters; float32 by default.

    Shapes:
        x (N, C, H, W) -> y (N, K, P, Q), P = ⌊(H + 2·padding - dilation·(R - 1) - 1) / stride⌋ + 1, Q likewise;
        weight (K, C / groups, R, S), bias (K,). Also without N.

    Initial values:
        weight and bias uniform in ±1/√fan_in, fan_in = C / groups · R · S, as PyTorch has them.

    Raises:
        ValueError: sizes below 1, negative padding, groups that do not divide C and K, padding="same" with a stride,
            an unknown padding_mode. TypeError: sizes that are not ints.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.groups = at_least(
            "Conv2d", 1, in_channels=in_channels, out_channels=out_channels, groups=groups
        )
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"Conv2d: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}"
            )
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size, 1)
        self.stride = pair("Conv2d", "stride", stride, 1)
        self.dilation = pair("Conv2d", "dilation", dilation, 1)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Conv2d: padding must be 'same', 'valid' or ints, not {padding!r}")
            if padding == "same" and self.stride != (1, 1):
                raise ValueError(f"Conv2d: padding='same' needs stride 1, not {stride}")
            self.padding: str | tuple[int, int] = padding
        else:
            self.padding = pair("Conv2d", "padding", padding, 0)
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"Conv2d: padding_mode must be one of {', '.join(PADDING_MODES)}, not {padding_mode!r}")
        self.padding_mode = padding_mode
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self.weight = Parameter(empty(shape, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(self.out_channels, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values anew."""
        init.default_(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """x (N, C, H, W) -> y (N, K, P, Q)."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._borders(), mode=self.padding_mode)
            padding = 0
        return F.conv2d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _borders(self) -> tuple[int, int, int, int]:
        """What is added, in the order of `F.pad`: left, right, top, bottom."""
        if self.padding == "valid":
            return 0, 0, 0, 0
        if self.padding == "same":
            (top, bottom), (left, right) = same_padding(self.kernel_size, self.dilation)
            return left, right, top, bottom
        rows, columns = self.padding
        return columns, columns, rows, rows

    def extra_repr(self) -> str:
        """The options; those that have their default are left out, as PyTorch does."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0, 0):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text
