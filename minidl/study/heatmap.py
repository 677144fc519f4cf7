"""Attention as pictures; they need matplotlib: `pip install 'minidl[plot]'`."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.io import write_atomically


def heat_map(
    weights: Any,
    path: str | os.PathLike,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    title: str = "",
) -> None:
    """Draw who attends to whom, one picture for each head, and write a PNG: the darker, the more.

    Args:
        weights: (L, S), (heads, L, S), or one of `attention_maps` of one text, (1, heads, L, S).
        path: of the picture.
        rows: L words, those that look; columns: S words, those that are looked at, by default as rows if L = S.
        title: above it.

    Raises:
        ImportError: matplotlib is not installed. OSError: the file cannot be written.
        ValueError: other dimensions, several texts, no heads, another number of words.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("heat_map: needs matplotlib: pip install 'minidl[plot]'") from None
    maps = np.asarray(weights)
    if maps.ndim == 4 and len(maps) == 1:
        maps = maps[0]
    maps = maps[None] if maps.ndim == 2 else maps
    if maps.ndim != 3 or not maps.size:
        raise ValueError(f"heat_map: weights must be (heads, L, S) of one text, not {np.shape(weights)}")
    heads, L, S = maps.shape
    columns = rows if columns is None and L == S else columns
    for argument, words, count in (("rows", rows, L), ("columns", columns, S)):
        if words is not None and len(words) != count:
            raise ValueError(f"heat_map: {len(words)} {argument} for weights {maps.shape}")
    across = min(heads, 4)
    down = -(-heads // across)
    side = min(1.2 + 0.22 * max(L, S, 6), 16.0)  # inches; longer texts get smaller squares, not gigabytes
    figure = Figure(figsize=(side * across, side * down), layout="constrained")
    for head, axes in enumerate(figure.subplots(down, across, squeeze=False).flat):
        if head >= heads:
            axes.axis("off")
            continue
        axes.imshow(maps[head], cmap="Blues", vmin=0, vmax=max(float(np.nanmax(maps)), 1e-12), aspect="equal")
        if heads > 1:
            axes.set_title(f"head {head}", fontsize=8)
        for words, count, place, turned in ((columns, S, axes.set_xticks, 90), (rows, L, axes.set_yticks, 0)):
            if words is not None:
                plain = [word.replace("$", r"\$") for word in words]  # no formulas
                place(range(count), plain, fontsize=6, rotation=turned)
    figure.suptitle(title)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_atomically(path, content.getvalue())
