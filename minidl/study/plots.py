"""Pictures; they need matplotlib: `pip install 'minidl[plot]'`."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minidl.axes import as_int
from minidl.io import write_atomically


def learning_curve(history: Iterable[Mapping[str, float]], path: str | os.PathLike, title: str = "") -> None:
    """Draw loss and accuracy of the training and the held-out part over the epochs, and write a PNG.

    Args:
        history: rows with epoch, train_loss, train_accuracy and perhaps test_loss, test_accuracy, as `fit` returns.
        path: of the picture.
        title: above it.

    Raises:
        ImportError: matplotlib is not installed. ValueError: no rows. OSError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        raise ImportError("learning_curve: needs matplotlib: pip install 'minidl[plot]'") from None
    rows = list(history)
    if not rows:
        raise ValueError("learning_curve: the history is empty")
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part, label in (("train", "training"), ("test", "held out")):
            if f"{part}_{quantity}" in rows[0]:
                axes.plot(epochs, [row[f"{part}_{quantity}"] for row in rows], marker=".", label=label)
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    save(figure, path)


def gate_map(gates: Mapping[str, np.ndarray], path: str | os.PathLike, sequence: int = 0, title: str = "") -> None:
    """Draw the gates of one sequence, each as a map of its values over time, and write a PNG.

    Args:
        gates: arrays (N, T, H), as `gates` of `minidl.study` returns. Candidates and states (cell, new, hidden) are
            shown from -1 to 1, gates from 0 to 1; what lies beyond the sequence's length stays white.
        path: of the picture.
        sequence: which of the N.
        title: above it.

    Raises:
        ImportError: matplotlib is not installed. TypeError: no dict of arrays of numbers. ValueError: no gates, or
            arrays of another shape. IndexError: there is no such sequence. OSError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("gate_map: needs matplotlib: pip install 'minidl[plot]'") from None
    if not isinstance(gates, Mapping):
        raise TypeError(f"gate_map: gates must be a dict of arrays by name, not {type(gates).__name__}")
    arrays = {str(name): np.asarray(values) for name, values in gates.items()}
    if not arrays or any(a.ndim != 3 or 0 in a.shape for a in arrays.values()):
        shapes = {name: a.shape for name, a in arrays.items()}
        raise ValueError(f"gate_map: expects at least one array (N, T, H), not empty, got {shapes}")
    N, sequence = min(len(a) for a in arrays.values()), as_int("gate_map", "sequence", sequence)
    if not -N <= sequence < N:
        raise IndexError(f"gate_map: sequence {sequence} is out of range for {N} sequences")
    for name, a in arrays.items():
        if a.dtype.kind not in "fiub":
            raise TypeError(f"gate_map: {name} must hold numbers, not {a.dtype}")
    pictures = {name: a[sequence].T for name, a in arrays.items()}  # (H, T)
    columns = min(4, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(4 * columns, 2.8 * rows), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (name, picture) in zip(places, pictures.items(), strict=False):
        signed = any(word in name for word in ("cell", "new", "hidden"))
        scale = {"vmin": -1, "vmax": 1, "cmap": "RdBu_r"} if signed else {"vmin": 0, "vmax": 1, "cmap": "viridis"}
        image = axes.imshow(picture, aspect="auto", interpolation="nearest", **scale)
        axes.set(title=plain(name), xlabel="step", ylabel="unit")
        figure.colorbar(image, ax=axes)
    for axes in list(figure.axes)[len(pictures) : rows * columns]:
        axes.set_axis_off()
    figure.suptitle(plain(title))
    save(figure, path)


def plain(text: str) -> str:
    """A text in which a dollar does not begin a formula."""
    return text.replace("$", r"\$")


def save(figure: Any, path: str | os.PathLike) -> None:
    """Write a PNG, as a whole or not at all."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_atomically(path, content.getvalue())
