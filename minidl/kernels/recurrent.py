"""A recurrent layer over whole sequences: no Python, and no other thread, between two time steps.

Sequences of a batch do not know each other, so a thread takes every second (third, ...) sequence from the first time
step to the last. For each step it multiplies the states of its sequences with W_hh, on the register tile, and applies
the cell. The tile's rows are sequences, wherever their last states lie (a table says where), and its columns are rows
of W_hh, which each thread packs once for itself: they then lie in the cache next to it.

The rows of the data are packed: those of time step 0 for all sequences, then those of step 1, and so on. Longer
sequences come first, so at every step the first `sizes[t]` sequences are alive and nothing else is computed. What is
kept for backward is as long as the data; states have N rows more, in front: those before the first step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.cells import GATES, GRU, LSTM, cell_backward, cell_forward
from minidl.kernels.gemm import pack_panel_columns
from minidl.kernels.jit import contiguous, helper, kernel
from minidl.kernels.simd import set_tile, tile_columns, tile_rows
from minidl.kernels.threads import get_num_threads


def forward(
    kind: int,
    gates: np.ndarray,
    states: list[np.ndarray],
    w: np.ndarray,
    bias: np.ndarray,
    sizes: np.ndarray,
    reverse: bool,
) -> list[np.ndarray]:
    """Run the layer.

    Args:
        kind: of the cell.
        gates: (total, G · H), what the input contributes to each gate's sum; activated in place.
        states: the first states: h (N, H), and for an LSTM c.
        w: W_hh (G · H, H).
        bias: b_hn (H,) for a GRU.
        sizes: (T,), how many sequences are alive at each step; never more than the step before.
        reverse: from the last step to the first.

    Returns:
        h (N + total, H) and, for an LSTM, c; for a GRU, W_hn h + b_hn, whose first N rows mean nothing.
    """
    (N, H), total = states[0].shape, len(gates)
    kept = [np.empty((N + total, H), gates.dtype) for _ in range(1 + (kind in (LSTM, GRU)))]
    for array, first in zip(kept, states, strict=False):
        array[:N] = first
    if total and H:
        tasks, work = split(kind, N, total, H)
        h, extra = kept[0].reshape(-1), kept[-1].reshape(-1)
        w, bias = contiguous(w).reshape(-1), contiguous(bias)
        recurrent_forward(
            tasks, tasks, kind, gates.reshape(-1), h, extra, w, bias, sizes, N, H, reverse, work=work
        )  # fmt: skip
    return kept


def backward(
    kind: int,
    gates: np.ndarray,
    kept: list[np.ndarray],
    w: np.ndarray,
    sizes: np.ndarray,
    reverse: bool,
    g: np.ndarray,
    dstates: list[np.ndarray],
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Backpropagation through time.

    Args:
        kind, w, sizes, reverse: as in forward. gates, kept: as it left them.
        g: (total, H), the gradients of all h.
        dstates: those of the last states, (N, H) each.

    Returns:
        The gradients of the gates' sums, (total, G · H): for the input's part, and for W_hh h (the same array except
        for a GRU); and of the first states.
    """
    total, H = g.shape
    N = len(kept[0]) - total
    dstates = [np.array(d, order="C") for d in dstates]
    dgates = np.empty_like(gates)
    dhidden = np.empty_like(gates) if kind == GRU else dgates
    if total and H:
        tasks, work = split(kind, N, total, H)
        flat = [a.reshape(-1) for a in (gates, kept[0], kept[-1], contiguous(w))]
        grads = [a.reshape(-1) for a in (contiguous(g), dstates[0], dstates[-1], dgates, dhidden)]
        recurrent_backward(tasks, tasks, kind, *flat, *grads, sizes, N, H, reverse, work=work)
    return dgates, dhidden, dstates


def split(kind: int, N: int, total: int, H: int) -> tuple[int, float]:
    """How many tasks the sequences are split into, and the work in nanoseconds."""
    work = total * H * GATES[kind] * (H / 40 + 1)
    return min(N, get_num_threads()), work


def forward_example(dtype: np.dtype) -> tuple[Any, ...]:
    ones = lambda n: np.ones(n, dtype)  # noqa: E731
    return 1, 1, LSTM, ones(16), ones(8), ones(8), ones(32), ones(2), np.array([2], np.int64), 2, 2, False


