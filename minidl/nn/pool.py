"""Pooling as layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from minidl.axes import as_int
from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.ops.windows import numbers
from minidl.tensor import Tensor

Size = int | Sequence[int]


def check_windows(layer: str, directions: int, kernel_size: Size, stride: Size, padding: Size) -> None:
    """TypeError or ValueError unless the windows make sense; at most half of one may be padding."""
    size = numbers(layer, "kernel_size", kernel_size, 1, directions)
    numbers(layer, "stride", stride, 1, directions)
    around = numbers(layer, "padding", padding, 0, directions)
    if any(2 * p > n for p, n in zip(around, size, strict=True)):
        raise ValueError(f"{layer}: padding={padding} is more than half of kernel_size={kernel_size}")


class MaxPool(Module):
    """What MaxPool1d and MaxPool2d share: the largest value of each window.

    Args:
        kernel_size: lengths of a window.
        stride: how far windows are apart; by default their size, so that they tile the input.
        padding: how much -∞ stands on each side.
        dilation: distance of the values that a window sees.
        return_indices: also give where each value was, as positions in the flattened image or in the sequence.
        ceil_mode: windows that stick out at the end count too.

    Raises:
        ValueError: sizes below 1, padding of more than half a window.
    """

    directions: ClassVar[int]
    operation: ClassVar[Callable[..., Any]]

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
        check_windows(type(self).__name__, self.directions, self.kernel_size, self.stride, self.padding)
        numbers(type(self).__name__, "dilation", dilation, 1, self.directions)

    def forward(self, input: Tensor) -> Any:
        """x (N, C, ...) -> y (N, C, ...), with return_indices (y, indices)."""
        windows = self.kernel_size, self.stride, self.padding, self.dilation
        return self.operation(input, *windows, ceil_mode=self.ceil_mode, return_indices=self.return_indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(MaxPool):
    """The largest value of each window of sequences. Arguments and errors as `MaxPool`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.MaxPool1d(2)(minidl.tensor([[[1.0, 2.0, 4.0, 3.0]]]))
    tensor([[[2., 4.]]])

    Shapes:
        x (N, C, T) -> y (N, C, P), or (y, indices). Also without N.
    """

    directions = 1
    operation = staticmethod(F.max_pool1d)


class MaxPool2d(MaxPool):
    """The largest value of each window of images. Arguments and errors as `MaxPool`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.MaxPool2d(2)(minidl.tensor([[[[1.0, 2.0], [4.0, 3.0]]]]))
    tensor([[[[4.]]]])

    Shapes:
        x (N, C, H, W) -> y (N, C, P, Q), or (y, indices). Also without N.
    """

    directions = 2
    operation = staticmethod(F.max_pool2d)


class AvgPool1d(Module):
    """The mean of each window of sequences. Arguments and errors as `AvgPool2d`, without a divisor.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.AvgPool1d(2)(minidl.tensor([[[1.0, 2.0, 4.0, 3.0]]]))
    tensor([[[1.5, 3.5]]])

    Shapes:
        x (N, C, T) -> y (N, C, P). Also without N.
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        stride = kernel_size if stride is None else stride
        check_windows("AvgPool1d", 1, kernel_size, stride, padding)
        self.kernel_size = numbers("AvgPool1d", "kernel_size", kernel_size, 1, 1)
        self.stride = numbers("AvgPool1d", "stride", stride, 1, 1)
        self.padding = numbers("AvgPool1d", "padding", padding, 0, 1)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """x (N, C, T) -> y (N, C, P)."""
        windows = self.kernel_size, self.stride, self.padding
        return F.avg_pool1d(input, *windows, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


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
        check_windows("AvgPool2d", 2, self.kernel_size, self.stride, self.padding)
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
