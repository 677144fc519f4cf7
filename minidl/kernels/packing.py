"""Operands copied into panels, in the order in which the register tile reads them.

A panel of A is (depth, rows) with the tile's rows, one of B (depth, columns): for every step of the depth, what the
tile needs lies side by side, and a panel is read from its beginning to its end.

What lies side by side in the matrix too is copied as vectors; of what lies across, small squares are turned in
registers. A register may be wider than a line of A's panel: what it has too much falls into the next line, which is
written later.
"""

from __future__ import annotations

import numpy as np

from minidl.kernels.jit import helper
from minidl.kernels.simd import at, narrow_columns, tile_columns, tile_rows, transpose
from minidl.kernels.vectors import copy_register, copy_row

PANEL = 32 * 1024  # bytes of a panel of B, at most: what the nearest cache has
TOGETHER = 8  # panels of A filled at once, if their lines lie side by side: more would compete for places in the cache


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


@helper(inline=False)
def pack_rows(a, start, packed, high, beyond, depth, depth_step):  # type: ignore[no-untyped-def]
    """Panels (depth, rows) of `high` rows of A, which lie side by side: a[start + i + d · depth_step] for row i.

    In A `beyond` more rows follow.
    """
    rows, lanes = tile_rows(a), narrow_columns(a)
    panels, wide = (high + rows - 1) // rows, (rows + lanes - 1) // lanes * lanes
    for first in range(0, panels, TOGETHER):
        for d in range(depth):
            for panel in range(first, min(first + TOGETHER, panels)):
                here, to = start + panel * rows + d * depth_step, (panel * depth + d) * rows
                if d + 1 < depth and panel * rows + wide <= high + beyond:
                    for i in range(0, rows, lanes):
                        copy_register(a, here + i, 0, packed, to + i, 0)
                else:
                    for i in range(rows):
                        packed[at(to + i)] = a[at(here + i)] if panel * rows + i < high else 0


@helper()
def pack_panel_columns(b, to, here, depth, depth_step, column_step):  # type: ignore[no-untyped-def]
    """to[d, j] = b[d, j] for `here` columns, 0 for the rest of the tile's."""
    columns, square = tile_columns(b), narrow_columns(b)
    if here == columns and column_step == 1:
        for d in range(depth):
            copy_row(b, d * depth_step, 0, to, d * columns, 0)
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
