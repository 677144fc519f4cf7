"""Adam and AdamW: steps of a size of their own for every number."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from minidl.kernels.optim import adam_step
from minidl.optim.optimizer import Arrays, Group, Optimizer, State, in_range
from minidl.tensor import Tensor


def plain_step(
    p: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    largest: np.ndarray | None,
    *,
    rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    root: float,
    decay: float,
    keep: float,
) -> None:
    """`adam_step` in NumPy, for arrays of any layout and dtype."""
    g = g + decay * p if decay else g
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    if largest is not None:
        v = np.maximum(largest, v, out=largest)
    p[...] = keep * p - rate * m / (np.sqrt(v) * root + eps)


class Adam(Optimizer):
    """The gradient's mean over the root of its square's mean: running averages, rid of the bias of their start.

        g ← g + weight_decay · p
        m ← β₁ m + (1 - β₁) g
        v ← β₂ v + (1 - β₂) g²
        p ← p - lr · m̂ / (√v̂ + eps),      m̂ = m / (1 - β₁ᵗ),  v̂ = v / (1 - β₂ᵗ) in step t = 1, 2, ...

    With `amsgrad`, v̂ uses the largest v so far. D. Kingma, J. Ba, "Adam: a method for stochastic optimization", 2015;
    S. Reddi, S. Kale, S. Kumar, "On the convergence of Adam and beyond", 2018.

    >>> import minidl
    >>> from minidl import optim
    >>> x = minidl.tensor([4.0], requires_grad=True)
    >>> optimizer = optim.Adam([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x
    tensor([3.5], requires_grad=True)

    Args:
        params: Tensors, or dicts of Tensors and options.
        lr: about the length of a step, for every number.
        betas: how much of the running averages is left in each step.
        eps: keeps the quotient finite.
        weight_decay: adds (weight_decay / 2) · p² to the loss.
        amsgrad: never enlarge the steps again.
        maximize: climb instead.

    Raises:
        ValueError: a negative option, a beta outside of [0, 1). And as `Optimizer`.
    """

    state_names: ClassVar[tuple[str, ...]] = ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    steps = adam_step, plain_step

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(params, {**options, "maximize": maximize})

    def check(self, options: Group) -> None:
        for name in ("lr", "eps", "weight_decay"):
            in_range(self.name, options, name, 0)
        betas = options["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"{self.name}: betas must be a pair of numbers, not {betas!r}")
        for i in range(2):
            in_range(self.name, {f"betas[{i}]": betas[i]}, f"betas[{i}]", 0, 1)

    def arrays(self, p: np.ndarray, g: np.ndarray, state: State, options: Group) -> tuple[Arrays, int]:
        t = state.setdefault("step", 0) + 1
        m, v = self.buffer(state, "exp_avg", p), self.buffer(state, "exp_avg_sq", p)
        largest = self.buffer(state, "max_exp_avg_sq", p) if options["amsgrad"] else None
        state["step"] = t
        return (p, g, m, v, largest), t

    def coefficients(self, options: Group, t: int) -> dict[str, float]:
        beta1, beta2 = options["betas"]
        rate, root = options["lr"] / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t)
        averages = {"beta1": beta1, "beta2": beta2, "eps": options["eps"]}
        return {"rate": rate, "root": root, **averages, "decay": options["weight_decay"], "keep": 1.0}


class AdamW(Adam):
    """Adam with weight decay apart from the gradient, so that its strength does not depend on the gradient's size.

        p ← p - lr · weight_decay · p, then Adam's step without weight decay

    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", 2019. Arguments and errors as `Adam`.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)

    def coefficients(self, options: Group, t: int) -> dict[str, float]:
        return {**super().coefficients(options, t), "decay": 0.0, "keep": 1 - options["lr"] * options["weight_decay"]}
