"""How a CPU multiplies matrices, told from the tile outwards.

C = A B, with A (M, K) and B (K, N). The tile of `simd.py` holds a few rows and columns of C in registers and wants,
for each step d of the depth, the values of A and of B side by side. This is left to arrange:

- **Panels.** B is copied into panels of the tile's columns, (depth, columns) each, in the order in which tiles read
  them, just before they are used; A, where that many panels of B pass by that it pays, into panels of the tile's rows.
  Copying costs M·K + K·N against M·N·K multiplications. A copy also deals with transposed operands, in small squares
  that are turned in registers. Without a copy the tile reads an operand where it lies: A in any order, and B, if
  its rows are contiguous, for the few rows of A of a vector or a small batch.
- **Blocks of the depth.** A panel of B must stay in the nearest cache while all panels of A pass by. So the depth is
  cut, and each block of it adds to what is there; before the first, that is the bias, or 0.
- **Tasks.** Each thread takes a stretch of C's columns (and of its rows, where columns are few). Every value of C is
  summed by one thread, in an order that only the depth decides: results do not depend on the number of threads.
- **Edges.** Where fewer columns or rows are left than the wide tile has, the narrow or the low one takes over. A
  matrix times a vector reads each value of the matrix once, and needs no tile.

K. Goto, R. van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.kernels.jit import contiguous, helper, kernel
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
    transpose,
)
from minidl.kernels.threads import get_num_threads

PANEL = 32 * 1024  # bytes of a panel of B, at most: what the nearest cache has
STRETCH = 8  # so many panels of columns, at most, are one task
BLOCK = 20  # so many panels of rows pass by before the next panel of columns
SMALL = 64**3  # multiplications: fewer are not worth the copies
SMALL_VECTOR = 9_000  # the same if a matrix has but one row or column; NumPy's BLAS takes several threads for more
TINY = 48**3  # the same for one matrix of many: BLAS is at its best there, and our tasks would mostly make tables
TASKS = 4  # for each thread, at least, if the matrix has so many panels of columns; bands of rows make half as many
BAND = 24  # so many rows of C, at most, are one task where columns alone are too few
FEW_COLUMNS = 8, 32  # panels: for so few A is read where it lies, and if its rows are contiguous
FEW_ROWS = 2, 7  # panels: for so few B is read where it lies, and if its rows do not share sets of the cache
APART = 1024  # bytes: rows a multiple of this apart fall into a few sets of the cache


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
    rows, columns = tile_shape(c.dtype)
    wide, high = -(-N // columns), -(-M // rows)
    packed = wide > FEW_COLUMNS[a_depth == 1]
    if packed:
        panels = np.empty(count * high * rows * K, c.dtype)
        chunk = max(1, 20_000 // (K * rows))  # panels a task
        pack_rows(count * -(-high // chunk), a, panels, M, K, a_row, a_depth, chunk, work=count * M * K // 2)
        a, a_row, a_depth = panels, 1, rows
    tasks = TASKS * get_num_threads()
    stretch = max(1, min(STRETCH, count * wide // tasks))
    stretches = -(-wide // stretch)
    bands = max(1, min(-(-M // BAND), tasks // (2 * count * stretches)))  # each packs B for itself
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


@helper()
def depth_of_blocks(K, row_bytes):  # type: ignore[no-untyped-def]
    """Blocks of equal depth, such that a panel of B with rows of so many bytes has PANEL at most."""
    most = PANEL // row_bytes
    blocks = (K + most - 1) // most
    return (K + blocks - 1) // blocks


@helper()
def aligned(size, like):  # type: ignore[no-untyped-def]
    """Memory for values that begins a line of the cache: a vector across two lines takes twice as long to load."""
    memory = np.empty(size + 64 // like.itemsize, like.dtype)
    return memory[(-memory.ctypes.data % 64) // like.itemsize :][:size]


def pack_example(dtype: np.dtype) -> tuple[Any, ...]:
    rows, _ = tile_shape(dtype)
    return 1, np.ones(4, dtype), np.empty(2 * rows, dtype), 2, 2, 2, 1, 1


@kernel(example=pack_example)
def pack_rows(task, a, packed, M, K, row_step, depth_step, chunk):  # type: ignore[no-untyped-def]
    """Panels (depth, rows) of some rows of A, by blocks of the depth: packed (count, depths, panels, depth, rows)."""
    rows = tile_rows(a)
    panels = (M + rows - 1) // rows
    chunks, step = (panels + chunk - 1) // chunk, depth_of_blocks(K, tile_columns(a) * a.itemsize)
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
    columns, square = tile_columns(b), narrow_columns(b)
    if here == columns and column_step == 1:
        for d in range(depth):
            for j in range(columns):
                to[at(d * columns + j)] = b[at(d * depth_step + j)]
        return
    turned, whole = 0, 0  # so many columns and steps are turned in squares
    if depth_step == 1:
        turned, whole = here // square * square, depth // square * square
    for j in range(0, turned, square):
        for d in range(0, whole, square):
            transpose(b, j * column_step + d, column_step, to, d * columns + j, columns)
    for d in range(depth):
        for j in range(turned if d < whole else 0, columns):
            to[at(d * columns + j)] = b[at(d * depth_step + j * column_step)] if j < here else 0


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
    starts = np.empty(most, np.int64)
    left_steps, right_steps, b_steps = np.arange(step) * a_depth, np.arange(step) * columns, np.arange(step) * b_depth
    for d in range(0, K, step):
        depth = min(step, K - d)
        left, panel_step = matrix * M * K + d * a_depth, rows * a_row
        if packed:
            left, panel_step = (matrix * K + d) * panels * rows, rows * depth
        for j in range(begin, end, columns):
            start, wide = matrix * K * N + d * b_depth + j * b_column, min(columns, N - j)
            if wide < columns or not in_place:
                pack_panel_columns(b[start:], right[(j - begin) * depth :], wide, depth, b_depth, b_column)
        for block in range(first, last, BLOCK * rows):
            for j in range(begin, end, columns):
                wide, values, start, steps = min(columns, N - j), right, (j - begin) * depth, right_steps
                if wide == columns and in_place:
                    values, start, steps = b, matrix * K * N + d * b_depth + j, b_steps
                i, stop = block, min(block + BLOCK * rows, last)
                while i < stop:
                    size, across = rows, columns
                    if wide <= narrow_columns(b):
                        size, across = narrow_rows(b), narrow_columns(b)
                    elif stop - i <= low_rows(b):
                        size = low_rows(b)
                    high = min(size, stop - i)
                    find_rows(starts, i, high, size, left, panel_step, rows, a_row)
                    if d == 0 and (bias.size or not add):
                        begin_sums(out[i * N + j :], N, bias[j:], wide, high, add)
                    inside = high == size and wide == across  # else the tile is larger than what is left
                    to, place, row = (out, i * N + j, N) if inside else (corner, 0, columns)
                    if not inside:
                        corner[:] = 0
                    if across < columns:
                        add_narrow_tile(a, starts, left_steps, values, start, steps, 0, depth, to, place, row)
                    elif size < rows:
                        add_low_tile(a, starts, left_steps, values, start, steps, 0, depth, to, place, row)
                    else:
                        add_tile(a, starts, left_steps, values, start, steps, 0, depth, to, place, row)
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
    for i in range(high):
        row = out[i * step :][:wide]
        if not bias.size:
            row[:] = 0
        elif add:
            for j in range(row.size):
                row[j] += bias[j]
        else:
            for j in range(row.size):
                row[j] = bias[j]


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
