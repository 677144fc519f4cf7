"""How a CPU multiplies matrices, told from the tile outwards.

C = A B, with A (M, K) and B (K, N). The tile of `simd.py` holds a few rows and columns of C in registers and wants,
for each step d of the depth, the values of A and of B side by side. This is left to arrange:

- **Panels.** B is copied into panels of the tile's columns, (depth, columns) each, in the order in which tiles read
  them, just before they are used (`packing.py`). A copy also deals with a transposed B. It costs K·N against M·N·K
  multiplications, too much for the few rows of A of a vector or a small batch: there the tile reads B where it lies, if
  its rows are contiguous. A it always reads where it lies, in either order, except where the lines that it needs would
  drive each other out of the cache.
- **Blocks of the depth.** A panel of B must stay in the nearest cache while all panels of A pass by. So the depth is
  cut, and each block of it adds to what is there; before the first, that is the bias, or 0.
- **Tasks.** Each thread takes a band of C's rows and a stretch of its columns, both as large as leaves every thread a
  few, and copies what it needs for itself: what another core has just read or written comes slowly. Every value of C
  is summed by one thread, in an order that only the depth decides: results do not depend on the number of threads.
- **Edges.** Where fewer columns or rows are left than the wide tile has, the narrow or the low one takes over. A
  matrix times a vector reads each value of the matrix once, and needs no tile.

K. Goto, R. van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.kernels.jit import contiguous, helper, kernel
from minidl.kernels.packing import aligned, depth_of_blocks, pack_panel_columns, pack_rows
from minidl.kernels.simd import (
    add_low_tile,
    add_narrow_tile,
    add_tile,
    at,
    low_rows,
    narrow_columns,
    narrow_rows,
    tile_columns,
    tile_rows,
    tile_shape,
)
from minidl.kernels.threads import get_num_threads

STRETCH = 8, 16  # so many panels of columns, at most, are one task; and where A is transposed
BLOCK = 20  # so many panels of rows pass by before the next panel of columns
SMALL = 64**3  # multiplications: fewer are not worth the copies
SMALL_VECTOR = 9_000  # the same if a matrix has but one row or column; NumPy's BLAS takes several threads for more
TINY = 48**3  # the same for one matrix of many: BLAS is at its best there, and our tasks would mostly make tables
TASKS = 4  # for each thread, at least, if the matrix has so many panels of columns; bands of rows make half as many
HIGH = 256, 128  # rows of C, at least, if there are enough; and where A is transposed
MANY = 3  # panels of columns: for so many A is packed if its columns share a set of the cache
BAND = 24  # so many rows of C, at most, are one task where columns alone are too few
FEW_ROWS = 2, 7  # panels: for so few B is read where it lies, and if its rows do not share sets of the cache
APART, SAME = 1024, 4096  # bytes: lines a multiple of these apart fall into a few sets of the cache, into the same


def matmul(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """a @ b for a (..., M, K) and b (..., K, N), leading dimensions broadcast as by NumPy; plus bias (N,).

    Either matrix may be the transpose of a contiguous one: no copy is made of it then. Small products, and what is not
    floating or has no two dimensions, NumPy does as well; it then calls its BLAS, which takes one thread for them.
    """
    if min(a.ndim, b.ndim) < 2 or a.dtype != b.dtype or a.dtype.char not in "fd" or not pays(a.shape, b.shape):
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


def pays(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether a product of such shapes is large enough for the kernel."""
    M, K, N = a[-2], a[-1], b[-1]
    if K != b[-2]:
        return False  # NumPy says so
    if len(b) == 2:
        M = math.prod(a[:-1])
    elif M * N * K >= TINY and math.prod(np.broadcast_shapes(a[:-2], b[:-2])) * M * N * K > SMALL:
        return True
    return M * N * K > (SMALL_VECTOR if min(M, N) == 1 else SMALL)


