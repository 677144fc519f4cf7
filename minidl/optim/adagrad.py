"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from minidl.kernels.optim import adagrad_step
from minidl.optim.optimizer import Arrays, Group, Optimizer, State, in_range
from minidl.tensor import Tensor


def plain_step(p: np.ndarray, g: np.ndarray, s: np.ndarray, *, rate: float, eps: float, decay: float) -> None:
    """`adagrad_step` in NumPy, for arrays of any layout and dtype."""
    g = g + decay * p if decay else g
    s += g * g
    p -= rate * g / (np.sqrt(s) + eps)


class Adagrad(Optimizer):
    """The gradient over the root of the sum of its squares so far: seldom seen features keep a high learning rate.

        g ← g + weight_decay · p
        s ← s + g²                                  (s starts as initial_accumulator_value)
        p ← p - lr / (1 + (t - 1) · lr_decay) · g / (√s + eps) in step t = 1, 2, ...

    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and stochastic optimization", 2011.

    >>> import minidl
    >>> from minidl import optim
    >>> x = minidl.tensor([4.0], requires_grad=True)
    >>> optimizer = optim.Adagrad([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x
    tensor([3.5], requires_grad=True)

    Raises:
        ValueError: a negative option. And as `Optimizer`.
    """

    state_names: ClassVar[tuple[str, ...]] = ("step", "sum")
    steps = adagrad_step, plain_step

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay}
        start = {"initial_accumulator_value": initial_accumulator_value}
        super().__init__(params, {**options, **start, "maximize": maximize})

    def check(self, options: Group) -> None:
        for name in ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"):
            in_range("Adagrad", options, name, 0)

    def arrays(self, p: np.ndarray, g: np.ndarray, state: State, options: Group) -> tuple[Arrays, int]:
        t = state.setdefault("step", 0) + 1
        s = self.buffer(state, "sum", p, options["initial_accumulator_value"])
        state["step"] = t
        return (p, g, s), t

    def coefficients(self, options: Group, t: int) -> dict[str, float]:
        rate = options["lr"] / (1 + (t - 1) * options["lr_decay"])
        return {"rate": rate, "eps": options["eps"], "decay": options["weight_decay"]}
