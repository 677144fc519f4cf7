"""Inside recurrent layers: what the gates did, and how far back a gradient reaches.

Both run the model with its recurrent layers unrolled, step after step by the formulas of `ops/cells.py`, and keep what
passes by; everything around the steps is the model's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl.autograd import grad
from minidl.mode import enable_grad, mode, no_grad
from minidl.nn import Module
from minidl.nn.module import evaluating
from minidl.nn.recurrent import LSTM, RNN, RNNBase
from minidl.nn.utils.rnn import PackedSequence, unpacked
from minidl.ops.activation import relu
from minidl.ops.cells import lstm_gates, parts, sums, unrolled
from minidl.ops.linear import linear_definition
from minidl.tensor import Tensor

Step = dict[str, Tensor]


def gates(model: Module, x: Any, lengths: Any = None) -> dict[str, np.ndarray]:
    """What the gates of recurrent layers did at every step: values of 0 ... 1 that say what is let through.

    An LSTM has `input`, `forget` and `output`, and `cell`, the candidate (-1 ... 1); a GRU `reset` and `update`, and
    `new`, its candidate; an RNN no gates, so its state, `hidden`. See `minidl.ops.recurrent` for the formulas. The
    model runs in `eval()` mode; its mode is put back afterwards.

    Args:
        model: an nn.LSTM, nn.GRU or nn.RNN, or a model that contains one or more.
        x: what the model takes.
        lengths: given to the model as `lengths=`, if not None.

    Returns:
        Arrays (N, T, H), whatever the model's layout, by name: "forget_l0" for the first layer, "forget_l1_reverse" for
        the second one backwards; with the layer's name in front, "rnn.forget_l0", where the model contains it. Beyond
        a sequence's length they are NaN. Of a layer that is called more than once, the first call is shown.

    Raises:
        TypeError: not a Module. ValueError: no recurrent layer in it, or none that is called. Else what the model does.

    Example:
        >>> import minidl
        >>> from minidl import nn
        >>> from minidl.study import gates
        >>> seen = gates(nn.LSTM(3, 4, batch_first=True), minidl.zeros(2, 5, 3), lengths=[5, 2])
        >>> list(seen), seen["forget_l0"].shape
        (['input_l0', 'forget_l0', 'cell_l0', 'output_l0'], (2, 5, 4))
        >>> float(seen["forget_l0"][1, 1].min()) > 0, seen["forget_l0"][1, 2]
        (True, array([nan, nan, nan, nan], dtype=float32))
    """
    check_model("gates", model)
    with evaluating(model), no_grad(), recorded("gates", model) as records:
        call(model, x, lengths)
    return {
        f"{prefix}{gate}{suffix}": record.spread([step[gate] for step in steps])
        for prefix, record in called("gates", records)
        for suffix, steps in record.steps.items()
        for gate in steps[0]
        if gate != "state"
    }


def gradient_norms(model: Module, x: Any, loss: Callable[[Any], Tensor], lengths: Any = None) -> dict[str, np.ndarray]:
    """How much the loss depends on each step's state: ‖∂L/∂h_t‖, over all sequences and values of h.

    Going back one step multiplies the gradient by W_hhᵀ and a slope, so over many steps it grows or shrinks like a
    power: it explodes or vanishes (S. Hochreiter, 1991; Y. Bengio, P. Simard, P. Frasconi, 1994). No gradient of a
    parameter is touched.

    Args:
        model, x, lengths: as for `gates`; the model runs in the mode that it is in.
        loss: maps what the model returns to a number.

    Returns:
        Arrays (T,), one for each layer and direction, by names as "l0", "l1_reverse", or "rnn.l0". 0 where the loss
        does not depend on the state.

    Raises:
        TypeError: not a Module, a loss that cannot be called. ValueError: no recurrent layer in the model, or none that
            is called; a loss of more than one number; and what the model raises.

    Example:
        The loss looks at the last of 60 steps only. In how many steps is the gradient more than a thousandth of that?

        >>> import minidl
        >>> from minidl import nn
        >>> from minidl.study import gradient_norms
        >>> _ = minidl.manual_seed(0)
        >>> x = minidl.randn(60, 8, 16)  # (T, N, I)
        >>> def last(result):
        ...     return result[0][-1].square().sum()
        ...
        >>> def reach(layer):
        ...     norms = gradient_norms(layer, x, last)["l0"]
        ...     return int((norms[::-1] > norms[-1] / 1000).sum())
        ...
        >>> rnn, lstm = nn.RNN(16, 32), nn.LSTM(16, 32)
        >>> reach(rnn), reach(lstm)
        (11, 11)

        Vanishing, first remedy: start with a forget gate that keeps, f = σ(1 + ...) instead of σ(0 + ...) = 1/2
        (F. Gers et al., 2000; R. Jozefowicz et al., 2015). The bias of the forget gate is the second quarter:

        >>> with minidl.no_grad():
        ...     _ = lstm.bias_hh_l0[32:64].fill_(1.0)
        >>> reach(lstm)
        26

        Exploding, second remedy: a matrix that stretches, and gradients clipped to norm 1 (R. Pascanu et al., 2013),
        so that a step of the optimiser is as long as elsewhere.

        >>> wild = nn.RNN(16, 32, nonlinearity="relu")
        >>> with minidl.no_grad():
        ...     _ = wild.weight_hh_l0.copy_(1.3 * minidl.eye(32))
        >>> norms = gradient_norms(wild, x, last)["l0"]
        >>> bool(norms[0] > 1e6 * norms[-1])
        True
        >>> last(wild(x)).backward()
        >>> float(nn.utils.clip_grad_norm_(wild.parameters(), 1.0)) > 1e6
        True
        >>> float(nn.utils.clip_grad_norm_(wild.parameters(), 1.0)) < 1.001
        True
    """
    check_model("gradient_norms", model)
    if not callable(loss):
        raise TypeError(f"gradient_norms: loss must be a function of what the model returns, not {loss!r}")
    with enable_grad(), recorded("gradient_norms", model) as records:
        value = loss(call(model, x, lengths))
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError(f"gradient_norms: loss must give one number, got {getattr(value, 'shape', value)!r}")
        found = {
            f"{prefix}{suffix.removeprefix('_')}": [step["state"] for step in steps]
            for prefix, record in called("gradient_norms", records)
            for suffix, steps in record.steps.items()
        }
        states = [state for steps in found.values() for state in steps]
        unused = [None] * len(states)
        gradients = iter(grad(value.reshape(()), states, allow_unused=True) if value.requires_grad else unused)
    return {name: np.array([norm(next(gradients)) for _ in steps]) for name, steps in found.items()}


def norm(g: Tensor | None) -> float:
    return 0.0 if g is None else float(np.sqrt(np.square(g._array, dtype=np.float64).sum()))


def call(model: Module, x: Any, lengths: Any) -> Any:
    return model(x) if lengths is None else model(x, lengths=lengths)


def check_model(name: str, model: Any) -> None:
    """TypeError unless it is a Module, ValueError unless there are recurrent layers in it."""
    if not isinstance(model, Module):
        raise TypeError(f"{name}: model must be a Module, not {type(model).__name__}")
    if not any(isinstance(module, RNNBase) for module in model.modules()):
        raise ValueError(f"{name}: {type(model).__name__} contains no nn.LSTM, nn.GRU or nn.RNN")


class Record:
    """What a recurrent layer did in its first call.

    Attributes:
        steps: for each layer and direction, by the end of its parameters' names, what each time step left; in the
            order of time, also where the direction is backwards.
        sizes: how many sequences have each step. order: which of the caller's sequences those are, longest first.
        length: T.
    """

    def __init__(self, layer: RNNBase) -> None:
        self.layer = layer
        self.operation = layer._operation
        self.suffixes = [suffix for k in range(layer.num_layers) for suffix in layer._suffixes(k)]
        self.steps: dict[str, list[Step]] = {}
        self.order: np.ndarray | None = None
        self.length = 0

    def enter(self, layer: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before a call of the layer."""
        x = args[0] if args else kwargs.get("input")
        if not self.steps and isinstance(x, Tensor) and x.ndim in (2, 3):
            self.length = x.shape[1 if self.layer.batch_first and x.ndim == 3 else 0]

    def packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        """In place of what a layer does with packed sequences, of the caller's or of its own making: the same."""
        if not self.steps:
            sizes, self.order = unpacked(type(self.layer).__name__, input)
            self.length = self.length or len(sizes)
        return type(self.layer)._packed(self.layer, input, hx)

    def run(self, x: Tensor, *tensors: Tensor, batch_sizes: tuple[int, ...], reverse: bool) -> tuple[Tensor, ...]:
        """In place of a layer's operation: its definition, which leaves something at each step."""
        if len(self.steps) == len(self.suffixes):
            return self.operation()(x, *tensors, batch_sizes=batch_sizes, reverse=reverse)
        count, steps = self.layer.STATES, []
        weights = tensors[count:]

        def cell(x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
            step, *new = step_of(self.layer, x, states, weights)
            if mode.recording and not new[0].requires_grad:  # nothing so far asks for a gradient; this state does
                new[0].requires_grad_()
            steps.append({**step, "state": new[0]})
            return tuple(new)

        self.sizes = batch_sizes
        self.steps[self.suffixes[len(self.steps)]] = steps
        result = unrolled(cell, x, tensors[:count], batch_sizes, reverse)
        if reverse:
            steps.reverse()
        return result

    def spread(self, steps: list[Tensor]) -> np.ndarray:
        """Rows of each step as (N, T, H)."""
        first = steps[0]._array
        result = np.full((len(first), self.length, first.shape[1]), np.nan, first.dtype)
        order = np.arange(len(first)) if self.order is None else self.order
        for t, (size, rows) in enumerate(zip(self.sizes, steps, strict=True)):
            result[order[:size], t] = rows._array
        return result


def step_of(layer: RNNBase, x: Tensor, states: tuple[Tensor, ...], weights: tuple[Any, ...]) -> tuple[Any, ...]:
    """One step: the gates by name, and the new states."""
    w_ih, w_hh, b_ih, b_hh = weights[:4]
    if isinstance(layer, LSTM):
        a = sums(x, states[0], w_ih, w_hh, b_ih, b_hh)
        i, f, g, o = parts(a, 4)
        h, c = lstm_gates(a, states[1])
        if len(weights) > 4:
            h = linear_definition(h, weights[4], None)
        return {"input": i.sigmoid(), "forget": f.sigmoid(), "cell": g.tanh(), "output": o.sigmoid()}, h, c
    if isinstance(layer, RNN):
        a = sums(x, states[0], w_ih, w_hh, b_ih, b_hh)
        h = a.tanh() if layer.nonlinearity == "tanh" else relu(a)
        return {"hidden": h}, h
    x_r, x_z, x_n = parts(linear_definition(x, w_ih, b_ih), 3)
    h_r, h_z, h_n = parts(linear_definition(states[0], w_hh, b_hh), 3)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    n = (x_n + r * h_n).tanh()
    return {"reset": r, "update": z, "new": n}, (1.0 - z) * n + z * states[0]


@contextlib.contextmanager
def recorded(name: str, model: Module) -> Iterator[dict[str, Record]]:
    """Inside, the model's recurrent layers leave a record of their first call."""
    records, handles = {}, []
    for path, layer in model.named_modules():
        if isinstance(layer, RNNBase):
            record = records[path] = Record(layer)
            handles.append(layer.register_forward_pre_hook(record.enter, with_kwargs=True))
            layer._operation = lambda record=record: record.run  # hides the method of the class, and so does
            layer._packed = record.packed
    try:
        yield records
    finally:
        for handle, record in zip(handles, records.values(), strict=True):
            handle.remove()
            del record.layer._operation, record.layer._packed


def called(name: str, records: dict[str, Record]) -> list[tuple[str, Record]]:
    """The records of layers that were called, each with what its names begin with."""
    found = [(f"{path}." if path else "", record) for path, record in records.items() if record.steps]
    if not found:
        raise ValueError(f"{name}: the model did not call its recurrent layers")
    return found
