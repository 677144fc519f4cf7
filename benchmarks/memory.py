"""Peak memory of a training step of ResNet-20 and of attention over 4096 rows, in a fresh process for each contender.

What counts is what a step needs, not how large a library is: a small step comes first, on two images or 64 rows, so
that code is loaded, threads run and kernels are compiled (a process before this one has filled the cache of kernels,
since a compiler takes much memory itself). Then the peak of the resident memory (VmHWM) is set back by way of
/proc/self/clear_refs; model, data and optimiser are made, five steps done, and the peak read again. The difference to
the resident memory before the model was made is the answer. Where the peak cannot be set back, it is the peak of the
process, as getrusage has it.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contenders import Contender, installed, load
from benchmarks.models import resnet
from benchmarks.processes import ask_module, environment, restrict
from benchmarks.steps import training
from benchmarks.workloads import attention

Build = Callable[[Contender, int], Callable[[], list[Any]]]

STEPS = 5
MEGABYTE = 1e6


@dataclass(frozen=True)
class Subject:
    """What is measured: its name, how it is built in a size, sizes to warm up with and to measure, and contenders."""

    name: str
    build: Build
    small: int
    size: int
    contenders: tuple[str, ...]


def resnet_step(contender: Contender, images: int) -> Callable[[], list[Any]]:
    """A training step on so many images."""
    return contender.training(training("ResNet-20 step", resnet, (images, 3, 32, 32), 0))


def attention_step(contender: Contender, length: int) -> Callable[[], list[Any]]:
    """Forward and backward of two heads of that length."""
    return contender.operation(attention(1, 2, length, 64, causal=False), backward=True)


SUBJECTS = {
    "resnet": Subject("ResNet-20 step (32,3,32,32)", resnet_step, 2, 32, ("kernels", "torch")),
    "attention": Subject(
        "attention (1,2,4096,64) forward+backward", attention_step, 64, 4096, ("kernels", "definitions", "torch")
    ),
}


def status(key: str) -> float:
    """Bytes, from /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {key}")


def peak() -> float:
    """Bytes, since the peak was set back if that is possible, else since the process began."""
    try:
        return status("VmHWM")
    except OSError:
        import resource  # Windows has none

        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak() -> None:
    """Let the peak begin anew, where Linux allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def measure(subject: Subject, name: str, threads: int) -> dict[str, float]:
    """Megabytes before the model was made, at the peak, and between."""
    contender = load(name, threads)
    small = subject.build(contender, subject.small)
    for _ in range(2):
        small()
    del small
    gc.collect()
    forget_peak()
    before = status("VmRSS")
    run = subject.build(contender, subject.size)
    for _ in range(STEPS):
        run()
    most = peak()
    return {"before_mb": before / MEGABYTE, "peak_mb": most / MEGABYTE, "step_mb": (most - before) / MEGABYTE}


def compare(threads: int, simd: str) -> tuple[str, dict[str, Any]]:
    """The tables, in Markdown and as numbers."""
    lines: list[str] = []
    found: dict[str, Any] = {}
    for key, subject in SUBJECTS.items():
        rows = found[key] = {}
        lines += ["", f"| {subject.name} | before, MB | peak, MB | of the step, MB | kernels / it |"]
        lines += ["|---|---:|---:|---:|---:|"]
        for name in filter(installed, subject.contenders):
            env = environment(threads, simd)
            ask_module("benchmarks.memory", key, name, str(threads), env=env)
            m = rows[name] = ask_module("benchmarks.memory", key, name, str(threads), env=env)
            ratio = rows["kernels"]["step_mb"] / m["step_mb"]
            sizes = " | ".join(f"{m[size]:.0f}" for size in ("before_mb", "peak_mb", "step_mb"))
            lines.append(f"| {name} | {sizes} | {ratio:.2f} |")
    return "\n".join([*lines[1:], "", f"{threads} threads"]), found


if __name__ == "__main__":
    restrict(int(sys.argv[3]))
    print(json.dumps(measure(SUBJECTS[sys.argv[1]], sys.argv[2], int(sys.argv[3]))))
