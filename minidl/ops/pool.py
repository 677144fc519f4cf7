"""Pooling: every output value is the largest, or the mean, of a window of the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minidl.axes import as_int
from minidl.dtypes import require_float
from minidl.function import Function
from minidl.kernels import pool as kernels
from minidl.ops.shapes import pad
from minidl.ops.table import Sample, operation, require_tensor, run
from minidl.ops.windows import Padding, Pair, numbers, output_size
from minidl.primitives import Windows
from minidl.tensor import Tensor, apply


def window_pads(image: Pair, size: Pair, stride: Pair, padding: Pair, dilation: Pair, output: Pair) -> Padding:
    """Padding before as asked for; after, as much as the last window needs (with ceil_mode more, else maybe less)."""
    pads = []
    for n, r, s, before, d, count in zip(image, size, stride, padding, dilation, output, strict=True):
        pads.append((before, max((count - 1) * s + d * (r - 1) + 1 - n - before, 0)))
    return pads[0], pads[1]


def pooling_windows(x: Tensor, value: float, size: Pair, stride: Pair, pads: Padding, dilation: Pair) -> Tensor:
    """The windows of the padded image, one behind another: (N, C, P, Q, R·S)."""
    (top, bottom), (left, right) = pads
    windows = apply(
        Windows(size=size, stride=stride, dilation=dilation), pad(x, (left, right, top, bottom), value=value)
    )
    return windows.flatten(-2)


def max_pool2d_definition(
    x: Tensor, size: Pair, stride: Pair, padding: Pair, dilation: Pair, output: Pair, indices: bool
) -> Any:
    """The first maximum of every window, and if asked where it lies in the image, counted row by row."""
    P, Q = output
    pads = window_pads(x.shape[2:], size, stride, padding, dilation, output)
    windows = pooling_windows(x, -np.inf, size, stride, pads, dilation)[:, :, :P, :Q]
    values, place = windows.max(-1)
    if not indices:
        return values
    rows = np.arange(P)[:, None] * stride[0] - padding[0] + np.asarray(place) // size[1] * dilation[0]
    columns = np.arange(Q) * stride[1] - padding[1] + np.asarray(place) % size[1] * dilation[1]
    return values, Tensor(rows * x.shape[3] + columns)


class MaxPool2d(Function):
    """y[n, c, p, q] = max over the window (p, q) of x[n, c]; the indices say where the maximum was found.

    Forward chose one value of each window, so backward gives it all of the output's gradient and the others none:
    gx[n, c, index[n, c, p, q]] += g[n, c, p, q]. Windows may overlap, hence +=.
    """

    definition = staticmethod(max_pool2d_definition)

    def forward(self, x: np.ndarray) -> Any:
        geometry = self.size, self.stride, self.padding, self.dilation, self.output
        y, self.index = kernels.max_pool2d_forward(x, *geometry)
        return (y, self.index.astype(np.int64)) if self.indices else y

    def backward(self, g: np.ndarray, _: np.ndarray | None = None) -> np.ndarray:
        return kernels.max_pool2d_backward(g, self.index, self.inputs[0].shape)


def avg_pool2d_definition(
    x: Tensor,
    size: Pair,
    stride: Pair,
    padding: Pair,
    output: Pair,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """The sum of every window of the zero-padded image, divided by how many values it counts."""
    P, Q = output
    pads = window_pads(x.shape[2:], size, stride, padding, (1, 1), output)
    windows = pooling_windows(x, 0.0, size, stride, pads, (1, 1))[:, :, :P, :Q]
    counts = window_counts(x.shape[2:], size, stride, padding, output, count_include_pad, divisor_override)
    return windows.sum(-1) / Tensor(counts.astype(x.dtype))


def window_counts(
    image: Pair,
    size: Pair,
    stride: Pair,
    padding: Pair,
    output: Pair,
    count_include_pad: bool,
    divisor_override: int | None,
) -> np.ndarray:
    """What each window's sum is divided by (P, Q): the values in it, those in the padding included or not.

    What `ceil_mode` lets a window reach beyond the padding is never counted.
    """
    if divisor_override is not None:
        return np.full(output, divisor_override)
    lengths = []
    for n, r, s, p, count in zip(image, size, stride, padding, output, strict=True):
        start = np.arange(count) * s - p
        end = np.minimum(start + r, n + p)
        lengths.append(end - start if count_include_pad else np.minimum(end, n) - np.maximum(start, 0))
    return lengths[0][:, None] * lengths[1]


class AvgPool2d(Function):
    """y[n, c, p, q] = Σ over the window (p, q) of x[n, c] / count[p, q].

    Forward summed a window and divided, so backward divides and gives every value of the window the same:
    gx[n, c, h, w] = Σ over the windows (p, q) that hold (h, w) of g[n, c, p, q] / count[p, q].
    """

    definition = staticmethod(avg_pool2d_definition)

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.image = x.shape
        counts = self.counts(x.dtype)
        return kernels.avg_pool2d_forward(x, counts, self.size, self.stride, self.padding)

    def backward(self, g: np.ndarray) -> np.ndarray:
        return kernels.avg_pool2d_backward(g, self.counts(g.dtype), self.image, self.size, self.stride, self.padding)

    def counts(self, dtype: np.dtype) -> np.ndarray:
        """What each window's sum is divided by, (P, Q)."""
        counted = self.count_include_pad, self.divisor_override
        return window_counts(self.image[2:], self.size, self.stride, self.padding, self.output, *counted).astype(dtype)


