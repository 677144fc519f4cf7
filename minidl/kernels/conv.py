"""Convolution, three passes: which of the ways to compute it is taken, and the tables that the ways need.

| way        | where                                     | why                                                         |
|------------|-------------------------------------------|-------------------------------------------------------------|
| matrix     | a filter as large as the image            | there is one window: it is a linear layer                   |
| winograd   | float32, 3×3 filters in steps of one      | a quarter of the multiplications, a few digits less exact   |
| rows       | y and gx, wherever rows fill the tile     | the tile's columns are windows: sums lie as they are stored |
| dots       | gw, wherever rows fill vectors            | the lanes are windows: g is not packed, any filters fill it |
| direct     | else: tiny images, many filters; strides  | the tile's columns are filters, windows lie anywhere        |
|            | over many channels with many filters      | (rows would read too many phases of channels for a cache)   |

Depthwise convolutions, first layers and 1×1 filters are no cases of their own: `rows` has tiles for few filters, cuts
strided images into phases, and reads images that need no frame where they lie.

With a stride, the gradient of the image falls into as many independent images as there are places in a step: those
rows h with the same (h + top) mod stride saw the same taps. Each is the convolution, of stride 1, of g with those taps.
"""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np

from minidl.kernels.direct import pack_columns, products, sums_over_windows
from minidl.kernels.dots import sums_along_rows
from minidl.kernels.frame import Padding, Pair, framed
from minidl.kernels.gemm import matmul
from minidl.kernels.jit import contiguous
from minidl.kernels.rows import rows_products
from minidl.kernels.simd import register_lanes, tile_shape
from minidl.kernels.windows import Windows
from minidl.kernels.winograd import winograd_forward, winograd_input_gradient, winograd_weight_gradient


