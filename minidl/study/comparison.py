"""Where two implementations part: outputs of every layer beside those that were stored elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minidl import nn
from minidl.io import load
from minidl.mode import no_grad
from minidl.nn.hooks import RemovableHandle
from minidl.nn.module import evaluating
from minidl.tensor import Tensor


class Parity(NamedTuple):
    """One layer beside its stored output.

    Attributes:
        name: path of the module. shape: of its output.
        difference: the largest absolute difference; inf if shapes differ or only one of them is NaN.
        size: the largest absolute value that was stored.
    """

    name: str
    shape: tuple[int, ...]
    difference: float
    size: float


def parity(
    model: nn.Module, inputs: Any, activations: Mapping[str, Any] | str | os.PathLike, verbose: bool = True
) -> list[Parity]:
    """Call a model and hold the output of each module against the one stored under its path.

    The first row with a difference is where to look for the mistake.

    Args:
        model: called in evaluation mode, without gradients.
        inputs: a Tensor, a tuple of arguments or a dict of keyword arguments.
        activations: arrays by path of the module, "" being the model itself; or a file of them, .npz or .safetensors.
        verbose: print a table.

    Raises:
        KeyError: names that no module has, or whose module was not called.

    >>> import minidl
    >>> from minidl import nn
    >>> from minidl.study import parity
    >>> model, x = nn.Sequential(nn.ReLU(), nn.Flatten()), minidl.tensor([[-1.0, 2.0]])
    >>> rows = parity(model, x, {"0": [[0.0, 2.0]], "1": [[0.0, 2.5]]})
    layer  shape   difference  of
    0      (1, 2)     0.0e+00  2.0e+00
    1      (1, 2)     5.0e-01  2.5e+00
    >>> [row.name for row in rows if row.difference]
    ['1']
    """
    if isinstance(activations, str | os.PathLike):
        activations = load(activations)
    seen: dict[str, np.ndarray] = {}
    modules = dict(model.named_modules())
    unknown = [name for name in activations if name not in modules]
    if unknown:
        raise KeyError(f"parity: {type(model).__name__} has no module {', '.join(map(repr, unknown))}")
    handles: list[RemovableHandle] = []
    try:
        for name in activations:
            handles.append(modules[name].register_forward_hook(keeps_output(seen, name)))
        with evaluating(model), no_grad():
            if isinstance(inputs, Mapping):
                model(**inputs)
            else:
                model(*(inputs if isinstance(inputs, tuple | list) else (inputs,)))
    finally:
        for handle in handles:
            handle.remove()
    lost = [name for name in activations if name not in seen]
    if lost:
        raise KeyError(f"parity: these were not called, or returned no Tensor: {', '.join(map(repr, lost))}")
    rows = [compared(name, output, activations[name]) for name, output in seen.items()]
    if verbose:
        print(table(rows))
    return rows


def keeps_output(seen: dict[str, np.ndarray], name: str) -> Any:
    """A hook that keeps a module's output, or the first of several."""

    def hook(module: nn.Module, args: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) else output
        if isinstance(first, Tensor):
            seen[name] = first.detach()._array

    return hook


def compared(name: str, output: np.ndarray, stored: Any) -> Parity:
    """The row of one layer."""
    expected = np.asarray(stored.detach() if isinstance(stored, Tensor) else stored)
    size = float(np.abs(expected).max(initial=0.0))
    if output.shape != expected.shape or (np.isnan(output) != np.isnan(expected)).any():
        return Parity(name, output.shape, float("inf"), size)
    with np.errstate(invalid="ignore"):
        difference = np.where(output == expected, 0, np.abs(output - expected))
    return Parity(name, output.shape, float(np.nanmax(difference, initial=0.0)), size)


def table(rows: list[Parity]) -> str:
    """The rows as text."""
    names = [row.name or "(model)" for row in rows]
    shapes = [str(row.shape) for row in rows]
    wide, broad = max(map(len, [*names, "layer"])), max(map(len, [*shapes, "shape"]))
    lines = [f"{'layer':{wide}}  {'shape':{broad}}  difference  of"]
    for row, name, shape in zip(rows, names, shapes, strict=True):
        lines.append(f"{name:{wide}}  {shape:{broad}}  {row.difference:10.1e}  {row.size:.1e}")
    return "\n".join(lines)
