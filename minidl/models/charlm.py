"""A recurrent network that writes: given the characters so far, how likely is each next one?

A. Graves, "Generating sequences with recurrent neural networks", 2013, figure 1, with one hidden layer or more:

    OUTPUTS   y_1     y_2     y_3      a score for each character, of what comes next
               ↑       ↑       ↑
    HIDDEN    h_1  →  h_2  →  h_3      LSTM or GRU; the state goes on
               ↑       ↑       ↑
    INPUTS    x_1     x_2     x_3      a character, as a vector with a single 1

Softmax makes probabilities of the scores; the mean of -log₂ of the probability that the true next character got is the
number of bits that it takes to write the text down, a character.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import nn
from minidl.axes import as_int, as_integers
from minidl.factories import made
from minidl.mode import no_grad
from minidl.models.generation import check_choice, draw, probabilities
from minidl.models.speaker import CELLS
from minidl.nn import functional as F
from minidl.nn.linear import at_least
from minidl.nn.module import evaluating
from minidl.random import Generator, stream
from minidl.tensor import Tensor


class CharLM(nn.Module):
    """A language model of characters, whose state is a value that goes in and comes out.

    Args:
        characters: how many there are.
        hidden_size: H. num_layers: hidden layers, one above the other.
        cell: "lstm" or "gru".
        dropout: probability, for what leaves a hidden layer.

    Shapes:
        x (N, T) integers, state as that of `nn.LSTM` or `nn.GRU`, None for zeros -> logits (N, T, characters), state.

    Raises:
        TypeError: x that are no integers. ValueError: sizes below 1, an unknown cell, another shape. IndexError: a
            number that stands for no character.

    Example:
        >>> import minidl
        >>> from minidl.models import CharLM
        >>> logits, state = CharLM(83, hidden_size=16)(minidl.tensor([[7, 4, 11], [0, 0, 1]]))
        >>> logits.shape
        (2, 3, 83)
    """

    def __init__(
        self,
        characters: int,
        hidden_size: int = 320,
        num_layers: int = 1,
        cell: str = "lstm",
        dropout: float = 0.0,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        at_least("CharLM", 1, characters=characters, hidden_size=hidden_size, num_layers=num_layers)
        if not isinstance(cell, str) or cell not in CELLS:
            raise ValueError(f"CharLM: cell must be one of {', '.join(CELLS)}, not {cell!r}")
        between = dropout if num_layers > 1 else 0.0
        self.rnn = CELLS[cell](characters, hidden_size, num_layers, dropout=between, dtype=dtype)
        # Of the sum over a vector with a single 1 one weight is left: it may be as large as what it should bring about.
        nn.init.uniform_(self.rnn.weight_ih_l0, -1, 1)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, characters, dtype=dtype)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        if not isinstance(x, Tensor) or x.dtype.kind not in "iu":
            raise TypeError(f"CharLM: x must be a Tensor of integers, not {getattr(x, 'dtype', type(x).__name__)}")
        if x.ndim != 2:
            raise ValueError(f"CharLM: x must have shape (N, T), not {x.shape}")
        inputs = F.one_hot(x.transpose(0, 1), self.rnn.input_size).to(self.output.weight.dtype)  # (T, N, characters)
        hidden, state = self.rnn(inputs, state)  # (T, N, H)
        return self.output(self.dropout(hidden)).transpose(0, 1), state

    def write(
        self, prompt: np.ndarray, length: int, temperature: float = 1.0, generator: Generator | None = None
    ) -> np.ndarray:
        """Read a prompt, and write on: `length` characters, one after the other, each drawn by its probability.

        Args:
            prompt: (n,) integers, at least one.
            length: how many characters to write.
            temperature: the scores are divided by it: below 1 makes likely characters likelier; 0 takes the likeliest.
            generator: where chance comes from; `minidl.default_generator` by default.

        Returns:
            (length,) integers, without the prompt.

        Raises:
            TypeError: a prompt that holds no integers, a length that is none. ValueError: no prompt, a negative length,
                a temperature that is negative or not finite. IndexError: a number that stands for no character.
            FloatingPointError: the scores are NaN.
        """
        prompt, length = as_integers("write", "prompt", prompt), as_int("write", "length", length)
        if not len(prompt) or length < 0:
            raise ValueError(f"write: expects a prompt and a length from 0 on, got {len(prompt)} characters, {length}")
        check_choice("write", temperature)
        chance, written = stream(generator), []
        with evaluating(self), no_grad():
            x, state = prompt, None
            for _ in range(length):
                logits, state = self(made(x[None]), state)
                x = draw(probabilities(logits._array[:, -1], temperature), chance)
                written.append(x[0])
        return np.array(written, np.int64)
