"""Convolution on the register tile: forward, gradient of the image, gradient of the filters.

Flatten the three indices (c, r, s) of a filter to one, d, and the two of an output plane to one, o = (p, q). Then a
convolution is a product of matrices, y[k, o] = Σ_d w[k, d] · X[d, o], where column o of X is the window at o. X would be
R·S times as large as the image, so it is never made: of a few windows at a time, the loops pack the values straight from
the image into a panel that fits the cache, and multiply every filter with it while it is there. The gradient of the
filters is the same with the roles exchanged, gw[k, d] = Σ_o g[k, o] · X[d, o]; the gradient of the image is again a
convolution, of g with the filters turned around.

The image is padded beforehand, so that no loop asks whether it has left it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.kernels.jit import contiguous, kernel, prange
from minidl.kernels.simd import add_tile, set_tile, tile_shape

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def conv2d_forward(
    x: np.ndarray, weight: np.ndarray, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> np.ndarray:
    """y (N, K, P, Q) of images x (N, C, H, W) and filters (K, C / groups, R, S)."""
    x = padded(x, padding)
    (N, _, H, W), (K, _, R, S) = x.shape, weight.shape
    P = (H - dilation[0] * (R - 1) - 1) // stride[0] + 1
    Q = (W - dilation[1] * (S - 1) - 1) // stride[1] + 1
    y = np.empty((N, K, P, Q), x.dtype)
    if x.size and y.size:
        forward_loops(x, pack_filters(weight, groups), y, R, S, *stride, *dilation, groups, *tile_shape(x.dtype))
    else:
        y[...] = 0
    return y


def conv2d_input_gradient(
    g: np.ndarray,
    weight: np.ndarray,
    x_shape: tuple[int, ...],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> np.ndarray:
    """∂L/∂x (N, C, H, W) from g = ∂L/∂y (N, K, P, Q).

    Row h of the image met tap r of a filter in output row p where h + padding = p·σ + r·δ. The rows h = a + σ·m, for one
    a, met only the taps with r·δ ≡ a + padding (mod σ), so for each a (and likewise for each class b of columns) the
    gradient is a convolution of stride 1: of g, with those taps in reverse order and the two channel axes exchanged.
    """
    N, C, H, W = x_shape
    K, c, R, S = weight.shape
    turned = weight.reshape(groups, K // groups, c, R, S).swapaxes(1, 2).reshape(C, K // groups, R, S)
    gx = np.zeros(x_shape, g.dtype)
    for a in range(min(stride[0], H)):
        rows, row_frame, row_step = class_of_rows(a, H, g.shape[2], R, stride[0], padding[0][0], dilation[0])
        for b in range(min(stride[1], W)):
            columns, column_frame, column_step = class_of_rows(
                b, W, g.shape[3], S, stride[1], padding[1][0], dilation[1]
            )
            taps = turned[:, :, rows, columns]
            if taps.size:
                around = framed(g, (row_frame, column_frame))
                gx[:, :, a :: stride[0], b :: stride[1]] = conv2d_forward(
                    around, taps, (1, 1), ((0, 0), (0, 0)), (row_step, column_step), groups
                )
    return gx


def class_of_rows(
    a: int, rows: int, places: int, taps: int, stride: int, padding: int, dilation: int
) -> tuple[slice, Pair, int]:
    """For the image's rows a, a + stride, …: the taps they met (in reverse), the frame to put around g, the step in g.

    Tap r meets row a + stride·m at place p = m + (a + padding - r·dilation) / stride, where that is whole.
    """
    step = stride // math.gcd(stride, dilation)  # from one tap of the class to the next
    first = next((r for r in range(min(step, taps)) if (a + padding - r * dilation) % stride == 0), taps)
    met = range(first, taps, step)
    if not met:
        return slice(0, 0), (0, 0), 1
    count = -(-(rows - a) // stride)  # rows of the class
    before = (met[-1] * dilation - a - padding) // stride
    reach = (met[-1] - met[0]) * dilation // stride
    reverse = slice(met[-1], met[0] - 1 if met[0] else None, -step)
    return reverse, (before, count + reach - before - places), step * dilation // stride


def conv2d_weight_gradient(
    g: np.ndarray,
    x: np.ndarray,
    weight_shape: tuple[int, ...],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> np.ndarray:
    """∂L/∂w (K, C / groups, R, S) from g = ∂L/∂y (N, K, P, Q)."""
    K, c, R, S = weight_shape
    if not (g.size and x.size and K * c * R * S):
        return np.zeros(weight_shape, g.dtype)
    rows, columns = tile_shape(g.dtype)
    N, depth = len(g), c * R * S
    parts = min(N, PARTS)
    blocks = -(-(K // groups) // rows)
    sums = np.zeros((parts, groups, blocks * rows, -(-depth // columns) * columns), g.dtype)
    weight_gradient_loops(contiguous(g), padded(x, padding), sums, c, R, S, *stride, *dilation, rows, columns)
    return sums.sum(0)[:, : K // groups, :depth].reshape(weight_shape)


PARTS = 8  # a batch is summed in so many parts, whatever the number of threads, so that results do not depend on it
PLACES = 4  # so many tiles' width of places in the output are one task of a thread


def padded(x: np.ndarray, padding: Padding) -> np.ndarray:
    """The image in a frame of zeros, C-contiguous."""
    return contiguous(x) if padding == ((0, 0), (0, 0)) else framed(x, padding)


def framed(x: np.ndarray, frame: Padding) -> np.ndarray:
    """The image in a frame of zeros; where the frame is negative, without what it cuts off."""
    (top, bottom), (left, right) = frame
    N, C, H, W = x.shape
    inner = x[:, :, max(-top, 0) : max(H + min(bottom, 0), 0), max(-left, 0) : max(W + min(right, 0), 0)]
    out = np.zeros((N, C, top + H + bottom, left + W + right), x.dtype)
    h, w = max(top, 0), max(left, 0)
    out[:, :, h : h + inner.shape[2], w : w + inner.shape[3]] = inner
    return out


def pack_filters(weight: np.ndarray, groups: int) -> np.ndarray:
    """Filters (K, C, R, S) as the tile reads them: (groups, blocks of rows, C·R·S, rows), flat, zeros for missing rows."""
    rows, _ = tile_shape(weight.dtype)
    filters = len(weight) // groups
    blocks = -(-filters // rows)
    packed = np.zeros((groups, blocks * rows, weight[0].size), weight.dtype)
    packed[:, :filters] = weight.reshape(groups, filters, -1)
    return packed.reshape(groups, blocks, rows, -1).swapaxes(2, 3).reshape(-1)


def forward_example(dtype: np.dtype) -> tuple[Any, ...]:
    x, weight = np.ones((1, 1, 4, 4), dtype), np.ones((1, 1, 2, 2), dtype)
    return x, pack_filters(weight, 1), np.ones((1, 1, 3, 3), dtype), 2, 2, 1, 1, 1, 1, 1, *tile_shape(dtype)


@kernel(parallel=True, example=forward_example)
def forward_loops(x, w, y, R, S, sh, sw, dh, dw, groups, rows, columns):  # type: ignore[no-untyped-def]
    """y[n, k, o] = Σ_d w[k, d] · X[d, o], a panel of windows (d, columns) at a time."""
    N, K, P, Q = y.shape
    _, C, H, W = x.shape
    filters, channels = K // groups, C // groups
    places, depth = P * Q, channels * R * S
    blocks, stretch = (filters + rows - 1) // rows, PLACES * columns
    stretches = (places + stretch - 1) // stretch
    image, out = x.reshape(-1), y.reshape(-1)
    for task in prange(N * groups * stretches):
        n, group, begin = task // (groups * stretches), task // stretches % groups, task % stretches * stretch
        panel = np.empty(depth * columns, x.dtype)
        corner = np.empty(rows * columns, x.dtype)
        offsets = np.empty(columns, np.int64)
        for first in range(begin, min(begin + stretch, places), columns):
            here = min(columns, places - first)
            in_row = sw == 1 and first % Q + here <= Q
            for j in range(here):  # where window first + j begins
                offsets[j] = (first + j) // Q * sh * W + (first + j) % Q * sw
            pack_windows(
                image, (n * C + group * channels) * H * W, offsets, here, in_row, panel, channels, H, W, R, S, dh, dw
            )
            for block in range(blocks):
                k = block * rows
                w_start = (group * blocks + block) * depth * rows
                y_start = (n * K + group * filters + k) * places + first
                if here == columns and k + rows <= filters:
                    set_tile(w, w_start, panel, 0, depth, out, y_start, places)
                else:  # at the edge the tile is larger than what is left
                    set_tile(w, w_start, panel, 0, depth, corner, 0, columns)
                    for i in range(min(rows, filters - k)):
                        for j in range(here):
                            out[y_start + i * places + j] = corner[i * columns + j]


@kernel()
def pack_windows(image, start, offsets, here, in_row, panel, channels, H, W, R, S, dh, dw):  # type: ignore[no-untyped-def]
    """panel[d, j] = the value at d = (c, r, s) of the window that begins at offsets[j]."""
    columns = offsets.size
    d = 0
    for c in range(channels):
        for r in range(R):
            for s in range(S):
                tap = start + (c * H + r * dh) * W + s * dw
                if in_row and here == columns:
                    tap += offsets[0]
                    for j in range(columns):
                        panel[d + j] = image[tap + j]
                else:
                    for j in range(here):
                        panel[d + j] = image[tap + offsets[j]]
                    for j in range(here, columns):
                        panel[d + j] = 0
                d += columns


def weight_gradient_example(dtype: np.dtype) -> tuple[Any, ...]:
    rows, columns = tile_shape(dtype)
    g, x, sums = np.ones((1, 1, 3, 3), dtype), np.ones((1, 1, 4, 4), dtype), np.zeros((1, 1, rows, columns), dtype)
    return g, x, sums, 1, 2, 2, 1, 1, 1, 1, rows, columns


@kernel(parallel=True, example=weight_gradient_example)
def weight_gradient_loops(g, x, sums, channels, R, S, sh, sw, dh, dw, rows, columns):  # type: ignore[no-untyped-def]
    """sums[part, group, k, d] = Σ_no g[n, k, o] · X[d, o] over the images n of a part."""
    N, K, P, Q = g.shape
    _, C, H, W = x.shape
    parts, groups, height, width = sums.shape
    filters, places, depth = K // groups, P * Q, channels * R * S
    blocks, panels = height // rows, width // columns
    gradient, image, totals = g.reshape(-1), x.reshape(-1), sums.reshape(-1)

    lefts = np.empty(N * groups * blocks * places * rows, g.dtype)  # g as the tile reads it: (places, rows)
    for task in prange(N * groups):
        n, group = task // groups, task % groups
        for block in range(blocks):
            to = (task * blocks + block) * places * rows
            here = min(rows, filters - block * rows)
            for i in range(here):
                start = (n * K + group * filters + block * rows + i) * places
                for o in range(places):
                    lefts[to + o * rows + i] = gradient[start + o]
            for i in range(here, rows):
                for o in range(places):
                    lefts[to + o * rows + i] = 0

    for task in prange(parts * groups * panels):
        part, group, d = task // (groups * panels), task // panels % groups, task % panels * columns
        panel = np.empty(places * columns, g.dtype)
        taps = np.zeros(columns, np.int64)
        for j in range(min(columns, depth - d)):
            c, r, s = (d + j) // (R * S), (d + j) // S % R, (d + j) % S
            taps[j] = (c * H + r * dh) * W + s * dw
        for n in range(part * N // parts, (part + 1) * N // parts):
            start = (n * C + group * channels) * H * W
            to = 0
            for p in range(P):
                for q in range(Q):
                    window = start + p * sh * W + q * sw
                    for j in range(columns):
                        panel[to + j] = image[window + taps[j]]
                    to += columns
            for block in range(blocks):
                left = ((n * groups + group) * blocks + block) * places * rows
                total = ((part * groups + group) * height + block * rows) * width + d
                add_tile(lefts, left, panel, 0, places, totals, total, width)
