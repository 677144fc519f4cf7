"""The gradients of attention, block by block: the weights are computed again instead of being kept.

With g = ∂L/∂y and what forward kept (y, and of each query log Σ exp(scores)), for a block of keys j and queries i:

    p[j, i] = exp(s[j, i] - log Σ exp)        the weights again, after division; s as in forward
    gv[j]  += Σ_i p[j, i] · g[i]              y was Σ_j p_j v_j
    gp[j, i] = Σ_e v[j, e] · g[i, e]
    gs[j, i] = p[j, i] · (gp[j, i] - D[i])    softmax, with D[i] = Σ_j p_j gp_j = g[i] · y[i]
    gk[j]  += Σ_i gs[j, i] · scale · q[i]     s was scale · q k
    gq[i]  += scale · Σ_j gs[j, i] · k[j]

(T. Dao et al., "FlashAttention", 2022; M. Rabe, C. Staats, "Self-attention does not need O(n²) memory", 2021.)

A task has one head (or a stretch of its queries, where heads are few), and adds up gk and gv in memory of its own: no
two tasks ever add to the same place. How many there are depends on the shapes alone, so results do not depend on the
number of threads. Heads that share a mask that wants a gradient are one task, too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.kernels.attention import (
    Heads,
    Mask,
    across_tiles,
    blocks,
    dice,
    like,
    mask_panel,
    pack,
    panel_steps,
    score_panel,
    turn,
)
from minidl.kernels.dropout import random_bits
from minidl.kernels.jit import contiguous, helper, kernel
from minidl.kernels.math import decay
from minidl.kernels.simd import add_tile, at, tile_columns, tile_rows
from minidl.kernels.vectors import subtract

TASKS = 8  # at least, if there are so many blocks of queries


def backward(
    g: np.ndarray,
    y: np.ndarray,
    sums: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None,
    batch: tuple[int, ...],
    scale: float,
    causal: bool,
    dropout: float,
    seed: int,
    mask_wanted: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Gradients of q, k, v, for each head of `batch`, and of the mask, as forward's arguments and results."""
    (L, E), (S, V) = q.shape[-2:], v.shape[-2:]
    gq, gk, gv = like(q, (*batch, L, E)), like(k, (*batch, S, E)), like(v, (*batch, S, V))
    gmask = np.zeros(mask.shape, g.dtype) if mask_wanted else np.zeros((1, 1), g.dtype)
    if not (S and L and math.prod(batch)):
        for grad in (gq, gk, gv):
            grad[...] = 0
        return gq, gk, gv, gmask if mask_wanted else None
    masks, mask_grads = Mask(mask, q.dtype, batch), Heads(gmask, batch, unit=False)
    block, keys = blocks(L, S, q.dtype)
    order, groups = sharing(mask_grads.starts if mask_wanted else np.arange(math.prod(batch)))
    chunks = min(-(-TASKS // (groups.size - 1)), -(-L // block))
    if mask_wanted and mask_grads.row == 0:  # its places belong to all queries
        chunks = 1
    several = [np.empty((chunks, *x.shape), x.dtype) for x in (gk, gv)] if chunks > 1 else [gk[None], gv[None]]
    heads = [Heads(x, batch) for x in (q, k, v, y, g, gq, several[0][0], several[1][0])]
    starts = np.stack([*(h.starts for h in heads), masks.starts, mask_grads.starts])
    steps = [*(h.row for h in heads), masks.row, masks.column, mask_grads.row, mask_grads.column]
    strides = [x.strides[0] // x.itemsize if chunks > 1 else 0 for x in several]
    memory = [h.memory for h in heads[:6]] + [x.reshape(-1) if chunks > 1 else h.memory
                                              for x, h in zip(several, heads[6:], strict=True)]  # fmt: skip
    attention_backward(
        (groups.size - 1) * chunks, *memory, masks.allowed, masks.added, mask_grads.memory, mask_wanted,
        contiguous(sums).reshape(-1), order, groups, chunks, np.array(strides, np.int64), starts,
        np.array(steps, np.int64), L, S, E, V, np.array([scale, 1 / (1 - dropout) if dropout < 1 else 0], q.dtype),
        causal, dice(dropout, seed), block, keys,
        work=order.size * L * S * (3 * E + 2 * V + 30) // 40,
    )  # fmt: skip
    if chunks > 1:
        gk, gv = (x.sum(0) for x in several)
    return gq, gk, gv, gmask if mask_wanted else None


def sharing(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heads such that those with the same place are neighbours, and where each of these groups begins, and the end."""
    order = np.argsort(places, kind="stable")
    first = np.flatnonzero(np.diff(places[order], prepend=-1))
    return order, np.append(first, order.size)


@helper(inline=False)
def row_products(a, a_start, a_row, b, b_start, b_row, n, width, out):  # type: ignore[no-untyped-def]
    """out[i] = Σ_e a[i, e] · b[i, e]"""
    for i in range(n):
        x, y, total = a[a_start + i * a_row :][:width], b[b_start + i * b_row :][:width], a.dtype.type(0)
        for e in range(width):
            total += x[e] * y[e]
        out[i] = total


@helper(inline=False)
def drop_or_scale(x, n, here, place, S, dice, factor):  # type: ignore[no-untyped-def]
    """Multiply values (n keys, here queries) by what forward multiplied weights by: 0 where dropped, or the factor."""
    columns = tile_columns(x)
    for j in range(n):
        for i in range(here):
            dropped = random_bits(dice[0], np.uint64(place + i * S + j)) < dice[1]
            x[at(j * columns + i)] = x.dtype.type(0) if dropped else x[at(j * columns + i)] * factor


@helper(inline=False)
def add_mask_gradient(gs, n, here, to, start, row, column):  # type: ignore[no-untyped-def]
    """The mask was added to the scores, so it gets their gradient; Σ where it was repeated."""
    columns = tile_columns(gs)
    for i in range(here):
        for j in range(n):
            to[start + i * row + j * column] += gs[j * columns + i]


@helper(inline=False)
def unload(total, width, to, start, row, n, length, factor):  # type: ignore[no-untyped-def]
    """Rows of `width` sums, of which `length` count, to where they belong, multiplied by a factor."""
    for i in range(n):
        line, out = total[i * width :][:length], to[start + i * row :][:length]
        for e in range(length):
            out[e] = line[e] * factor


def example(dtype: np.dtype) -> tuple[Any, ...]:
    x, one = np.ones((1, 2, 2), dtype), lambda *n: np.zeros(n, np.int64)
    block, keys = blocks(2, 2, dtype)
    flat, none = [np.ones(4, dtype) for _ in range(8)], np.empty(0, np.uint8)
    steps = np.array([2] * 8 + [0] * 4, np.int64)
    masks = none, np.empty(0, dtype), np.empty(1, dtype), False
    groups = one(1), np.array([0, 1], np.int64), 1, one(2), one(10, 1), steps
    return 1, *flat, *masks, x.reshape(-1)[:2].copy(), *groups, 2, 2, 2, 2, np.ones(2, dtype), False, dice(0.0, 0), block, keys  # fmt: skip # noqa: E501


@kernel(example=example)
def attention_backward(
    task, q, k, v, y, g, gq, gk, gv, allowed, added, gmask, mask_wanted, sums, order, groups, chunks, strides,
    starts, steps, L, S, E, V, scale, causal, dice, block, keys,
):  # type: ignore[no-untyped-def] # fmt: skip
    """Some heads, one after the other, and a stretch of their queries."""
    rows, columns, zero, one = tile_rows(q), tile_columns(q), q.dtype.type(0), q.dtype.type(1)
    group, chunk = task // chunks, task % chunks
    count = (L + block - 1) // block
    begin, finish = count * chunk // chunks * block, min(count * (chunk + 1) // chunks * block, L)
    wide_e, wide_v = (E + columns - 1) // columns * columns, (V + columns - 1) // columns * columns
    most = (block + columns - 1) // columns * columns  # queries
    turned, turned_g = np.empty(most * E, q.dtype), np.empty(most * V, q.dtype)
    queries, cotangents = np.empty(most * wide_e, q.dtype), np.empty(most * wide_v, q.dtype)
    key_panels, value_panels = np.empty(keys * wide_e, q.dtype), np.empty(keys * wide_v, q.dtype)
    p, gs = np.empty(most * keys, q.dtype), np.empty(most * keys, q.dtype)
    shift, D = np.empty(most, q.dtype), np.empty(most, q.dtype)
    key_columns, value_columns = panel_steps(E, keys, columns), panel_steps(V, keys, columns)
    down = np.arange(max(E, V, keys, most)) * columns
    places = panel_steps(most + rows, keys, columns)
    for i in range(most, places.size):  # rows of the last tile that lie beyond the queries
        places[i] = 0
    total_k, total_v = np.empty((S + keys) * wide_e, q.dtype), np.empty((S + keys) * wide_v, q.dtype)
    total_q = np.empty((most + rows) * wide_e, q.dtype)
    for h in range(groups[group], groups[group + 1]):
        head = order[h]
        total_k[:] = zero
        total_v[:] = zero
        for first in range(begin, finish, block):
            high = min(block, L - first)
            panels = (high + columns - 1) // columns
            q_start, g_start = starts[0, head] + first * steps[0], starts[4, head] + first * steps[4]
            turn(q, q_start, steps[0], turned, high, E, scale[0])
            turn(g, g_start, steps[4], turned_g, high, V, one)
            pack(q, q_start, steps[0], queries, high, most, E)
            pack(g, g_start, steps[4], cotangents, high, most, V)
            for i in range(most):
                D[i], shift[i] = zero, sums[head * L + first + i] if i < high else zero
            row_products(g, g_start, steps[4], y, starts[3, head] + first * steps[3], steps[3], high, V, D)
            total_q[:] = zero
            end = min(S, (first + high + rows - 1) // rows * rows) if causal else S  # whole tiles
            for start in range(0, end, keys):
                n = min(keys, end - start)
                pack(k, starts[1, head] + start * steps[1], steps[1], key_panels, n, keys, E)
                pack(v, starts[2, head] + start * steps[2], steps[2], value_panels, n, keys, V)
                for panel in range(panels):
                    i = panel * columns
                    here, corner = min(columns, high - i), i * keys
                    mine, grads = p[corner:][: keys * columns], gs[corner:][: keys * columns]
                    seen = min(n, max(first + i + columns - start, 0)) if causal else n
                    place = (head * L + first + i) * S + start
                    score_panel(key_panels, key_columns, turned, i * E, down, E, seen, p, corner)
                    if allowed.size or added.size or (causal and start + seen > first + i):
                        mask_at = starts[8, head] + (first + i) * steps[8] + start * steps[9]
                        diagonal = first + i - start if causal else n
                        mask_panel(mine, seen, here, allowed, added, mask_at, steps[8], steps[9], diagonal)
                    score_panel(value_panels, value_columns, turned_g, i * V, down, V, seen, gs, corner)
                    subtract(p, corner, seen, columns, shift, i)
                    for t in range(seen * columns):
                        mine[at(t)] = decay(mine[at(t)])
                    if dice[1]:
                        drop_or_scale(grads, seen, here, place, S, dice, scale[1])
                    subtract(gs, corner, seen, columns, D, i)
                    for t in range(seen * columns):
                        grads[at(t)] *= mine[at(t)]
                    if dice[1]:
                        drop_or_scale(mine, seen, here, place, S, dice, scale[1])
                    if mask_wanted:
                        to = starts[9, head] + (first + i) * steps[10] + start * steps[11]
                        add_mask_gradient(grads, seen, here, gmask, to, steps[10], steps[11])
                    for t in range(seen * columns, n * columns):
                        mine[at(t)], grads[at(t)] = zero, zero
                before = first - start if causal else n  # so many keys come before all queries of the block
                down_tiles(p, places, cotangents, total_v, start, n, high, before, most, V)
                down_tiles(gs, places, queries, total_k, start, n, high, before, most, E)
                across_tiles(gs, places, key_panels, total_q, high, n, before, keys, E)
            unload(total_q, wide_e, gq, starts[5, head] + first * steps[5], steps[5], high, E, scale[0])
        unload(total_k, wide_e, gk, starts[6, head] + chunk * strides[0], steps[6], S, E, scale[0])
        unload(total_v, wide_v, gv, starts[7, head] + chunk * strides[1], steps[7], S, V, one)


@helper(inline=False)
def down_tiles(p, places, rows_of, total, start, n, high, before, length, width):  # type: ignore[no-untyped-def]
    """total[start + j] += Σ_i p[j, i] · rows_of[i], for n keys j and the queries i that they are not behind."""
    rows, columns = tile_rows(p), tile_columns(p)
    wide = (width + columns - 1) // columns * columns
    lines, steps = np.empty(rows, np.int64), np.arange(length) * columns
    for j in range(0, n, rows):
        skip = max(j - before, 0)
        for r in range(rows):
            lines[r] = min(j + r, n - 1) * columns
        if skip < high:
            for e in range(0, wide, columns):
                to, depth = (start + j) * wide + e, high - skip
                add_tile(p, lines, places, rows_of, e * length, steps, skip, depth, total, to, wide)
