"""The processes of the contenders: their environment, and the line over which they take orders."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from typing import Any

PATIENCE = 300.0  # seconds for one order: some libraries compile for long


class Failure(Exception):
    """A contender could not do what it should: it raised an error, died, or took too long."""


class Inexpressible(Exception):
    """A contender has no words for a workload: no failure."""


def environment(threads: int, simd: str = "") -> dict[str, str]:
    """The environment of a contender: so many threads for everything that has threads, and no wider vectors than asked.

    With `simd` "avx2" all are held to AVX2 by their own settings, so that the comparison stays fair.
    """
    n = str(threads)
    ours = dict.fromkeys(
        ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "MINIDL_NUM_THREADS"], n
    )
    ours |= {"NPROC": n, "NUM_CPU_THREADS": n}  # XLA's pool, tinygrad's
    ours |= {"JAX_PLATFORMS": "cpu", "DEV": "CPU", "MINIDL_QUIET": "1"}
    flags = [os.environ.get("XLA_FLAGS", ""), f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}"]
    if simd:
        ours["MINIDL_SIMD"] = simd
    if simd == "avx2":
        ours |= {
            "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
            "ONEDNN_MAX_CPU_ISA": "AVX2",  # its convolutions
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",  # its matrix products
            "OPENBLAS_CORETYPE": "Haswell",  # NumPy's
        }
        flags.append("--xla_cpu_max_isa=AVX2")
    return os.environ | ours | {"XLA_FLAGS": " ".join(flags).strip()}


def restrict(threads: int) -> None:
    """Let this process run on so many cores only, for whatever part of a library minds no setting."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def ask_module(module: str, *args: str, env: dict[str, str]) -> Any:
    """The JSON that `python -m module args` prints, in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *args], env=env, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"took more than {PATIENCE:.0f} s") from None
    except subprocess.CalledProcessError as error:
        raise Failure(last_line(error.stderr)) from None
    return json.loads(done.stdout.splitlines()[-1])


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "died without a word"


class Worker:
    """A contender in a process of its own. If it died, the next order starts another one."""

    def __init__(self, name: str, threads: int, env: dict[str, str]) -> None:
        self.name, self.threads, self.env = name, threads, env
        self.process: subprocess.Popen[str] | None = None

    def ask(self, patience: float = PATIENCE, **order: Any) -> Any:
        """Send an order, wait for the answer."""
        if self.process is None:
            command = [sys.executable, "-m", "benchmarks.worker", self.name, str(self.threads)]
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=self.env)
        timer = threading.Timer(patience, self.process.kill)
        timer.start()
        try:
            assert self.process.stdin and self.process.stdout
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps(order), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        finally:
            late = not timer.is_alive()
            timer.cancel()
        if not answer:
            self.stop()
            raise Failure(f"took more than {patience:.0f} s" if late else "its process died")
        kind, value = json.loads(answer)
        if kind == "cannot":
            raise Inexpressible(value)
        if kind == "failed":
            raise Failure(value)
        return value

    def stop(self) -> None:
        """Let it end, or make it."""
        if self.process is None:
            return
        process, self.process = self.process, None
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
