"""What was measured, as numbers, as Markdown and as JSON."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.processes import Failure, Inexpressible

BYTES = 4  # of a float32 value


@dataclass
class Row:
    """A workload in one direction.

    Attributes:
        name, which: of the workload and of its pass.
        flops, values: what it takes at least.
        nodes: of the graph, where the time per node is the point.
        ms: for every contender its times in milliseconds, one a turn.
        differences: how far its results are from the judge's.
        left_out, failed: why a contender has no times: it has no words for it; something went wrong.
    """

    name: str
    which: str
    flops: float = 0
    values: float = 0
    nodes: int = 0
    ms: dict[str, list[float]] = field(default_factory=dict)
    differences: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def noting(self, contender: str) -> Iterator[None]:
        """A failure inside concerns this contender in this row, and nobody else."""
        try:
            yield
        except Inexpressible as reason:
            self.left_out[contender] = str(reason)
        except Failure as reason:
            self.failed[contender] = str(reason)

    def time(self, contender: str) -> float:
        """The median of the turns, in milliseconds; NaN if there are none."""
        return median(self.ms[contender]) if self.ms.get(contender) else math.nan

    def spread(self, contender: str) -> float:
        """Half of the distance between the slowest and the fastest turn."""
        times = self.ms[contender]
        return (max(times) - min(times)) / 2

    def ratio(self, contender: str) -> float:
        """PyTorch's time by the contender's: above 1 is faster than PyTorch."""
        return self.time("torch") / self.time(contender)

    def of_limit(self, contender: str, limits: dict[str, float]) -> tuple[float, str]:
        """The fraction of the machine's limit that it reaches, and of which limit: the one it comes closer to."""
        seconds = self.time(contender) / 1e3
        return max(
            (self.flops / seconds / 1e9 / limits["gflops"], "flops"),
            (self.values * BYTES / seconds / 1e9 / limits["gigabytes"], "bytes"),
        )


@dataclass
class Report:
    """Everything: about the machine and the contenders, and the rows so far."""

    about: dict[str, Any]
    contenders: list[str]
    limits: dict[str, float]
    rows: list[Row] = field(default_factory=list)

    def heading(self) -> list[str]:
        """What the numbers hold for, and the table's first lines."""
        about = self.about
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        lines = [
            f"{about['threads']} threads on {about['cpu']}; Python {about['python']}; {versions}.",
            f"Limits: {self.limits['gflops']:.0f} GFLOP/s (matrix product, OpenBLAS), "
            f"{self.limits['gigabytes']:.1f} GB/s (copy).",
            "Median ms ± half the spread of the rounds; × is PyTorch's time by the contender's: above 1, faster.",
        ]
        if about["simd"]:
            lines.append(f"MINIDL_SIMD={about['simd']}.")
        if about["simd"] == "avx2":
            lines[-1] = (
                "MINIDL_SIMD=avx2, and PyTorch held to AVX2: ATEN_CPU_CAPABILITY=avx2, ONEDNN_MAX_CPU_ISA=AVX2, "
                "MKL_ENABLE_INSTRUCTIONS=AVX2; likewise OpenBLAS and XLA."
            )
        lines += [f"{name} takes no part: {reason}." for name, reason in about["absent"].items()]
        if about["quick"]:
            lines.append("A quick run, to try it: not to be quoted.")
        columns = ["workload", "pass", *self.contenders, *(f"{name} ×" for name in self.compared), "kernels of limit"]
        return [*lines, "", f"| {' | '.join(columns)} |", "|---|---|" + "---:|" * (len(columns) - 2)]

    @property
    def compared(self) -> list[str]:
        """Those who are held against PyTorch."""
        return [name for name in self.contenders if name != "torch"] if "torch" in self.contenders else []

    def line(self, row: Row) -> str:
        """A row of the table."""
        unit, scale = (" (µs a node)", 1e3 / row.nodes) if row.nodes else ("", 1)
        cells = [row.name + unit, row.which]
        for name in self.contenders:
            if name in row.ms:
                cells.append(f"{scale * row.time(name):.{digits(scale * row.time(name))}f}")
                cells[-1] += f" ±{scale * row.spread(name):.{digits(scale * row.time(name))}f}"
            else:
                cells.append("failed" if name in row.failed else "-")
        for name in self.compared:
            cells.append("-" if math.isnan(row.ratio(name)) else f"{row.ratio(name):.2f}")
        fraction, which = row.of_limit("kernels", self.limits)
        cells.append(f"{fraction:.0%} {which}" if fraction > 0 else "-")
        return f"| {' | '.join(cells)} |"

    def means(self) -> dict[str, dict[str, float]]:
        """Geometric means of the ratios, for each contender: forward, with backward, all; and the lowest ratio."""
        found = {}
        for name in self.compared:
            groups: dict[str, list[float]] = {"forward": [], "with backward": [], "all": []}
            for row in self.rows:
                if not math.isnan(row.ratio(name)):
                    groups["forward" if row.which == "forward" else "with backward"].append(row.ratio(name))
                    groups["all"].append(row.ratio(name))
            means = {key: math.exp(sum(map(math.log, r)) / len(r)) for key, r in groups.items() if r}
            if means:
                found[name] = {**means, "rows": len(groups["all"]), "lowest": min(groups["all"])}
        return found

    def closing(self) -> list[str]:
        """The geometric means, and what went wrong."""
        keys = ["forward", "with backward", "all", "lowest", "rows"]
        lines = []
        means = self.means()
        if means:
            lines += ["", f"| geometric mean of × | {' | '.join(keys)} |", "|---|" + "---:|" * len(keys)]
        for name, of in means.items():
            cells = [f"{of[key]:.2f}" if key in of else "-" for key in keys[:-1]]
            lines.append(f"| {name} | {' | '.join(cells)} | {of['rows']:.0f} |")
        failures = [f"- {row.name}, {row.which}: {c}: {why}" for row in self.rows for c, why in row.failed.items()]
        return [*lines, "", "Failed:", "", *failures] if failures else lines

    def markdown(self) -> str:
        """The whole page."""
        return "\n".join([*self.heading(), *map(self.line, self.rows), *self.closing(), ""])

    def as_json(self) -> dict[str, Any]:
        """The same, and every single time."""
        rows = []
        for row in self.rows:
            measured = [name for name in self.contenders if name in row.ms]
            numbers = {
                "median_ms": {name: row.time(name) for name in measured},
                "spread_ms": {name: row.spread(name) for name in measured},
                "ratio": {name: row.ratio(name) for name in measured if "torch" in row.ms},
                "of_limit": {name: row.of_limit(name, self.limits)[0] for name in measured},
            }
            rows.append({"pass" if key == "which" else key: value for key, value in asdict(row).items()} | numbers)
        about = {**self.about, "contenders": self.contenders, "limits": self.limits}
        return {**about, "rows": rows, "geometric_means": self.means()}

    def save(self, markdown: Path | None, as_json: Path | None) -> None:
        """Write what there is so far."""
        if markdown:
            markdown.write_text(self.markdown(), encoding="utf-8")
        if as_json:
            as_json.write_text(json.dumps(self.as_json(), indent=1), encoding="utf-8")


def digits(number: float) -> int:
    """How many decimals tell something about it."""
    return 2 if number >= 1 else 3
