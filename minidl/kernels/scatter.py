"""The gradient of an image of few channels: products of g with every tap, added back to the places that the tap saw.

    gx[n, c, p·σ - top + r·δ, q·σ - left + s·δ] += Σ_k w[k, c, r, s] · g[n, k, p, q]

Rows of the tile are taps (c, r, s), its columns neighbouring places (p, q).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.frame import Padding, Pair
from minidl.kernels.gemm import pack_panel_columns
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
    N, C, _, _ = x_shape
    top, left = padding[0][0], padding[1][0]
    gx = np.empty(x_shape, g.dtype)
    work = g.size * weight[0].size // 10
    scatter_task(N * C, g, weight, gx, groups, *stride, top, left, *dilation, work=work)
    return gx


def example(dtype: np.dtype) -> tuple[Any, ...]:
    g, w, gx = np.ones((1, 1, 3, 3), dtype), np.ones((1, 1, 2, 2), dtype), np.empty((1, 1, 4, 4), dtype)
    return 1, g, w, gx, 1, 1, 1, 0, 0, 1, 1


@kernel(example=example)
def scatter_task(task, g, weight, gx, groups, sh, sw, top, left, dh, dw):  # type: ignore[no-untyped-def]
    """One channel of one image, summed in a frame wide enough for all taps."""
    rows, columns = tile_rows(g), tile_columns(g)
    _, K, P, Q = g.shape
    _, C, H, W = gx.shape
    _, c, R, S = weight.shape
    n, channel = task // C, task % C
    height, places, taps = K // groups, P * Q, R * S
    group, inner = channel // c, channel % c
    wide = (Q - 1) * sw + (S - 1) * dw + 1
    framed = np.zeros(((P - 1) * sh + (R - 1) * dh + 1) * wide, g.dtype)
    filters, gradient = weight.reshape(-1), g.reshape(-1)
    right, sums = np.empty(height * columns, g.dtype), np.empty(rows * columns, g.dtype)
    steps, starts, corners = np.arange(height) * (c * taps), np.empty(rows, np.int64), np.empty(columns, np.int64)
    for o in range(0, places, columns):
        here = min(columns, places - o)
        for j in range(here):
            corners[j] = (o + j) // Q * sh * wide + (o + j) % Q * sw
        pack_panel_columns(gradient[(n * K + group * height) * places + o :], right, here, height, places, 1)
        neighbours = here == columns and corners[columns - 1] - corners[0] == columns - 1
        for tap in range(0, taps, rows):
            for i in range(rows):
                starts[i] = (group * height * c + inner) * taps + min(tap + i, taps - 1)
            set_tile(filters, starts, steps, 0, right, 0, height, sums, 0, columns)
            for i in range(min(rows, taps - tap)):
                shift = (tap + i) // S * dh * wide + (tap + i) % S * dw
                if neighbours:
                    row = framed[corners[0] + shift :][:columns]
                    for j in range(columns):
                        row[j] += sums[at(i * columns + j)]
                else:
                    for j in range(here):
                        framed[at(corners[at(j)] + shift)] += sums[at(i * columns + j)]
    for h in range(H):
        row = gx[n, channel, h]
        for w in range(W):
            inside = 0 <= (h + top) * wide + w + left < framed.size and w + left < wide
            row[w] = framed[at((h + top) * wide + w + left)] if inside else 0