def conv2d_forward(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> np.ndarray:
    """y (N, K, P, Q) of images x (N, C, H, W) and filters (K, C / groups, R, S), plus bias (K,)."""
    if is_linear(x.shape, weight.shape, padding):
        y = matmul(x.reshape(len(x), -1), weight.reshape(len(weight), -1).T, bias)
        return y[:, :, None, None]
    if suits_winograd(x.shape, weight.shape, x.dtype, stride, padding, dilation):
        height, width = (x.shape[i] + sum(padding[i - 2]) - 2 for i in (2, 3))
        bias = no_bias(x) if bias is None else contiguous(bias)
        return winograd_forward(x, contiguous(weight), bias, (padding[0][0], padding[1][0]), (height, width))
    (N, C, H, W), (K, c, R, S) = x.shape, weight.shape
    P = (H + sum(padding[0]) - dilation[0] * (R - 1) - 1) // stride[0] + 1
    Q = (W + sum(padding[1]) - dilation[1] * (S - 1) - 1) // stride[1] + 1
    y = np.empty((N, K, P, Q), x.dtype)
    if not (x.size and y.size and weight.size):
        y[...] = 0 if bias is None else bias[:, None, None]
        return y
    bias = no_bias(x) if bias is None else contiguous(bias)
    size, filters = c * R * S, K // groups
    beside = (S - 1) * dilation[1] // stride[1]
    if fills_rows(filters, P, Q, beside, x.dtype) and not many(c, filters, stride, x.dtype):
        windows = windows_of((P, Q), padding, stride, dilation, (R, S))
        rows_products(contiguous(x), windows, contiguous(weight), steps(size), size, filters * size, bias, y, groups)
        return y
    x = framed(x, padding)
    H, W = x.shape[2:]
    taps = tap_table(c, H * W, tuple(range(0, R * dilation[0], dilation[0])), W, S, dilation[1])
    packed = pack_columns(contiguous(weight), steps(size), groups, filters, size, filters * size)
    starts = window_table(N, C * H * W, P, Q, stride[0] * W, stride[1])
    products(x, starts, taps, packed, bias, y, groups, c * H * W, window_table(N, K * P * Q, P, Q, Q, 1))
    return y


def suits_winograd(
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    dtype: np.dtype,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
) -> bool:
    """Whether Winograd's way is possible, allowed, and pays: enough channels, and patches not mostly past the edge."""
    N, C, H, W = x_shape
    K, c, R, S = weight_shape
    if not (winograd.allowed and dtype == np.float32 and R == S == 3 and stride == dilation == (1, 1)):
        return False
    P, Q = H + sum(padding[0]) - 2, W + sum(padding[1]) - 2
    enough = c == C and min(C, K) >= FEWEST and N * P * Q >= 256
    return enough and rounded(P, 4) * rounded(Q, 4) <= 1.7 * P * Q and max(map(max, padding)) <= 2


# Channels and filters: with fewer, evaluating patches costs more than products save (measured on ResNet-20, AVX-512).
FEWEST = 32


class Winograd:
    """Whether convolutions may be computed with Winograd's algorithm."""

    allowed = os.environ.get("MINIDL_WINOGRAD", "1") != "0"


winograd = Winograd()


def allow_winograd(allowed: bool) -> None:
    """Let float32 convolutions of 3×3 filters be computed with fewer multiplications, and less exactly (the default).

    The error is about 5e-5 for outputs of variance 1, against 1e-6. MINIDL_WINOGRAD=0 forbids it from the start.
    """
    if not isinstance(allowed, bool):
        raise TypeError(f"allow_winograd: takes True or False, not {allowed!r}")
    winograd.allowed = allowed


def fills_rows(filters: int, P: int, Q: int, beside: int, dtype: np.dtype) -> bool:
    """Whether tiles of neighbouring windows waste no more than tiles of neighbouring filters.

    Of a row, `beside` windows straddle the next and are thrown away; copying sums out transposed takes its time, too.
    """
    _, columns = tile_shape(dtype)
    places = (P - 1) * (Q + beside) + Q
    by_rows = P * Q / rounded(places, columns)
    return by_rows >= 0.7 * filters / rounded(filters, columns)


def many(channels: int, filters: int, stride: Pair, dtype: np.dtype) -> bool:
    """Whether, with a stride, there are so many channels that their phases are better left together."""
    return stride != (1, 1) and channels > MANY and filters >= tile_shape(dtype)[1]


MANY = 16


def rounded(n: int, multiple: int) -> int:
    """n rounded up."""
    return -(-n // multiple) * multiple


def conv2d_input_gradient(
    g: np.ndarray,
    weight: np.ndarray,
    x_shape: tuple[int, ...],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> np.ndarray:
    """∂L/∂x (N, C, H, W) from g = ∂L/∂y (N, K, P, Q)."""
    N, C, H, W = x_shape
    K, c, R, S = weight.shape
    (top, bottom), (left, right) = padding
    if not (g.size and weight.size and N * C * H * W):
        return np.zeros(x_shape, g.dtype)
    if is_linear(x_shape, weight.shape, padding):
        return matmul(g.reshape(g.shape[:2]), weight.reshape(K, -1)).reshape(x_shape)
    if suits_winograd(x_shape, weight.shape, g.dtype, stride, padding, dilation):
        return winograd_input_gradient(contiguous(g), contiguous(weight), (top, left), x_shape)
    return by_phases(contiguous(g), contiguous(weight), x_shape, stride, padding, dilation, groups)


def by_phases(
    g: np.ndarray,
    weight: np.ndarray,
    x_shape: tuple[int, ...],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> np.ndarray:
    """The gradient of the image as a convolution of g for every phase of the stride.

    gx[i] = Σ_r w[r] · g[p] over the taps r that saw row i = p·σ - top + r·δ from some p. For row i = a + σ·j they are
    those where σ divides a + top - r·δ =: σ·e, and p = j + e.
    """
    N, C, H, W = x_shape
    _, K, P, Q = g.shape
    _, c, R, S = weight.shape
    rows = [phase_taps(a, stride[0], padding[0][0], dilation[0], R) for a in range(min(stride[0], H))]
    columns = [phase_taps(b, stride[1], padding[1][0], dilation[1], S) for b in range(min(stride[1], W))]
    gx = np.empty(x_shape, g.dtype) if all(rows) and all(columns) else np.zeros(x_shape, g.dtype)
    height, places = K // groups, (-(-H // stride[0]), -(-W // stride[1]))
    beside = dilation[1] * (S - 1) // stride[1]
    if fills_rows(c, *places, beside, g.dtype) and not many(height, c, stride, g.dtype):
        for a, taps_down in enumerate(rows):
            for b, taps_along in enumerate(columns):
                if taps_down and taps_along:
                    windows = phase_windows(H, W, stride, a, b, taps_down, taps_along)
                    filters = filter_steps(height, c * R * S, tuple(taps_down), tuple(taps_along), S)
                    apart = c * R * S * height
                    rows_products(g, windows, weight, filters, R * S, apart, no_bias(g), gx, groups, (a, b), stride)
        return gx
    above, below = frame_of(rows, -(-H // stride[0]), P)
    before, behind = frame_of(columns, -(-W // stride[1]), Q)
    g = framed(g, ((above, below), (before, behind)))
    _, _, P, Q = g.shape
    for a, taps_down in enumerate(rows):
        for b, taps_along in enumerate(columns):
            if not (taps_down and taps_along):
                continue
            r, s = np.array([r for r, _ in taps_down]), np.array([s for s, _ in taps_along])
            inside = (np.arange(height)[:, None, None] * c * R + r[:, None]) * S + s
            filters = pack_columns(weight.reshape(groups, -1), inside.ravel(), groups, c, R * S, height * c * R * S)
            down = np.array([e + above for _, e in taps_down])
            along = np.array([e + before for _, e in taps_along])
            taps = ((np.arange(height)[:, None, None] * P + down[:, None]) * Q + along).ravel()
            places = -(-(H - a) // stride[0]), -(-(W - b) // stride[1])
            windows = window_table(N, K * P * Q, *places, Q, 1)
            outs = phase_table(N, C, H, W, a, b, *stride)
            products(g, windows, taps, filters, no_bias(g), gx, groups, height * P * Q, outs)
    return gx


def phase_windows(
    H: int, W: int, stride: Pair, a: int, b: int, taps_down: list[Pair], taps_along: list[Pair]
) -> Windows:
    """What the places of a phase see of g: p = j + e."""
    down, along = (min(e for _, e in taps) for taps in (taps_down, taps_along))
    return Windows(
        places=(-(-(H - a) // stride[0]), -(-(W - b) // stride[1])),
        frame=(-down, -along),
        stride=(1, 1),
        rows=tuple(e - down for _, e in taps_down),
        columns=tuple(e - along for _, e in taps_along),
    )


@lru_cache(maxsize=256)
def filter_steps(
    filters: int, size: int, taps_down: tuple[Pair, ...], taps_along: tuple[Pair, ...], S: int
) -> np.ndarray:
    """Where the weights (k, r, s) of a phase's taps lie in filters of so many values each, for channel 0."""
    r, s = (np.array([tap for tap, _ in taps]) for taps in (taps_down, taps_along))
    return (np.arange(filters)[:, None, None] * size + r[:, None] * S + s).ravel()


def phase_taps(a: int, stride: int, top: int, dilation: int, R: int) -> list[Pair]:
    """Of rows a, a + stride, ...: the taps r that see them, with e, how far from row j of the phase the place p is."""
    return [(r, (a + top - r * dilation) // stride) for r in range(R) if (a + top - r * dilation) % stride == 0]


def frame_of(phases: list[list[Pair]], rows: int, P: int) -> Pair:
    """How many zeros g needs above and below so that every p = j + e, for j < rows, is in it."""
    reach = [e for phase in phases for _, e in phase] or [0]
    return max(0, -min(reach)), max(0, rows + max(reach) - P)


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
    if is_linear(x.shape, weight_shape, padding):
        return matmul(g.reshape(g.shape[:2]).T, x.reshape(len(x), -1)).reshape(weight_shape)
    if suits_winograd(x.shape, weight_shape, g.dtype, stride, padding, dilation):
        return winograd_weight_gradient(contiguous(g), contiguous(x), (padding[0][0], padding[1][0]))
    g, (_, _, P, Q) = contiguous(g), g.shape
    fills = fills_lanes(K // groups, P, Q, padding, stride, (R, S), g.dtype)
    if fills and not many(c, K // groups, stride, g.dtype):
        windows = windows_of((P, Q), padding, stride, dilation, (R, S))
        return sums_along_rows(contiguous(x), windows, g, groups).reshape(weight_shape)
    x = framed(x, padding)
    N, C, H, W = x.shape
    packed = pack_columns(g, window_table(N, K * P * Q, P, Q, Q, 1), groups, K // groups, P * Q, K // groups * P * Q)
    windows = window_table(N, C * H * W, P, Q, stride[0] * W, stride[1])
    taps = tap_table(c, H * W, tuple(range(0, R * dilation[0], dilation[0])), W, S, dilation[1])
    return sums_over_windows(x, windows, taps, packed, c * H * W, K // groups).reshape(weight_shape)


def fills_lanes(filters: int, P: int, Q: int, padding: Padding, stride: Pair, size: Pair, dtype: np.dtype) -> bool:
    """Whether vectors of neighbouring windows waste no more than tiles of neighbouring filters."""
    _, columns = tile_shape(dtype)
    flat = size == stride == (1, 1) and padding == ((0, 0), (0, 0))  # the image is one long row
    length = P * Q if flat else Q
    return length / rounded(length, register_lanes(dtype)) >= 0.7 * filters / rounded(filters, columns)


def windows_of(places: Pair, padding: Padding, stride: Pair, dilation: Pair, size: Pair) -> Windows:
    """The windows of filters of that size."""
    rows, columns = (tuple(range(0, n * step, step)) for n, step in zip(size, dilation, strict=True))
    return Windows(places, (padding[0][0], padding[1][0]), stride, rows, columns)


def is_linear(x_shape: tuple[int, ...], weight_shape: tuple[int, ...], padding: Padding) -> bool:
    """Whether a filter is as large as the image, so that there is one window."""
    return x_shape[1:] == weight_shape[1:] and padding == ((0, 0), (0, 0))


# Tables of offsets; a network asks for the same ones in every step


@lru_cache(maxsize=256)
def window_table(N: int, image: int, P: int, Q: int, down: int, along: int) -> np.ndarray:
    """Where the windows (n, p, q) begin: n · image + p · down + q · along."""
    return ((np.arange(N)[:, None, None] * image + np.arange(P)[:, None] * down) + np.arange(Q) * along).ravel()


@lru_cache(maxsize=256)
def phase_table(N: int, C: int, H: int, W: int, a: int, b: int, down: int, along: int) -> np.ndarray:
    """Where the places (n, a + p · down, b + q · along) of channel 0 lie in images (N, C, H, W)."""
    n, p, q = np.ogrid[:N, a:H:down, b:W:along]
    return (n * (C * H * W) + p * W + q).ravel()


@lru_cache(maxsize=256)
def tap_table(channels: int, plane: int, rows: tuple[int, ...], W: int, S: int, dilation: int) -> np.ndarray:
    """Where the taps (c, r, s) of a window lie in it: c · plane + rows[r] · W + s · dilation."""
    taps = np.arange(channels)[:, None, None] * plane + np.array(rows)[:, None] * W + np.arange(S) * dilation
    return taps.ravel()


@lru_cache(maxsize=256)
def steps(n: int) -> np.ndarray:
    """0, 1, ..., n - 1."""
    return np.arange(n)


def no_bias(like: np.ndarray) -> np.ndarray:
    """What kernels take for no bias."""
    return np.empty(0, like.dtype)
