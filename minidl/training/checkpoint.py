"""Checkpoints: everything that the next epoch depends on, in one file.

Weights, the optimiser's state, the states of the random generators and the history go into one safetensors file that
is replaced in one step. So there is always exactly one state, that of the end of an epoch: an interruption at any
moment, even while the file is being written, leaves a checkpoint from which training goes on to the same bits.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from minidl.io import read_safetensors, save_safetensors
from minidl.io.tree import pack, unpack
from minidl.nn import Module
from minidl.optim import Optimizer
from minidl.random import Generator
from minidl.tensor import Tensor
from minidl.training.history import History

FORMAT = "minidl checkpoint 1"


def save_checkpoint(
    path: str | os.PathLike,
    model: Module,
    optimizer: Optimizer,
    history: History,
    generators: Sequence[Generator] = (),
    best: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> None:
    """Write a checkpoint, as a whole or not at all. The number of epochs done is the length of the history.

    `best` are the weights of the best epoch so far, where training stops early.

    Raises:
        OSError: the file cannot be written.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": Tensor(array) for name, array in best.items()}
    state = {
        "history": history.rows,
        "optimizer_class": type(optimizer).__name__,
        "optimizer": pack(optimizer.state_dict(), tensors, "optimizer"),
        "generators": [generator.get_state() for generator in generators],
    }
    save_safetensors(tensors, path, {"format": FORMAT, "state": json.dumps(state)})


def load_checkpoint(
    path: str | os.PathLike,
    model: Module,
    optimizer: Optimizer | None = None,
    generators: Sequence[Generator] = (),
    best: dict[str, np.ndarray] | None = None,
) -> History:
    """Put model, optimiser and generators into the state that `save_checkpoint` wrote, and return the history.

    The weights of the best epoch, if there are any, go into `best`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: truncated, corrupt, not a checkpoint, or one of another model or optimiser.
    """
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: not a checkpoint: expected the format {FORMAT!r}, found {metadata.get('format')!r}")
    weights = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    try:
        state: Mapping[str, Any] = json.loads(metadata["state"])
        if len(state["generators"]) != len(generators):
            raise ValueError(f"it holds {len(state['generators'])} random generators, not {len(generators)}")
        history = History(state["history"])
        model.load_state_dict(weights)
        if optimizer is not None:
            if state["optimizer_class"] != type(optimizer).__name__:
                raise ValueError(f"it was written with {state['optimizer_class']}, not {type(optimizer).__name__}")
            optimizer.load_state_dict(unpack(state["optimizer"], tensors))
        for generator, values in zip(generators, state["generators"], strict=True):
            generator.set_state(values)
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
        raise ValueError(f"{path}: broken, or the checkpoint of another run: {error}") from None
    if best is not None:
        best |= {name.removeprefix("best."): t._array for name, t in tensors.items() if name.startswith("best.")}
    return history
