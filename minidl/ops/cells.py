"""The cells of recurrent networks as their papers define them: one time step, composed of primitives.

Checkpoints keep two matrices, W_ih for the input and W_hh for the state. The textbook writes one, W · [h, x] + b; with
W = [W_hh, W_ih] and b = b_ih + b_hh that is the same sum (`joined`).
"""

from __future__ import annotations

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
