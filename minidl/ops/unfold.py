"""Windows of images as columns and back, and channels as pixels and back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from minidl.axes import as_int
from minidl.dtypes import require_float
from minidl.ops.pool import as_batch
from minidl.ops.samples import calls, normal, on
from minidl.ops.shapes import pad
from minidl.ops.table import Sample, operation, require_tensor
from minidl.ops.windows import output_size as windows_that_fit
from minidl.ops.windows import pair
from minidl.primitives import Fold, Windows
from minidl.tensor import Tensor, apply

Size = int | Sequence[int]


@operation(
    samples=calls(
        on(2, 3, 4, 5, kernel_size=(2, 3)),
        on(2, 6, 5, kernel_size=2, dilation=(1, 2), padding=(1, 0), stride=(2, 1)),
        on(0, 2, 3, 3, kernel_size=2),
    )
)
def unfold(input: Tensor, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> Tensor:
    """The windows of images as columns ("im2col"): a convolution is then one product of matrices.

    Args:
        input: images (N, C, H, W), or one image (C, H, W).
        kernel_size: rows R and columns S of a window. stride: how far it moves. padding: zeros around the image.
        dilation: how far a window's values lie apart.

    Returns:
        (N, C·R·S, L), a column for each of the L = P·Q windows that `conv2d` has, row by row; (C·R·S, L) for one image.

    Raises:
        TypeError: input is no floating-point Tensor.
        ValueError: an image smaller than a window, a stride of 0.

    >>> import minidl, minidl.nn.functional as F
    >>> F.unfold(minidl.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]), (2, 2))
    tensor([[1., 2.],
            [2., 3.],
            [4., 5.],
            [5., 6.]])
    """
    x = as_batch("unfold", input)
    size, (rows, columns) = pair("unfold", "kernel_size", kernel_size, 1), pair("unfold", "padding", padding, 0)
    stride, dilation = pair("unfold", "stride", stride, 1), pair("unfold", "dilation", dilation, 1)
    if 0 in x.shape[1:]:
        raise ValueError(f"unfold: only the batch may be empty, not the shape {input.shape}")
    P, Q = windows_that_fit("unfold", x.shape[2:], size, stride, ((rows, rows), (columns, columns)), dilation)
    windows = apply(Windows(size=size, stride=stride, dilation=dilation), pad(x, (columns, columns, rows, rows)))
    y = windows.permute(0, 1, 4, 5, 2, 3).reshape(x.shape[0], x.shape[1] * math.prod(size), P * Q)
    return y if input.ndim == 4 else y.squeeze(0)


@operation(
    samples=calls(
        on(2, 12, 6, output_size=(3, 4), kernel_size=2),
        on(6, 9, output_size=(5, 4), kernel_size=(3, 2), padding=1, stride=(2, 2)),
        on(1, 4, 6, output_size=(4, 4), kernel_size=2, dilation=(1, 2), stride=(1, 1), padding=0),
    )
)
def fold(
    input: Tensor, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
) -> Tensor:
    """The transpose of `unfold`: images in which every column is added to the window that it stands for.

    Args:
        input: (N, C·R·S, L), or (C·R·S, L) for one image.
        output_size: H and W. The others as those of `unfold`.

    Returns:
        (N, C, H, W), or (C, H, W).

    Raises:
        TypeError: input is no floating-point Tensor.
        ValueError: rows that are no multiple of R·S, another number of columns than there are windows.

    >>> import minidl, minidl.nn.functional as F
    >>> F.fold(minidl.ones(4, 2), (2, 3), 2)
    tensor([[[1., 2., 1.],
             [1., 2., 1.]]])
    """
    require_tensor("fold", input=input)
    require_float("fold", input=input)
    if input.ndim not in (2, 3):
        raise ValueError(f"fold: input must be (N, C·R·S, L) or (C·R·S, L), not {input.shape}")
    x = input if input.ndim == 3 else input.unsqueeze(0)
    image, (R, S) = pair("fold", "output_size", output_size, 1), pair("fold", "kernel_size", kernel_size, 1)
    rows, columns = pair("fold", "padding", padding, 0)
    stride, dilation = pair("fold", "stride", stride, 1), pair("fold", "dilation", dilation, 1)
    P, Q = windows_that_fit("fold", image, (R, S), stride, ((rows, rows), (columns, columns)), dilation)
    (N, channels, L), (H, W) = x.shape, image
    if channels % (R * S) or not channels or L != P * Q:
        raise ValueError(
            f"fold: expects (N, a multiple of {R * S}, {P * Q}), not {input.shape} (output_size {image}, "
            f"kernel_size {(R, S)}, dilation {dilation}, padding {(rows, columns)}, stride {stride})"
        )
    windows = x.reshape(N, channels // (R * S), R, S, P, Q).permute(0, 1, 4, 5, 2, 3)
    shape = (N, channels // (R * S), H + 2 * rows, W + 2 * columns)
    y = apply(Fold(shape=shape, stride=stride, dilation=dilation), windows)
    y = y[:, :, rows : rows + H, columns : columns + W]
    return y if input.ndim == 3 else y.squeeze(0)


def pixels(name: str, argument: str, input: Tensor, factor: int) -> int:
    """The factor, if it is a positive int and the input has channels, rows and columns."""
    require_tensor(name, input=input)
    factor = as_int(name, argument, factor)
    if input.ndim < 3 or factor < 1:
        raise ValueError(f"{name}: expects (..., C, H, W) and a positive {argument}, not {input.shape} and {factor}")
    return factor


def pixel_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Images, and one; for either direction."""
    yield Sample(normal(rng, 2, 8, 4, 2), 2)
    yield Sample(normal(rng, 9, 3, 6), 3)


@operation(samples=pixel_samples)
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels become pixels: (..., C·r², H, W) -> (..., C, H·r, W·r), r² neighbours of each pixel that there was.

    W. Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
    network", 2016. ValueError where r² does not divide the channels.

    >>> import minidl, minidl.nn.functional as F
    >>> F.pixel_shuffle(minidl.arange(4.0).reshape(4, 1, 1), 2)
    tensor([[[0., 1.],
             [2., 3.]]])
    """
    r = pixels("pixel_shuffle", "upscale_factor", input, upscale_factor)
    *batch, C, H, W = input.shape
    if C % r**2:
        raise ValueError(f"pixel_shuffle: upscale_factor {r} squared must divide the channels of {input.shape}")
    n = len(batch)
    apart = input.reshape(*batch, C // r**2, r, r, H, W)  # (..., C, r, r, H, W) -> (..., C, H, r, W, r)
    together = apart.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return together.reshape(*batch, C // r**2, H * r, W * r)


@operation(samples=calls(on(2, 3, 4, 6, downscale_factor=2), on(1, 3, 3, downscale_factor=3)))
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """The opposite of `pixel_shuffle`: (..., C, H·r, W·r) -> (..., C·r², H, W). ValueError where r does not divide.

    >>> import minidl, minidl.nn.functional as F
    >>> F.pixel_unshuffle(minidl.arange(4.0).reshape(1, 2, 2), 2).flatten()
    tensor([0., 1., 2., 3.])
    """
    r = pixels("pixel_unshuffle", "downscale_factor", input, downscale_factor)
    *batch, C, H, W = input.shape
    if H % r or W % r:
        raise ValueError(f"pixel_unshuffle: downscale_factor {r} must divide the rows and columns of {input.shape}")
    n = len(batch)
    apart = input.reshape(*batch, C, H // r, r, W // r, r)
    return apart.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3).reshape(*batch, C * r**2, H // r, W // r)
