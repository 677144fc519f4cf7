"""Loading a state: everything is compared first, and only what fits as a whole is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minidl.tensor import Tensor

LATER = "num_batches_tracked"
"""What batch norm counts: files older than PyTorch 0.4.1 lack it, and it stays as it is."""


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` found on one side only."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not (self.missing_keys or self.unexpected_keys):
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def load(name: str, own: Mapping[str, Tensor], state: Any, strict: bool) -> IncompatibleKeys:
    """Overwrite the Tensors of `own` with the arrays of `state`: all of them, or none if anything is wrong."""
    if not isinstance(state, Mapping):
        raise TypeError(f"load_state_dict: the state must be a dict of Tensors by name, not {type(state).__name__}")
    keys = IncompatibleKeys(
        missing_keys=[key for key in own if key not in state and key.split(".")[-1] != LATER],
        unexpected_keys=[key for key in state if key not in own],
    )
    found = {key: array_of(state[key]) for key in own if key in state}
    errors = [error for key, value in found.items() if (error := mismatch(key, own[key]._array, value))]
    if strict and keys.missing_keys:
        errors.append(f"missing keys: {', '.join(keys.missing_keys)}")
    if strict and keys.unexpected_keys:
        errors.append(f"unexpected keys: {', '.join(map(str, keys.unexpected_keys))}")
    if errors:
        hint = where_it_fits(own, state) if keys.missing_keys else []
        raise RuntimeError(f"load_state_dict: the state does not fit {name}:\n    " + "\n    ".join([*errors, *hint]))
    for key, array in found.items():
        own[key]._array[...] = array
        own[key]._touch()
    return keys


def where_it_fits(own: Mapping[str, Tensor], state: Mapping[Any, Any]) -> list[str]:
    """Where all the keys are after all: in a dict within the state, or behind a prefix, as DataParallel's "module."."""
    first = next(iter(own))
    for key, value in state.items():
        if isinstance(value, Mapping) and all(name in value for name in own):
            return [f"its {key!r} has all of these keys: load that"]
        prefix = key.removesuffix(first) if isinstance(key, str) and key.endswith(f".{first}") else ""
        if prefix and all(prefix + name in state for name in own):
            return [f"it has all of these keys behind {prefix!r}: take that off, key.removeprefix({prefix!r})"]
    return []


def array_of(value: Any) -> Any:
    """The array of a Tensor or a NumPy value; anything else as it is."""
    if isinstance(value, Tensor):
        return value._array
    return np.asarray(value) if isinstance(value, np.generic) else value


def mismatch(key: str, own: np.ndarray, value: Any) -> str | None:
    """What keeps a value from being loaded, if anything does."""
    if not isinstance(value, np.ndarray):
        return f"{key}: expected a Tensor or an ndarray, found a {type(value).__name__}"
    if value.shape != own.shape:
        return f"{key}: expected shape {own.shape}, found {value.shape}"
    if value.dtype.newbyteorder("=") != own.dtype:
        return f"{key}: expected dtype {own.dtype}, found {value.dtype}"
    return None
