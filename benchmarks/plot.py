"""The chart: how many times as fast as PyTorch, for every row."""

from __future__ import annotations

import math
from pathlib import Path

from benchmarks.report import Report


def chart(report: Report, path: Path) -> None:
    """Write a PNG: a bar for minidl's kernels in every row, marks for the others, PyTorch's time at 1."""
    from matplotlib.figure import Figure

    rows = [row for row in report.rows if not math.isnan(row.ratio("kernels"))]
    places = range(len(rows))
    figure = Figure(figsize=(10, 1.5 + 0.24 * len(rows)), layout="constrained")
    axes = figure.subplots()
    ratios = [row.ratio("kernels") for row in rows]
    colours = ["tab:green" if ratio >= 1 else "tab:red" for ratio in ratios]
    axes.barh(places, [ratio - 1 for ratio in ratios], left=1, color=colours, alpha=0.6, label="kernels")
    for name, marker in zip([c for c in report.compared if c != "kernels"], "o^sDv", strict=False):
        axes.plot([row.ratio(name) for row in rows], places, marker, markersize=4, label=name)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    ticks = [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]
    axes.set_xticks(ticks, ["1/32", "1/16", "1/8", "1/4", "1/2", "1", "2", "4", "8"])
    axes.minorticks_off()
    axes.set_yticks(places, [f"{row.name}, {row.which}" for row in rows], fontsize=7)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel(f"times as fast as PyTorch, {report.about['threads']} threads")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    figure.savefig(path, format="png", dpi=130)
