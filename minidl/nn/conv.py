"""Convolutions as layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from minidl.factories import empty
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.linear import at_least
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.ops.conv import conv_padding
from minidl.ops.windows import numbers
from minidl.tensor import Tensor

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class Filters(Module):
    """What convolutions and transposed ones share: a window's geometry, its weight and bias, and their `repr`."""

    directions: ClassVar[int]
    operation: ClassVar[Callable[..., Tensor]]

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, dilation: Any, groups: int
    ) -> None:
        super().__init__()
        name, n = type(self).__name__, self.directions
        self.in_channels, self.out_channels, self.groups = at_least(
            name, 1, in_channels=in_channels, out_channels=out_channels, groups=groups
        )
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"{name}: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}"
            )
        self.kernel_size = numbers(name, "kernel_size", kernel_size, 1, n)
        self.stride = numbers(name, "stride", stride, 1, n)
        self.dilation = numbers(name, "dilation", dilation, 1, n)

    def _make_parameters(self, channels: tuple[int, int], bias: bool, dtype: Any) -> None:
        """The weight (*channels, *kernel_size), and the bias if there is to be one."""
        self.weight = Parameter(empty((*channels, *self.kernel_size), dtype=dtype))
        self.register_parameter("bias", Parameter(empty(self.out_channels, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values anew."""
        init.default_(self.weight, self.bias)

    def extra_repr(self) -> str:
        """The options; those that have their default are left out, as PyTorch does."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        none, ones = (0,) * self.directions, (1,) * self.directions
        for option, usual in (("padding", none), ("dilation", ones), ("output_padding", none), ("groups", 1)):
            value = getattr(self, option, usual)
            text += "" if value == usual else f", {option}={value}"
        if self.bias is None:
            text += ", bias=False"
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode}"


class Convolution(Filters):
    """What Conv1d and Conv2d share: a learnt window slides over x, y[n, k] = b[k] + Σ_c w[k, c] ⋆ x[n, c].

    Args:
        in_channels: C, channels of x.
        out_channels: K, channels of y.
        kernel_size: lengths of the window, an int or one for each direction.
        stride: how far the window moves.
        padding: what is added on each side; "same" keeps the size (stride 1 only), "valid" is 0.
        dilation: distance of the values that a window sees.
        groups: the channels fall into that many parts, each with windows of its own; C is a depthwise convolution.
        bias: whether there is a b.
        padding_mode: what is added: "zeros", "reflect" (x mirrored, without its edge), "replicate" (its edge),
            "circular" (its other side).
        dtype: of the parameters; float32 by default.

    Initial values:
        weight and bias uniform in ±1/√fan_in, fan_in = C / groups · the window's size, as PyTorch has them.

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
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups)
        name = type(self).__name__
        self._ends = conv_padding(name, padding, self.kernel_size, self.stride, self.dilation)
        self.padding = padding if isinstance(padding, str) else tuple(before for before, _ in self._ends)
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"{name}: padding_mode must be one of {', '.join(PADDING_MODES)}, not {padding_mode!r}")
        self.padding_mode = padding_mode
        self._make_parameters((self.out_channels, self.in_channels // self.groups), bias, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """x (N, C, ...) -> y (N, K, ...)."""
        padding = self.padding
        if self.padding_mode != "zeros":
            around = [n for ends in reversed(self._ends) for n in ends]  # `F.pad` takes the last dimension first
            input, padding = F.pad(input, around, mode=self.padding_mode), 0
        return self.operation(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(Convolution):
    """A learnt window slides over sequences. Arguments, initial values and errors as `Convolution`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Conv1d(40, 64, 5, stride=2, padding=2)(minidl.zeros(3, 40, 100)).shape
    (3, 64, 50)

    Shapes:
        x (N, C, T) -> y (N, K, P), P = ⌊(T + 2·padding - dilation·(S - 1) - 1) / stride⌋ + 1;
        weight (K, C / groups, S), bias (K,). Also without N.
    """

    directions = 1
    operation = staticmethod(F.conv1d)


class Conv2d(Convolution):
    """A learnt window slides over images. Arguments, initial values and errors as `Convolution`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Conv2d(3, 8, 5, padding=2)(minidl.zeros(2, 3, 32, 32)).shape
    (2, 8, 32, 32)

    Shapes:
        x (N, C, H, W) -> y (N, K, P, Q), P = ⌊(H + 2·padding - dilation·(R - 1) - 1) / stride⌋ + 1, Q likewise;
        weight (K, C / groups, R, S), bias (K,). Also without N.
    """

    directions = 2
    operation = staticmethod(F.conv2d)
