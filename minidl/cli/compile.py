"""`minidl compile`: compile all kernels ahead of their first use."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy as np

from minidl.dtypes import float32, float64
from minidl.kernels.jit import KERNELS, compile_ahead
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
        for name, dtype, seconds in compile_ahead(dtypes):
            count += 1
            bar.advance(name)
            if not arguments.quiet:
                with bar.paused():
                    print(f"{name:32} {dtype!s:8} {seconds:6.2f} s", flush=True)
    print(f"{count} kernels are compiled, in {time.perf_counter() - start:.1f} s", flush=True)
    return 0
