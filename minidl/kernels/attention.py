"""Attention, block by block: the scores of all queries with all keys never lie in memory together.

A task has a block of queries of one head, and goes through the keys in blocks. It holds scores *turned*, keys down and
queries across, so that the columns of the register tile are queries:

    scores  s[j, i] = Σ_d k[j, d] · (scale · q[i, d])      rows of the tile: keys
    result  y[i, e] = Σ_j p[j, i] · v[j, e]                rows of the tile: queries

What softmax does along the keys is then done for a vector of queries at once, and one copy of a block of keys serves
as either operand. Softmax needs the largest score of a query before the first exponential, and the sum of all of them
to divide by; with a running maximum m and sum l, both can come late (M. Milakov, N. Gimelshein, 2018):

    m' = max(m, max_j s_j)     l' = l · exp(m - m') + Σ_j exp(s_j - m')     y' = y · exp(m - m') + Σ_j exp(s_j - m') v_j

and at the end y / l. For backward (`attention_backward.py`) only log Σ_j exp(s_j) = m + log l of each query is kept.
Where there are but a few queries, `attention_few.py` takes over.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.kernels.attention_few import FEW, INFINITE, attention_few
from minidl.kernels.dropout import limit, random_bits
from minidl.kernels.jit import helper, kernel
from minidl.kernels.math import decay, log
from minidl.kernels.packing import pack_panel_columns
from minidl.kernels.simd import add_tile, at, set_tile, tile_columns, tile_rows, tile_shape
from minidl.kernels.vectors import add_up, copy_row, copy_rows, largest, subtract

QUERIES, KEYS = 128, 128  # of a block, about: a block of scores, 64 KiB, stays in the second cache


class Heads:
    """Arrays (..., n, m) that broadcast in their leading dimensions, as flat memory and where in it each head starts.

    Attributes:
        memory: flat; a view if the array's own memory can be used, whatever its strides.
        starts: (heads,), of the heads of all leading dimensions.
        row, column: the steps from row to row and from column to column; 0 where one stands for all.
    """

    def __init__(self, x: np.ndarray, batch: tuple[int, ...], unit: bool = True) -> None:
        x = x[tuple([slice(0, 1 if step == 0 else None) for step in x.strides])]  # what is repeated, once
        if not usable(x) or (unit and x.shape[-1] > 1 and x.strides[-1] != x.itemsize):
            x = np.array(x, order="C")
        steps = [0 if n == 1 else step // x.itemsize for n, step in zip(x.shape, x.strides, strict=True)]
        span = 1 + sum((n - 1) * step for n, step in zip(x.shape, steps, strict=True))
        if x.flags.c_contiguous:
            self.memory = x.reshape(-1)
        else:
            self.memory = np.lib.stride_tricks.as_strided(x, (span if x.size else 0,), (x.itemsize,))
        self.row, self.column = steps[-2:]
        self.starts = np.zeros(1, np.int64)
        leading = [0] * (len(batch) + 2 - x.ndim) + steps[:-2]
        for n, step in zip(batch, leading, strict=True):
            if n != 1:
                self.starts = (self.starts[:, None] + np.arange(n) * step).reshape(-1)


def usable(x: np.ndarray) -> bool:
    """Whether kernels may look at the memory itself: writable, aligned, strides forward and in whole elements."""
    return x.flags.aligned and x.flags.writeable and all(s >= 0 and s % x.itemsize == 0 for s in x.strides)


def like(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A new array whose axes lie in memory in the order of those of x, if it has as many: (N, L, H, E) seen as heads
    (N, H, L, E) gives results that are seen as (N, L, H, E) again without a copy.
    """
    if x.ndim == len(shape):
        new = np.empty_like(x, shape=shape)
        if new.strides[-1] == new.itemsize:
            return new
    return np.empty(shape, x.dtype)


