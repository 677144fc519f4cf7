"""One contender in a process of its own: takes orders as JSON lines on stdin, answers on stdout.

An order names a workload and a direction; `check` is answered with a digest of the results, `time` with seconds a call.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.workloads import WORKLOADS

Step = Callable[[], list[Any]]


def load(contender: str, threads: int) -> tuple[Any, Any, Any]:
    """The library, its functional form, and the context that its steps run in."""
    if contender == "torch":
        import torch

        torch.set_num_threads(threads)
        return torch, torch.nn.functional, contextlib.nullcontext
    import minidl
    import minidl.nn.functional as F

    minidl.set_num_threads(threads)
    return minidl, F, minidl.definitions if contender == "definitions" else contextlib.nullcontext


def make_step(lib: Any, F: Any, name: str, backward: bool) -> Step:
    """The call to time: forward alone, or forward and backward from a fixed cotangent to all inputs."""
    workload = next(w for w in WORKLOADS if w.name == name)
    inputs, function = workload.build(lib, F)
    if not backward:
        inputs = [x.detach() for x in inputs]
        return lambda: [function(*inputs)]
    y = function(*inputs)
    g = lib.tensor(np.random.default_rng(1).standard_normal(tuple(y.shape), np.float32))

    def step() -> list[Any]:
        for x in inputs:
            x.grad = None
        y = function(*inputs)
        y.backward(g)
        return [y.detach(), *(x.grad for x in inputs)]

    return step


def digest(results: list[Any]) -> list[list[float]]:
    """A few numbers that tell whether two contenders computed the same: moments and values along each result."""
    rows = []
    for result in results:
        flat = np.asarray(result.detach().numpy(), np.float64).ravel()
        picks = flat[np.linspace(0, flat.size - 1, 5).astype(int)]
        rows.append([float(flat.mean()), float(flat.std()), *map(float, picks)])
    return rows


def seconds(step: Step, budget: float) -> float:
    """Seconds a call, over as many calls as fit the budget."""
    start, calls = time.perf_counter(), 0
    while True:
        step()
        calls += 1
        spent = time.perf_counter() - start
        if spent >= budget:
            return spent / calls


def main() -> None:
    """Answer orders until stdin ends."""
    contender, threads = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not come between the answers
    lib, F, context = load(contender, threads)
    steps: dict[tuple[str, bool], Step] = {}
    for line in sys.stdin:
        order = json.loads(line)
        key = order["name"], order["backward"]
        with context():
            if key not in steps:
                steps = {key: make_step(lib, F, *key)}
                steps[key]()
            answer = digest(steps[key]()) if order["do"] == "check" else seconds(steps[key], order["budget"])
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
