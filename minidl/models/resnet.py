"""ResNet for small images: layers that learn what to add to their input.

K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", 2015 (CVPR 2016). Section 4.2, the
networks for CIFAR-10 of 6n + 2 layers:

    INPUT      3 @ 32×32
    stem      16 @ 32×32    convolution 3×3
    stage 1   16 @ 32×32    n blocks of two convolutions 3×3
    stage 2   32 @ 16×16    n blocks, the first one with stride 2
    stage 3   64 @ 8×8      n blocks, the first one with stride 2
    pool      64            mean of each map
    OUTPUT    10            full connection

Batch norm follows every convolution, ReLU every batch norm but the second of a block, which first adds the block's
input, along the shortcut of figure 2:

    y = relu(x + bn(conv(relu(bn(conv(x))))))

Shortcuts have no parameters (the paper's option A): where a stage halves the image and doubles the channels, they take
every second pixel and fill up the channels with zeros. So a network of depth 20, 32, 44, 56 or 110 (n = 3, 5, 7, 9, 18)
has 0.27, 0.46, 0.66, 0.85 or 1.7 million parameters, as in the paper's table 6.
"""

from __future__ import annotations

from typing import Any

from minidl import nn
from minidl.nn import functional as F
from minidl.tensor import Tensor


class Block(nn.Module):
    """Two convolutions 3×3 beside a shortcut.

    Args:
        in_channels: channels of x.
        channels: channels of y, as many or more.
        stride: of the first convolution and of the shortcut.
        dtype: of the parameters.

    Shapes:
        x (N, in_channels, H, W) -> y (N, channels, ⌈H / stride⌉, ⌈W / stride⌉).

    Raises:
        ValueError: fewer channels than in_channels; at the call, another number of channels.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1, dtype: Any = None) -> None:
        super().__init__()
        if channels < in_channels:
            raise ValueError(f"Block: a shortcut cannot drop channels, but {in_channels} should become {channels}")
        self.stride, self.new_channels = stride, channels - in_channels
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False, dtype=dtype)
        self.bn1 = nn.BatchNorm2d(channels, dtype=dtype)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False, dtype=dtype)
        self.bn2 = nn.BatchNorm2d(channels, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(self.shortcut(x) + y)

    def shortcut(self, x: Tensor) -> Tensor:
        """x itself; in the first block of a stage every second pixel of it, and zeros for the new channels."""
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            x = F.pad(x, (0, 0, 0, 0, 0, self.new_channels))
        return x


class ResNet(nn.Module):
    """The paper's network for CIFAR, of 6n + 2 layers. Images may have any size.

    Args:
        n: blocks in each of the three stages.
        num_classes: number of outputs.
        in_channels: channels of the images.
        dtype: of the parameters.

    Shapes:
        x (N, in_channels, height, width) -> logits (N, num_classes).

    Raises:
        ValueError: no blocks, classes or channels; at the call, a shape that does not fit.

    Example:
        >>> import minidl
        >>> from minidl.models import ResNet
        >>> ResNet(n=1)(minidl.zeros(2, 3, 32, 32)).shape
        (2, 10)
    """

    def __init__(self, n: int = 3, num_classes: int = 10, in_channels: int = 3, dtype: Any = None) -> None:
        super().__init__()
        if min(n, num_classes, in_channels) < 1:
            raise ValueError(
                "ResNet: expects at least a block, a class and a channel, "
                f"got n={n}, num_classes={num_classes}, in_channels={in_channels}"
            )
        self.in_channels = in_channels
        self.conv = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False, dtype=dtype)
        self.bn = nn.BatchNorm2d(16, dtype=dtype)
        self.stage1 = stage(n, 16, 16, 1, dtype)
        self.stage2 = stage(n, 16, 32, 2, dtype)
        self.stage3 = stage(n, 32, 64, 2, dtype)
        self.output = nn.Linear(64, num_classes, dtype=dtype)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")  # as section 4.2 has it

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"ResNet: expects images (N, {self.in_channels}, height, width), got {x.shape}")
        x = F.relu(self.bn(self.conv(x)))  # (N, 16, 32, 32)
        x = self.stage1(x)  # (N, 16, 32, 32)
        x = self.stage2(x)  # (N, 32, 16, 16)
        x = self.stage3(x)  # (N, 64, 8, 8)
        x = x.mean((2, 3))  # (N, 64)
        return self.output(x)  # (N, 10)


def stage(n: int, in_channels: int, channels: int, stride: int, dtype: Any) -> nn.Sequential:
    """n blocks, of which the first one changes the size."""
    first = Block(in_channels, channels, stride, dtype)
    return nn.Sequential(first, *(Block(channels, channels, dtype=dtype) for _ in range(n - 1)))


def ResNet20(num_classes: int = 10, in_channels: int = 3, dtype: Any = None) -> ResNet:
    """ResNet of 20 layers: 269,722 parameters. Arguments, shapes and errors as `ResNet` with n = 3.

    >>> from minidl.models import ResNet20
    >>> sum(p.numel() for p in ResNet20().parameters())
    269722
    """
    return ResNet(3, num_classes, in_channels, dtype)
