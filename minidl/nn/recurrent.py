"""Recurrent layers: stacks of layers, in one or both directions, over whole sequences."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl.axes import as_bool
from minidl.factories import empty, made
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.dropout import probability
from minidl.nn.linear import at_least
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.nn.utils.rnn import PackedSequence, pack, pad_packed_sequence, unpacked
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
        self.bias = as_bool(name, "bias", bias)
        self.batch_first = as_bool(name, "batch_first", batch_first)
        self.bidirectional = as_bool(name, "bidirectional", bidirectional)
        self.dropout = float(probability(name, dropout, "dropout"))
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

    def flatten_parameters(self) -> None:
        """Nothing: where PyTorch wants the parameters in one piece of memory, for a GPU, this makes no difference."""

    def forward(self, input: Tensor | PackedSequence, hx: State = None, lengths: Any = None) -> tuple[Any, State]:
        """Outputs of the last layer for every step, and the last states of all layers and directions."""
        name = type(self).__name__
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise ValueError(f"{name}: a PackedSequence knows its lengths; do not give any")
            return self._packed(input, hx)
        if not isinstance(input, Tensor):
            raise TypeError(f"{name}: input must be a Tensor or a PackedSequence, not {type(input).__name__}")
        if lengths is not None:
            self._check(name, input, "N, T, I" if self.batch_first else "T, N, I")
            output, states = self._packed(pack(name, input, lengths, self.batch_first, enforce_sorted=False), hx)
            T = input.shape[1 if self.batch_first else 0]
            return pad_packed_sequence(output, self.batch_first, total_length=T)[0], states
        single = input.ndim == 2  # one sequence, without a dimension for the batch
        self._check(name, input, "T, I" if single else "N, T, I" if self.batch_first else "T, N, I")
        x = input.unsqueeze(1) if single else input.transpose(0, 1) if self.batch_first else input
        T, N = x.shape[:2]
        if not T:
            raise ValueError(f"{name}: the sequences have no time steps: input {input.shape}")
        states = self._states(hx, () if single else (N,), input)
        rows, states = self._layers(x.reshape(T * N, self.input_size), states, (N,) * T)
        if single:
            return rows, self._together([s.squeeze(1) for s in states])
        output = rows.reshape(T, N, rows.shape[-1])
        return output.transpose(0, 1) if self.batch_first else output, self._together(states)

    def _packed(self, input: PackedSequence, hx: State) -> tuple[PackedSequence, State]:
        """The same for sequences that are packed; states come and go in the caller's order."""
        name = type(self).__name__
        sizes, order = unpacked(name, input)
        self._check(name, input.data, "total, I")
        states = self._states(hx, (int(sizes[0]),), input.data)
        states = states if order is None else [s[:, order] for s in states]
        data, states = self._layers(input.data, states, tuple(sizes.tolist()))
        states = states if order is None else [s[:, np.argsort(order)] for s in states]
        return input._replace(data=data), self._together(states)

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

    def _states(self, hx: State, batch: tuple[int, ...], input: Tensor) -> list[Tensor]:
        """The states before the first step, zeros by default, with a dimension for the batch; `batch` is (N,) or ()."""
        name, count = type(self).__name__, self.num_layers * (1 + self.bidirectional)
        if hx is None:
            return [made(np.zeros((count, *(batch or (1,)), width), input.dtype)) for width in self._widths()]
        states = self._apart(hx)
        for state, width, letter in zip(states, self._widths(), "hc", strict=False):
            check_state(name, letter, state, (count, *batch, width), input)
        return states if batch else [state.unsqueeze(1) for state in states]

    def _check(self, name: str, x: Tensor, layout: str) -> None:
        check_input(name, x, (layout,), self.input_size, self.weight_ih_l0)

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


# What callers give, to layers and cells


def known_nonlinearity(layer: str, nonlinearity: str) -> str:
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{layer}: nonlinearity must be 'tanh' or 'relu', not {nonlinearity!r}")
    return nonlinearity


def check_input(layer: str, x: Tensor, layouts: tuple[str, ...], I: int, weight: Tensor) -> None:
    """ValueError unless x has one of the layouts, such as "T, N, I"; TypeError unless its dtype is the parameters'."""
    if x.ndim not in [layout.count(",") + 1 for layout in layouts] or x.shape[-1] != I:
        wanted = " or ".join(f"({layout})" for layout in layouts)
        raise ValueError(f"{layer}: expects input {wanted} with I={I}, not {x.shape}")
    if x.dtype != weight.dtype:
        raise TypeError(f"{layer}: input is {x.dtype}, but the parameters are {weight.dtype}; cast one of them")


def check_state(layer: str, letter: str, state: Any, shape: tuple[int, ...], input: Tensor) -> None:
    """TypeError unless a state is a Tensor of the input's dtype, ValueError unless it has the shape."""
    if not isinstance(state, Tensor):
        raise TypeError(f"{layer}: {letter} must be a Tensor, not {type(state).__name__}")
    if state.shape != shape:
        raise ValueError(f"{layer}: {letter} must have shape {shape}, not {state.shape} (input {input.shape})")
    if state.dtype != input.dtype:
        raise TypeError(f"{layer}: {letter} is {state.dtype}, but input is {input.dtype}")
