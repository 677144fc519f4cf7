"""The cells of recurrent networks as their papers define them, and a cell over time: all composed of primitives.

Checkpoints keep two matrices, W_ih for the input and W_hh for the state. The textbook writes one, W · [h, x] + b; with
W = [W_hh, W_ih] and b = b_ih + b_hh that is the same sum (`joined`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.ops.activation import relu
from minidl.ops.linear import linear_definition
from minidl.primitives import Cat
from minidl.tensor import Tensor, apply


def sums(x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None) -> Tensor:
    """W_ih x + b_ih + W_hh h + b_hh: (N, gates · H)."""
    return linear_definition(x, w_ih, b_ih) + linear_definition(h, w_hh, b_hh)


def joined(x: Tensor, h: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """The textbook's form of `sums`: W · [h, x] + b."""
    return linear_definition(apply(Cat(axis=1), h, x), w, b)


def parts(a: Tensor, count: int) -> list[Tensor]:
    """The gates, which lie side by side."""
    H = a.shape[1] // count
    return [a[:, k * H : (k + 1) * H] for k in range(count)]


def lstm_gates(a: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """From the gates' sums and the old c to the new h and c."""
    i, f, g, o = parts(a, 4)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()  # forget, and take in the candidate c̃ = tanh(...)
    return o.sigmoid() * c.tanh(), c


def lstm_cell(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None
) -> tuple[Tensor, Tensor]:
    """i, f, o = σ(...), c̃ = tanh(...), c = f ⊙ c + i ⊙ c̃, h = o ⊙ tanh(c)."""
    return lstm_gates(sums(x, h, w_ih, w_hh, b_ih, b_hh), c)


def gru_cell(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None
) -> tuple[Tensor]:
    """r, z = σ(...), n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn)), h = (1 - z) ⊙ n + z ⊙ h."""
    x_r, x_z, x_n = parts(linear_definition(x, w_ih, b_ih), 3)
    h_r, h_z, h_n = parts(linear_definition(h, w_hh, b_hh), 3)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    n = (x_n + r * h_n).tanh()
    return ((1.0 - z) * n + z * h,)


def rnn_tanh_cell(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None
) -> tuple[Tensor]:
    """h = tanh(W_ih x + b_ih + W_hh h + b_hh)."""
    return (sums(x, h, w_ih, w_hh, b_ih, b_hh).tanh(),)


def rnn_relu_cell(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None
) -> tuple[Tensor]:
    """h = max(W_ih x + b_ih + W_hh h + b_hh, 0)."""
    return (relu(sums(x, h, w_ih, w_hh, b_ih, b_hh)),)


def unrolled(
    cell: Callable[..., tuple[Tensor, ...]], x: Tensor, states: Sequence[Tensor], sizes: Sequence[int], reverse: bool
) -> tuple[Tensor, ...]:
    """The definition: step after step. A sequence that has ended, or in reverse not begun, keeps its state."""
    first = np.cumsum([0, *sizes])
    outputs: list[Any] = [None] * len(sizes)
    for t in reversed(range(len(sizes))) if reverse else range(len(sizes)):
        n = sizes[t]
        new = cell(x[first[t] : first[t] + n], *[state[:n] for state in states])
        outputs[t] = new[0]
        states = [apply(Cat(axis=0), a, state[n:]) for a, state in zip(new, states, strict=True)]
    return (apply(Cat(axis=0), *outputs), *states)


def lstm_definition(
    x: Tensor, h: Tensor, c: Tensor, *weights: Tensor | None, sizes: Any, reverse: bool
) -> tuple[Tensor, ...]:
    """Step by step, the cell of the textbook, and the projection if there is one."""
    *weights, w_hr = weights

    def cell(x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        h, c = lstm_cell(x, h, c, *weights)
        return h if w_hr is None else linear_definition(h, w_hr, None), c

    return unrolled(cell, x, [h, c], sizes, reverse)


def gru_definition(x: Tensor, h: Tensor, *weights: Tensor, sizes: Any, reverse: bool) -> tuple[Tensor, ...]:
    """Step by step."""
    return unrolled(lambda x, h: gru_cell(x, h, *weights), x, [h], sizes, reverse)


def rnn_tanh_definition(x: Tensor, h: Tensor, *weights: Tensor, sizes: Any, reverse: bool) -> tuple[Tensor, ...]:
    """Step by step."""
    return unrolled(lambda x, h: rnn_tanh_cell(x, h, *weights), x, [h], sizes, reverse)


def rnn_relu_definition(x: Tensor, h: Tensor, *weights: Tensor, sizes: Any, reverse: bool) -> tuple[Tensor, ...]:
    """Step by step."""
    return unrolled(lambda x, h: rnn_relu_cell(x, h, *weights), x, [h], sizes, reverse)
