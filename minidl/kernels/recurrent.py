"""A recurrent layer over whole sequences: no Python, and no other thread, between two time steps.

Sequences of a batch do not know each other, so a thread takes every second (third, ...) sequence from the first time
step to the last. For each step it multiplies the states of its sequences with W_hh and applies the cell. W_hh each
thread packs once for itself, so that it lies in the cache next to it; the states of its sequences, too, have a place
of their own, one beside the other.

The rows of the data are packed: those of time step 0 for all sequences, then those of step 1, and so on. Longer
sequences come first, so at every step the first `sizes[t]` sequences are alive and nothing else is computed. What is
kept for backward is as long as the data; states have N rows more, in front: those before the first step.

An LSTM may have a projection: what the cell gives, m = o ⊙ tanh c, is not the state, but h = W_hr m is, which has P
values instead of H. Without one, P is H and W_hr empty.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.cells import GATES, GRU, LSTM, cell_backward, cell_forward
from minidl.kernels.few_rows import multiply_rows, pack
from minidl.kernels.jit import contiguous, helper, kernel
from minidl.kernels.packing import aligned
from minidl.kernels.simd import at
from minidl.kernels.threads import get_num_threads

GAP = 16  # between rows of scratch: at a distance of 4 KiB they would compete for the same few places in the cache


def forward(
    kind: int,
    gates: np.ndarray,
    states: list[np.ndarray],
    w: np.ndarray,
    w_hr: np.ndarray,
    bias: np.ndarray,
    sizes: np.ndarray,
    reverse: bool,
) -> list[np.ndarray]:
    """Run the layer.

    Args:
        kind: of the cell.
        gates: (total, G · H), what the input contributes to each gate's sum; activated in place.
        states: the first states: h (N, P), and for an LSTM c (N, H).
        w: W_hh (G · H, P). w_hr: W_hr (P, H) of a projection, or empty.
        bias: b_hn (H,) for a GRU.
        sizes: (T,), how many sequences are alive at each step; never more than the step before.
        reverse: from the last step to the first.

    Returns:
        h (N + total, P); for an LSTM, c (N + total, H), for a GRU, W_hn h + b_hn, whose first N rows mean nothing; with
        a projection, m (total, H).
    """
    (N, P), H, total = states[0].shape, gates.shape[1] // GATES[kind], len(gates)
    kept = [np.empty((N + total, width), gates.dtype) for width in (P, H)[: 1 + (kind in (LSTM, GRU))]]
    for array, first in zip(kept, states, strict=False):
        array[:N] = first
    if w_hr.size:
        kept.append(np.empty((total, H), gates.dtype))
    if total and H:
        tasks, work = split(kind, N, total, H, P)
        flat = [a.reshape(-1) for a in (gates, kept[0], kept[min(1, len(kept) - 1)], kept[-1])]
        weights = [contiguous(a).reshape(-1) for a in (w, w_hr, bias)]
        recurrent_forward(tasks, tasks, kind, *flat, *weights, sizes, N, H, P, reverse, work=work)
    return kept


def backward(
    kind: int,
    gates: np.ndarray,
    kept: list[np.ndarray],
    w: np.ndarray,
    w_hr: np.ndarray,
    sizes: np.ndarray,
    reverse: bool,
    g: np.ndarray,
    dstates: list[np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Backpropagation through time.

    Args:
        kind, w, w_hr, sizes, reverse: as in forward. gates, kept: as it left them.
        g: (total, P), the gradients of all h.
        dstates: those of the last states, (N, P) and (N, H).

    Returns:
        The gradients of the gates' sums, (total, G · H): for the input's part, and for W_hh h (the same array except
        for a GRU); with a projection, what has come together for each h, (total, P), else nothing of use; of the first
        states; and of b_ih and b_hh, (G · H,).
    """
    total, P = g.shape
    N, H = len(kept[0]) - total, gates.shape[1] // GATES[kind]
    dstates = [np.array(d, order="C") for d in dstates]
    dgates = np.empty_like(gates)
    dhidden = np.empty_like(gates) if kind == GRU else dgates
    dh = np.empty_like(g, order="C") if w_hr.size else dgates
    dbias = [np.zeros((N, gates.shape[1]), gates.dtype)]  # a sum for each sequence: no thread waits for another
    dbias += [np.zeros_like(dbias[0])] if kind == GRU else []
    if total and H:
        tasks, work = split(kind, N, total, H, P)
        extra = kept[min(1, len(kept) - 1)]
        flat = [a.reshape(-1) for a in (gates, kept[0], extra, contiguous(w), contiguous(w_hr), dbias[0], dbias[-1])]
        grads = [a.reshape(-1) for a in (contiguous(g), dstates[0], dstates[-1], dgates, dhidden, dh)]
        recurrent_backward(tasks, tasks, kind, *flat, *grads, sizes, N, H, P, reverse, work=work)
    return dgates, dhidden, dh, dstates, [d.sum(0) for d in (dbias[0], dbias[-1])]


def split(kind: int, N: int, total: int, H: int, P: int) -> tuple[int, float]:
    """How many tasks the sequences are split into, and the work in nanoseconds."""
    work = total * H * GATES[kind] * (P / 40 + 1)
    return min(N, get_num_threads()), work


def forward_example(dtype: np.dtype) -> tuple[Any, ...]:
    ones = lambda n: np.ones(n, dtype)  # noqa: E731
    arrays = [ones(n) for n in (16, 8, 8, 8, 16, 0, 2)]
    return 1, 1, LSTM, *arrays, np.array([2], np.int64), 2, 2, 2, False


