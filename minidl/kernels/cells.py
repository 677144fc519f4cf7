"""One step of a recurrent cell, for one sequence: the element-wise part, forward and backward.

The matrices have been dealt with (`recurrent.py`): `sums` is W_hh h, and `gates` holds what the input contributes,
W_ih x and the biases. Each gate is a row of H values, and the gates of a cell lie side by side, in PyTorch's order.

The loops are short and many because LLVM vectorises those that touch few arrays: of each pair, one written and one
read, it must ask at run time whether they overlap, and of many pairs it does not ask.
"""

from __future__ import annotations

from minidl.kernels.activation import CONSTANTS
from minidl.kernels.jit import helper
from minidl.kernels.math import tanh, typed

LSTM, GRU, TANH, RELU = range(4)  # kinds of cells; the last two are Elman's, by their function
GATES = {LSTM: 4, GRU: 3, TANH: 1, RELU: 1}

# σ(x) = ½ + ½ tanh(½ x), so that one loop serves all gates: shift + slope · tanh(slope · x).
SLOPE = typed([1, 0.5])
SHIFT = typed([0, 0.5])


@helper()
def squash(gate, sums, logistic):  # type: ignore[no-untyped-def]
    """gate = tanh(gate + sums), or the logistic function of it."""
    slope, shift = SLOPE(gate[0])[logistic], SHIFT(gate[0])[logistic]
    for j in range(gate.size):
        gate[j] = shift + slope * tanh(slope * (gate[j] + sums[j]))


@helper()
def rectify(gate, sums):  # type: ignore[no-untyped-def]
    """gate = max(gate + sums, 0); NaN stays."""
    for j in range(gate.size):
        total = gate[j] + sums[j]
        gate[j] = CONSTANTS(total)[0] if total <= 0 else total


@helper()
def reset(sums, bias, r, hidden):  # type: ignore[no-untyped-def]
    """GRU: hidden = W_hn h + b_hn is kept, and r ⊙ hidden goes on in `sums`."""
    for j in range(r.size):
        hidden[j] = sums[j] + bias[j]
    for j in range(r.size):
        sums[j] = r[j] * hidden[j]


@helper()
def cell_forward(kind, gates, sums, bias, before, extra_before, h, extra):  # type: ignore[no-untyped-def]
    """Activate the gates, then make the new state.

    LSTM: c = f ⊙ c' + i ⊙ g, h = o ⊙ tanh c; `extra` is c.  GRU: h = n + z ⊙ (h' - n); `extra` is W_hn h' + b_hn.
    """
    H = h.size
    begin, end = 0, min(2 * H, gates.size)  # i and f, or r and z, at once
    while begin < gates.size:
        gate, part = gates[begin:end], sums[begin:end]
        if kind == GRU and begin:
            reset(part, bias, gates[:H], extra)
        if kind == RELU:
            rectify(gate, part)
        else:
            squash(gate, part, 0 if begin == 2 * H or gates.size == H else 1)
        begin, end = end, end + H
    if kind == LSTM:
        i, f, g, o = gates[:H], gates[H:][:H], gates[2 * H :][:H], gates[3 * H :]
        for j in range(H):
            extra[j] = f[j] * extra_before[j] + i[j] * g[j]
        for j in range(H):
            h[j] = o[j] * tanh(extra[j])
    elif kind == GRU:
        z, n = gates[H:][:H], gates[2 * H :]
        for j in range(H):
            h[j] = n[j] + z[j] * (before[j] - n[j])
    else:
        for j in range(H):
            h[j] = gates[j]


@helper()
def through_logistic(out, g, factor, y):  # type: ignore[no-untyped-def]
    """out = g ⊙ factor ⊙ y (1 - y): y was σ(...)."""
    one = CONSTANTS(y[0])[1]
    for j in range(y.size):
        out[j] = g[j] * factor[j] * (y[j] * (one - y[j]))


@helper()
def through_tanh(out, g, factor, y):  # type: ignore[no-untyped-def]
    """out = g ⊙ factor ⊙ (1 - y²): y was tanh(...)."""
    one = CONSTANTS(y[0])[1]
    for j in range(y.size):
        out[j] = g[j] * factor[j] * (one - y[j] * y[j])


@helper()
def cell_backward(kind, gates, before, extra_before, h, extra, dh, dc, dgates, dhidden, spare):  # type: ignore[no-untyped-def]
    """From dh and dc to the gradients before the gates' functions: `dgates` for the input's part, `dhidden` for W_hh h.

    dh and dc become what goes directly to the state before; through W_hh more is to come. The two outputs are one
    array except in a GRU, whose r comes between n and W_hn h. `spare` is a row of scratch.
    """
    H, one, zero = dh.size, CONSTANTS(dh[0])[1], CONSTANTS(dh[0])[0]
    if kind == LSTM:
        i, f, g, o = gates[:H], gates[H:][:H], gates[2 * H :][:H], gates[3 * H :]
        for j in range(H):
            spare[j] = tanh(extra[j])
        through_logistic(dgates[3 * H :], dh, spare, o)  # forward did h = o ⊙ tanh c
        for j in range(H):
            dc[j] += dh[j] * o[j] * (one - spare[j] * spare[j])
        through_logistic(dgates[:H], dc, g, i)  # forward did c = f ⊙ c' + i ⊙ g
        through_logistic(dgates[H:], dc, extra_before, f)
        through_tanh(dgates[2 * H :], dc, i, g)
        for j in range(H):
            dc[j] *= f[j]
        for j in range(H):
            dh[j] = zero
    elif kind == GRU:
        r, z, n = gates[:H], gates[H:][:H], gates[2 * H :]
        for j in range(H):
            spare[j] = before[j] - n[j]  # forward did h = n + z ⊙ (h' - n)
        through_logistic(dgates[H:], dh, spare, z)
        for j in range(H):
            spare[j] = one - z[j]
        dn = dgates[2 * H :]
        through_tanh(dn, dh, spare, n)
        through_logistic(dgates, dn, extra, r)  # forward did n = tanh(... + r ⊙ hidden)
        for j in range(H):
            dhidden[2 * H + j] = dn[j] * r[j]
        for j in range(2 * H):
            dhidden[j] = dgates[j]
        for j in range(H):
            dh[j] *= z[j]
    else:
        for j in range(H):
            slope = one - h[j] * h[j] if kind == TANH else (zero if h[j] <= 0 else one)
            dgates[j] = dh[j] * slope
        for j in range(H):
            dh[j] = zero
