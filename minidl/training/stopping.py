"""Early stopping: keep the weights of the best epoch, and stop when no better one has come for a while."""

from __future__ import annotations

import numpy as np

from minidl.nn import Module
from minidl.tensor import Tensor
from minidl.training.history import History


def best_epoch(history: History) -> int:
    """The index of the row with the highest test_accuracy; of equal ones that with the lowest test_loss, the first.

    >>> from minidl.training import History, best_epoch
    >>> rows = [(0.8, 0.5), (0.9, 0.4), (0.9, 0.3), (0.7, 0.2)]
    >>> best_epoch(History([{"test_accuracy": accuracy, "test_loss": loss} for accuracy, loss in rows]))
    2
    """
    return max(range(len(history)), key=lambda i: (history[i]["test_accuracy"], -history[i]["test_loss"], -i))


class EarlyStopping:
    """What `fit` does about `patience`.

    Attributes:
        patience: how many epochs after the best one are waited for a better one; None: no epoch is better than the
            last, and all are run.
        weights: the state of the best epoch so far.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.weights: dict[str, np.ndarray] = {}

    def look(self, model: Module, history: History) -> None:
        """Keep the weights if the last epoch is the best so far."""
        if self.patience is not None and best_epoch(history) == len(history) - 1:
            self.weights = {name: tensor._array.copy() for name, tensor in model.state_dict().items()}

    def over(self, history: History) -> bool:
        """Whether to stop."""
        return (
            self.patience is not None and len(history) > 0 and len(history) - 1 - best_epoch(history) >= self.patience
        )

    def restore(self, model: Module) -> None:
        """Give the model the weights of the best epoch."""
        if self.weights:
            model.load_state_dict({name: Tensor(array) for name, array in self.weights.items()})
