"""The gradient of an image of few channels: products of g with every tap, added back to the places that the tap saw.

    gx[n, c, p·σ - top + r·δ, q·σ - left + s·δ] += Σ_k w[k, c, r, s] · g[n, k, p, q]

Rows of the tile are taps (c, r, s), its columns neighbouring places (p, q).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.frame import Padding, Pair
from minidl.kernels.jit import kernel
from minidl.kernels.simd import at, set_tile, tile_columns, tile_rows


def scatter_products(
    g: np.ndarray,
    weight: np.ndarray,
    x_shape: tuple[int, ...],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> np.ndarray:
    """∂L/∂x (N, C, H, W) from g (N, K, P, Q) and filters (K, C / groups, R, S)."""
    N = x_shape[0]
    top, left = padding[0][0], padding[1][0]
    gx = np.empty(x_shape, g.dtype)
    work = g.size * weight[0].size // 10
    scatter_task(N * groups, g, weight, gx, groups, *stride, top, left, *dilation, work=work)
    return gx


def example(dtype: np.dtype) -> tuple[Any, ...]:
    g, w, gx = np.ones((1, 1, 3, 3), dtype), np.ones((1, 1, 2, 2), dtype), np.empty((1, 1, 4, 4), dtype)
    return 1, g, w, gx, 1, 1, 1, 0, 0, 1, 1


@kernel(example=example)
def scatter_task(task, g, weight, gx, groups, sh, sw, top, left, dh, dw):  # type: ignore[no-untyped-def]
    """The channels of a group of one image, summed in a frame wide enough for all taps."""
    rows, columns = tile_rows(g), tile_columns(g)
    _, K, P, Q = g.shape
    _, C, H, W = gx.shape
    _, c, R, S = weight.shape
    n, group, height, places, taps = task // groups, task % groups, K // groups, P * Q, c * R * S
    high, wide = (P - 1) * sh + (R - 1) * dh + 1, (Q - 1) * sw + (S - 1) * dw + 1
    framed = np.zeros(c * high * wide, g.dtype)
    filters, gradient = weight.reshape(-1), g.reshape(-1)
    sums, corners, starts = np.empty(rows * columns, g.dtype), np.empty(columns, np.int64), np.empty(rows, np.int64)
    filter_steps, plane_steps = np.arange(height) * taps, np.arange(height) * places
    right = (n * K + group * height) * places
    if places < columns:  # the tile reads so many places of a plane: this one gets some more
        copy = np.zeros(height * columns, g.dtype)
        for k in range(height):
            for o in range(places):
                copy[k * columns + o] = gradient[right + k * places + o]
        gradient, right, plane_steps = copy, 0, np.arange(height) * columns
    for begin in range(0, places, columns):
        o = max(min(begin, places - columns), 0)  # the last tile begins earlier; what it repeats is left out
        skip, here = begin - o, min(columns, places - o)
        for j in range(here):
            corners[j] = (o + j) // Q * sh * wide + (o + j) % Q * sw
        neighbours = here - skip == columns and corners[columns - 1] - corners[0] == columns - 1
        for tap in range(0, taps, rows):
            for i in range(rows):
                starts[i] = group * height * taps + min(tap + i, taps - 1)
            set_tile(filters, starts, filter_steps, gradient, right + o, plane_steps, 0, height, sums, 0, columns)
            for i in range(min(rows, taps - tap)):
                d = tap + i
                shift = (d // (R * S) * high + d // S % R * dh) * wide + d % S * dw
                if neighbours:
                    row = framed[corners[0] + shift :][:columns]
                    for j in range(columns):
                        row[j] += sums[at(i * columns + j)]
                else:
                    for j in range(skip, here):
                        framed[at(corners[at(j)] + shift)] += sums[at(i * columns + j)]
    first, last = min(max(-left, 0), W), max(min(W, wide - left), 0)
    for channel in range(c):
        for h in range(H):
            row = gx[n, group * c + channel, h]
            row[:] = 0
            if 0 <= h + top < high and first < last:
                begin = (channel * high + h + top) * wide + left
                row[first:last] = framed[begin + first : begin + last]
