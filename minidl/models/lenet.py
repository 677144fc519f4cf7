"""LeNet-5, the convolutional network that read cheques.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", Proceedings of
the IEEE 86(11), 1998. Figure 2, with the names of its layers:

    INPUT     1 @ 32×32
    C1        6 @ 28×28    convolution 5×5
    S2        6 @ 14×14    subsampling 2×2
    C3       16 @ 10×10    convolution 5×5
    S4       16 @ 5×5      subsampling 2×2
    C5      120 @ 1×1      convolution 5×5, which covers all of S4: a full connection
    F6       84            full connection
    OUTPUT   10            full connection

As everywhere today, and unlike the paper: the subsampling takes the maximum, the squashing function is ReLU, C3 is
connected to all maps of S2, and the output is a plain linear layer, trained with cross entropy.
"""

from __future__ import annotations

from typing import Any

from minidl import nn
from minidl.nn import functional as F
from minidl.tensor import Tensor

SMALLEST = 4


class LeNet(nn.Module):
    """LeNet-5 for images of any size from 4×4 on.

    Images of 32×32 take the figure's way. Where they are smaller, C1 is padded by 2 (as the paper padded MNIST's 28×28
    images to 32×32), and so is C3 if S2 is smaller than 14×14; C5 always covers all of S4.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        image_size: height and width of the images, an int or a pair.
        dtype: of the parameters.

    Shapes:
        x (N, in_channels, height, width) -> logits (N, num_classes).

    Raises:
        ValueError: images smaller than 4×4, no classes or channels; at the call, a shape that does not fit.

    Example:
        >>> import minidl
        >>> from minidl.models import LeNet
        >>> LeNet()(minidl.zeros(2, 1, 32, 32)).shape
        (2, 10)
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int | tuple[int, int] = 32,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        if min(height, width) < SMALLEST or num_classes < 1 or in_channels < 1:
            raise ValueError(
                f"LeNet: expects images of at least {SMALLEST}×{SMALLEST}, a channel and a class, "
                f"got image_size={image_size}, in_channels={in_channels}, num_classes={num_classes}"
            )
        self.image_shape = (in_channels, height, width)
        rows, columns = _Side(height), _Side(width)
        self.c1 = nn.Conv2d(in_channels, 6, 5, padding=(rows.c1_padding, columns.c1_padding), dtype=dtype)
        self.c3 = nn.Conv2d(6, 16, 5, padding=(rows.c3_padding, columns.c3_padding), dtype=dtype)
        self.c5 = nn.Conv2d(16, 120, (rows.s4, columns.s4), dtype=dtype)
        self.f6 = nn.Linear(120, 84, dtype=dtype)
        self.output = nn.Linear(84, num_classes, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1:] != self.image_shape:
            raise ValueError(f"LeNet: expects images (N, {', '.join(map(str, self.image_shape))}), got {x.shape}")
        c1 = F.relu(self.c1(x))  #  (N, 6, 28, 28)
        s2 = F.max_pool2d(c1, 2)  # (N, 6, 14, 14)
        c3 = F.relu(self.c3(s2))  # (N, 16, 10, 10)
        s4 = F.max_pool2d(c3, 2)  # (N, 16, 5, 5)
        c5 = F.relu(self.c5(s4)).flatten(1)  # (N, 120)
        f6 = F.relu(self.f6(c5))  # (N, 84)
        return self.output(f6)  #   (N, 10)


class _Side:
    """How long one side of the image is in each layer, and the paddings that follow."""

    def __init__(self, image: int) -> None:
        self.c1_padding = 0 if image >= 32 else 2
        s2 = (image + 2 * self.c1_padding - 4) // 2
        self.c3_padding = 0 if s2 >= 14 else 2
        self.s4 = (s2 + 2 * self.c3_padding - 4) // 2
