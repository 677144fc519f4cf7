"""Windows as columns and back, and channels as pixels and back, as layers."""

from __future__ import annotations

from collections.abc import Sequence

from minidl.nn import functional as F
from minidl.nn.linear import at_least
from minidl.nn.module import Module
from minidl.ops.windows import pair
from minidl.tensor import Tensor

Size = int | Sequence[int]


class Unfold(Module):
    """The windows of images as columns. Arguments and errors as `F.unfold`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Unfold(8, stride=8)(minidl.zeros(2, 3, 32, 32)).shape  # patches, as a vision transformer reads them
    (2, 192, 16)

    Shapes:
        x (N, C, H, W) -> y (N, C·R·S, L). Also without N.
    """

    def __init__(self, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride
        for argument, least in (("kernel_size", 1), ("dilation", 1), ("padding", 0), ("stride", 1)):
            pair(type(self).__name__, argument, getattr(self, argument), least)

    def forward(self, input: Tensor) -> Tensor:
        """x (N, C, H, W) -> y (N, C·R·S, L)."""
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Unfold):
    """The transpose of `Unfold`: columns are added to the windows that they stand for. Arguments as `F.fold`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Fold((32, 32), 8, stride=8)(minidl.zeros(2, 192, 16)).shape
    (2, 3, 32, 32)

    Shapes:
        x (N, C·R·S, L) -> y (N, C, H, W). Also without N.
    """

    def __init__(
        self, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = output_size
        pair("Fold", "output_size", output_size, 1)

    def forward(self, input: Tensor) -> Tensor:
        """x (N, C·R·S, L) -> y (N, C, H, W)."""
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"


class PixelShuffle(Module):
    """Channels become pixels: (N, C·r², H, W) -> (N, C, H·r, W·r) (W. Shi et al., 2016). ValueError for r below 1.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.PixelShuffle(2)(minidl.zeros(2, 12, 8, 8)).shape
    (2, 3, 16, 16)
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        (self.upscale_factor,) = at_least("PixelShuffle", 1, upscale_factor=upscale_factor)

    def forward(self, input: Tensor) -> Tensor:
        """(..., C·r², H, W) -> (..., C, H·r, W·r)."""
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels become channels: (N, C, H·r, W·r) -> (N, C·r², H, W). ValueError for r below 1.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.PixelUnshuffle(2)(minidl.zeros(2, 3, 16, 16)).shape
    (2, 12, 8, 8)
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        (self.downscale_factor,) = at_least("PixelUnshuffle", 1, downscale_factor=downscale_factor)

    def forward(self, input: Tensor) -> Tensor:
        """(..., C, H·r, W·r) -> (..., C·r², H, W)."""
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"
