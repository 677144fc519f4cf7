"""The runner: makes contenders agree, then times them in turn."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kinds import Tolerance, Workload
from benchmarks.processes import Failure, Inexpressible, Worker
from benchmarks.report import Row

JUDGES = ("definitions", "torch")  # whose result counts where contenders disagree, in this order; else the first's
PAUSE = 0.02  # seconds between turns: threads of the last contender may still spin, waiting for more work


class Disagreement(Failure):
    """A contender computes something else."""


def agree(reference: list[np.ndarray], found: list[np.ndarray], tolerance: Tolerance) -> float:
    """The difference between two contenders' results, relative to a result's root mean square: the largest.

    Raises:
        Disagreement: more than the tolerance, NaN, another shape or another number of results.
    """
    if [a.shape for a in reference] != [b.shape for b in found]:
        raise Disagreement(f"returns shapes {[b.shape for b in found]}, not {[a.shape for a in reference]}")
    largest = 0.0
    for i, (a, b) in enumerate(zip(reference, found, strict=True)):
        if not a.size:
            continue
        scale = np.sqrt(np.mean(np.square(a, dtype=np.float64)))
        apart = np.abs(np.subtract(a, b, dtype=np.float64))
        difference = float((np.sqrt(np.mean(np.square(apart))) if tolerance.mean else apart.max()) / (scale or 1.0))
        if not difference <= tolerance.limit:
            allowed = f"allowed are {tolerance.limit:g}, since: {tolerance.why}"
            raise Disagreement(f"computes something else: result {i} is off by {difference:.1e}; {allowed}")
        largest = max(largest, difference)
    return largest


def check(row: Row, workers: list[Worker], tolerance: Tolerance, folder: Path) -> list[Worker]:
    """Those who can do it and who computed the same; `row` is told about the others."""
    results: dict[str, list[np.ndarray]] = {}
    for worker in workers:
        file = folder / f"{worker.name}.npz"
        with row.noting(worker.name):
            order: dict[str, Any] = {"name": row.name, "pass": row.which, "file": str(file)}
            worker.ask(do="check", **order)
            with np.load(file) as arrays:
                results[worker.name] = [arrays[key] for key in arrays.files]
        file.unlink(missing_ok=True)
    judge = next((name for name in (*JUDGES, *results) if name in results), None)
    for name, found in results.items():
        with row.noting(name):
            row.differences[name] = agree(results[str(judge)], found, tolerance)
    return [worker for worker in workers if worker.name in row.differences]


def measure(row: Row, workers: list[Worker], tolerance: Tolerance, rounds: int, budget: float) -> None:
    """Check, then fill in the row: for every contender its times in milliseconds, one a turn."""
    with tempfile.TemporaryDirectory(prefix="minidl-benchmarks-") as folder:
        able = check(row, workers, tolerance, Path(folder))
    for _ in range(rounds):
        for worker in list(able):
            time.sleep(PAUSE)
            with row.noting(worker.name):
                order: dict[str, Any] = {"name": row.name, "pass": row.which, "budget": budget}
                row.ms.setdefault(worker.name, []).append(1e3 * worker.ask(do="time", **order))
            if worker.name in row.failed:
                able.remove(worker)
                row.ms.pop(worker.name, None)


def run(workloads: list[Workload], workers: list[Worker], rounds: int, budget: float) -> Iterator[Row]:
    """The rows, one after the other."""
    for workload in workloads:
        for i, which in enumerate(workload.passes):
            row = Row(workload.name, which, workload.flops[i], workload.values[i], workload.nodes)
            measure(row, workers, workload.tolerance, rounds, budget)
            yield row


def versions(workers: list[Worker]) -> tuple[dict[str, str], dict[str, str]]:
    """The libraries' versions; and what kept others from starting, who are taken out of the list."""
    found, absent = {}, {}
    for worker in list(workers):
        try:
            found[worker.name] = worker.ask(do="version")
        except (Failure, Inexpressible) as error:
            absent[worker.name] = str(error)
            worker.stop()
            workers.remove(worker)
    return found, absent
