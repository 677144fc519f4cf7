"""Convolution without copies of windows: the tile reads them where they lie.

Number the taps of a filter d = (c, r, s) and the windows of a batch o = (n, p, q). What tap d sees in window o is

    X[o, d] = image[windows[o] + taps[d]],

a sum of two offsets into memory, each from a small table. Such sums are what the tile takes, so products with X need no
copy of it:

    y[o, k]  = Σ_d X[o, d] · w[k, d]       rows are windows, steps are taps
    gw[d, k] = Σ_o X[o, d] · g[o, k]       rows are taps, steps are windows

The columns are filters, packed side by side. Stride and dilation only change the tables; of a batch of tiny images,
windows of several share a tile. The gradient of the image is the first product again, with g for the image.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import kernel
from minidl.kernels.simd import add_tile, at, set_tile, tile_columns, tile_rows, tile_shape

DEPTH = 384  # steps of a tile, so that a block of filters, DEPTH · columns values, stays in the nearest cache
TILES = 16  # so many tiles' rows of windows are one task
STEPS = 512  # of a block of columns, packed by one task
TASKS = 16  # where windows are few, filters are shared out too until there are so many tasks


def pack_columns(
    a: np.ndarray, steps: np.ndarray, matrices: int, height: int, step: int, matrix_step: int
) -> np.ndarray:
    """Matrices whose columns lie `step` apart in a, as the tile reads B: (matrices, blocks, steps, columns).

    packed[m, block, d, j] = a[m · matrix_step + (block · columns + j) · step + steps[d]]; 0 for spare columns.
    """
    _, columns = tile_shape(a.dtype)
    blocks = -(-height // columns)
    packed = np.empty((matrices, blocks, steps.size, columns), a.dtype)
    tasks = matrices * blocks * -(-steps.size // STEPS)
    pack_columns_task(tasks, a.reshape(-1), packed, steps, height, step, matrix_step, work=packed.size // 2)
    return packed


def products(
    image: np.ndarray,
    windows: np.ndarray,
    taps: np.ndarray,
    filters: np.ndarray,
    bias: np.ndarray,
    y: np.ndarray,
    groups: int,
    group_step: int,
    places: np.ndarray,
) -> None:
    """y[places[o] + k · H · W] = Σ_d image[windows[o] + taps[d]] · w[k, d] + bias[k], for y (N, K, H, W).

    `group_step` is how far the channels of two groups lie apart in the image.
    """
    rows, columns = tile_shape(y.dtype)
    stretches = -(-windows.size // (TILES * rows))
    blocks = -(-(y.shape[1] // groups) // columns)
    shares = min(blocks, max(1, TASKS // (groups * stretches)))
    tasks, work = stretches * groups * shares, windows.size * taps.size * y.shape[1] // 40
    filters = filters.reshape(-1)
    products_task(
        tasks, image.reshape(-1), windows, taps, filters, bias, y, groups, group_step, shares, places, work=work
    )


def sums_over_windows(
    image: np.ndarray, windows: np.ndarray, taps: np.ndarray, g: np.ndarray, group_step: int, height: int
) -> np.ndarray:
    """Σ_o image[windows[o] + taps[d]] · g[o, k] as (groups, k, d); g as `pack_columns` made it of `height` filters."""
    rows, columns = tile_shape(g.dtype)
    groups, blocks, _, _ = g.shape
    stretches = -(-taps.size // rows)
    shares = min(stretches, max(1, TASKS // (groups * blocks)))
    parts = min(-(-windows.size // DEPTH), max(1, TASKS // (groups * blocks * shares)))
    sums = np.zeros((parts, groups, blocks, stretches * rows, columns), g.dtype)
    packed = np.arange(windows.size) * columns
    tasks, work = parts * groups * blocks * shares, windows.size * taps.size * height * groups // 40
    sums_task(tasks, image.reshape(-1), windows, taps, g.reshape(-1), packed, sums, group_step, shares, work=work)
    total = sums.sum(0) if parts > 1 else sums[0]  # (groups, blocks, d, columns)
    total = total.transpose(0, 1, 3, 2).reshape(groups, blocks * columns, -1)
    return total[:, :height, : taps.size]


def pack_example(dtype: np.dtype) -> tuple[Any, ...]:
    _, columns = tile_shape(dtype)
    return 1, np.ones(4, dtype), np.empty((1, 1, 2, columns), dtype), np.arange(2), 2, 2, 4


@kernel(example=pack_example)
def pack_columns_task(task, a, packed, steps, height, step, matrix_step):  # type: ignore[no-untyped-def]
    """Some steps of one block of columns."""
    columns = tile_columns(a)
    _, blocks, depth, _ = packed.shape
    shares = (depth + STEPS - 1) // STEPS
    matrix, block, begin = task // (blocks * shares), task // shares % blocks, task % shares * STEPS
    here = min(columns, height - block * columns)
    start = matrix * matrix_step + block * columns * step
    to = packed[matrix, block].reshape(-1)
    if here == columns:
        for d in range(begin, min(begin + STEPS, depth)):
            place = start + steps[at(d)]
            for j in range(columns):
                to[at(d * columns + j)] = a[at(place + j * step)]
    else:
        for d in range(begin, min(begin + STEPS, depth)):
            place = start + steps[at(d)]
            for j in range(columns):
                to[at(d * columns + j)] = a[at(place + j * step)] if j < here else 0


def products_example(dtype: np.dtype) -> tuple[Any, ...]:
    _, columns = tile_shape(dtype)
    image, table, one = np.ones(4, dtype), np.zeros(1, np.int64), np.ones(1, dtype)
    return 1, image, table, table, np.ones(columns, dtype), one, one.reshape(1, 1, 1, 1), 1, 4, 1, table


@kernel(example=products_example)
def products_task(task, image, windows, taps, filters, bias, y, groups, group_step, shares, places):  # type: ignore[no-untyped-def]
    """Some windows times some filters of a group."""
    rows, columns = tile_rows(image), tile_columns(image)
    _, K, H, W = y.shape
    height, depth = K // groups, taps.size
    blocks = (height + columns - 1) // columns
    stretch, group, share = task // (groups * shares), task // shares % groups, task % shares
    begin = stretch * TILES * rows
    here = min(TILES * rows, windows.size - begin)
    starts = np.empty(TILES * rows, np.int64)
    for i in range(TILES * rows):
        starts[i] = windows[begin + min(i, here - 1)] + group * group_step  # a tile's spare rows repeat a window
    sums, packed = np.empty(TILES * rows * columns, image.dtype), np.arange(depth) * columns
    out = y.reshape(-1)
    for block in range(blocks * share // shares, blocks * (share + 1) // shares):
        right = (group * blocks + block) * depth * columns
        for d in range(0, depth, DEPTH):
            steps = min(DEPTH, depth - d)
            for i in range(0, here, rows):
                if d:
                    add_tile(image, starts[i:], taps, filters, right, packed, d, steps, sums, i * columns, columns)
                else:
                    set_tile(image, starts[i:], taps, filters, right, packed, 0, steps, sums, i * columns, columns)
        for j in range(min(columns, height - block * columns)):
            k = group * height + block * columns + j
            shift = bias[k] if bias.size else sums.dtype.type(0)
            for i in range(here):
                out[at(places[at(begin + i)] + k * H * W)] = sums[at(i * columns + j)] + shift


def sums_example(dtype: np.dtype) -> tuple[Any, ...]:
    rows, columns = tile_shape(dtype)
    table, sums = np.zeros(1, np.int64), np.zeros((1, 1, 1, rows, columns), dtype)
    return 1, np.ones(4, dtype), table, table, np.ones(columns, dtype), table, sums, 4, 1


@kernel(example=sums_example)
def sums_task(task, image, windows, taps, g, packed, sums, group_step, shares):  # type: ignore[no-untyped-def]
    """Some taps times a block of filters, over a part of the windows."""
    rows, columns = tile_rows(image), tile_columns(image)
    parts, groups, blocks, height, _ = sums.shape
    part, group = task // (groups * blocks * shares), task // (blocks * shares) % groups
    block, share = task // shares % blocks, task % shares
    stretches, right = height // rows, (group * blocks + block) * windows.size * columns
    total = sums[part, group, block].reshape(-1)
    starts = np.empty(rows, np.int64)
    end = windows.size * (part + 1) // parts
    for o in range(windows.size * part // parts, end, DEPTH):
        steps = min(DEPTH, end - o)
        for stretch in range(stretches * share // shares, stretches * (share + 1) // shares):
            d = stretch * rows
            for i in range(rows):  # spare rows repeat a tap
                starts[i] = taps[min(d + i, taps.size - 1)] + group * group_step
            add_tile(image, starts, windows, g, right, packed, o, steps, total, d * columns, columns)
