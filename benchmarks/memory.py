"""Peak memory of a training step of ResNet-20 (32×3×32×32), in a fresh process for each contender.

What counts is what a step needs, not how large a library is: a step on two images comes first, so that code is loaded,
threads run and kernels are compiled (a process before this one has filled the cache of kernels, since a compiler takes
much memory itself). Then the peak of the resident memory (VmHWM) is set back by way of /proc/self/clear_refs; model,
data and optimiser are made, five steps done, and the peak read again. The difference to the resident memory before the
model was made is the answer. Where the peak cannot be set back, it is the peak of the process, as getrusage has it.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.contenders import installed, load
from benchmarks.kinds import Step
from benchmarks.models import resnet
from benchmarks.processes import ask_module, environment, restrict
from benchmarks.steps import training

CONTENDERS = ("kernels", "torch")
STEPS = 5
MEGABYTE = 1e6


def step(images: int) -> Step:
    """The workload of so many images."""
    return training("ResNet-20 step", resnet, (images, 3, 32, 32), 0)


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


def measure(name: str, threads: int) -> dict[str, float]:
    """Megabytes before the model was made, at the peak, and between."""
    contender = load(name, threads)
    small = contender.training(step(2))
    for _ in range(2):
        small()
    del small
    gc.collect()
    forget_peak()
    before = status("VmRSS")
    run = contender.training(step(32))
    for _ in range(STEPS):
        run()
    most = peak()
    return {"before_mb": before / MEGABYTE, "peak_mb": most / MEGABYTE, "step_mb": (most - before) / MEGABYTE}


def compare(threads: int, simd: str) -> tuple[str, dict[str, Any]]:
    """The table, in Markdown and as numbers."""
    found: dict[str, Any] = {}
    for name in CONTENDERS:
        if installed(name):
            env = environment(threads, simd)
            ask_module("benchmarks.memory", name, str(threads), env=env)
            found[name] = ask_module("benchmarks.memory", name, str(threads), env=env)
    lines = ["| ResNet-20 step (32,3,32,32) | before, MB | peak, MB | of the step, MB |", "|---|---:|---:|---:|"]
    lines += [f"| {c} | {m['before_mb']:.0f} | {m['peak_mb']:.0f} | {m['step_mb']:.0f} |" for c, m in found.items()]
    if "torch" in found:
        found["ratio"] = found["kernels"]["step_mb"] / found["torch"]["step_mb"]
        lines += ["", f"kernels / torch = {found['ratio']:.2f}; {threads} threads"]
    return "\n".join(lines), found


if __name__ == "__main__":
    restrict(int(sys.argv[2]))
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
