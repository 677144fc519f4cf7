"""Pictures; they need matplotlib: `pip install 'minidl[plot]'`."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping

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
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_atomically(path, content.getvalue())
