"""Schedules of the learning rate: `scheduler.step()` after each epoch (or step) sets `lr` in the optimiser's groups.

Each schedule is written as what happens to the learning rate from one epoch to the next, so that several of them can
act on one optimiser and their factors multiply. The formula from the start stands in the docstring; lr₀ is the learning
rate that the optimiser came with (`initial_lr` in its groups) and t the number of steps so far.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minidl.axes import as_int
from minidl.optim.optimizer import Optimizer, in_range


class LRScheduler:
    """Base class. A subclass writes `next_lr` (or `get_lr`, for all groups at once) and calls `super().__init__` last.

    Args:
        optimizer: whose groups are scheduled.
        last_epoch: -1 starts at t = 0. Otherwise the schedule goes on after that epoch with an optimiser whose state
            was loaded: its learning rates stay as they are.

    Raises:
        TypeError: not an optimiser. ValueError: options out of range. KeyError: `last_epoch` without `initial_lr` in
            the groups.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self._join(optimizer, last_epoch)
        if last_epoch == -1:
            self.step()
        else:
            self.last_epoch += 1
            self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def _join(self, optimizer: Optimizer, last_epoch: int) -> None:
        """Note the optimiser and the learning rates that it came with."""
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: expected an Optimizer, got a {type(optimizer).__name__}")
        if as_int(type(self).__name__, "last_epoch", last_epoch) < -1:
            raise ValueError(f"{type(self).__name__}: last_epoch must be at least -1, but is {last_epoch}")
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: last_epoch={last_epoch}, but param_groups[{i}] has no initial_lr"
                )
        self.optimizer = optimizer
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch

    def next_lr(self, lr: float, base: float) -> float:
        """The learning rate in epoch `self.last_epoch` of a group, given that of the epoch before and lr₀."""
        raise NotImplementedError(f"{type(self).__name__} has no next_lr")

    def get_lr(self) -> list[float]:
        """The learning rates in epoch `self.last_epoch`, one a group."""
        groups = self.optimizer.param_groups
        return [self.next_lr(group["lr"], base) for group, base in zip(groups, self.base_lrs, strict=True)]

    def get_last_lr(self) -> list[float]:
        """The learning rates that the last step has set."""
        return self._last_lr

    def step(self) -> None:
        """Go on by one epoch."""
        self.last_epoch += 1
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def restart(self) -> None:
        """Begin anew at t = 0, from lr₀."""
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base
        self.last_epoch = -1
        self.step()

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimiser: numbers and lists of them."""
        return {name: value for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go back to a state that `state_dict` returned. ValueError if something is missing."""
        own = self.state_dict()
        missing = [name for name in own if name not in state_dict]
        if missing:
            raise ValueError(f"{type(self).__name__}: the state lacks {', '.join(missing)}")
        vars(self).update({name: state_dict[name] for name in own})


