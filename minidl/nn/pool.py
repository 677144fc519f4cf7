"""Pooling as layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl.axes import as_int
from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.ops.windows import pair
from minidl.tensor import Tensor

Size = int | Sequence[int]


def check_windows(layer: str, kernel_size: Size, stride: Size, padding: Size) -> None:
    """TypeError or ValueError unless the windows make sense; at most half of one may be padding."""
    size = pair(layer, "kernel_size", kernel_size, 1)
    pair(layer, "stride", stride, 1)
    if any(2 * p > n for p, n in zip(pair(layer, "padding", padding, 0), size, strict=True)):
        raise ValueError(f"{layer}: padding={padding} is more than half of kernel_size={kernel_size}")


class MaxPool2d(Module):
    """The largest value of each window.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.MaxPool2d(2)(minidl.tensor([[[[1.0, 2.0], [4.0, 3.0]]]]))
    tensor([[[[4.]]]])

    Args:
        kernel_size: height and width of a window.
        stride: how far windows are apart; by default their size, so that they tile the image.
        padding: rows and columns of -∞ on each side.
        dilation: distance of the pixels that a window sees.
        return_indices: also give where each value was, as positions in the flattened image.
        ceil_mode: windows that stick out at the end count too.

    Shapes:
        x (N, C, H, W) -> y (N, C, P, Q), or (y, indices). Also without N.

    Raises:
        ValueError: sizes below 1, padding of more than half a window.
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode
        check_windows("MaxPool2d", self.kernel_size, self.stride, self.padding)
        pair("MaxPool2d", "dilation", dilation, 1)

    def forward(self, input: Tensor) -> Any:
        """x (N, C, H, W) -> y (N, C, P, Q), with return_indices (y, indices)."""
        return F.max_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of each window.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.AvgPool2d(2)(minidl.tensor([[[[1.0, 2.0], [4.0, 3.0]]]]))
    tensor([[[[2.5]]]])

    Args:
        kernel_size: height and width of a window.
        stride: how far windows are apart; by default their size, so that they tile the image.
        padding: rows and columns of 0 on each side.
        ceil_mode: windows that stick out at the end count too.
        count_include_pad: whether the mean counts padding.
        divisor_override: divide the sum by this instead.

    Shapes:
        x (N, C, H, W) -> y (N, C, P, Q). Also without N.

    Raises:
        ValueError: sizes below 1, padding of more than half a window, a divisor of 0.
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override
        check_windows("AvgPool2d", self.kernel_size, self.stride, self.padding)
        if divisor_override is not None and as_int("AvgPool2d", "divisor_override", divisor_override) == 0:
            raise ValueError("AvgPool2d: divisor_override must not be 0")

    def forward(self, input: Tensor) -> Tensor:
        """x (N, C, H, W) -> y (N, C, P, Q)."""
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """The mean of windows chosen so that there are `output_size` of them, for images of any size.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.AdaptiveAvgPool2d(1)(minidl.ones(2, 3, 5, 7)).shape
    (2, 3, 1, 1)

    Args:
        output_size: P and Q, an int or a pair; None in a pair keeps that side's length.

    Shapes:
        x (N, C, H, W) -> y (N, C, P, Q). Also without N.

    Raises:
        ValueError: a negative size.
    """

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        super().__init__()
        sizes = tuple(output_size) if isinstance(output_size, Sequence) else (output_size, output_size)
        pair("AdaptiveAvgPool2d", "output_size", tuple(0 if n is None else n for n in sizes), 0)
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """x (N, C, H, W) -> y (N, C, P, Q)."""
        return F.adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