def batched(a: np.ndarray, b: np.ndarray, c: np.ndarray, bias: np.ndarray | None = None, add: bool = False) -> None:
    """Into contiguous memory c for (n, M, N): a (n, M, K) times b (n, K, N), plus bias (N,); or add all that to it."""
    count, M, K = a.shape
    N = b.shape[-1]
    if not (c.size and K):
        c[...] = (c if add else 0) + (0 if bias is None else bias)
        return
    a, a_row, a_depth = operand(a)
    b, b_depth, b_column = operand(b)
    if count == 1 and ((N == 1 and a_depth == 1) or (M == 1 and b_depth == 1)):
        matrix, vector = (a, b) if N == 1 and a_depth == 1 else (b, a)
        size = max(1, 20_000 // K)  # rows a task
        rows_times_vector(-(-c.size // size), matrix, vector, c.reshape(-1), size, add, work=c.size * K // 10)
        if bias is not None:
            c += bias
        return
    wide = -(-N // tile_shape(c.dtype)[1])
    tasks = TASKS * get_num_threads()
    turned = a_depth != 1
    stretches = -(-wide // STRETCH[turned])
    wanted = -(-tasks // (count * (stretches if turned else 1)))
    bands = max(1, min(M // HIGH[turned], wanted))  # each packs B for itself
    stretches = min(wide, max(stretches, -(-tasks // (count * bands))))
    bands = max(bands, min(-(-M // BAND), tasks // (2 * count * stretches)))
    stretch = -(-wide // stretches)
    stretches = -(-wide // stretch)
    packed = turned and stretch >= MANY and a_depth * c.itemsize % SAME == 0
    multiply(
        count * bands * stretches,
        a,
        b,
        c.reshape(-1),
        NO_BIAS[c.dtype.char] if bias is None else contiguous(bias),
        M,
        N,
        K,
        packed,
        a_row,
        a_depth,
        b_depth,
        b_column,
        bands,
        stretch,
        add,
        work=count * (M + 8) * N * K // 40,  # packing B costs as much as some eight rows
    )


NO_BIAS = {char: np.empty(0, char) for char in "fd"}


def operand(matrix: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Matrices (*, m, n) as flat memory, and the steps in it from row to row and from column to column."""
    m, n = matrix.shape[-2:]
    turned = matrix.swapaxes(-1, -2)
    if turned.flags.carray and not matrix.flags.carray:
        return turned.reshape(-1), 1, m
    return contiguous(matrix).reshape(-1), n, 1


def multiply_example(dtype: np.dtype) -> tuple[Any, ...]:
    ones = np.ones(4, dtype)
    return 1, ones, ones, np.empty(4, dtype), NO_BIAS[dtype.char], 2, 2, 2, False, 2, 1, 2, 1, 1, 1, False


@kernel(example=multiply_example)
def multiply(task, a, b, c, bias, M, N, K, packed, a_row, a_depth, b_depth, b_column, bands, stretch, add):  # type: ignore[no-untyped-def]
    """A stretch of columns, and a band of rows, of one of the matrices C."""
    rows, columns = tile_rows(b), tile_columns(b)
    stretches = ((N + columns - 1) // columns + stretch - 1) // stretch
    matrix, band, begin = task // (bands * stretches), task // stretches % bands, task % stretches * stretch * columns
    panels, step = (M + rows - 1) // rows, depth_of_blocks(K, tile_columns(b) * b.itemsize)
    first, last = panels * band // bands * rows, min(M, panels * (band + 1) // bands * rows)
    end, out = min(begin + stretch * columns, N), c[matrix * M * N :]
    few = FEW_ROWS[0] if b_depth * b.itemsize % APART == 0 else FEW_ROWS[1]
    in_place = b_column == 1 and last - first <= few * rows
    most = max(rows, narrow_rows(b))
    right, corner = aligned(step * stretch * columns, b), aligned(most * columns, b)
    copied = aligned(step * min(BLOCK * rows, last - first + rows) if packed else 0, b)
    starts = np.empty(most, np.int64)
    left_steps = np.arange(step) * (rows if packed else a_depth)
    right_steps, b_steps = np.arange(step) * columns, np.arange(step) * b_depth
    for d in range(0, K, step):
        depth = min(step, K - d)
        for j in range(begin, end, columns):
            start, wide = matrix * K * N + d * b_depth + j * b_column, min(columns, N - j)
            if wide < columns or not in_place:
                pack_panel_columns(b[start:], right[(j - begin) * depth :], wide, depth, b_depth, b_column)
        for block in range(first, last, BLOCK * rows):
            stop = min(block + BLOCK * rows, last)
            left, origin = a, matrix * M * K + d * a_depth + block * a_row
            row_step, panel_step = a_row, rows * a_row
            if packed:
                pack_rows(a, origin, copied, stop - block, M - stop, depth, a_depth)
                left, origin, row_step, panel_step = copied, 0, 1, rows * depth
            for j in range(begin, end, columns):
                wide, values, start, steps = min(columns, N - j), right, (j - begin) * depth, right_steps
                if wide == columns and in_place:
                    values, start, steps = b, matrix * K * N + d * b_depth + j, b_steps
                i = block
                while i < stop:
                    size, across = rows, columns
                    if wide <= narrow_columns(b):
                        size, across = narrow_rows(b), narrow_columns(b)
                    elif stop - i <= low_rows(b):
                        size = low_rows(b)
                    high = min(size, stop - i)
                    find_rows(starts, i - block, high, size, origin, panel_step, rows, row_step)
                    if d == 0 and (bias.size or not add):
                        begin_sums(out[i * N + j :], N, bias[j:], wide, high, add)
                    inside = high == size and wide == across  # else the tile is larger than what is left
                    to, place, row = (out, i * N + j, N) if inside else (corner, 0, columns)
                    if not inside:
                        corner[:] = 0
                    if across < columns:
                        add_narrow_tile(left, starts, left_steps, values, start, steps, 0, depth, to, place, row)
                    elif size < rows:
                        add_low_tile(left, starts, left_steps, values, start, steps, 0, depth, to, place, row)
                    else:
                        add_tile(left, starts, left_steps, values, start, steps, 0, depth, to, place, row)
                    if not inside:
                        add_corner(corner, out[i * N + j :], N, high, wide)
                    i += high


@helper()
def find_rows(starts, i, high, size, left, panel_step, rows, row_step):  # type: ignore[no-untyped-def]
    """Where rows i, i + 1, ... of A start; beyond the first `high` the last of them again."""
    lane = i % rows
    here = left + i // rows * panel_step + lane * row_step
    for r in range(size):
        starts[r] = here
        if r + 1 < high:
            lane, here = lane + 1, here + row_step
            if lane == rows:  # the next panel
                lane, here = 0, here + panel_step - rows * row_step


@helper()
def begin_sums(out, step, bias, wide, high, add):  # type: ignore[no-untyped-def]
    """What the products are added to: the bias, or zeros; or what is there, plus the bias."""
    columns = tile_columns(out)
    for i in range(high):
        row = out[i * step :][:wide]
        if bias.size and add:
            for j in range(row.size):
                row[j] += bias[j]
        elif bias.size:
            for j in range(row.size):
                row[j] = bias[j]
        elif wide == columns:  # a constant: no loop, and no call of memset
            for j in range(columns):
                row[at(j)] = 0
        else:
            row[:] = 0


@helper()
def add_corner(corner, out, step, high, wide):  # type: ignore[no-untyped-def]
    """Add the part of a tile that lies within the matrix."""
    columns = tile_columns(corner)
    for i in range(high):
        for j in range(wide):
            out[i * step + j] += corner[i * columns + j]


def vector_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, np.ones(4, dtype), np.ones(2, dtype), np.empty(2, dtype), 2, False


@kernel(example=vector_example)
def rows_times_vector(task, a, x, y, size, add):  # type: ignore[no-untyped-def]
    """y = A x for `size` rows of A, which lie one behind the other; or that added to y."""
    for i in range(task * size, min((task + 1) * size, y.size)):
        row, total = a[i * x.size :][: x.size], a.dtype.type(0)
        for d in range(row.size):
            total += row[d] * x[d]
        y[i] = y[i] + total if add else total
