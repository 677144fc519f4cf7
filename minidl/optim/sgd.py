"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from minidl.kernels.optim import fits, sgd_step
from minidl.optim.optimizer import Group, Optimizer, State, in_range, numbers
from minidl.tensor import Tensor


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

    def update(self, p: np.ndarray, g: np.ndarray, state: State, options: Group) -> None:
        lr, momentum, dampening, weight_decay = numbers(options, "lr", "momentum", "dampening", "weight_decay")
        velocity, damped = None, 1 - dampening
        if momentum:
            damped = 1.0 if state.get("momentum_buffer") is None else damped  # the first velocity is the gradient
            velocity = self.buffer(state, "momentum_buffer", p)
        step = sgd_step if fits(p, p if velocity is None else velocity) else plain_step
        nesterov = bool(options["nesterov"])
        step(p, g, velocity, rate=lr, momentum=momentum, damped=damped, decay=weight_decay, nesterov=nesterov)


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