class Mask:
    """A mask as kernels take it: boolean or added, of which one or both are empty, and its heads' starts."""

    def __init__(self, mask: np.ndarray | None, dtype: np.dtype, batch: tuple[int, ...]) -> None:
        self.allowed, self.added = np.empty(0, np.uint8), np.empty(0, dtype)
        self.starts, self.row, self.column = np.zeros(math.prod(batch), np.int64), 0, 0
        if mask is not None and mask.size:
            heads = Heads(mask, batch, unit=False)
            self.starts, self.row, self.column = heads.starts, heads.row, heads.column
            if mask.dtype == bool:
                self.allowed = heads.memory.view(np.uint8)
            else:
                self.added = heads.memory


def dice(dropout: float, seed: int) -> np.ndarray:
    """Seed and limit: what is drawn below it is dropped. A limit of 0 drops nothing."""
    return np.array([seed, limit(dropout)], np.uint64)


def blocks(L: int, S: int, dtype: np.dtype) -> tuple[int, int]:
    """Queries and keys of a block: queries such that as little of the tiles is wasted as possible."""
    rows, columns = tile_shape(dtype)

    def waste(block: int) -> int:
        whole, rest = divmod(L, block)
        return sum(n * (-(-b // columns) * columns + -(-b // rows) * rows) for n, b in ((whole, block), (1, rest)))

    sizes = range(max(QUERIES // columns, 1) * columns, 0, -columns)
    return min(sizes, key=waste), -(-min(S, KEYS) // rows) * rows


def forward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None,
    batch: tuple[int, ...],
    scale: float,
    causal: bool,
    dropout: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """softmax(scale · q kᵀ + mask) v, and log Σ exp(scores) of each query: infinite where it has no keys.

    Args:
        q, k, v: (..., L, E), (..., S, E), (..., S, V); leading dimensions broadcast to `batch`.
        mask: boolean, or added; broadcasts to (*batch, L, S).
        dropout, seed: the probability to drop a weight, and what is drawn from.
    """
    (L, E), (S, V) = q.shape[-2:], v.shape[-2:]
    y, sums = like(q, (*batch, L, V)), np.empty((*batch, L), q.dtype)
    if not S or not y.size:
        y[...], sums[...] = 0, np.inf
        return y, sums
    heads = [Heads(x, batch) for x in (q, k, v, y)]
    masks = Mask(mask, q.dtype, batch)
    block, keys = blocks(L, S, q.dtype)
    starts = np.stack([*(h.starts for h in heads), masks.starts])
    steps = np.array([*(h.row for h in heads), masks.row, masks.column], np.int64)
    count = starts.shape[1]
    run, tasks, work = attention_forward, count * -(-L // block), count * L * S * (E + V + 20) // 40
    if L <= FEW:
        run, tasks, work = attention_few, count, count * (L + 1) * S * (E + V) // 20
    run(
        tasks, *(h.memory for h in heads), masks.allowed, masks.added, sums.reshape(-1), starts, steps,
        L, S, E, V, np.array([scale, 1 - dropout], q.dtype), causal, dice(dropout, seed), block, keys,
        work=work,
    )  # fmt: skip
    return y, sums


@helper(inline=False)
def pack_columns(x, to, here, depth, depth_step, column_step):  # type: ignore[no-untyped-def]
    """`pack_panel_columns`, compiled once."""
    pack_panel_columns(x, to, here, depth, depth_step, column_step)


@helper(inline=False)
def turn(x, start, row, to, here, depth, factor):  # type: ignore[no-untyped-def]
    """Panels (depth, columns) of `here` rows of x, turned and multiplied by a factor; zeros after them."""
    columns = tile_columns(x)
    for i in range(0, here, columns):
        pack_columns(x[start + i * row :], to[i * depth :], min(columns, here - i), depth, 1, row)
    for i in range((here + columns - 1) // columns * columns * depth):
        to[i] *= factor


@helper(inline=False)
def pack(x, start, row, to, here, length, width):  # type: ignore[no-untyped-def]
    """Panels (length, columns) of `here` rows of x, `width` values each; zeros after them in a panel's columns."""
    columns = tile_columns(x)
    for e in range(0, width, columns):
        if width - e < columns:
            pack_columns(x[start + e :], to[e * length :], width - e, here, row, 1)
        else:
            whole = here // 4 * 4
            for j in range(0, whole, 4):
                copy_rows(x, start + e + j * row, row, to, e * length + j * columns, columns)
            for j in range(whole, here):
                copy_row(x, start + e + j * row, row, to, e * length + j * columns, columns)


@helper()
def panel_steps(n, length, columns):  # type: ignore[no-untyped-def]
    """Where the columns of a row of panels (length, columns) lie."""
    steps = np.empty(n, np.int64)
    for d in range(n):
        steps[d] = d // columns * length * columns + d % columns
    return steps


@helper(inline=False)
def score_panel(left, left_steps, turned, right, right_steps, depth, n, s, s_at):  # type: ignore[no-untyped-def]
    """s[j, i] = Σ_d left[j, d] · turned[d, i] for n rows, up to whole tiles, and a panel of columns."""
    rows, columns = tile_rows(s), tile_columns(s)
    starts = np.empty(rows, np.int64)
    for j in range(0, n, rows):
        for r in range(rows):
            starts[r] = (j + r) * columns
        set_tile(left, starts, left_steps, turned, right, right_steps, 0, depth, s, s_at + j * columns, columns)


@helper(inline=False)
def mask_panel(s, n, here, allowed, added, start, row, column, diagonal):  # type: ignore[no-untyped-def]
    """Apply masks to scores (n keys, here queries): -inf where a query may not attend.

    `diagonal` is the first query minus the first key, at least n without causality.
    """
    columns, forbidden = tile_columns(s), -INFINITE(s[0])[0]
    for j in range(n):
        line, first = s[j * columns :][:columns], start + j * column
        if allowed.size:
            if row == 0:
                if allowed[first] == 0:
                    for i in range(columns):
                        line[i] = forbidden
            else:
                for i in range(here):
                    if allowed[at(first + i * row)] == 0:
                        line[at(i)] = forbidden
        if added.size:
            if row == 0:
                for i in range(columns):
                    line[i] += added[at(first)]
            else:
                for i in range(here):
                    line[at(i)] += added[at(first + i * row)]
        for i in range(min(j - diagonal, columns)):
            line[at(i)] = forbidden


@helper(inline=False)
def drop_panel(p, n, here, place, S, dice):  # type: ignore[no-untyped-def]
    """Set to 0 what is dropped of weights (n keys, here queries), of which the first is at `place` of all (L, S)."""
    columns = tile_columns(p)
    for j in range(n):
        for i in range(here):
            if random_bits(dice[0], np.uint64(place + i * S + j)) < dice[1]:
                p[at(j * columns + i)] = 0


@helper(inline=False)
def soften(s, n, top, total, factor):  # type: ignore[no-untyped-def]
    """Scores to exp(s - m') in place, for a panel of queries with the running m in `top` and l in `total`.

    `factor` becomes exp(m - m'), by which sums of earlier blocks have to be multiplied.
    """
    columns, infinite = tile_columns(s), INFINITE(s[0])[0]
    shift = np.empty(columns, s.dtype)
    for i in range(columns):
        shift[i] = top[i]
    largest(s, 0, n, columns, shift, 0)
    for i in range(columns):
        m = top[i]
        top[i] = shift[i]
        if shift[i] == -infinite:  # no keys so far: exp(-inf - 0) is 0, exp(-inf + inf) is not
            shift[i] = 0
        factor[i] = decay(m - shift[i])
        total[i] *= factor[i]
    subtract(s, 0, n, columns, shift, 0)
    for j in range(n * columns):
        s[at(j)] = decay(s[at(j)])
    add_up(s, 0, n, columns, total, 0)


@helper(inline=False)
def across_tiles(p, places, rows_of, total, high, n, before, length, width):  # type: ignore[no-untyped-def]
    """total[i] += Σ_j p[j, i] · rows_of[j], for the queries i of a block and the n keys that they are not before."""
    rows, columns = tile_rows(p), tile_columns(p)
    wide, steps = (width + columns - 1) // columns * columns, np.arange(length) * columns
    for i in range(0, high, rows):
        depth = min(n, before + i + rows) if before < n else n
        if depth > 0:
            for e in range(0, wide, columns):
                add_tile(p, places[i:], steps, rows_of, e * length, steps, 0, depth, total, i * wide + e, wide)


def example(dtype: np.dtype) -> tuple[Any, ...]:
    x, none = np.ones(4, dtype), np.empty(0, np.uint8)
    table, (block, keys) = np.zeros((5, 1), np.int64), blocks(2, 2, dtype)
    steps = np.array([2, 2, 2, 2, 0, 0], np.int64)
    arrays = x, x, x, x.copy(), none, np.empty(0, dtype), np.empty(2, dtype), table, steps
    return 1, *arrays, 2, 2, 2, 2, np.ones(2, dtype), False, dice(0.0, 0), block, keys


@kernel(example=example)
def attention_forward(
    task, q, k, v, y, allowed, added, sums, starts, steps, L, S, E, V, scale, causal, dice, block, keys
):  # type: ignore[no-untyped-def] # fmt: skip
    """A block of queries of one head."""
    rows, columns = tile_rows(q), tile_columns(q)
    zero, one, infinite = q.dtype.type(0), q.dtype.type(1), INFINITE(scale[0])[0]
    count = (L + block - 1) // block
    head, first = task // count, task % count * block
    high = min(block, L - first)
    panels, wide = (high + columns - 1) // columns, (V + columns - 1) // columns * columns
    turned = np.empty(panels * columns * E, q.dtype)
    turn(q, starts[0, head] + first * steps[0], steps[0], turned, high, E, scale[0])
    key_panels = np.empty((E + columns - 1) // columns * columns * keys, q.dtype)
    value_panels = np.empty(wide * keys, q.dtype)
    p = np.empty(panels * keys * columns, q.dtype)
    top, total = np.empty(panels * columns, q.dtype), np.empty(panels * columns, q.dtype)
    factor = np.empty(panels * columns, q.dtype)
    for i in range(panels * columns):
        top[i], total[i] = -infinite, zero
    result = np.zeros((high + rows - 1) // rows * rows * wide, q.dtype)
    key_columns, down = panel_steps(E, keys, columns), np.arange(max(E, keys)) * columns
    places = panel_steps(panels * columns + rows, keys, columns)
    for i in range(panels * columns, places.size):  # rows of the last tile that lie beyond the queries
        places[i] = 0
    end = min(S, first + high) if causal else S
    for start in range(0, end, keys):
        n = min(keys, end - start)
        pack(k, starts[1, head] + start * steps[1], steps[1], key_panels, n, keys, E)
        pack(v, starts[2, head] + start * steps[2], steps[2], value_panels, n, keys, V)
        for panel in range(panels):
            i = panel * columns
            here, mine = min(columns, high - i), p[panel * keys * columns :][: keys * columns]
            seen = min(n, max(first + i + columns - start, 0)) if causal else n
            score_panel(key_panels, key_columns, turned, i * E, down, E, seen, p, i * keys)
            if allowed.size or added.size or (causal and start + seen > first + i):
                corner = starts[4, head] + (first + i) * steps[4] + start * steps[5]
                diagonal = first + i - start if causal else n
                mask_panel(mine, seen, here, allowed, added, corner, steps[4], steps[5], diagonal)
            soften(mine, seen, top[i:], total[i:], factor[i:])
            if dice[1]:
                drop_panel(mine, seen, here, (head * L + first + i) * S + start, S, dice)
            for j in range(seen * columns, n * columns):
                mine[at(j)] = zero
        if start:
            for i in range(high):
                line = result[i * wide :][:wide]
                for e in range(wide):
                    line[e] *= factor[i]
        across_tiles(p, places, value_panels, result, high, n, first - start if causal else n, keys, V)
    for i in range(high):
        line, to = result[i * wide :][:V], y[starts[3, head] + (first + i) * steps[3] :][:V]
        share = one / (total[i] * scale[1]) if total[i] != 0 and scale[1] > 0 else zero
        for e in range(V):
            to[e] = line[e] * share
        sums[head * L + first + i] = top[i] + log(total[i]) if total[i] != 0 else infinite
