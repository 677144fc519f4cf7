"""Adaptive pooling as layers: windows chosen so that there are as many as asked for, for inputs of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from minidl.axes import as_int
from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.ops.windows import numbers
from minidl.tensor import Tensor

Output = int | Sequence[int | None] | None


class AdaptivePool(Module):
    """What the four share: `output_size` windows share the input evenly.

    Args:
        output_size: how many windows, an int or one for each direction; None in its place keeps the input's length.

    Raises:
        ValueError: a negative size.
    """

    directions: ClassVar[int]
    operation: ClassVar[Callable[..., Any]]

    def __init__(self, output_size: Output) -> None:
        super().__init__()
        sizes = output_size if isinstance(output_size, Sequence) else (output_size,)
        wanted = tuple(0 if n is None else as_int(type(self).__name__, "output_size", n) for n in sizes)
        numbers(type(self).__name__, "output_size", wanted, 0, self.directions)
        self.output_size = output_size

    def forward(self, input: Tensor) -> Any:
        """x (N, C, ...) -> y (N, C, *output_size)."""
        return self.operation(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(AdaptivePool):
    """The mean of each of P windows of sequences. Arguments and errors as `AdaptivePool`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.AdaptiveAvgPool1d(1)(minidl.ones(2, 3, 5)).shape
    (2, 3, 1)

    Shapes:
        x (N, C, T) -> y (N, C, P). Also without N.
    """

    directions = 1
    operation = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(AdaptivePool):
    """The mean of each of P×Q windows of images. Arguments and errors as `AdaptivePool`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.AdaptiveAvgPool2d(1)(minidl.ones(2, 3, 5, 7)).shape
    (2, 3, 1, 1)

    Shapes:
        x (N, C, H, W) -> y (N, C, P, Q). Also without N.
    """

    directions = 2
    operation = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveMaxPool(AdaptivePool):
    """The largest value of each window, and with `return_indices` also where it was, as a position in the input."""

    def __init__(self, output_size: Output, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        """x (N, C, ...) -> y (N, C, *output_size), with return_indices (y, indices)."""
        return self.operation(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(AdaptiveMaxPool):
    """The largest value of each of P windows of sequences. Arguments and errors as `AdaptivePool`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.AdaptiveMaxPool1d(2)(minidl.tensor([[1.0, 3.0, 2.0]]))
    tensor([[3., 3.]])

    Shapes:
        x (N, C, T) -> y (N, C, P), or (y, indices). Also without N.
    """

    directions = 1
    operation = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(AdaptiveMaxPool):
    """The largest value of each of P×Q windows of images. Arguments and errors as `AdaptivePool`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.AdaptiveMaxPool2d((1, None))(minidl.ones(2, 3, 5, 7)).shape
    (2, 3, 1, 7)

    Shapes:
        x (N, C, H, W) -> y (N, C, P, Q), or (y, indices). Also without N.
    """

    directions = 2
    operation = staticmethod(F.adaptive_max_pool2d)
