"""How a CPU multiplies matrices, told from the tile outwards.

C = A B, with A (M, K) and B (K, N). The tile of `simd.py` holds a few rows and columns of C in registers and wants,
for each step d of the depth, the values of A and of B side by side. Three things are left to arrange:

- **Panels.** A is copied once into panels of the tile's rows, (depth, rows) each, in the order in which tiles read
  them; B into panels of the tile's columns, (depth, columns), just before they are used. Copying costs M·K + K·N
  against M·N·K multiplications. It is also where transposed operands are dealt with: behind it all are alike.
- **Blocks of the depth.** A panel of B, DEPTH · columns values, must stay in the nearest cache while all panels of A
  pass by. So the depth is cut, and tiles after the first add to what is there.
- **Tasks.** Each thread takes a stretch of C's columns (and of its rows, where columns are few). Every value of C is
  summed by one thread, in an order that only the depth decides: results do not depend on the number of threads.

K. Goto, R. van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import contiguous, helper, kernel
from minidl.kernels.simd import add_tile, at, set_tile, tile_columns, tile_rows, tile_shape

DEPTH = 384  # of a block: 384 · 16 float32 of B are 24 of the 32 KiB that the nearest cache has
STRETCH = 8  # so many panels of columns, at most, are one task
BLOCK = 20  # so many panels of rows pass by before the next panel of columns
SMALL = 64**3  # multiplications: fewer are not worth the copies
TASKS = 8  # at least, if the matrix has so many panels of columns and bands of rows
BAND = 24  # so many rows of C, at most, are one task where columns alone are too few


def matmul(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """a @ b for a (..., M, K) and b (..., K, N), leading dimensions broadcast as by NumPy; plus bias (N,).

    Either matrix may be the transpose of a contiguous one: no copy is made of it then. Small products, and what has
    not two dimensions or is not floating, NumPy does as well; it then calls its BLAS, which takes one thread for them.
    """
    if (
        min(a.ndim, b.ndim) < 2
        or a.shape[-2] * a.shape[-1] * b.shape[-1] <= SMALL
        or a.dtype != b.dtype
        or a.dtype.char not in "fd"
    ):
        c = np.matmul(a, b)
        return c if bias is None else c + bias
    if b.ndim == 2:  # all leading dimensions of a are rows
        out = np.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
        batched((a if a.ndim == 2 else a.reshape(-1, a.shape[-1]))[None], b[None], out, bias)
        return out
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = np.empty((*batch, a.shape[-2], b.shape[-1]), a.dtype)
    a = np.broadcast_to(a, (*batch, *a.shape[-2:])).reshape(-1, *a.shape[-2:])
    b = np.broadcast_to(b, (*batch, *b.shape[-2:])).reshape(-1, *b.shape[-2:])
    batched(a, b, out, bias)
    return out


def batched(a: np.ndarray, b: np.ndarray, c: np.ndarray, bias: np.ndarray | None = None, add: bool = False) -> None:
    """Into contiguous memory c for (n, M, N): a (n, M, K) times b (n, K, N), plus bias (N,); or add all that to it."""
    count, M, K = a.shape
    N = b.shape[-1]
    if not (c.size and K):
        c[...] = (c if add else 0) + (0 if bias is None else bias)
        return
    a, a_row, a_depth = operand(a)
    b, b_depth, b_column = operand(b)
    rows, columns = tile_shape(c.dtype)
    panels = -(-M // rows)
    packed = np.empty(count * panels * rows * K, c.dtype)
    chunk = max(1, 20_000 // (K * rows))  # panels a task
    pack_rows(count * -(-panels // chunk), a, packed, M, K, a_row, a_depth, chunk, work=count * M * K // 2)
    wide = -(-N // columns)
    stretch = max(1, min(STRETCH, count * wide // TASKS))
    stretches = -(-wide // stretch)
    bands = max(1, min(-(-M // BAND), TASKS // (count * stretches)))
    multiply(
        count * bands * stretches,
        packed,
        b,
        c.reshape(-1),
        NO_BIAS[c.dtype.char] if bias is None else contiguous(bias),
        M,
        N,
        K,
        b_depth,
        b_column,
        bands,
        stretch,
        add,
        work=count * M * N * K // 40,
    )


NO_BIAS = {char: np.empty(0, char) for char in "fd"}


def operand(matrix: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Matrices (*, m, n) as flat memory, and the steps in it from row to row and from column to column."""
    m, n = matrix.shape[-2:]
    turned = matrix.swapaxes(-1, -2)
    if turned.flags.carray and not matrix.flags.carray:
        return turned.reshape(-1), 1, m
    return contiguous(matrix).reshape(-1), n, 1


@helper()
def depth_of_blocks(K):  # type: ignore[no-untyped-def]
    """Blocks of equal depth, DEPTH at most."""
    blocks = (K + DEPTH - 1) // DEPTH
    return (K + blocks - 1) // blocks


def pack_example(dtype: np.dtype) -> tuple[Any, ...]:
    rows, _ = tile_shape(dtype)
    return 1, np.ones(4, dtype), np.empty(2 * rows, dtype), 2, 2, 2, 1, 1


