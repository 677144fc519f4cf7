"""Recurrent layers: stacks of layers, in one or both directions, over whole sequences."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl.factories import empty, made
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.dropout import probability
from minidl.nn.linear import at_least
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from minidl.primitives import Cat
from minidl.tensor import Tensor, apply

State = Any  # h, or for an LSTM the pair (h, c)


class RNNBase(Module):
    """What RNN, LSTM and GRU share: a layer on a layer, each in one direction or in both.

    Layer 0 reads the input and layer k the outputs of layer k - 1, forward and reverse side by side, after dropout.
    """

    GATES = 1
    STATES = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size, self.hidden_size, self.num_layers = at_least(
            name, 1, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers
        )
        (self.proj_size,) = at_least(name, 0, proj_size=proj_size)
        if self.proj_size >= self.hidden_size:
            raise ValueError(f"{name}: proj_size must be smaller than hidden_size={hidden_size}, but is {proj_size}")
        self.bias, self.batch_first, self.bidirectional = bool(bias), bool(batch_first), bool(bidirectional)
        self.dropout = probability(name, dropout)
        if dropout and num_layers == 1:
            warnings.warn(f"{name}: dropout acts between layers, and there is only one", stacklevel=3)
        width, directions = self.proj_size or self.hidden_size, 1 + self.bidirectional
        for layer in range(self.num_layers):
            inputs = self.input_size if layer == 0 else width * directions
            for suffix in self._suffixes(layer):
                gates = self.GATES * self.hidden_size
                shapes = {"weight_ih": (gates, inputs), "weight_hh": (gates, width)}
                if self.bias:
                    shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
                if self.proj_size:
                    shapes["weight_hr"] = (self.proj_size, self.hidden_size)
                for kind, shape in shapes.items():
                    setattr(self, kind + suffix, Parameter(empty(shape, dtype=dtype)))
        self.reset_parameters()

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        """The ends of the names of a layer's parameters, one for each direction."""
        return (f"_l{layer}", f"_l{layer}_reverse")[: 1 + self.bidirectional]

    def reset_parameters(self) -> None:
        """Draw the initial values anew: uniform in ±1/√hidden_size, as PyTorch has them."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input: Tensor | PackedSequence, hx: State = None, lengths: Any = None) -> tuple[Any, State]:
        """Outputs of the last layer for every step, and the last states of all layers and directions."""
        name = type(self).__name__
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise ValueError(f"{name}: a PackedSequence knows its lengths; do not give any")
            self._check(name, input.data, 2)
            states = self._states(hx, int(input.batch_sizes._array[0]), input.data, input.sorted_indices)
            sizes = tuple(input.batch_sizes._array.tolist())
            data, states = self._layers(input.data, states, sizes)
            states = [s if input.unsorted_indices is None else s[:, input.unsorted_indices] for s in states]
            return input._replace(data=data), self._together(states)
        if not isinstance(input, Tensor):
            raise TypeError(f"{name}: input must be a Tensor or a PackedSequence, not {type(input).__name__}")
        if input.ndim == 2 and lengths is None:  # one sequence, without a dimension for the batch
            batch = input.unsqueeze(0 if self.batch_first else 1)
            states = None if hx is None else self._together([self._single(name, s) for s in self._apart(hx)])
            output, states = self(batch, states)
            return output.squeeze(0 if self.batch_first else 1), self._together(
                [s.squeeze(1) for s in self._apart(states)]
            )
        self._check(name, input, 3)
        if lengths is not None:
            packed = pack_padded_sequence(input, lengths, self.batch_first, enforce_sorted=False)
            output, states = self(packed, hx)
            T = input.shape[1 if self.batch_first else 0]
            return pad_packed_sequence(output, self.batch_first, total_length=T)[0], states
        x = input.transpose(0, 1) if self.batch_first else input
        T, N = x.shape[:2]
        if not T:
            raise ValueError(f"{name}: the sequences have no time steps: input {input.shape}")
        states = self._states(hx, N, input, None)
        rows, states = self._layers(x.reshape(T * N, self.input_size), states, (N,) * T)
        output = rows.reshape(T, N, rows.shape[-1])
        return output.transpose(0, 1) if self.batch_first else output, self._together(states)

    def _layers(self, x: Tensor, states: list[Tensor], sizes: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
        """All layers over packed rows (total, I); states are (layers · directions, N, H)."""
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = F.dropout(x, self.dropout, self.training)
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                first = [s[layer * (1 + self.bidirectional) + direction] for s in states]
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", *(["weight_hr"] if self.proj_size else []))
                weights = [getattr(self, kind + suffix, None) for kind in names]
                y, *new = self._operation()(x, *first, *weights, batch_sizes=sizes, reverse=direction == 1)
                outputs.append(y)
                last.append(tuple(new))
            x = outputs[0] if len(outputs) == 1 else apply(Cat(axis=1), *outputs)
        return x, [apply(Cat(axis=0), *[s.unsqueeze(0) for s in each]) for each in zip(*last, strict=True)]

    def _operation(self) -> Callable[..., Any]:
        raise NotImplementedError

    # States

    def _widths(self) -> tuple[int, ...]:
        """Of h, and for an LSTM of c."""
        return (self.proj_size or self.hidden_size, self.hidden_size)[: self.STATES]

    def _apart(self, hx: State) -> list[Tensor]:
        """The states as a list."""
        if self.STATES == 1:
            return [hx]
        if not isinstance(hx, tuple | list) or len(hx) != 2:
            raise TypeError(f"{type(self).__name__}: hx must be a pair (h, c), not {type(hx).__name__}")
        return list(hx)

    def _together(self, states: list[Tensor]) -> State:
        return states[0] if self.STATES == 1 else tuple(states)

    def _single(self, name: str, state: Any) -> Tensor:
        """The state of a single sequence, with a dimension for the batch."""
        if not isinstance(state, Tensor) or state.ndim != 2:
            raise ValueError(f"{name}: for a single sequence hx must have 2 dimensions, not {np.shape(state)}")
        return state.unsqueeze(1)

    def _states(self, hx: State, N: int, input: Tensor, order: Tensor | None) -> list[Tensor]:
        """The states before the first step, zeros by default, in the order of the packed sequences."""
        name, count = type(self).__name__, self.num_layers * (1 + self.bidirectional)
        if hx is None:
            return [made(np.zeros((count, N, width), input.dtype)) for width in self._widths()]
        states = self._apart(hx)
        for state, width, letter in zip(states, self._widths(), "hc", strict=False):
            if not isinstance(state, Tensor):
                raise TypeError(f"{name}: {letter} must be a Tensor, not {type(state).__name__}")
            if state.shape != (count, N, width):
                raise ValueError(f"{name}: {letter} must have shape {(count, N, width)}, not {state.shape}")
            if state.dtype != input.dtype:
                raise TypeError(f"{name}: {letter} is {state.dtype}, but input is {input.dtype}")
        return states if order is None else [state[:, order] for state in states]

    def _check(self, name: str, x: Tensor, ndim: int) -> None:
        if x.ndim != ndim or x.shape[-1] != self.input_size:
            layout = {2: "(total, {})", 3: "(N, T, {})" if self.batch_first else "(T, N, {})"}[ndim]
            raise ValueError(f"{name}: expects input {layout.format(self.input_size)}, not {x.shape}")
        dtype = self.weight_ih_l0.dtype
        if x.dtype != dtype:
            raise TypeError(f"{name}: input is {x.dtype}, but the parameters are {dtype}; cast one of them")

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [list(self._of(suffix)) for layer in range(self.num_layers) for suffix in self._suffixes(layer)]

    def _of(self, suffix: str) -> Iterator[Parameter]:
        return (p for name, p in self.named_parameters() if name.endswith(suffix))

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for option, default in (
            ("proj_size", 0),
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0.0),
            ("bidirectional", False),
        ):
            if getattr(self, option) != default:
                text += f", {option}={getattr(self, option)}"
        return text


class LSTM(RNNBase):
    """Long short-term memory (S. Hochreiter, J. Schmidhuber, 1997; forget gates: F. Gers et al., 2000).

    i, f, o = σ(...), g = tanh(...), c = f ⊙ c' + i ⊙ g, h = o ⊙ tanh c; see `minidl.ops.recurrent.lstm`.

    >>> import minidl
    >>> from minidl import nn
    >>> output, (h, c) = nn.LSTM(3, 4, num_layers=2)(minidl.zeros(5, 2, 3))
    >>> output.shape, h.shape, c.shape
    ((5, 2, 4), (2, 2, 4), (2, 2, 4))

    The state is a value: give the last one as the next call's first, and `detach()` it to end backpropagation there.

    Args:
        input_size: I, values of a step. hidden_size: H, values of the state.
        num_layers: how many are stacked. bias: whether there are b_ih and b_hh.
        batch_first: whether the input, and the output, are (N, T, ...) instead of (T, N, ...).
        dropout: probability, between layers, in training. bidirectional: also from the last step to the first.
        proj_size: P, if h is to be W_hr (o ⊙ tanh c) with fewer values than c; 0: it is not.
        dtype: of the parameters.

    Shapes:
        input (T, N, I), (N, T, I), a PackedSequence, or (T, I) for one sequence; h (layers · directions, N, P or H), c
        (layers · directions, N, H), zeros by default -> output (T, N, directions · (P or H)), (h, c).
        With `lengths` (N,), nothing is computed for padding, outputs there are 0, and states are those after each
        sequence's own last step.
        weight_ih_l0 (4 H, I), weight_hh_l0 (4 H, P or H), bias_ih_l0, bias_hh_l0 (4 H,), weight_hr_l0 (P, H); gates in
        the order i, f, g, o; further layers _l1 ..., and _reverse.

    Raises:
        ValueError: sizes below 1, shapes that do not fit, bad lengths. TypeError: another dtype.
    """

    GATES = 4
    STATES = 2

    def _operation(self) -> Callable[..., Any]:
        return F.lstm


class GRU(RNNBase):
    """Gated recurrent units (K. Cho et al., 2014).

    r, z = σ(...), n = tanh(W_in x + b_in + r ⊙ (W_hn h' + b_hn)), h = (1 - z) ⊙ n + z ⊙ h'.

    >>> import minidl
    >>> from minidl import nn
    >>> output, h = nn.GRU(3, 4, batch_first=True, bidirectional=True)(minidl.zeros(2, 5, 3), lengths=[3, 5])
    >>> output.shape, h.shape
    ((2, 5, 8), (2, 2, 4))

    Arguments, shapes and errors as those of `LSTM`, without c and proj_size; gates in the order r, z, n.
    """

    GATES = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype=dtype)

    def _operation(self) -> Callable[..., Any]:
        return F.gru


class RNN(RNNBase):
    """Elman's network: h = tanh(W_ih x + b_ih + W_hh h' + b_hh), or max(..., 0) (J. Elman, 1990).

    >>> import minidl
    >>> from minidl import nn
    >>> output, h = nn.RNN(3, 4, nonlinearity="relu")(minidl.zeros(5, 2, 3))
    >>> output.shape, h.shape
    ((5, 2, 4), (1, 2, 4))

    Arguments, shapes and errors as those of `GRU`, and `nonlinearity`, "tanh" or "relu".
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: Any = None,
    ) -> None:
        self.nonlinearity = known_nonlinearity("RNN", nonlinearity)
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype=dtype)

    def _operation(self) -> Callable[..., Any]:
        return F.rnn_tanh if self.nonlinearity == "tanh" else F.rnn_relu


def known_nonlinearity(layer: str, nonlinearity: str) -> str:
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{layer}: nonlinearity must be 'tanh' or 'relu', not {nonlinearity!r}")
    return nonlinearity
