"""Recurrent layers: a whole sequence in one operation, and backpropagation through time.

A layer in one direction maps rows x_t, t = 0, 1, ..., and a first state to a state after every step. The rows of a
batch are *packed*: first step 0 of all sequences, then step 1 of those that have one, and so on, longer sequences
first. `batch_sizes[t]` says how many are alive at step t; nothing is computed, or differentiated, for padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from minidl.dtypes import require_same_dtype
from minidl.function import Function
from minidl.kernels import recurrent as kernels
from minidl.kernels.cells import GATES, RELU, TANH
from minidl.kernels.cells import GRU as GRU_CELL
from minidl.kernels.cells import LSTM as LSTM_CELL
from minidl.kernels.embedding import add_rows, one_hot_ids, take_rows
from minidl.kernels.gemm import matmul
from minidl.ops.cells import gru_definition, lstm_definition, rnn_relu_definition, rnn_tanh_definition
from minidl.ops.table import Sample, operation, require_tensor, run
from minidl.tensor import Tensor

Arrays = tuple[np.ndarray | None, ...]


@lru_cache(maxsize=64)
def places(sizes: tuple[int, ...], reverse: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sizes as an array; and rows of the states, of which the first N are those before the first step: for each
    row of the data, where the state before it lies, and for each sequence its last one.
    """
    N = sizes[0]
    last = np.arange(N)
    before = np.empty(sum(sizes), np.int64)
    first = np.cumsum([0, *sizes])
    for t in reversed(range(len(sizes))) if reverse else range(len(sizes)):
        n = sizes[t]
        before[first[t] : first[t] + n] = last[:n]
        last[:n] = N + first[t] + np.arange(n)
    return np.array(sizes, np.int64), before, last