@kernel(example=pack_example)
def pack_rows(task, a, packed, M, K, row_step, depth_step, chunk):  # type: ignore[no-untyped-def]
    """Panels (depth, rows) of some rows of A, by blocks of the depth: packed (count, depths, panels, depth, rows)."""
    rows = tile_rows(a)
    panels = (M + rows - 1) // rows
    chunks, step = (panels + chunk - 1) // chunk, depth_of_blocks(K)
    matrix, first = task // chunks, task % chunks * chunk
    for panel in range(first, min(first + chunk, panels)):
        i = panel * rows
        start = matrix * M * K + i * row_step
        for d in range(0, K, step):
            depth = min(step, K - d)
            to = packed[(matrix * K + d) * panels * rows + panel * depth * rows :][: depth * rows]
            pack_panel_rows(a[start + d * depth_step :], to, min(rows, M - i), depth, row_step, depth_step)


@helper()
def pack_panel_rows(a, to, here, depth, row_step, depth_step):  # type: ignore[no-untyped-def]
    """to[d, i] = a[i, d] for `here` rows, 0 for the rest of the tile's."""
    rows = tile_rows(a)
    if here == rows:
        for d in range(depth):
            for i in range(rows):
                to[at(d * rows + i)] = a[at(i * row_step + d * depth_step)]
    else:
        for d in range(depth):
            for i in range(rows):
                to[at(d * rows + i)] = a[at(i * row_step + d * depth_step)] if i < here else 0


@helper()
def pack_panel_columns(b, to, here, depth, depth_step, column_step):  # type: ignore[no-untyped-def]
    """to[d, j] = b[d, j] for `here` columns, 0 for the rest of the tile's."""
    columns = tile_columns(b)
    if here < columns:
        for d in range(depth):
            for j in range(columns):
                to[at(d * columns + j)] = b[at(d * depth_step + j * column_step)] if j < here else 0
    elif column_step == 1:
        for d in range(depth):
            for j in range(columns):
                to[at(d * columns + j)] = b[at(d * depth_step + j)]
    else:
        for d in range(depth):
            for j in range(columns):
                to[at(d * columns + j)] = b[at(d * depth_step + j * column_step)]


def multiply_example(dtype: np.dtype) -> tuple[Any, ...]:
    rows, _ = tile_shape(dtype)
    packed, c = np.ones(rows * 2, dtype), np.empty(4, dtype)
    return 1, packed, np.ones(4, dtype), c, NO_BIAS[dtype.char], 2, 2, 2, 2, 1, 1, 1, False


@kernel(example=multiply_example)
def multiply(task, packed, b, c, bias, M, N, K, depth_step, column_step, bands, stretch, add):  # type: ignore[no-untyped-def]
    """A stretch of columns, and a band of rows, of one of the matrices C."""
    rows, columns = tile_rows(b), tile_columns(b)
    stretches = ((N + columns - 1) // columns + stretch - 1) // stretch
    matrix, band, begin = task // (bands * stretches), task // stretches % bands, task % stretches * stretch * columns
    panels, step = (M + rows - 1) // rows, depth_of_blocks(K)
    first, last = panels * band // bands, panels * (band + 1) // bands
    out = c[matrix * M * N :]
    right = np.empty(step * stretch * columns, b.dtype)
    corner = np.empty(rows * columns, b.dtype)
    starts = np.empty(rows, np.int64)
    left_steps, right_steps = np.arange(step) * rows, np.arange(step) * columns
    end = min(begin + stretch * columns, N)
    for d in range(0, K, step):
        depth = min(step, K - d)
        for j in range(begin, end, columns):
            start = matrix * K * N + d * depth_step + j * column_step
            pack_panel_columns(
                b[start:], right[(j - begin) * depth :], min(columns, N - j), depth, depth_step, column_step
            )
        for block in range(first, last, BLOCK):
            for j in range(begin, end, columns):
                wide, panel_at = min(columns, N - j), (j - begin) * depth
                for panel in range(block, min(block + BLOCK, last)):
                    left, i = ((matrix * K + d) * panels + panel * depth) * rows, panel * rows
                    high = min(rows, M - i)
                    for r in range(rows):
                        starts[r] = left + r
                    inside = wide == columns and high == rows  # at the edge the tile is larger than what is left
                    to, place, row = (out, i * N + j, N) if inside else (corner, 0, columns)
                    if inside and (d or add):
                        add_tile(packed, starts, left_steps, right, panel_at, right_steps, 0, depth, to, place, row)
                    else:
                        set_tile(packed, starts, left_steps, right, panel_at, right_steps, 0, depth, to, place, row)
                    if not inside:
                        put_corner(corner, out[i * N + j :], N, high, wide, d or add)
        if bias.size and d + depth == K:
            add_bias(out[begin:], N, bias[begin:end], first * rows, min(last * rows, M))


@helper()
def put_corner(corner, out, step, high, wide, add):  # type: ignore[no-untyped-def]
    """The part of a tile that lies within the matrix, stored there or added."""
    columns = tile_columns(corner)
    for i in range(high):
        for j in range(wide):
            value = corner[i * columns + j]
            out[i * step + j] = out[i * step + j] + value if add else value


@helper()
def add_bias(out, step, bias, first, last):  # type: ignore[no-untyped-def]
    """Add to rows [first, last) of some columns, while they are in the cache."""
    for i in range(first, last):
        row = out[i * step :][: bias.size]
        for j in range(bias.size):
            row[j] += bias[j]
