"""Nested states (of optimisers, of generators) taken apart into named arrays and JSON, and put together again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minidl.tensor import Tensor


def pack(tree: Any, arrays: dict[str, Any], prefix: str) -> Any:
    """The tree as JSON can hold it; its Tensors and arrays are put into `arrays` under names that start with `prefix`.

    What JSON would change is marked: {"array": name}, {"tuple": [...]}, {"dict": [[key, value], ...]}.

    Raises:
        TypeError: a leaf that is no number, string, None, Tensor or array.

    Example:
        >>> import minidl
        >>> from minidl.io.tree import pack, unpack
        >>> arrays = {}
        >>> packed = pack({"betas": (0.9, 0.999), "m": minidl.zeros(2)}, arrays, "adam")
        >>> packed
        {'dict': [['betas', {'tuple': [0.9, 0.999]}], ['m', {'array': 'adam.m'}]]}
        >>> unpack(packed, arrays)
        {'betas': (0.9, 0.999), 'm': tensor([0., 0.])}
    """
    if isinstance(tree, Tensor | np.ndarray):
        arrays[prefix] = tree._array if isinstance(tree, Tensor) else tree
        return {"array": prefix}
    if isinstance(tree, Mapping):
        return {"dict": [[key, pack(value, arrays, f"{prefix}.{key}")] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        items = [pack(value, arrays, f"{prefix}.{i}") for i, value in enumerate(tree)]
        return {"tuple": items} if isinstance(tree, tuple) else items
    if isinstance(tree, np.generic):
        return tree.item()
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"{prefix}: cannot store a {type(tree).__name__}")


def unpack(tree: Any, arrays: Mapping[str, Any]) -> Any:
    """The tree that was packed, its arrays now Tensors. KeyError if an array is missing."""
    if isinstance(tree, list):
        return [unpack(value, arrays) for value in tree]
    if not isinstance(tree, dict):
        return tree
    (kind, value), *_ = tree.items()
    if kind == "array":
        array = arrays[value]
        return array if isinstance(array, Tensor) else Tensor(array)
    if kind == "tuple":
        return tuple(unpack(item, arrays) for item in value)
    return {key: unpack(item, arrays) for key, item in value}