@kernel(example=forward_example)
def recurrent_forward(task, tasks, kind, gates, h, extra, m, w, w_hr, bias, sizes, N, H, P, reverse):  # type: ignore[no-untyped-def]
    """All steps of the sequences task, task + tasks, task + 2 tasks, ..."""
    width, projected = w.size // P, w_hr.size > 0
    packed = pack(w, P, width, 1, P)  # W_hhᵀ
    packed_hr = pack(w_hr, H, P if projected else 0, 1, H)  # W_hrᵀ
    mine = (N - task + tasks - 1) // tasks
    wide, wide_hr = packed.size // P, packed_hr.size // H
    sums, outs = aligned(mine * wide, h), aligned(mine * wide_hr, h)
    step, step_hr = P + GAP, H + GAP
    last, cell = aligned(mine * step, h), aligned(mine * step_hr if projected else 0, h)  # states; m of this step
    for i in range(mine):
        copy(last[i * step :], h[(task + i * tasks) * P :], P)
    source = np.empty(mine, np.int64)
    at_step = row_of_step(sizes)
    for s in range(sizes.size):
        t = sizes.size - 1 - s if reverse else s
        alive = (sizes[t] - task + tasks - 1) // tasks  # of mine
        if alive <= 0:
            continue
        find_states(source, alive, task, tasks, sizes, at_step, t, s, N, reverse)
        multiply_rows(last, step, alive, P, packed, sums)
        for i in range(alive):
            row = at_step[t] + task + i * tasks
            here = N + row
            out = m[row * H :][:H] if projected else h[here * H :][:H]
            cell_forward(
                kind, gates[row * width :][:width], sums[i * wide :][:width], bias,
                last[i * step :][:P], extra[source[i] * H :][:H], out, extra[here * H :][:H],
            )  # fmt: skip
            copy(cell[i * step_hr :] if projected else last[i * step :], out, H)
        if projected:
            multiply_rows(cell, step_hr, alive, H, packed_hr, outs)
            for i in range(alive):
                copy(h[(N + at_step[t] + task + i * tasks) * P :], outs[i * wide_hr :], P)
                copy(last[i * step :], outs[i * wide_hr :], P)


def backward_example(dtype: np.dtype) -> tuple[Any, ...]:
    ones = lambda n: np.ones(n, dtype)  # noqa: E731
    arrays = [ones(n) for n in (16, 8, 8, 16, 0, 16, 16, 4, 4, 4, 16, 16, 16)]
    return 1, 1, LSTM, *arrays, np.array([2], np.int64), 2, 2, 2, False


@kernel(example=backward_example)
def recurrent_backward(
    task, tasks, kind, gates, h, extra, w, w_hr, db_ih, db_hh, g, dh, dc, dgates, dhidden, dprojected,
    sizes, N, H, P, reverse,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """The same steps in the opposite order: dh of a sequence is carried from each step to the one before."""
    width, projected = w.size // P, w_hr.size > 0
    packed = pack(w, width, P, P, 1)  # W_hh
    packed_hr = pack(w_hr, P, H if projected else 0, H, 1)  # W_hr
    mine = (N - task + tasks - 1) // tasks
    wide, wide_hr = packed.size // width, packed_hr.size // P
    sums, outs = aligned(mine * wide, h), aligned(mine * wide_hr, h)
    step, step_hr = width + GAP, P + GAP
    left, left_hr = aligned(mine * step, h), aligned(mine * step_hr if projected else 0, h)
    source = np.empty(mine, np.int64)
    spare = aligned(H, h)
    at_step = row_of_step(sizes)
    for s in range(sizes.size - 1, -1, -1):
        t = sizes.size - 1 - s if reverse else s
        alive = (sizes[t] - task + tasks - 1) // tasks
        if alive <= 0:
            continue
        find_states(source, alive, task, tasks, sizes, at_step, t, s, N, reverse)
        for i in range(alive):
            n = task + i * tasks
            add(dh[n * P :], g[(at_step[t] + n) * P :], P)
        if projected:  # forward did h = W_hr m, so m gets W_hrᵀ times the gradient; nothing of it passes by
            for i in range(alive):
                n = task + i * tasks
                copy(dprojected[(at_step[t] + n) * P :], dh[n * P :], P)
                copy(left_hr[i * step_hr :], dh[n * P :], P)
                clear(dh[n * P :], P)
            multiply_rows(left_hr, step_hr, alive, P, packed_hr, outs)
        for i in range(alive):
            n = task + i * tasks
            row = at_step[t] + n
            before, here = source[i], N + row
            dout = outs[i * wide_hr :][:H] if projected else dh[n * H :][:H]
            da, into = dgates[row * width :][:width], dhidden[row * width :][:width]
            cell_backward(
                kind, gates[row * width :][:width], h[before * P :][:P], extra[before * H :][:H], h[here * P :][:P],
                extra[here * H :][:H], dout, dc[n * H :][:H], da, into, spare,
            )  # fmt: skip
            copy(left[i * step :], into, width)
            add(db_ih[n * width :], da, width)
            if kind == GRU:
                add(db_hh[n * width :], into, width)
        multiply_rows(left, step, alive, width, packed, sums)
        for i in range(alive):  # forward did W_hh h, so the state before gets W_hhᵀ times the gradient
            add(dh[(task + i * tasks) * P :], sums[i * wide :], P)


@helper()
def copy(to, values, count):  # type: ignore[no-untyped-def]
    """to[:count] = values[:count]"""
    for j in range(count):
        to[at(j)] = values[at(j)]


@helper()
def add(to, values, count):  # type: ignore[no-untyped-def]
    """to[:count] += values[:count]"""
    for j in range(count):
        to[at(j)] += values[at(j)]


@helper()
def clear(to, count):  # type: ignore[no-untyped-def]
    """to[:count] = 0"""
    for j in range(count):
        to[at(j)] = 0


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
