"""`minidl compile`: compile all kernels ahead of their first use."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.dtypes import float32, float64
from minidl.kernels.cache import cache_folder
from minidl.kernels.jit import KERNELS, compile_ahead, compile_one
from minidl.kernels.threads import available_cores
from minidl.training import Progress

DTYPES: dict[str, tuple[np.dtype, ...]] = {"float32": (float32,), "float64": (float64,), "both": (float32, float64)}


def add_parser(commands: Any) -> None:
    """Add `compile` to the commands."""
    parser = commands.add_parser(
        "compile",
        help="compile all kernels ahead of their first use",
        description="Compile all kernels now, rather than each at its first use. They stay compiled on this machine.",
        allow_abbrev=False,
    )
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="for which numbers (default float32)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but the last line")
    parser.set_defaults(run=compile_kernels)


def compile_kernels(arguments: argparse.Namespace) -> int:
    """Compile, and say how long each took; the exit code."""
    os.environ["MINIDL_QUIET"] = "1"  # what the kernels would say of themselves is printed here
    start, dtypes, count = time.perf_counter(), DTYPES[arguments.dtype], 0
    with Progress(len(KERNELS) * len(dtypes), unit="kernel", shown=not arguments.quiet) as bar:
        for name, dtype, seconds in compile_all(dtypes):
            count += 1
            bar.advance(name)
            if not arguments.quiet:
                with bar.paused():
                    print(f"{name:32} {dtype!s:8} {seconds:6.2f} s", flush=True)
    print(f"{count} kernels are compiled, in {time.perf_counter() - start:.1f} s", flush=True)
    return 0


Job = tuple[str, np.dtype]


def compile_all(dtypes: tuple[np.dtype, ...]) -> Iterator[tuple[str, np.dtype, float]]:
    """Compile on all cores, one process each, since Numba compiles one function at a time; they meet in the cache."""
    jobs = [(name, dtype) for dtype in dtypes for name in KERNELS]
    if not cache_folder() or available_cores() < 2:
        yield from compile_ahead(dtypes)
        return
    with multiprocessing.get_context("spawn").Pool(available_cores(), leave_interrupts) as pool:
        yield from pool.imap(compile_job, jobs)
    for _ in compile_ahead(dtypes):  # what two of them wrote at the same moment, one wrote for nothing
        pass


def compile_job(job: Job) -> tuple[str, np.dtype, float]:
    """In another process: compile a kernel."""
    return *job, compile_one(*job)


def leave_interrupts() -> None:
    """Ctrl-C is for the process that waits; it ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
