"""Convolution, three passes: which of the ways to compute it is taken, and the tables that the ways need.

| way        | where                                     | why                                                         |
|------------|-------------------------------------------|-------------------------------------------------------------|
| depthwise  | a channel has one filter of its own       | there is no product of matrices in it                       |
| scatter    | gradient of an image of few channels      | they would leave most of a tile's columns empty             |
| matrix     | a filter as large as the image            | there is one window: it is a linear layer                   |
| winograd   | float32, 3×3 filters in steps of one      | a quarter of the multiplications, a few digits less exact   |
| rows       | neighbouring windows, enough of a row     | the tile's columns are windows: nothing is copied           |
| direct     | everything else                           | windows need no copies, whatever stride and dilation        |

With a stride, the gradient of the image falls into as many independent images as there are places in a step: those
rows h with the same (h + top) mod stride saw the same taps. Each is the convolution, of stride 1, of g with those taps.
"""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np

from minidl.kernels.depthwise import (
    depthwise_forward_loops,
    depthwise_input_gradient_loops,
    depthwise_weight_gradient_loops,
)
from minidl.kernels.direct import pack_columns, products, sums_over_windows
from minidl.kernels.frame import Padding, Pair, framed
from minidl.kernels.gemm import matmul
from minidl.kernels.jit import contiguous
from minidl.kernels.rows import rows_products
from minidl.kernels.scatter import scatter_products
from minidl.kernels.simd import tile_shape
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
    x = framed(x, padding)
    (N, C, H, W), (K, c, R, S) = x.shape, weight.shape
    P = (H - dilation[0] * (R - 1) - 1) // stride[0] + 1
    Q = (W - dilation[1] * (S - 1) - 1) // stride[1] + 1
    y = out = np.empty((N, K, P, Q), x.dtype)
    if not (x.size and y.size and weight.size):
        y[...] = 0 if bias is None else bias[:, None, None]
        return y
    if is_depthwise(weight, groups):
        work = y.size * R * S
        depthwise_forward_loops(N * K, x, contiguous(weight[:, 0]), y, *stride, *dilation, work=work)
        if bias is not None:
            y += bias[:, None, None]
        return y
    bias = no_bias(x) if bias is None else contiguous(bias)
    if R == S == 1 and stride == (1, 1):  # a plane of windows is one long row
        x, out = x.reshape(N, C, 1, H * W), y.reshape(N, K, 1, H * W)
        P, Q, H, W = 1, H * W, 1, H * W
    taps = tap_table(c, H * W, tuple(range(0, R * dilation[0], dilation[0])), W, S, dilation[1])
    if fills_rows(K // groups, Q, stride, x.dtype):
        rows_products(x, taps, contiguous(weight), bias, out, groups, stride[0])
    else:
        size, filters = c * R * S, K // groups
        packed = pack_columns(contiguous(weight), steps(size), groups, filters, size, filters * size)
        windows = window_table(N, C * H * W, P, Q, stride[0] * W, stride[1])
        products(x, windows, taps, packed, bias, out, groups, c * H * W, window_table(N, K * P * Q, P, Q, Q, 1))
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


FEWEST = 48  # channels and filters: with fewer, evaluating patches costs more than the products save


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


def fills_rows(filters: int, Q: int, stride: Pair, dtype: np.dtype) -> bool:
    """Whether tiles of neighbouring windows waste no more than tiles of neighbouring filters."""
    rows, columns = tile_shape(dtype)
    if stride[1] != 1 or filters < rows or columns > Q:
        return False
    by_rows = rounded(filters, rows) / filters * rounded(Q, columns) / Q
    return by_rows <= 1.1 * rounded(filters, columns) / filters


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
    if is_depthwise(weight, groups):
        gx = np.empty((N, C, top + H + bottom, left + W + right), g.dtype)
        work = g.size * R * S
        depthwise_input_gradient_loops(
            N * C, gx, contiguous(weight[:, 0]), contiguous(g), *stride, *dilation, work=work
        )
        return gx[:, :, top : top + H, left : left + W]
    if is_linear(x_shape, weight.shape, padding):
        return matmul(g.reshape(g.shape[:2]), weight.reshape(K, -1)).reshape(x_shape)
    if suits_winograd(x_shape, weight.shape, g.dtype, stride, padding, dilation):
        return winograd_input_gradient(contiguous(g), contiguous(weight), (top, left), x_shape)
    if 4 * c <= tile_shape(g.dtype)[1]:
        return scatter_products(contiguous(g), contiguous(weight), x_shape, stride, padding, dilation, groups)
    return by_phases(g, contiguous(weight), x_shape, stride, padding, dilation, groups)


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
    if stride == (1, 1):  # one phase, and the kernel of forward serves
        (top, bottom), (left, right) = padding
        below, beside = dilation[0] * (R - 1), dilation[1] * (S - 1)
        turned = weight.reshape(groups, K // groups, c, R, S).swapaxes(1, 2)[..., ::-1, ::-1]
        frame = (below - top, below - bottom), (beside - left, beside - right)
        return conv2d_forward(g, turned.reshape(C, K // groups, R, S), None, (1, 1), frame, dilation, groups)
    rows = [phase_taps(a, stride[0], padding[0][0], dilation[0], R) for a in range(min(stride[0], H))]
    columns = [phase_taps(b, stride[1], padding[1][0], dilation[1], S) for b in range(min(stride[1], W))]
    above, below = frame_of(rows, -(-H // stride[0]), P)
    before, behind = frame_of(columns, -(-W // stride[1]), Q)
    g = framed(g, ((above, below), (before, behind)))
    _, _, P, Q = g.shape
    gx = np.empty(x_shape, g.dtype) if all(rows) and all(columns) else np.zeros(x_shape, g.dtype)
    height = K // groups
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
    x, g = framed(x, padding), contiguous(g)
    (N, C, H, W), (_, _, P, Q) = x.shape, g.shape
    if groups == K and c == 1:
        gw = np.zeros(weight_shape, g.dtype)
        depthwise_weight_gradient_loops(K, x, gw.reshape(K, R, S), g, *stride, *dilation, work=g.size * R * S)
        return gw
    packed = pack_columns(g, window_table(N, K * P * Q, P, Q, Q, 1), groups, K // groups, P * Q, K // groups * P * Q)
    windows = window_table(N, C * H * W, P, Q, stride[0] * W, stride[1])
    taps = tap_table(c, H * W, tuple(range(0, R * dilation[0], dilation[0])), W, S, dilation[1])
    return sums_over_windows(x, windows, taps, packed, c * H * W, K // groups).reshape(weight_shape)


def is_linear(x_shape: tuple[int, ...], weight_shape: tuple[int, ...], padding: Padding) -> bool:
    """Whether a filter is as large as the image, so that there is one window."""
    return x_shape[1:] == weight_shape[1:] and padding == ((0, 0), (0, 0))


def is_depthwise(weight: np.ndarray, groups: int) -> bool:
    """Whether every channel of the image has one filter of its own."""
    return weight.shape[0] == groups and weight.shape[1] == 1


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