@kernel(example=forward_example)
def recurrent_forward(task, tasks, kind, gates, h, extra, w, bias, sizes, N, H, reverse):  # type: ignore[no-untyped-def]
    """All steps of the sequences task, task + tasks, task + 2 tasks, ..."""
    rows, columns = tile_rows(h), tile_columns(h)
    width = w.size // H
    panels = (width + columns - 1) // columns
    packed = np.empty(panels * columns * H, h.dtype)  # W_hhᵀ: depth H, G · H columns
    for p in range(panels):
        j = p * columns
        pack_panel_columns(w[j * H :], packed[j * H :], min(columns, width - j), H, 1, H)
    mine = (N - task + tasks - 1) // tasks
    groups = (mine + rows - 1) // rows
    wide = panels * columns
    sums = np.empty(groups * rows * wide, h.dtype)
    sources, starts = np.empty(groups * rows, np.int64), np.empty(groups * rows, np.int64)
    steps, packed_steps = np.arange(H), np.arange(H) * columns
    at_step = row_of_step(sizes)
    for s in range(sizes.size):
        t = sizes.size - 1 - s if reverse else s
        alive = (sizes[t] - task + tasks - 1) // tasks  # of mine
        if alive <= 0:
            continue
        find_states(sources, alive, task, tasks, sizes, at_step, t, s, N, reverse)
        for i in range(groups * rows):
            starts[i] = sources[min(i, alive - 1)] * H
        for p in range(panels):
            for i in range(0, alive, rows):
                set_tile(
                    h,
                    starts[i:],
                    steps,
                    packed,
                    p * columns * H,
                    packed_steps,
                    0,
                    H,
                    sums,
                    i * wide + p * columns,
                    wide,
                )
        for i in range(alive):
            row = at_step[t] + task + i * tasks
            before, here = sources[i] * H, (N + row) * H
            cell_forward(
                kind, gates[row * width :][:width], sums[i * wide :][:width], bias,
                h[before:][:H], extra[before:][:H], h[here:][:H], extra[here:][:H],
            )  # fmt: skip


def backward_example(dtype: np.dtype) -> tuple[Any, ...]:
    ones = lambda n: np.ones(n, dtype)  # noqa: E731
    arrays = [ones(n) for n in (16, 8, 8, 32, 4, 4, 4, 16, 16)]
    return 1, 1, LSTM, *arrays, np.array([2], np.int64), 2, 2, False


@kernel(example=backward_example)
def recurrent_backward(task, tasks, kind, gates, h, extra, w, g, dh, dc, dgates, dhidden, sizes, N, H, reverse):  # type: ignore[no-untyped-def]
    """The same steps in the opposite order: dh of a sequence is carried from each step to the one before."""
    rows, columns = tile_rows(h), tile_columns(h)
    width = w.size // H
    panels = (H + columns - 1) // columns
    packed = np.empty(panels * columns * width, h.dtype)  # W_hh: depth G · H, H columns
    for p in range(panels):
        j = p * columns
        pack_panel_columns(w[j:], packed[j * width :], min(columns, H - j), width, H, 1)
    mine = (N - task + tasks - 1) // tasks
    groups = (mine + rows - 1) // rows
    wide = panels * columns
    sums = np.empty(groups * rows * wide, h.dtype)
    sources, starts = np.empty(groups * rows, np.int64), np.empty(groups * rows, np.int64)
    steps, packed_steps = np.arange(width), np.arange(width) * columns
    spare = np.empty(H, h.dtype)
    at_step = row_of_step(sizes)
    for s in range(sizes.size - 1, -1, -1):
        t = sizes.size - 1 - s if reverse else s
        alive = (sizes[t] - task + tasks - 1) // tasks
        if alive <= 0:
            continue
        find_states(sources, alive, task, tasks, sizes, at_step, t, s, N, reverse)
        for i in range(alive):
            n = task + i * tasks
            row = at_step[t] + n
            before, here = sources[i] * H, (N + row) * H
            dhn, gn = dh[n * H :][:H], g[row * H :][:H]
            for j in range(H):
                dhn[j] += gn[j]
            cell_backward(
                kind, gates[row * width :][:width], h[before:][:H], extra[before:][:H], h[here:][:H], extra[here:][:H],
                dhn, dc[n * H :][:H], dgates[row * width :][:width], dhidden[row * width :][:width], spare,
            )  # fmt: skip
        for i in range(groups * rows):
            starts[i] = (at_step[t] + task + min(i, alive - 1) * tasks) * width
        for p in range(panels):
            for i in range(0, alive, rows):
                set_tile(
                    dhidden, starts[i:], steps, packed, p * columns * width, packed_steps, 0, width,
                    sums, i * wide + p * columns, wide,
                )  # fmt: skip
        for i in range(alive):  # forward did W_hh h, so the state before gets W_hhᵀ times the gradient
            dhn, sum_n = dh[(task + i * tasks) * H :][:H], sums[i * wide :][:H]
            for j in range(H):
                dhn[j] += sum_n[j]


@helper()
def row_of_step(sizes):  # type: ignore[no-untyped-def]
    """For each time step, its first row of the packed data."""
    first = np.empty(sizes.size, np.int64)
    total = 0
    for t in range(sizes.size):
        first[t] = total
        total += sizes[t]
    return first


@helper()
def find_states(sources, alive, task, tasks, sizes, at_step, t, s, N, reverse):  # type: ignore[no-untyped-def]
    """In which rows the states before step t lie: in those of the step before, or in the first N for a new sequence."""
    last = t + 1 if reverse else t - 1
    for i in range(alive):
        n = task + i * tasks
        sources[i] = N + at_step[last] + n if s > 0 and n < sizes[last] else n
