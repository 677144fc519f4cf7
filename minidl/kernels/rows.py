"""Convolution of stride 1 along the rows: the tile's columns are neighbouring windows, its rows are filters.

Of neighbouring windows the same tap sees neighbouring values, so B is the image itself, and the sums are stored where
they belong:

    y[k, o] = Σ_d w[k, d] · image[o + taps[d]]      for `columns` neighbours o of a row

That takes at least a tile's columns of windows in a row and a tile's rows of filters. Where they do not divide, the
last tile begins earlier and computes some values again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import kernel
from minidl.kernels.simd import set_tile, tile_columns, tile_rows, tile_shape

BAND = 4  # so many rows of windows are one task


def rows_products(
    image: np.ndarray, taps: np.ndarray, filters: np.ndarray, bias: np.ndarray, y: np.ndarray, groups: int, down: int
) -> None:
    """y (N, K, P, Q) of image (N, C, H, W) and filters (K, d); windows are `down` rows apart."""
    N, K, P, _ = y.shape
    steps, work = np.arange(taps.size), y.size * taps.size // 40
    rows_task(N * groups * -(-P // BAND), image, taps, filters.reshape(-1), steps, bias, y, groups, down, work=work)


def example(dtype: np.dtype) -> tuple[Any, ...]:
    rows, columns = tile_shape(dtype)
    image, table = np.ones((1, 1, 1, columns), dtype), np.zeros(1, np.int64)
    filters, y = np.ones(rows, dtype), np.ones((1, rows, 1, columns), dtype)
    return 1, image, table, filters, table, filters, y, 1, 1


@kernel(example=example)
def rows_task(task, image, taps, filters, steps, bias, y, groups, down):  # type: ignore[no-untyped-def]
    """All filters of a group on a band of rows of an image."""
    rows, columns = tile_rows(image), tile_columns(image)
    N, K, P, Q = y.shape
    _, C, H, W = image.shape
    bands, height, depth = (P + BAND - 1) // BAND, K // groups, taps.size
    n, group, band = task // (groups * bands), task // bands % groups, task % bands
    values, out = image.reshape(-1), y.reshape(-1)
    start = (n * C + group * (C // groups)) * H * W
    starts = np.empty(rows, np.int64)
    for block in range(0, height, rows):
        k = group * height + min(block, height - rows)
        for i in range(rows):
            starts[i] = (k + i) * depth
        for p in range(band * BAND, min((band + 1) * BAND, P)):
            first = ((n * K + k) * P + p) * Q
            for tile in range(0, Q, columns):
                q = min(tile, Q - columns)
                right = start + p * down * W + q
                set_tile(filters, starts, steps, values, right, taps, 0, depth, out, first + q, P * Q)
            if bias.size:
                for i in range(rows):
                    row = y[n, k + i, p]
                    for j in range(row.size):
                        row[j] += bias[k + i]