def pooling_arguments(
    name: str,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> dict[str, tuple[int, ...]]:
    """The options of a pooling, checked; ValueError naming the operation and the shapes. A sequence is one row."""
    if 0 in input.shape[1:]:
        raise ValueError(f"{name}: only the batch may be empty, not the shape {input.shape}")
    n = input.ndim - 2
    size = numbers(name, "kernel_size", kernel_size, 1, n)
    stride = size if stride is None or stride == () or stride == [] else numbers(name, "stride", stride, 1, n)
    padding, dilation = numbers(name, "padding", padding, 0, n), numbers(name, "dilation", dilation, 1, n)
    if any(p > (d * (r - 1) + 1) // 2 for p, r, d in zip(padding, size, dilation, strict=True)):
        raise ValueError(f"{name}: padding must be at most half the window, but is {padding} for {size} x {dilation}")
    output = output_size(name, input.shape[2:], size, stride, [(p, p) for p in padding], dilation, ceil_mode)
    if min(output) < 1:
        raise ValueError(
            f"{name}: nothing would be left of the image (input {input.shape}, kernel {size}, stride {stride}, "
            f"padding {padding}, dilation {dilation})"
        )
    one, none = (1,) * (2 - n), (0,) * (2 - n)
    options = {"size": size, "stride": stride, "dilation": dilation, "output": output}
    return {"padding": none + padding} | {option: one + value for option, value in options.items()}


def as_batch(name: str, input: Tensor, sides: str = "H, W") -> Tensor:
    """Images (N, C, H, W), or sequences (N, C, T), from a floating-point Tensor of them or of one without N."""
    require_tensor(name, input=input)
    require_float(name, input=input)
    one = 2 + sides.count(",")
    if input.ndim not in (one, one + 1):
        raise ValueError(f"{name}: input must be (N, C, {sides}) or (C, {sides}), not {input.shape}")
    return input if input.ndim > one else input.unsqueeze(0)


def squeezed(found: Any, *dims: int) -> Any:
    """A Tensor, or values and indices, without these dimensions of length 1."""
    return tuple(t.squeeze(dims) for t in found) if isinstance(found, tuple) else found.squeeze(dims)


def distinct(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Values in random order and far apart, so that no maximum changes within a finite difference."""
    size = int(np.prod(shape))
    return (rng.permutation(size) / max(size, 1) - 0.5 + rng.uniform(0, 0.1 / max(size, 1))).reshape(shape)


def max_pool2d_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Overlapping and gapped windows, padding, dilation, both roundings."""
    yield Sample(distinct(rng, 2, 3, 6, 7), 2)
    yield Sample(distinct(rng, 2, 2, 7, 6), (3, 2), stride=(2, 1), padding=(1, 0))
    yield Sample(distinct(rng, 1, 2, 8, 9), 3, stride=2, padding=1, ceil_mode=True)
    yield Sample(distinct(rng, 2, 1, 9, 7), (2, 3), stride=1, dilation=(3, 2))
    yield Sample(distinct(rng, 3, 5, 5), 2, stride=3, return_indices=True)
    yield Sample(distinct(rng, 0, 3, 4, 4), 2)


@operation(samples=max_pool2d_samples, passes=MaxPool2d)
def max_pool2d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of every window: y[n, c, p, q] = max_rs x[n, c, p·stride + r·dilation, q·stride + s·dilation].

    Of equal values the first, row by row, counts and gets the whole gradient; NaN is larger than everything.

    Args:
        input: images (N, C, H, W), or one image (C, H, W).
        kernel_size: rows and columns of a window.
        stride: how far the window moves; by default its own size, so that windows tile the image.
        padding: a frame of -∞ around the image, at most half a window.
        dilation: how far a window's values lie apart.
        ceil_mode: round the number of windows up, so that the last may reach over the edge.
        return_indices: return also where in its image, counted row by row, each maximum was found (int64).

    Returns:
        (N, C, P, Q), P = ⌊(H + 2·padding - dilation·(R - 1) - 1) / stride⌋ + 1; with `return_indices` and the indices.

    Raises:
        TypeError: input is no floating-point Tensor.
        ValueError: an image smaller than a window, a stride of 0, too much padding.

    >>> import minidl, minidl.nn.functional as F
    >>> image = minidl.arange(16, dtype=minidl.float32).reshape(1, 1, 4, 4)
    >>> F.max_pool2d(image, 2)
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    """
    x = as_batch("max_pool2d", input)
    options = pooling_arguments("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    found = run(MaxPool2d(**options, indices=bool(return_indices)), x)
    return found if input.ndim == 4 else squeezed(found, 0)


def avg_pool2d_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Every way to count what a window's sum is divided by."""
    yield Sample(rng.standard_normal((2, 3, 6, 7)), 2)
    yield Sample(rng.standard_normal((2, 2, 7, 6)), (3, 2), stride=(2, 1), padding=(1, 0))
    yield Sample(rng.standard_normal((1, 2, 8, 9)), 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)
    yield Sample(rng.standard_normal((1, 2, 8, 9)), 3, stride=2, padding=1, ceil_mode=True)
    yield Sample(rng.standard_normal((3, 5, 5)), 2, stride=3, divisor_override=3)
    yield Sample(rng.standard_normal((0, 3, 4, 4)), 2)


@operation(samples=avg_pool2d_samples, passes=AvgPool2d)
def avg_pool2d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window: y[n, c, p, q] = Σ_rs x[n, c, p·stride + r, q·stride + s] / count[p, q].

    Args:
        input: images (N, C, H, W), or one image (C, H, W).
        kernel_size: rows and columns of a window.
        stride: how far the window moves; by default its own size, so that windows tile the image.
        padding: zeros around the image, at most half a window.
        ceil_mode: round the number of windows up, so that the last may reach over the edge.
        count_include_pad: count the zeros of the padding too.
        divisor_override: divide by this instead of the count.

    Returns:
        (N, C, P, Q), P = ⌊(H + 2·padding - R) / stride⌋ + 1.

    Raises:
        TypeError: input is no floating-point Tensor.
        ValueError: an image smaller than a window, a stride or divisor of 0, too much padding.

    >>> import minidl, minidl.nn.functional as F
    >>> image = minidl.arange(16, dtype=minidl.float32).reshape(1, 1, 4, 4)
    >>> F.avg_pool2d(image, 2)
    tensor([[[[ 2.5,  4.5],
              [10.5, 12.5]]]])
    """
    x = as_batch("avg_pool2d", input)
    if divisor_override is not None and as_int("avg_pool2d", "divisor_override", divisor_override) == 0:
        raise ValueError("avg_pool2d: divisor_override must not be 0")
    options = pooling_arguments("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    del options["dilation"]
    y = run(AvgPool2d(**options, count_include_pad=count_include_pad, divisor_override=divisor_override), x)
    return y if input.ndim == 4 else y.squeeze(0)
