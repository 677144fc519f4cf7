"""One contender in a process of its own: takes orders as JSON lines on stdin, answers on stdout.

An answer is a pair: "ok" and a value, "cannot" and a reason, "failed" and a reason. Orders name what to do: `version`;
`check`, which runs a workload once and writes its results to a file; `time`, which runs it until the budget of seconds
is spent and answers with the median of the calls' seconds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks.contenders import CannotExpress, Contender, load
from benchmarks.kinds import Operation
from benchmarks.processes import restrict
from benchmarks.workloads import BY_NAME

Function = Callable[[], list[Any]]
WARM = 2  # calls after the first one that are not timed: TinyJit captures in the second, buffers are found in the third


class Desk:
    """Carries out the orders; keeps the last workload, so that only the first order for it builds and compiles."""

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        self.contender: Contender | None = None
        self.current: tuple[tuple[str, str], Function] | None = None

    def carry_out(self, order: dict[str, Any]) -> Any:
        """The answer's value."""
        if self.contender is None:
            self.contender = load(self.name, self.threads)
        if order["do"] == "version":
            return self.contender.version()
        key = order["name"], order["pass"]
        if self.current is None or self.current[0] != key:
            self.current = None  # its memory goes before the next one's comes
            self.current = key, build(self.contender, *key)
        function = self.current[1]
        if order["do"] == "time":
            return seconds(function, order["budget"])
        np.savez(order["file"], *self.contender.arrays(function()))
        for _ in range(WARM):
            function()
        return None


def build(contender: Contender, name: str, which: str) -> Function:
    """What to call, and to time."""
    workload = BY_NAME[name]
    if isinstance(workload, Operation):
        return contender.operation(workload, backward=which != "forward")
    return contender.training(workload)


def seconds(function: Function, budget: float) -> float:
    """The median of seconds a call, over as many calls as fit the budget.

    The first is left out if others follow soon: other contenders have just used the caches and the cores.
    """
    times: list[float] = []
    before = start = time.perf_counter()
    while not times or before - start < budget:
        function()
        now = time.perf_counter()
        times.append(now - before)
        before = now
    return median(times[1:] or times)


def main() -> None:
    """Answer orders until stdin ends."""
    name, threads = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that gives the orders
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not come between the answers
    restrict(threads)
    desk = Desk(name, threads)
    for line in sys.stdin:
        answer: tuple[str, Any]
        try:
            answer = "ok", desk.carry_out(json.loads(line))
        except CannotExpress as error:
            answer = "cannot", str(error)
        except Exception as error:
            desk.current = None
            answer = "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
