"""Recurrent cells as layers: one time step, for loops of the user's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.axes import as_bool
from minidl.factories import empty, made
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.linear import at_least
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.nn.recurrent import check_input, check_state, known_nonlinearity
from minidl.tensor import Tensor


class RNNCellBase(Module):
    """What the cells share: two matrices, two biases, and one step of the operation over sequences."""

    GATES = 1
    STATES = 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: Any = None) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size, self.hidden_size = at_least(name, 1, input_size=input_size, hidden_size=hidden_size)
        self.bias = as_bool(name, "bias", bias)
        gates = self.GATES * self.hidden_size
        self.weight_ih = Parameter(empty((gates, self.input_size), dtype=dtype))
        self.weight_hh = Parameter(empty((gates, self.hidden_size), dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty(gates, dtype=dtype)) if self.bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values anew: uniform in ±1/√hidden_size."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _step(self, operation: Any, input: Tensor, states: Sequence[Tensor] | None) -> tuple[Tensor, ...]:
        """The states after one step; zeros are the first ones if they are None."""
        name = type(self).__name__
        if not isinstance(input, Tensor):
            raise TypeError(f"{name}: input must be a Tensor, not {type(input).__name__}")
        check_input(name, input, ("N, I", "I"), self.input_size, self.weight_ih)
        shape = (*input.shape[:-1], self.hidden_size)
        states = [made(np.zeros(shape, input.dtype)) for _ in range(self.STATES)] if states is None else states
        for state, letter in zip(states, "hc", strict=False):
            check_state(name, letter, state, shape, input)
        if input.ndim == 1:
            new = self._step(operation, input.unsqueeze(0), [s.unsqueeze(0) for s in states])
            return tuple(s.squeeze(0) for s in new)
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return operation(input.unsqueeze(0), *states, *weights)[1:]

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(RNNCellBase):
    """One step of Elman's network: x (N, I), h (N, H) -> h (N, H); see `RNN`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.RNNCell(3, 4)(minidl.zeros(2, 3)).shape
    (2, 4)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", *, dtype: Any = None
    ) -> None:
        self.nonlinearity = known_nonlinearity("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias, dtype=dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The new h."""
        operation = F.rnn_tanh if self.nonlinearity == "tanh" else F.rnn_relu
        return self._step(operation, input, None if hx is None else [hx])[0]

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")


class GRUCell(RNNCellBase):
    """One step of gated recurrent units: x (N, I), h (N, H) -> h (N, H); see `GRU`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.GRUCell(3, 4)(minidl.zeros(2, 3)).shape
    (2, 4)
    """

    GATES = 3

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The new h."""
        return self._step(F.gru, input, None if hx is None else [hx])[0]


class LSTMCell(RNNCellBase):
    """One step of long short-term memory: x (N, I), (h, c) (N, H) each -> (h, c); see `LSTM`.

    >>> import minidl
    >>> from minidl import nn
    >>> h, c = nn.LSTMCell(3, 4)(minidl.zeros(2, 3))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    GATES = 4
    STATES = 2

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The new h and c."""
        if hx is not None and (not isinstance(hx, tuple | list) or len(hx) != 2):
            raise TypeError(f"LSTMCell: hx must be a pair (h, c), not {type(hx).__name__}")
        h, c = self._step(F.lstm, input, hx)
        return h, c
