"""How good a model is on data that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minidl.mode import no_grad
from minidl.nn import Module
from minidl.nn import functional as F
from minidl.nn.module import evaluating
from minidl.tensor import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
Metric = Callable[[Tensor, Tensor], float]


class Carrying:
    """A model whose state goes on from batch to batch: truncated backpropagation through time.

    The model maps (*inputs, state) to (output, state), and keeps nothing. What it returned for one batch is its state
    for the next, detached, so that a gradient stays within its batch; the first state is None. This is called as other
    models are, with the inputs, and returns the output.
    """

    def __init__(self, model: Module) -> None:
        self.model = model
        self.state: Any = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        output, state = self.model(*inputs, self.state)
        self.state = detached(state)
        return output


def detached(state: Any) -> Any:
    """A state, which may be a tuple of states, without what it was computed from."""
    return tuple(detached(part) for part in state) if isinstance(state, tuple) else state.detach()


def accuracy(output: Tensor, target: Tensor) -> float:
    """Fraction of the rows of `output` (N, C) whose largest entry is where `target` (N,) says.

    As for `cross_entropy`, further dimensions follow: `output` (N, C, d1, ...), `target` (N, d1, ...).

    >>> import minidl
    >>> from minidl.training import accuracy
    >>> accuracy(minidl.tensor([[0.1, 0.9], [0.8, 0.2]]), minidl.tensor([1, 1]))
    0.5
    """
    return float(np.mean(np.argmax(output._array, axis=1) == target._array))


class Average:
    """Means of several quantities, weighted by the number of targets that each batch has."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, count: int, **values: float) -> None:
        self.count += count
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + count * value

    def means(self, prefix: str = "") -> dict[str, float]:
        return {f"{prefix}{name}": total / self.count for name, total in self.sums.items()}


def evaluate(
    model: Module,
    loader: Iterable[Any],
    loss: Loss = F.cross_entropy,
    metric: Metric = accuracy,
    *,
    stateful: bool = False,
) -> dict[str, float]:
    """Mean loss and accuracy of a model, in `eval()` mode and without a graph; the mode is put back afterwards.

    Args:
        model: maps a batch x, or all but the last of a batch, to an output.
        loader: gives batches (x, ..., y).
        loss: maps (output, y) to a mean over the batch.
        metric: maps (output, y) to another mean.
        stateful: the model maps (x, ..., state) to (output, state), and the state goes on from batch to batch.

    Returns:
        {"loss": ..., "accuracy": ...}, means over all samples.

    Raises:
        ValueError: the loader gives nothing.
    """
    run, average = Carrying(model) if stateful else model, Average()
    with evaluating(model), no_grad():
        for *inputs, y in loader:
            output = run(*inputs)
            average.add(y.numel(), loss=loss(output, y).item(), accuracy=metric(output, y))
    if not average.count:
        raise ValueError("evaluate: the loader gives no samples")
    return average.means()
