"""Convolution, three passes: which of the ways to compute it is taken, and the tables that the ways need.

| way        | where                                     | why                                                         |
|------------|-------------------------------------------|-------------------------------------------------------------|
| depthwise  | a channel has one filter of its own       | there is no product of matrices in it                       |
| scatter    | gradient of an image of few channels      | they would leave most of a tile's columns empty             |
| direct     | everything else                           | windows need no copies, whatever stride and dilation        |

With a stride, the gradient of the image falls into as many independent images as there are places in a step: those
rows h with the same (h + top) mod stride saw the same taps. Each is the convolution, of stride 1, of g with those taps.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from minidl.kernels.depthwise import (
    depthwise_forward_loops,
    depthwise_input_gradient_loops,
    depthwise_weight_gradient_loops,
)
from minidl.kernels.direct import pack_columns, products, sums_over_windows
from minidl.kernels.frame import Padding, Pair, framed
from minidl.kernels.jit import contiguous
from minidl.kernels.scatter import scatter_products
from minidl.kernels.simd import tile_shape


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
    x = framed(x, padding)
    (N, C, H, W), (K, c, R, S) = x.shape, weight.shape
    P = (H - dilation[0] * (R - 1) - 1) // stride[0] + 1
    Q = (W - dilation[1] * (S - 1) - 1) // stride[1] + 1
    y = np.empty((N, K, P, Q), x.dtype)
    if not (x.size and y.size and weight.size):
        y[...] = 0 if bias is None else bias[:, None, None]
        return y
    if is_depthwise(weight, groups):
        work = y.size * R * S
        depthwise_forward_loops(N * K, x, contiguous(weight[:, 0]), y, *stride, *dilation, work=work)
        if bias is not None:
            y += bias[:, None, None]
        return y
    filters = pack_columns(
        contiguous(weight), steps(c * R * S), groups, K // groups, c * R * S, K // groups * c * R * S
    )
    windows = window_table(N, C * H * W, P, Q, stride[0] * W, stride[1])
    taps = tap_table(c, H * W, tuple(range(0, R * dilation[0], dilation[0])), W, S, dilation[1])
    products(x, windows, taps, filters, no_bias(x) if bias is None else contiguous(bias), y, groups, c * H * W, (P, Q))
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
    if 2 * c <= tile_shape(g.dtype)[1]:
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
            products(
                g, windows, taps, filters, no_bias(g), gx, groups, height * P * Q, places, stride=stride, first=(a, b)
            )
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


def is_depthwise(weight: np.ndarray, groups: int) -> bool:
    """Whether every channel of the image has one filter of its own."""
    return weight.shape[0] == groups and weight.shape[1] == 1


# Tables of offsets; a network asks for the same ones in every step


@lru_cache(maxsize=256)
def window_table(N: int, image: int, P: int, Q: int, down: int, along: int) -> np.ndarray:
    """Where the windows (n, p, q) begin: n · image + p · down + q · along."""
    return ((np.arange(N)[:, None, None] * image + np.arange(P)[:, None] * down) + np.arange(Q) * along).ravel()


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
