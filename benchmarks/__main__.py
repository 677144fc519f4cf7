"""`python -m benchmarks`: every contender in a process of its own, in turn, several rounds; medians and ratios."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.workloads import WORKLOADS

CONTENDERS = ("kernels", "definitions", "torch")


class Contender:
    """A worker process and a line to it."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | limits,
        )

    def ask(self, **order: Any) -> Any:
        """Send an order, wait for the answer."""
        print(json.dumps(order), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"benchmarks: the contender {self.name} died on {order}")
        return json.loads(answer)

    def stop(self) -> None:
        """Let it end."""
        self.process.stdin.close()
        self.process.wait()


def agree(digests: dict[str, Any], name: str) -> None:
    """Stop unless all contenders computed the same."""
    reference = digests["definitions"] if "definitions" in digests else next(iter(digests.values()))
    for contender, found in digests.items():
        for a, b in zip(reference, found, strict=True):
            scale = abs(a[0]) + a[1]
            if not np.allclose(a, b, rtol=1e-3, atol=1e-3 * scale):
                raise SystemExit(f"benchmarks: {contender} computes something else in {name}: {b} instead of {a}")


def measure(contenders: list[Contender], name: str, backward: bool, rounds: int, budget: float) -> dict[str, Any]:
    """The row of a workload: for every contender its times in milliseconds, one a round."""
    agree({c.name: c.ask(do="check", name=name, backward=backward) for c in contenders}, name)
    times: dict[str, list[float]] = {c.name: [] for c in contenders}
    for _ in range(rounds):
        for c in contenders:
            times[c.name].append(1e3 * c.ask(do="time", name=name, backward=backward, budget=budget))
    return {"name": name, "pass": "forward+backward" if backward else "forward", "ms": times}


def line(row: dict[str, Any]) -> str:
    """A row of the Markdown table: medians (and spread), and how many times the kernels' time the others took."""
    cells = [row["name"], row["pass"]]
    ours = median(row["ms"]["kernels"]) if "kernels" in row["ms"] else math.nan
    for times in row["ms"].values():
        cells.append(f"{median(times):.2f} ±{(max(times) - min(times)) / 2:.2f}")
    cells += [f"{median(times) / ours:.2f}" for name, times in row["ms"].items() if name != "kernels"]
    return f"| {' | '.join(cells)} |"


def means(rows: list[dict[str, Any]], contenders: list[str]) -> str:
    """The geometric means of the ratios."""
    parts = []
    for other in contenders:
        if other != "kernels" and rows:
            ratios = [median(row["ms"][other]) / median(row["ms"]["kernels"]) for row in rows]
            parts.append(f"{other} / kernels = {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}")
    return f"geometric means: {', '.join(parts)}"


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="only rows whose name contains TEXT")
    parser.add_argument(
        "--vs", default="definitions,torch", help="contenders beside the kernels (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="one short round: to try it, not to quote")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of every contender")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all times there")
    args = parser.parse_args()
    wanted = ["kernels", *(name for name in args.vs.split(",") if name)]
    for name in wanted:
        if name not in CONTENDERS:
            parser.error(f"--vs takes {', '.join(CONTENDERS[1:])}, not {name}")
    if importlib.util.find_spec("torch") is None and "torch" in wanted:
        wanted.remove("torch")
        print("torch is not installed: without it", file=sys.stderr)
    names = [w.name for w in WORKLOADS if args.only in w.name]
    if not names:
        parser.error(f"no row's name contains {args.only!r}")

    ratios = [f"{name} / kernels" for name in wanted[1:]]
    columns = ["workload", "pass", *(f"{name} ms" for name in wanted), *ratios]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    contenders = [Contender(name, args.threads) for name in wanted]
    rows = []
    for name in names:
        for backward in (False, True):
            rounds, budget = (1, 0.05) if args.quick else (args.rounds, 0.3)
            rows.append(measure(contenders, name, backward, rounds, budget))
            print(line(rows[-1]), flush=True)
    print(f"\n{means(rows, wanted)}; {args.threads} threads")
    for c in contenders:
        c.stop()
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
