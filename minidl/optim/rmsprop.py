"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from minidl.kernels.optim import rmsprop_step
from minidl.optim.optimizer import Arrays, Group, Optimizer, State, in_range
from minidl.tensor import Tensor


def plain_step(
    p: np.ndarray,
    g: np.ndarray,
    v: np.ndarray,
    a: np.ndarray | None,
    b: np.ndarray | None,
    *,
    rate: float,
    alpha: float,
    eps: float,
    momentum: float,
    decay: float,
) -> None:
    """`rmsprop_step` in NumPy, for arrays of any layout and dtype."""
    g = g + decay * p if decay else g
    v[...] = alpha * v + (1 - alpha) * g * g
    square = v
    if a is not None:
        a[...] = alpha * a + (1 - alpha) * g
        square = v - a * a
    step = g / (np.sqrt(square) + eps)
    if b is not None:
        step = b[...] = momentum * b + step
    p -= rate * step


class RMSprop(Optimizer):
    """The gradient over the root of the running mean of its square.

        g ← g + weight_decay · p
        v ← α v + (1 - α) g²                        centered: a ← α a + (1 - α) g,  ṽ = v - a², else ṽ = v
        p ← p - lr · g / (√ṽ + eps)                 momentum: b ← momentum · b + g / (√ṽ + eps),  p ← p - lr · b

    T. Tieleman, G. Hinton, lecture 6.5 of "Neural networks for machine learning", 2012; centered: A. Graves,
    "Generating sequences with recurrent neural networks", 2013.

    >>> import minidl
    >>> from minidl import optim
    >>> x = minidl.tensor([4.0], requires_grad=True)
    >>> optimizer = optim.RMSprop([x], lr=0.1)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x
    tensor([3.], requires_grad=True)

    Raises:
        ValueError: a negative option. And as `Optimizer`.
    """

    state_names: ClassVar[tuple[str, ...]] = ("step", "square_avg", "grad_avg", "momentum_buffer")
    steps = rmsprop_step, plain_step

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(params, {**options, "centered": centered, "maximize": maximize})

    def check(self, options: Group) -> None:
        for name in ("lr", "alpha", "eps", "weight_decay", "momentum"):
            in_range("RMSprop", options, name, 0)

    def arrays(self, p: np.ndarray, g: np.ndarray, state: State, options: Group) -> tuple[Arrays, int]:
        t = state.setdefault("step", 0) + 1
        v = self.buffer(state, "square_avg", p)
        a = self.buffer(state, "grad_avg", p) if options["centered"] else None
        b = self.buffer(state, "momentum_buffer", p) if options["momentum"] else None
        state["step"] = t
        return (p, g, v, a, b), 1  # all steps are alike

    def coefficients(self, options: Group, t: int) -> dict[str, float]:
        rates = {"rate": options["lr"], "alpha": options["alpha"], "momentum": options["momentum"]}
        return {**rates, "eps": options["eps"], "decay": options["weight_decay"]}
