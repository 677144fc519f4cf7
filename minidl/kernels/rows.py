"""Convolution along the rows: the tile's columns are neighbouring windows, its rows are filters.

Of neighbouring windows the same tap sees neighbouring values, so B is the image itself, framed as in `windows.py`:

    y[k, o] = Σ_d w[k, d] · image[o + taps[d]]      for `columns` neighbours o

A framed plane is one long row: windows that begin in the last places of a row straddle it and the next; they are
computed like all others and thrown away. So a tile takes windows of several short rows.

With few filters a tile of fewer rows is longer. With one (depthwise convolution, the gradient of a grey image) nothing
of the image is used twice, and the tile is one long row of sums that stay in registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import kernel
from minidl.kernels.simd import family, tile_shape
from minidl.kernels.windows import Pair, Windows, frame_rows, layout, put_row

KINDS = "high", "flat", "long"  # the tiles, see simd.py
(high_tile, *_), (flat_tile, *_), (long_tile, *_) = (family(kind) for kind in KINDS)
TASKS = 16  # so many at least, if there are rows and filters for them


def rows_products(
    x: np.ndarray,
    windows: Windows,
    filters: np.ndarray,
    steps: np.ndarray,
    filter_step: int,
    group_step: int,
    bias: np.ndarray,
    y: np.ndarray,
    groups: int,
    phase: Pair = (0, 0),
    apart: Pair = (1, 1),
) -> None:
    """y (N, K, H, W) at places (a + p · down, b + q · along), for phase (a, b) and `apart` (down, along).

    Filter k of a group has filters[group · group_step + k · filter_step + steps[d]] for its tap d = (c, r, s).
    """
    (N, C, *size), (_, K, _, W) = x.shape, y.shape
    height, (P, Q) = K // groups, windows.places
    shapes = [tile_shape(x.dtype, kind) for kind in KINDS]
    least = max(columns for _, columns in shapes)
    frame = layout(windows, C // groups, (size[0], size[1]), x.itemsize, -(-TASKS // (N * groups)), least)
    shares = max(1, min(-(-height // shapes[0][0]), TASKS // (N * groups * frame.bands)))
    tiles = np.array([*shapes[0], *shapes[1], *shapes[2], filter_step, group_step, groups, shares])
    out = np.array([phase[0] * W + phase[1], apart[0] * W, apart[1], P, Q, frame.band, frame.size])
    tasks, work = N * groups * frame.bands * shares, N * K * P * Q * steps.size // 40
    rows_task(tasks, x, frame.taps, frame.numbers, filters.reshape(-1), steps, bias, y, tiles, out, work=work)


def example(dtype: np.dtype) -> tuple[Any, ...]:
    image, one, table = np.ones((1, 1, 1, 1), dtype), np.ones(1, dtype), np.zeros(1, np.int64)
    frame = layout(Windows((1, 1), (0, 0), (1, 1), (0,), (0,)), 1, (1, 1), dtype.itemsize, 1, 8)
    shapes = [n for kind in KINDS for n in tile_shape(dtype, kind)]
    tiles, out = np.array([*shapes, 1, 1, 1, 1]), np.array([0, 1, 1, 1, 1, 1, frame.size])
    return 1, image, frame.taps, frame.numbers, one, table, one, image.copy(), tiles, out


@kernel(example=example)
def rows_task(task, x, taps, numbers, filters, steps, bias, y, tiles, out):  # type: ignore[no-untyped-def]
    """Some filters of a group on a band of rows of windows."""
    _, K, H, W = y.shape
    high_rows, high_columns, flat_rows, flat_columns, long_columns = tiles[0], tiles[1], tiles[2], tiles[3], tiles[5]
    filter_step, group_step, groups, shares = tiles[6], tiles[7], tiles[8], tiles[9]
    corner, down, along, P, Q, band, size = out[0], out[1], out[2], out[3], out[4], out[5], out[6]
    C, bands, height, depth, wide = x.shape[1] // groups, (P + band - 1) // band, K // groups, steps.size, numbers[5]
    n, group, first = (
        task // (groups * bands * shares),
        task // (bands * shares) % groups,
        task // shares % bands * band,
    )
    share, here = task % shares, min(band, P - first)
    start, places = 0, (here - 1) * wide + Q
    if size:
        image = np.empty(size + long_columns + flat_columns, x.dtype)  # a tile may see places past the end
        frame_rows(x, n, group * C, C, first, numbers, image, 0)
    else:
        image = x.reshape(-1)
        start = ((n * groups + group) * C * x.shape[2] + first) * wide
    one_row = wide == Q and down == Q and along == 1  # rows follow each other without a gap, in image and result
    sums, starts = (
        np.empty(long_columns + high_rows * high_columns + flat_rows * flat_columns, x.dtype),
        np.empty(16, np.int64),
    )
    result, blocks = y.reshape(-1), (height + high_rows - 1) // high_rows
    k, end = blocks * share // shares * high_rows, min(blocks * (share + 1) // shares * high_rows, height)
    while k < end:
        left = end - k
        if left == 1:
            rows, columns = 1, long_columns
        elif left <= flat_rows or high_rows < left <= 2 * flat_rows:
            rows, columns = flat_rows, flat_columns
        else:
            rows, columns = high_rows, high_columns
        for i in range(rows):  # spare rows repeat a filter
            starts[i] = group * group_step + min(k + i, end - 1) * filter_step
        o = 0
        while o < places:
            if o % wide >= Q:  # windows from here on straddle two rows
                o += wide - o % wide
            o = max(min(o, places - columns), 0)  # the last tile begins earlier and computes some values again
            if columns == long_columns:
                long_tile(filters, starts, steps, image, start + o, taps, 0, depth, sums, 0, columns)
            elif rows == flat_rows:
                flat_tile(filters, starts, steps, image, start + o, taps, 0, depth, sums, 0, columns)
            else:
                high_tile(filters, starts, steps, image, start + o, taps, 0, depth, sums, 0, columns)
            j, last, p, q = 0, min(columns, places - o), o // wide, o % wide
            while j < last:
                count = last - j if one_row else min(last - j, Q - q)
                for i in range(min(rows, left)):
                    filter = group * height + k + i
                    shift = bias[filter] if bias.size else sums.dtype.type(0)
                    to = ((n * K + filter) * H) * W + corner + (first + p) * down + q * along
                    put_row(sums, i * columns + j, count, shift, result, to, along)
                j += count if one_row else wide - q
                p, q = p + 1, 0
            o += columns
        k += rows
