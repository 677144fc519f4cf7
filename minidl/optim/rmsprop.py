"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from minidl.optim.optimizer import Group, Optimizer, State, in_range, numbers
from minidl.tensor import Tensor


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

    def update(self, p: np.ndarray, g: np.ndarray, state: State, options: Group) -> None:
        lr, alpha, eps, weight_decay, momentum = numbers(options, "lr", "alpha", "eps", "weight_decay", "momentum")
        state["step"] = state.get("step", 0) + 1
        if weight_decay:
            g = g + weight_decay * p
        v, work = self.buffer(state, "square_avg", p), self.scratch(p)

        v *= alpha
        np.multiply(g, g, out=work)
        work *= 1 - alpha
        v += work

        if options["centered"]:
            a = self.buffer(state, "grad_avg", p)
            a *= alpha
            a += np.multiply(g, 1 - alpha, out=work)
            np.subtract(v, np.multiply(a, a, out=work), out=work)
            np.sqrt(work, out=work)
        else:
            np.sqrt(v, out=work)
        work += eps
        step = np.divide(g, work, out=work)

        if momentum:
            b = self.buffer(state, "momentum_buffer", p)
            b *= momentum
            b += step
            step = b
        p -= np.multiply(step, lr, out=work)
