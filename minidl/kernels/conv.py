"""Convolution on the register tile: forward, gradient of the image, gradient of the filters.

Flatten the three indices (c, r, s) of a filter to one, d, and the two of an output plane to one, o = (p, q). Then a
convolution is a product of matrices, y[k, o] = Σ_d w[k, d] · X[d, o], where column o of X is the window at o. X would
be R·S times as large as the image, so it is never made: of a few windows at a time, the loops pack the values straight
from the image into a panel that fits the cache, and multiply every filter with it while it is there. The gradient of
the filters is the same with the roles exchanged, gw[k, d] = Σ_o g[k, o] · X[d, o]. The gradient of the image is again
a convolution, or the product Σ_k w[k, d] · g[k, o] added back to the windows.

The image is padded beforehand, so that no loop asks whether it has left it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.depthwise import (
    depthwise_forward_loops,
    depthwise_input_gradient_loops,
    depthwise_weight_gradient_loops,
)
from minidl.kernels.jit import contiguous, helper, kernel
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
    work = y.size * weight[0].size // 25
    if not (x.size and y.size):
        y[...] = 0
    elif is_depthwise(weight, groups):
        depthwise_forward_loops(y.shape[0] * K, x, contiguous(weight[:, 0]), y, *stride, *dilation, work=work)
    else:
        packed = pack_rows(weight.reshape(groups, K // groups, -1))
        stretches = -(-(P * Q) // (PLACES * tile_shape(x.dtype)[1]))
        forward_loops(
            N * groups * stretches, x, packed, y, R, S, *stride, *dilation, groups, *tile_shape(x.dtype), work=work
        )
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

    With a stride of 1 it is a convolution again: of g in a frame of zeros, with the filters turned by 180° and their
    two channel axes exchanged. But strides would put zeros between the values of g, a filter as large as the image
    would see little but the frame, and few channels leave a tile half empty: there, the products of g with every tap
    are added to the places that the tap saw.
    """
    N, C, H, W = x_shape
    K, c, R, S = weight.shape
    (top, bottom), (left, right) = padding
    if not (g.size and weight.size and N * C * H * W):
        return np.zeros(x_shape, g.dtype)
    work = g.size * weight[0].size // 25
    if is_depthwise(weight, groups):
        gx = np.empty((N, C, top + H + bottom, left + W + right), g.dtype)
        depthwise_input_gradient_loops(
            N * C, gx, contiguous(weight[:, 0]), contiguous(g), *stride, *dilation, work=work
        )
        return gx[:, :, top : top + H, left : left + W]
    rows, columns = tile_shape(g.dtype)
    by_group = weight.reshape(groups, K // groups, c, R, S).swapaxes(1, 2)  # (groups, c, K / groups, R, S)
    if stride == (1, 1) and c >= rows and H * W <= 2 * g.shape[2] * g.shape[3]:
        turned = by_group[..., ::-1, ::-1].reshape(C, K // groups, R, S)
        below, beside = dilation[0] * (R - 1), dilation[1] * (S - 1)
        frame = (below - top, below - bottom), (beside - left, beside - right)
        return conv2d_forward(g, turned, (1, 1), frame, dilation, groups)
    packed = pack_rows(by_group.reshape(C, K // groups, R * S).swapaxes(1, 2))
    gx = np.zeros(x_shape, g.dtype)
    scatter_loops(
        N * C, contiguous(g), packed, gx, R, S, *stride, top, left, *dilation, groups, rows, columns, work=work
    )
    return gx


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
    gw = np.zeros(weight_shape, g.dtype)
    if not (g.size and x.size and gw.size):
        return gw
    x, g = padded(x, padding), contiguous(g)
    work = g.size * gw[0].size // 25
    if is_depthwise(gw, groups):
        depthwise_weight_gradient_loops(K, x, gw.reshape(K, R, S), g, *stride, *dilation, work=work)
        return gw
    rows, columns = tile_shape(g.dtype)
    depth, blocks = c * R * S, -(-(K // groups) // rows)
    sums = np.zeros((min(len(g), PARTS), groups, blocks * rows, -(-depth // columns) * columns), g.dtype)
    lefts = np.empty((len(g), groups, blocks, g.shape[2] * g.shape[3], rows), g.dtype)
    pack_lefts_loops(len(g) * groups, g, lefts, work=work)
    tasks = sums.shape[0] * groups * (sums.shape[3] // columns)
    weight_gradient_loops(tasks, lefts, x, sums, c, R, S, g.shape[3], *stride, *dilation, columns, work=work)
    return sums.sum(0)[:, : K // groups, :depth].reshape(weight_shape)


def is_depthwise(weight: np.ndarray, groups: int) -> bool:
    """Whether every channel of the image has one filter of its own."""
    return weight.shape[0] == groups and weight.shape[1] == 1


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


def pack_rows(matrices: np.ndarray) -> np.ndarray:
    """Matrices (n, height, depth) as the tile reads them: (n, blocks, depth, rows), flat; missing rows are 0."""
    rows, _ = tile_shape(matrices.dtype)
    n, height, depth = matrices.shape
    blocks = -(-height // rows)
    packed = np.zeros((n, blocks * rows, depth), matrices.dtype)
    packed[:, :height] = matrices
    return packed.reshape(n, blocks, rows, depth).swapaxes(2, 3).reshape(-1)


def forward_example(dtype: np.dtype) -> tuple[Any, ...]:
    x, packed = np.ones((1, 1, 4, 4), dtype), pack_rows(np.ones((1, 1, 4), dtype))
    return 1, x, packed, np.ones((1, 1, 3, 3), dtype), 2, 2, 1, 1, 1, 1, 1, *tile_shape(dtype)


@kernel(example=forward_example)
def forward_loops(task, x, w, y, R, S, sh, sw, dh, dw, groups, rows, columns):  # type: ignore[no-untyped-def]
    """y[n, k, o] = Σ_d w[k, d] · X[d, o], a panel of windows (d, columns) at a time."""
    N, K, P, Q = y.shape
    _, C, H, W = x.shape
    filters, channels = K // groups, C // groups
    places, depth = P * Q, channels * R * S
    blocks, stretch = (filters + rows - 1) // rows, PLACES * columns
    stretches = (places + stretch - 1) // stretch
    image, out = x.reshape(-1), y.reshape(-1)
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


@helper()
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


def scatter_example(dtype: np.dtype) -> tuple[Any, ...]:
    g, packed, gx = np.ones((1, 1, 3, 3), dtype), pack_rows(np.ones((1, 4, 1), dtype)), np.zeros((1, 1, 4, 4), dtype)
    return 1, g, packed, gx, 2, 2, 1, 1, 0, 0, 1, 1, 1, *tile_shape(dtype)


@kernel(example=scatter_example)
def scatter_loops(task, g, w, gx, R, S, sh, sw, top, left, dh, dw, groups, rows, columns):  # type: ignore[no-untyped-def]
    """gx[n, c, p·sh - top + r·dh, q·sw - left + s·dw] += Σ_k w[k, c, r, s] · g[n, k, p, q], one channel a task."""
    N, K, P, Q = g.shape
    _, C, H, W = gx.shape
    filters, places, taps = K // groups, P * Q, R * S
    blocks = (taps + rows - 1) // rows
    gradient = g.reshape(-1)
    n, channel = task // C, task % C
    k = n * K + channel // (C // groups) * filters  # the first filter of the channel's group
    image = gx[n, channel]
    panel = np.empty(filters * columns, g.dtype)
    products = np.empty(rows * columns, g.dtype)
    h, v = np.empty(columns, np.int64), np.empty(columns, np.int64)
    for first in range(0, places, columns):
        here = min(columns, places - first)
        for j in range(here):  # where window first + j begins
            h[j], v[j] = (first + j) // Q * sh - top, (first + j) % Q * sw - left
        for i in range(filters):
            start = (k + i) * places + first
            for j in range(here):
                panel[i * columns + j] = gradient[start + j]
            for j in range(here, columns):
                panel[i * columns + j] = 0
        for block in range(blocks):
            set_tile(w, (channel * blocks + block) * filters * rows, panel, 0, filters, products, 0, columns)
            for i in range(min(rows, taps - block * rows)):
                down, right = (block * rows + i) // S * dh, (block * rows + i) % S * dw
                for j in range(here):
                    if 0 <= h[j] + down < H and 0 <= v[j] + right < W:
                        image[h[j] + down, v[j] + right] += products[i * columns + j]


def lefts_example(dtype: np.dtype) -> tuple[Any, ...]:
    rows, _ = tile_shape(dtype)
    return 1, np.ones((1, 1, 3, 3), dtype), np.ones((1, 1, 1, 9, rows), dtype)


@kernel(example=lefts_example)
def pack_lefts_loops(task, g, lefts):  # type: ignore[no-untyped-def]
    """g as the tile reads it: (N, groups, blocks, places, rows)."""
    N, K, P, Q = g.shape
    _, groups, blocks, places, rows = lefts.shape
    n, group, filters = task // groups, task % groups, K // groups
    gradient = g.reshape(-1)
    for block in range(blocks):
        left = lefts[n, group, block].reshape(-1)
        here = min(rows, filters - block * rows)
        for i in range(here):
            start = (n * K + group * filters + block * rows + i) * places
            for o in range(places):
                left[o * rows + i] = gradient[start + o]
        for i in range(here, rows):
            for o in range(places):
                left[o * rows + i] = 0


def weight_gradient_example(dtype: np.dtype) -> tuple[Any, ...]:
    rows, columns = tile_shape(dtype)
    lefts, x, sums = (
        np.ones((1, 1, 1, 9, rows), dtype),
        np.ones((1, 1, 4, 4), dtype),
        np.zeros((1, 1, rows, columns), dtype),
    )
    return 1, lefts, x, sums, 1, 2, 2, 3, 1, 1, 1, 1, columns


@kernel(example=weight_gradient_example)
def weight_gradient_loops(task, lefts, x, sums, channels, R, S, Q, sh, sw, dh, dw, columns):  # type: ignore[no-untyped-def]
    """sums[part, group, k, d] = Σ_no g[n, k, o] · X[d, o] over the images n of a part."""
    N, groups, blocks, places, rows = lefts.shape
    _, C, H, W = x.shape
    parts, _, height, width = sums.shape
    P, depth = places // Q, channels * R * S
    panels = width // columns
    left_values, image, totals = lefts.reshape(-1), x.reshape(-1), sums.reshape(-1)
    part, group, d = task // (groups * panels), task // panels % groups, task % panels * columns
    panel = np.empty(places * columns, x.dtype)
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
            add_tile(left_values, left, panel, 0, places, totals, total, width)
