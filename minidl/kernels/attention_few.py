"""Attention of a few queries, as when a text is written word by word: keys and values are read where they lie.

Many queries share a copy of a block of keys. For one or a few a copy costs more than all that is computed with it, and
what a tile has columns for is not there. So the scores are dot products, a row of them for each query,

    s[i, j] = scale · Σ_d q[i, d] · k[j, d]

which is shorter than the keys themselves; softmax goes along the row; and the rows of values, whole as they are, pass
by the tile for a few rows. Then it takes about the time that it takes to read all keys and values from memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.dropout import random_bits
from minidl.kernels.jit import helper, kernel
from minidl.kernels.math import decay, log, typed
from minidl.kernels.packing import pack_panel_columns
from minidl.kernels.simd import add_low_tile, at, low_rows, tile_columns
from minidl.kernels.softmax import maximum

FEW = 8  # queries, at most

INFINITE = typed([np.inf])


@helper(inline=False)
def dot_rows(q, q_start, q_row, L, k, k_start, k_row, n, depth, scale, s, s_row):  # type: ignore[no-untyped-def]
    """s[i, j] = scale · Σ_d q[i, d] · k[j, d] for i < L, j < n."""
    for j in range(n):
        for i in range(L):
            a, b, total = q_start + i * q_row, k_start + j * k_row, s.dtype.type(0)
            for d in range(depth):
                total += q[at(a + d)] * k[at(b + d)]
            s[at(i * s_row + j)] = scale * total


@helper(inline=False)
def mask_row(s, allowed, added, start, column, last):  # type: ignore[no-untyped-def]
    """Apply masks to the scores of a query: -inf where it may not attend, or from key number `last` on."""
    forbidden = -INFINITE(s[0])[0]
    for j in range(s.size):
        if added.size:
            s[j] += added[at(start + j * column)]
        if j >= last or (allowed.size and not allowed[at(start + j * column)]):
            s[j] = forbidden


@helper(inline=False)
def soften_row(s):  # type: ignore[no-untyped-def]
    """Scores to exp(s - max s) in place; the sum of these, and log Σ exp(s): infinite if there is no key."""
    total, infinite = s.dtype.type(0), INFINITE(s[0])[0]
    top = maximum(s)
    shift = total if top == -infinite else top
    for j in range(s.size):
        s[j] = decay(s[j] - shift)
        total += s[j]
    return total, top + log(total) if total != 0 else infinite


def example(dtype: np.dtype) -> tuple[Any, ...]:
    x, none = np.ones(4, dtype), np.empty(0, np.uint8)
    steps = np.array([2, 2, 2, 2, 0, 0], np.int64)
    arrays = x, x, x, x.copy(), none, np.empty(0, dtype), np.empty(2, dtype), np.zeros((5, 1), np.int64), steps
    return 1, *arrays, 2, 2, 2, 2, np.ones(2, dtype), False, np.zeros(2, np.uint64), 2, 4


@kernel(example=example)
def attention_few(
    head, q, k, v, y, allowed, added, sums, starts, steps, L, S, E, V, scale, causal, dice, block, keys
):  # type: ignore[no-untyped-def] # fmt: skip
    """All queries of one head. Arguments as those of `attention_forward`."""
    rows, columns, zero, one = low_rows(q), tile_columns(q), q.dtype.type(0), q.dtype.type(1)
    end, wide = min(S, L) if causal else S, (V + columns - 1) // columns * columns
    s, shares = np.empty(L * end, q.dtype), np.empty(L, q.dtype)
    dot_rows(q, starts[0, head], steps[0], L, k, starts[1, head], steps[1], end, E, scale[0], s, end)
    for i in range(L):
        weights = s[i * end :][:end]
        if allowed.size or added.size or causal:
            mask_row(weights, allowed, added, starts[4, head] + i * steps[4], steps[5], i + 1 if causal else end)
        total, sums[head * L + i] = soften_row(weights)
        shares[i] = one / (total * scale[1]) if total != 0 and scale[1] > 0 else zero
        if dice[1]:
            for j in range(end):
                if random_bits(dice[0], np.uint64((head * L + i) * S + j)) < dice[1]:
                    weights[j] = zero
    result, lines = np.zeros((L + rows) * wide, q.dtype), np.empty(rows, np.int64)
    panel, along = np.empty(keys * columns, q.dtype), np.arange(keys)
    down, packed = along * steps[2], along * columns
    for start in range(0, end, keys):
        n, corner = min(keys, end - start), starts[2, head] + start * steps[2]
        for e in range(0, V, columns):
            if V - e < columns:
                pack_panel_columns(v[corner + e :], panel, V - e, n, steps[2], 1)
            for i in range(0, L, rows):
                for r in range(rows):
                    lines[r] = min(i + r, L - 1) * end + start
                if V - e < columns:
                    add_low_tile(s, lines, along, panel, 0, packed, 0, n, result, i * wide + e, wide)
                else:
                    add_low_tile(s, lines, along, v, corner + e, down, 0, n, result, i * wide + e, wide)
    for i in range(L):
        line, to = result[i * wide :][:V], y[starts[3, head] + i * steps[3] :][:V]
        for e in range(V):
            to[e] = line[e] * shares[i]