class LambdaLR(LRScheduler):
    """lr = lr₀ · f(t), with a function, or one for each group.

    >>> import minidl
    >>> from minidl import optim
    >>> optimizer = optim.SGD([minidl.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.LambdaLR(optimizer, lambda t: 0.5**t)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]

    Functions are no part of the state; callable objects are, by their attributes.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"LambdaLR: expected an Optimizer, got a {type(optimizer).__name__}")
        groups = len(optimizer.param_groups)
        self.lr_lambdas = list(lr_lambda) if isinstance(lr_lambda, list | tuple) else [lr_lambda] * groups
        if len(self.lr_lambdas) != groups or not all(map(callable, self.lr_lambdas)):
            raise ValueError(f"LambdaLR: expected one function or {groups}, one a group, got {lr_lambda!r}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        lambdas = [
            dict(vars(f)) if hasattr(f, "__dict__") and not hasattr(f, "__code__") else None for f in self.lr_lambdas
        ]
        return {**super().state_dict(), "lr_lambdas": lambdas}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        functions = self.lr_lambdas
        super().load_state_dict(state_dict)
        for f, attributes in zip(functions, self.lr_lambdas, strict=True):
            if attributes is not None:
                vars(f).update(attributes)
        self.lr_lambdas = functions


class StepLR(LRScheduler):
    """lr = lr₀ · gamma^⌊t / step_size⌋. ValueError for a step_size below 1."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        if as_int("StepLR", "step_size", step_size) < 1:
            raise ValueError(f"StepLR: step_size must be at least 1, but is {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base: float) -> float:
        return lr * self.gamma if self.last_epoch and self.last_epoch % self.step_size == 0 else lr


class MultiStepLR(LRScheduler):
    """lr = lr₀ · gamma^(number of milestones ≤ t)."""

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(as_int("MultiStepLR", "milestones", m) for m in milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base: float) -> float:
        return lr * self.gamma ** self.milestones.count(self.last_epoch)


class ExponentialLR(LRScheduler):
    """lr = lr₀ · gammaᵗ."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base: float) -> float:
        return lr * self.gamma if self.last_epoch else lr


class LinearLR(LRScheduler):
    """lr = lr₀ · factor, which goes in a straight line from start_factor to end_factor in total_iters steps: a warm-up.

    ValueError for a start_factor outside of (0, 1], an end_factor outside of [0, 1], total_iters below 1.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not (0 < start_factor <= 1 and 0 <= end_factor <= 1):
            raise ValueError(
                "LinearLR: expected start_factor in (0, 1] and end_factor in [0, 1], "
                f"got start_factor={start_factor} and end_factor={end_factor}"
            )
        if as_int("LinearLR", "total_iters", total_iters) < 1:
            raise ValueError(f"LinearLR: total_iters must be at least 1, but is {total_iters}")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, t: int) -> float:
        """The factor of lr₀ in epoch t."""
        return self.start_factor + (self.end_factor - self.start_factor) * min(t / self.total_iters, 1)

    def next_lr(self, lr: float, base: float) -> float:
        t = self.last_epoch
        if t > self.total_iters:
            return lr
        return lr * self.factor(t) / (self.factor(t - 1) if t else 1)


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (lr₀ - eta_min) · (1 + cos(π t / T_max)) / 2: down in T_max steps, and up again in as many.

    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017 (without the restarts).
    ValueError for T_max below 1.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if not T_max >= 1:
            raise ValueError(f"CosineAnnealingLR: T_max must be at least 1, but is {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base: float) -> float:
        t = self.last_epoch
        if t == 0:
            return lr
        if (t - 1 - self.T_max) % (2 * self.T_max) == 0:  # from the bottom, where the quotient below would be 0 / 0
            return lr + (base - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        height, before = (1 + math.cos(math.pi * s / self.T_max) for s in (t, t - 1))
        return self.eta_min + (lr - self.eta_min) * height / before


class SequentialLR(LRScheduler):
    """One schedule after the other: schedulers[i] starts anew, from lr₀, in epoch milestones[i - 1].

    >>> import minidl
    >>> from minidl import optim
    >>> from minidl.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
    >>> optimizer = optim.SGD([minidl.zeros(1, requires_grad=True)], lr=1.0)
    >>> warm_up, down = LinearLR(optimizer, 0.25, total_iters=3), CosineAnnealingLR(optimizer, 10)
    >>> scheduler = SequentialLR(optimizer, [warm_up, down], milestones=[3])
    >>> for _ in range(3):
    ...     print(optimizer.param_groups[0]["lr"])
    ...     scheduler.step()
    0.25
    0.5
    0.75

    Raises:
        ValueError: no schedulers, one of another optimiser, or not one milestone between each two. TypeError: a
            ReduceLROnPlateau, which goes by a metric.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self._schedulers, self._milestones = list(schedulers), list(milestones)
        for scheduler in self._schedulers:
            if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau):
                raise TypeError(f"SequentialLR: {type(scheduler).__name__} cannot be one of the schedulers")
            if scheduler.optimizer is not optimizer:
                raise ValueError("SequentialLR: the schedulers must all be of the optimizer that is given")
        if len(self._milestones) != len(self._schedulers) - 1 or self._milestones != sorted(self._milestones):
            raise ValueError(
                f"SequentialLR: {len(self._schedulers)} schedulers need one ascending milestone less, got {milestones}"
            )
        super().__init__(optimizer, last_epoch)

    def step(self) -> None:
        """Go on by one epoch."""
        self.last_epoch += 1
        i = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[i]
        starts = self.last_epoch == (self._milestones[i - 1] if i else 0)
        (scheduler.restart if starts else scheduler.step)()
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        schedulers = self._schedulers
        super().load_state_dict(state_dict)
        for scheduler, state in zip(schedulers, self._schedulers, strict=True):
            scheduler.load_state_dict(state)
        self._schedulers = schedulers


class ReduceLROnPlateau(LRScheduler):
    """lr ← max(lr · factor, min_lr) when a metric has not improved for more than `patience` epochs.

    >>> import minidl
    >>> from minidl import optim
    >>> optimizer = optim.SGD([minidl.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.1]

    Args:
        optimizer: whose groups are scheduled.
        mode: "min" if smaller is better, "max" if larger is.
        factor: of the learning rate, below 1.
        patience: epochs without improvement that are borne.
        threshold: what is an improvement.
        threshold_mode: "rel" by that part of the best value, "abs" by that much.
        cooldown: epochs after a reduction that do not count.
        min_lr: a limit, or one for each group.
        eps: a smaller reduction than that is not made.

    Raises:
        ValueError: a factor of 1 or more, an unknown mode, not one min_lr a group.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        in_range("ReduceLROnPlateau", {"factor": factor}, "factor", 0, 1)
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode must be 'min' or 'max', not {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"ReduceLROnPlateau: threshold_mode must be 'rel' or 'abs', not {threshold_mode!r}")
        self._join(optimizer, -1)
        groups = len(optimizer.param_groups)
        self.min_lrs = list(min_lr) if isinstance(min_lr, list | tuple) else [min_lr] * groups
        if len(self.min_lrs) != groups:
            raise ValueError(f"ReduceLROnPlateau: expected one min_lr or {groups}, one a group, got {min_lr}")
        self.mode, self.threshold, self.threshold_mode = mode, threshold, threshold_mode
        self.factor, self.patience, self.cooldown, self.eps = factor, patience, cooldown, eps
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]
        self.reset()

    def reset(self) -> None:
        """Forget the metric's history."""
        self.best = math.inf if self.mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0

    def is_better(self, a: float, best: float) -> bool:
        """Whether a value is an improvement."""
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "abs":
            return sign * a > sign * best + self.threshold
        return sign * a > sign * best * (1 + sign * self.threshold)

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Go on by one epoch, in which the metric was this."""
        value = float(metrics)
        self.last_epoch += 1
        if self.is_better(value, self.best):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                lr = max(group["lr"] * self.factor, low)
                if group["lr"] - lr > self.eps:
                    group["lr"] = lr
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
