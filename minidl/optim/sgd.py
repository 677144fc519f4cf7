"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from minidl.kernels.optim import sgd_step
from minidl.optim.optimizer import Arrays, Group, Optimizer, State, in_range
from minidl.tensor import Tensor


def plain_step(
    p: np.ndarray,
    g: np.ndarray,
    velocity: np.ndarray | None,
    *,
    rate: float,
    momentum: float,
    damped: float,
    decay: float,
    nesterov: bool,
) -> None:
    """`sgd_step` in NumPy, for arrays of any layout and dtype."""
    g = g + decay * p if decay else g
    if velocity is not None:
        velocity[...] = momentum * velocity + damped * g
        g = g + momentum * velocity if nesterov else velocity
    p -= rate * g


class SGD(Optimizer):
    """Steps down the gradient, with momentum like a heavy ball.

        g ← g + weight_decay · p
        v ← momentum · v + (1 - dampening) · g        (v ← g in the first step)
        p ← p - lr · v                                Nesterov: p ← p - lr · (g + momentum · v)

    B. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; I. Sutskever, J. Martens,
    G. Dahl, G. Hinton, "On the importance of initialization and momentum in deep learning", 2013.

    >>> import minidl
    >>> from minidl import optim
    >>> x = minidl.tensor([4.0], requires_grad=True)
    >>> optimizer = optim.SGD([x], lr=0.25)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x
    tensor([2.], requires_grad=True)

    Args:
        params: Tensors, or dicts of Tensors and options.
        lr: length of a step.
        momentum: how much of the last step's velocity is left.
        dampening: takes that part off the gradient where it adds to the velocity.
        weight_decay: adds (weight_decay / 2) · p² to the loss.
        nesterov: look ahead along the velocity.
        maximize: climb instead.

    Raises:
        ValueError: a negative option; nesterov without momentum, or with dampening. And as `Optimizer`.
    """

    state_names: ClassVar[tuple[str, ...]] = ("momentum_buffer",)
    steps = sgd_step, plain_step

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults: dict[str, Any] = {"lr": lr, "momentum": momentum, "dampening": dampening}
        super().__init__(params, {**defaults, "weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize})

    def check(self, options: Group) -> None:
        for name in ("lr", "momentum", "weight_decay"):
            in_range("SGD", options, name, 0)
        in_range("SGD", options, "dampening", -np.inf)
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov needs momentum and no dampening, "
                f"but momentum={options['momentum']} and dampening={options['dampening']}"
            )

    def arrays(self, p: np.ndarray, g: np.ndarray, state: State, options: Group) -> tuple[Arrays, int]:
        if not options["momentum"]:
            return (p, g, None), 1
        t = 1 if state.get("momentum_buffer") is None else 2
        return (p, g, self.buffer(state, "momentum_buffer", p)), t

    def coefficients(self, options: Group, t: int) -> dict[str, float]:
        damped = 1.0 if t == 1 else 1 - options["dampening"]  # the first velocity is the gradient
        rates = {"rate": options["lr"], "momentum": options["momentum"], "damped": damped}
        return {**rates, "decay": options["weight_decay"], "nesterov": bool(options["nesterov"])}
