"""The training loop."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.data import DataLoader
from minidl.nn import Module
from minidl.nn import functional as F
from minidl.nn.utils import clip_grad_norm_
from minidl.optim import Optimizer
from minidl.random import Generator, default_generator
from minidl.training.checkpoint import load_checkpoint, save_checkpoint
from minidl.training.evaluation import Average, Carrying, Loss, Metric, accuracy, evaluate
from minidl.training.history import History
from minidl.training.progress import Progress
from minidl.training.schedule import Schedule, constant
from minidl.training.stopping import EarlyStopping


class Diverged(FloatingPointError):
    """The loss, or a weight, is no longer a finite number. The checkpoint of the last epoch before that is intact."""


def fit(
    model: Module,
    train_loader: DataLoader,
    optimizer: Optimizer,
    epochs: int = 1,
    test_loader: DataLoader | None = None,
    *,
    loss: Loss = F.cross_entropy,
    metric: Metric = accuracy,
    schedule: Schedule = constant,
    stateful: bool = False,
    max_norm: float = math.inf,
    patience: int | None = None,
    checkpoint: str | os.PathLike | None = None,
    resume: bool = False,
    generators: Sequence[Generator] = (),
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    on_step: Callable[[], None] | None = None,
    progress: bool = False,
) -> History:
    """Train a model for a number of epochs.

    For every batch (x, y): forward, `loss(model(x), y)`, backward, and a step of the optimiser, whose learning rate is
    the one that it came with times `schedule(progress)`, progress going from 0 to 1 over all steps of all epochs. A
    batch may have more than one input, (x, lengths, y) say: all but the last are given to the model.

    Args:
        model: maps a batch x to an output.
        train_loader: gives batches (x, ..., y).
        optimizer: has the model's parameters.
        epochs: how often to go through the training data, epochs before an interruption included.
        test_loader: gives held-out batches, on which the model is judged after every epoch.
        loss: maps (output, y) to a mean over the batch.
        metric: maps (output, y) to another mean, reported as "accuracy".
        schedule: factor of the learning rate, see `minidl.training.schedule`.
        stateful: the model maps (x, ..., state) to (output, state); the state, None before the first batch of an
            epoch, goes on from batch to batch, detached: truncated backpropagation through time.
        max_norm: gradients are scaled so that their norm, all parameters taken together, is at most that.
        patience: stop when so many epochs after the best one, by `best_epoch`, none was better; the model ends with the
            weights of the best one. It is judged on `test_loader`, which therefore is no measure of it any more.
        checkpoint: a file that is replaced at the end of every epoch (and written before the first one).
        resume: go on from that file, to the same bits as an uninterrupted run; an interrupted epoch starts anew.
        generators: where chance comes from, apart from the default generator and the loader's.
        on_epoch: is called with each new row of the history.
        on_step: is called after every step; what it raises stops the training.
        progress: show a bar on stderr, if that is a terminal.

    Returns:
        The history: for each epoch train_loss and train_accuracy (means over its batches, each before its step, so
        they lag behind the epoch's end), test_loss and test_accuracy, lr (that of its last step) and seconds.

    Raises:
        Diverged: the loss is NaN or infinite, and in which step; or the weights are after an epoch.
        ValueError: no epochs, a loader without samples, a `max_norm` or `patience` that is not positive, patience
            without test_loader, a checkpoint that is broken or of another model.
        OSError: the checkpoint cannot be written.

    Example:
        >>> import minidl
        >>> from minidl import nn, optim
        >>> from minidl.data import DataLoader, TensorDataset
        >>> from minidl.training import fit
        >>> _ = minidl.manual_seed(0)
        >>> x = minidl.randn(64, 2)
        >>> data = TensorDataset(x, (x[:, 0] > 0).to(minidl.int64))
        >>> model = nn.Linear(2, 2)
        >>> history = fit(model, DataLoader(data, 8, shuffle=True), optim.SGD(model.parameters(), lr=0.5), epochs=5)
        >>> history[-1]["train_accuracy"] > 0.9
        True
    """
    steps = len(train_loader)
    if epochs < 1 or steps < 1:
        raise ValueError(f"fit: expects at least one epoch of one batch, got {epochs} epochs of {steps} batches")
    if not max_norm > 0:
        raise ValueError(f"fit: max_norm must be positive, got {max_norm}")
    if patience is not None and (patience < 1 or test_loader is None):
        raise ValueError(f"fit: patience must be positive and needs a test_loader, got {patience}")
    base = [group["lr"] for group in optimizer.param_groups]
    chance = [default_generator, *([train_loader.generator] if train_loader.generator else []), *generators]
    history, stopping = History(), EarlyStopping(patience)
    if resume:
        history = load_checkpoint(_path(checkpoint), model, optimizer, chance, stopping.weights)
    elif checkpoint is not None:
        save_checkpoint(checkpoint, model, optimizer, history, chance)

    with Progress(epochs * steps, len(history) * steps, "step", progress) as bar:
        for epoch in range(len(history), epochs):
            if stopping.over(history):
                break
            start = time.perf_counter()
            model.train()
            average, run = Average(), Carrying(model) if stateful else model
            for step, (*inputs, y) in enumerate(train_loader):
                factor = schedule((epoch * steps + step) / (epochs * steps))
                for group, lr in zip(optimizer.param_groups, base, strict=True):
                    group["lr"] = lr * factor
                value, score = train_step(run, optimizer, loss, metric, inputs, y, max_norm)
                if not math.isfinite(value):
                    raise Diverged(f"the loss is {value} in epoch {epoch + 1}, step {step + 1} of {steps}")
                average.add(y.numel(), loss=value, accuracy=score)
                bar.advance(f"epoch {epoch + 1}/{epochs}")
                if on_step is not None:
                    on_step()
            row: dict[str, Any] = {"epoch": epoch + 1, **average.means("train_")}
            check_finite(model, epoch + 1)
            if test_loader is not None:
                means = evaluate(model, test_loader, loss, metric, stateful=stateful)
                row |= {f"test_{name}": mean for name, mean in means.items()}
            row |= {"lr": optimizer.param_groups[0]["lr"], "seconds": round(time.perf_counter() - start, 3)}
            history.append(row)
            stopping.look(model, history)
            if checkpoint is not None:
                save_checkpoint(checkpoint, model, optimizer, history, chance, stopping.weights)
            if on_epoch is not None:
                with bar.paused():
                    on_epoch(row)
    stopping.restore(model)
    return history


def train_step(
    model: Callable[..., Any],
    optimizer: Optimizer,
    loss: Loss,
    metric: Metric,
    inputs: Sequence[Any],
    y: Any,
    max_norm: float = math.inf,
) -> tuple[float, float]:
    """One step down the gradient of one batch: the loss and the metric before it. Takes no step if the loss is NaN."""
    output = model(*inputs)
    cost = loss(output, y)
    value = cost.item()
    if math.isfinite(value):
        optimizer.zero_grad()
        cost.backward()
        if max_norm < math.inf:
            clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], max_norm)
        optimizer.step()
    return value, metric(output, y)


def check_finite(model: Module, epoch: int) -> None:
    """Raise Diverged if a weight or a running statistic is NaN or infinite."""
    for name, tensor in model.state_dict().items():
        if not np.isfinite(tensor._array).all():
            raise Diverged(f"{name} is not finite at the end of epoch {epoch}")


def _path(checkpoint: str | os.PathLike | None) -> str | os.PathLike:
    if checkpoint is None:
        raise ValueError("fit: resume=True needs the checkpoint to resume from")
    return checkpoint