class Recurrent(Function):
    """What all cells share: products for all time steps at once, around a kernel that goes step by step.

        forward    gates_t = W_ih x_t + b_ih + b_hh           one product, for all t
                   h_t = cell(gates_t, W_hh h_{t-1})          the kernel
        backward   da_t = ∂cell, with dh_t = g_t + what step t + 1 sends back          the kernel
                   dx_t = W_ihᵀ da_t     dW_ih = Σ_t da_t x_tᵀ     db_ih = Σ_t da_t     one product each, for all t
                   dW_hh = Σ_t da_t h_{t-1}ᵀ    db_hh = Σ_t da_t

    The state before the first step gets what the first step sends back; the states after the last step get, from
    outside, gradients of their own, with which dh begins.

    If every x_t is a vector with a single 1, as characters are, W_ih x_t is a column of W_ih. So it is looked up, and
    that column of dW_ih gets the sum of its da_t.
    """

    kind: int
    states: int
    keeps_output = False

    def through(self, x: np.ndarray, states: list[np.ndarray], *weights: np.ndarray | None) -> tuple[np.ndarray, ...]:
        """Outputs and last states."""
        w_ih, w_hh, b_ih, b_hh, w_hr = self.all(weights)
        bias, b_hn = b_ih, None
        if b_hh is not None and self.kind == GRU_CELL:  # r comes between W_hn h + b_hn and the sum
            H = w_hh.shape[1]
            bias, b_hn = np.concatenate([b_ih[: 2 * H] + b_hh[: 2 * H], b_ih[2 * H :]]), b_hh[2 * H :]
        elif b_hh is not None:
            bias = b_ih + b_hh
        b_hn = np.zeros(len(w_hh) // GATES[self.kind], x.dtype) if b_hn is None else b_hn
        sizes, _, last = places(self.sizes, self.reverse)
        self.ids = one_hot_ids(x)
        if self.ids is not None and not np.isfinite(w_ih).all():
            self.ids = None  # 0 · ∞ is NaN, in every row
        if self.ids is None:
            self.gates = matmul(x, w_ih.T, bias)
        else:
            columns = np.add(w_ih.T, 0 if bias is None else bias, order="C")
            self.gates = take_rows(columns, self.ids)
        self.kept = kernels.forward(self.kind, self.gates, states, w_hh, w_hr, b_hn, sizes, self.reverse)
        N = len(last)
        return (self.kept[0][N:].copy(), *[kept[last] for kept, _ in zip(self.kept, states, strict=False)])

    def backward(self, g: np.ndarray, *dstates: np.ndarray) -> Arrays:
        x, w_ih, w_hh, _, _, w_hr = self.inputs[0], *self.all(self.inputs[1 + self.states :])
        sizes, before, _ = places(self.sizes, self.reverse)
        da, da_hidden, dh, gstates, gbiases = kernels.backward(
            self.kind, self.gates, self.kept, w_hh, w_hr, sizes, self.reverse, g, list(dstates)
        )
        needs_x, needs_ih, needs_hh = self.needs[0], *self.needs[1 + self.states :][:2]
        gx = matmul(da, w_ih) if needs_x else None
        h = rows_at(self.kept[0], before) if needs_hh else None  # h_{t-1}
        gw_ih = None
        if needs_ih:
            gw_ih = matmul(da.T, x) if self.ids is None else add_rows(da, self.ids, x.shape[1]).T.copy()
        gw_hh = matmul(da_hidden.T, h) if needs_hh else None
        gw_hr = matmul(dh.T, self.kept[2]) if w_hr.size else None  # forward did h = W_hr m
        return (gx, *gstates, gw_ih, gw_hh, *gbiases, gw_hr)[: len(self.inputs)]

    def all(self, weights: Arrays) -> Any:
        """W_ih, W_hh, b_ih, b_hh and W_hr, which is empty if there is none."""
        w_hr = weights[4] if len(weights) > 4 else None
        return (*weights[:4], np.empty((0, 0), weights[0].dtype) if w_hr is None else w_hr)


def rows_at(states: np.ndarray, places: np.ndarray) -> np.ndarray:
    """states[places], without a copy where these rows follow each other."""
    if not len(places):  # an empty batch
        return states[:0]
    first, last = places[0], places[-1]
    if last - first == len(places) - 1 and (np.diff(places) == 1).all():
        return states[first : last + 1]
    return states.take(places, axis=0)


class Lstm(Recurrent):
    """Forward did, at each step,

        i = σ(a_i)   f = σ(a_f)   g = tanh(a_g)   o = σ(a_o)      a = W_ih x + b_ih + W_hh h' + b_hh
        c = f ⊙ c' + i ⊙ g                        h = o ⊙ tanh c

    so backward does, with dh and dc as they arrive from above and from the next step,

        do = dh ⊙ tanh c          dc += dh ⊙ o ⊙ (1 - tanh² c)
        di = dc ⊙ g    df = dc ⊙ c'    dg = dc ⊙ i
        da_i = di ⊙ i (1 - i)     da_f = df ⊙ f (1 - f)     da_g = dg ⊙ (1 - g²)     da_o = do ⊙ o (1 - o)
        dc' = dc ⊙ f              dh' = W_hhᵀ da

    That c' gets dc times f alone, no matrix, is why an LSTM remembers.

    With a projection (H. Sak et al., 2014) what is above called h is m, and forward went on with h = W_hr m. So dm =
    W_hrᵀ dh stands in the place of dh above, where dh is the sum of what arrives, dW_hr = Σ_t dh_t m_tᵀ, and W_hhᵀ da
    goes to h' as before.
    """

    kind, states = LSTM_CELL, 2
    definition = staticmethod(lstm_definition)

    def forward(
        self, x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any = None
    ) -> tuple[np.ndarray, ...]:
        return self.through(x, [h, c], w_ih, w_hh, b_ih, b_hh, w_hr)


class Gru(Recurrent):
    """Forward did, at each step,

        r = σ(a_r)   z = σ(a_z)   m = W_hn h' + b_hn   n = tanh(W_in x + b_in + r ⊙ m)   h = n + z ⊙ (h' - n)

    so backward does

        dn = dh ⊙ (1 - z)         dz = dh ⊙ (h' - n)
        da_n = dn ⊙ (1 - n²)      da_z = dz ⊙ z (1 - z)
        dm = da_n ⊙ r             da_r = da_n ⊙ m ⊙ r (1 - r)
        dh' = dh ⊙ z + W_hhᵀ (da_r, da_z, dm)

    The input's part gets (da_r, da_z, da_n), that of h' (da_r, da_z, dm).
    """

    kind, states = GRU_CELL, 1
    definition = staticmethod(gru_definition)

    def forward(self, x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> tuple[np.ndarray, ...]:
        return self.through(x, [h], w_ih, w_hh, b_ih, b_hh)


class RnnTanh(Gru):
    """Forward did h = tanh(a), so backward does da = dh ⊙ (1 - h²) and dh' = W_hhᵀ da.

    A matrix and a slope at each step: over many steps that is a power of a matrix, which vanishes or explodes.
    """

    kind = TANH
    definition = staticmethod(rnn_tanh_definition)


class RnnRelu(Gru):
    """Forward did h = max(a, 0), so backward does da = dh where h is positive, and dh' = W_hhᵀ da."""

    kind = RELU
    definition = staticmethod(rnn_relu_definition)


def layer(
    name: str,
    passes: type[Recurrent],
    gates: int,
    input: Tensor,
    states: dict[str, Tensor],
    weights: dict[str, Tensor | None],
    batch_sizes: Any,
    reverse: bool,
) -> tuple[Tensor, ...]:
    """Check what was given, and run."""
    require_tensor(name, input=input, **states, **weights)
    require_same_dtype(name, input=input, **states, **weights)
    padded = batch_sizes is None
    if input.ndim != (3 if padded else 2):
        wanted = "(T, N, I), or batch_sizes" if padded else "(total, I) with batch_sizes"
        raise ValueError(f"{name}: input must have shape {wanted}, not {input.shape}")
    sizes = (input.shape[1],) * input.shape[0] if padded else checked_sizes(name, batch_sizes, input.shape[0])
    if not sizes:
        raise ValueError(f"{name}: the sequences have no time steps: input {input.shape}")
    w_hr = weights.get("weight_hr")
    for argument in ("weight_hh", "weight_hr"):
        if weights.get(argument) is not None and weights[argument].ndim != 2:
            raise ValueError(f"{name}: {argument} must be a matrix, not of shape {weights[argument].shape}")
    P = weights["weight_hh"].shape[-1]
    H = P if w_hr is None else w_hr.shape[-1]
    expected = {"h": (sizes[0], P), "c": (sizes[0], H), "weight_hr": (P, H)}
    expected |= {"weight_ih": (gates * H, input.shape[-1]), "weight_hh": (gates * H, P)}
    expected |= {"bias_ih": (gates * H,), "bias_hh": (gates * H,)}
    for argument, tensor in (states | weights).items():
        if tensor is not None and tensor.shape != expected[argument]:
            raise ValueError(
                f"{name}: {argument} must have shape {expected[argument]}, not {tensor.shape} "
                f"(input {input.shape}, {sizes[0]} sequences, H={H}{'' if w_hr is None else f', P={P}'})"
            )
    if w_hr is not None and 0 in w_hr.shape:
        raise ValueError(f"{name}: weight_hr must not be empty, but has shape {w_hr.shape}")
    if (weights["bias_ih"] is None) != (weights["bias_hh"] is None):
        raise ValueError(f"{name}: bias_ih and bias_hh are given together or not at all")
    rows = input.reshape(sum(sizes), input.shape[-1]) if padded else input
    y, *last = run(passes(sizes=sizes, reverse=bool(reverse)), rows, *states.values(), *weights.values())
    return (y.reshape(*input.shape[:2], P) if padded else y, *last)


def checked_sizes(name: str, batch_sizes: Any, total: int) -> tuple[int, ...]:
    """As a tuple of ints, positive and never growing, that sum up to the rows; in an empty batch all are 0."""
    try:
        array = batch_sizes._array if isinstance(batch_sizes, Tensor) else np.asarray(batch_sizes)
    except ValueError:  # a list of lists of different lengths
        array = np.empty(())
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"{name}: batch_sizes must be a sequence of integers, not {batch_sizes!r}")
    sizes = tuple(array.tolist())
    if (any(n < 1 for n in sizes) and any(sizes)) or list(sizes) != sorted(sizes, reverse=True) or sum(sizes) != total:
        raise ValueError(f"{name}: batch_sizes must be positive, never grow, and sum up to {total} rows, not {sizes}")
    return sizes


def samples(gates: int, states: int, projected: bool = False) -> Callable[[np.random.Generator], Iterator[Sample]]:
    """Forward and reverse, whole batches and sequences of different lengths, one step, one sequence, no bias; and, if
    there are such, projections.
    """

    def draw(rng: np.random.Generator) -> Iterator[Sample]:
        for sizes, H, P, options in (
            (None, 3, 0, {}),
            (None, 2, 0, {"reverse": True}),
            ((4, 3, 3, 1), 3, 0, {}),
            ((3, 1), 2, 0, {"reverse": True}),
            ((1,), 1, 0, {}),
            ((7, 7), 9, 0, {}),
            *([(None, 3, 2, {}), ((3, 3, 1), 4, 1, {"reverse": True}), ((2, 1), 2, 3, {})] if projected else []),
        ):
            x = rng.standard_normal((4, 2, 3) if sizes is None else (sum(sizes), 2))
            N = 2 if sizes is None else sizes[0]
            first = [rng.standard_normal((N, width)) for width in (P or H, H)[:states]]
            weights = [rng.standard_normal((gates * H, n)) * 0.7 for n in (x.shape[-1], P or H)]
            biases = [rng.standard_normal(gates * H) for _ in range(2)] if sizes != (3, 1) else []
            more = {} if sizes is None else {"batch_sizes": sizes}
            more |= {"weight_hr": rng.standard_normal((P, H))} if P else {}
            yield Sample(x, *first, *weights, *biases, **more, **options)
        x = np.eye(3)[rng.integers(0, 3, (4, 2))]  # one-hot rows, which look up columns of W_ih
        shapes = [(2, 3)] * states + [(gates * 3, 3)] * 2 + [(gates * 3,)] * 2
        yield Sample(x, *(rng.standard_normal(shape) for shape in shapes))

    return draw


@operation(samples=samples(4, 2, projected=True), passes=Lstm)
def lstm(
    input: Tensor,
    h: Tensor,
    c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    weight_hr: Tensor | None = None,
    *,
    batch_sizes: Sequence[int] | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """One layer of an LSTM in one direction, over whole sequences (S. Hochreiter, J. Schmidhuber, 1997; F. Gers, 2000).

    i = σ(a_i), f = σ(a_f), g = tanh(a_g), o = σ(a_o), c = f ⊙ c' + i ⊙ g, h = o ⊙ tanh c, where
    (a_i, a_f, a_g, a_o) = W_ih x + b_ih + W_hh h' + b_hh.

    Args:
        input: (T, N, I); or packed rows (total, I) with `batch_sizes`.
        h, c: the states before the first step, (N, H); with a projection, h is (N, P).
        weight_ih: (4 H, I). weight_hh: (4 H, H). bias_ih, bias_hh: (4 H,).
        weight_hr: (P, H), a projection (H. Sak et al., 2014): h = W_hr (o ⊙ tanh c) has P values.
            weight_hh is then (4 H, P).
        batch_sizes: how many sequences are alive at each step: positive, never growing, their sum is total.
        reverse: from each sequence's last step to its first.

    Returns:
        All h, as the input is laid out, and the states after each sequence's last step, as h and c.

    Raises:
        TypeError: arguments that are no floating-point Tensors of one dtype.
        ValueError: shapes that do not go together, no time steps.

    >>> import minidl
    >>> from minidl.ops.recurrent import lstm
    >>> x, h, c = minidl.zeros(5, 2, 3), minidl.zeros(2, 4), minidl.ones(2, 4)
    >>> y, h, c = lstm(x, h, c, minidl.zeros(16, 3), minidl.zeros(16, 4))
    >>> y.shape, c[0, 0].item()  # every step forgets a half
    ((5, 2, 4), 0.03125)
    """
    weights = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias_ih": bias_ih, "bias_hh": bias_hh}
    weights |= {"weight_hr": weight_hr}
    return layer("lstm", Lstm, 4, input, {"h": h, "c": c}, weights, batch_sizes, reverse)  # type: ignore[return-value]


@operation(samples=samples(3, 1), passes=Gru)
def gru(
    input: Tensor,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    *,
    batch_sizes: Sequence[int] | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """One layer of gated recurrent units in one direction, over whole sequences (K. Cho et al., 2014).

    r = σ(a_r), z = σ(a_z), n = tanh(W_in x + b_in + r ⊙ (W_hn h' + b_hn)), h = (1 - z) ⊙ n + z ⊙ h'.

    Arguments and errors as those of `lstm`, with three gates r, z, n and without c. Returns all h and the last ones.

    >>> import minidl
    >>> from minidl.ops.recurrent import gru
    >>> y, h = gru(minidl.zeros(2, 1, 3), minidl.ones(1, 4), minidl.zeros(12, 3), minidl.zeros(12, 4))
    >>> h
    tensor([[0.25, 0.25, 0.25, 0.25]])
    """
    weights = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias_ih": bias_ih, "bias_hh": bias_hh}
    return layer("gru", Gru, 3, input, {"h": h}, weights, batch_sizes, reverse)  # type: ignore[return-value]


@operation(samples=samples(1, 1), passes=RnnTanh)
def rnn_tanh(
    input: Tensor,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    *,
    batch_sizes: Sequence[int] | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """One layer of Elman's network in one direction: h = tanh(W_ih x + b_ih + W_hh h' + b_hh) (J. Elman, 1990).

    Arguments, results and errors as those of `gru`, with one gate.

    >>> import minidl
    >>> from minidl.ops.recurrent import rnn_tanh
    >>> y, h = rnn_tanh(minidl.zeros(5, 1, 3), minidl.ones(1, 2), minidl.zeros(2, 3), minidl.zeros(2, 2))
    >>> y.shape, h.tolist()  # no weights, no memory
    ((5, 1, 2), [[0.0, 0.0]])
    """
    weights = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias_ih": bias_ih, "bias_hh": bias_hh}
    return layer("rnn_tanh", RnnTanh, 1, input, {"h": h}, weights, batch_sizes, reverse)  # type: ignore[return-value]


@operation(samples=samples(1, 1), passes=RnnRelu)
def rnn_relu(
    input: Tensor,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    *,
    batch_sizes: Sequence[int] | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """As `rnn_tanh`, with h = max(W_ih x + b_ih + W_hh h' + b_hh, 0) (Q. Le, N. Jaitly, G. Hinton, 2015).

    >>> import minidl
    >>> from minidl.ops.recurrent import rnn_relu
    >>> y, h = rnn_relu(minidl.zeros(5, 1, 3), minidl.ones(1, 2), minidl.zeros(2, 3), minidl.eye(2))
    >>> h  # the identity remembers
    tensor([[1., 1.]])
    """
    weights = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias_ih": bias_ih, "bias_hh": bias_hh}
    return layer("rnn_relu", RnnRelu, 1, input, {"h": h}, weights, batch_sizes, reverse)  # type: ignore[return-value]
