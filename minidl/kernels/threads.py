"""How many threads kernels run on. There is one pool, Numba's; results do not depend on its size."""

from __future__ import annotations

import os
import threading

import numpy as np

from minidl.kernels.compiler import numba

# Below so many nanoseconds of work a second thread gains little, and on a busy machine, where it has to wait for a core
# while the first one waits for it, loses much: training LeNet on 8×8 digits took 20 s instead of 4.
LITTLE = 100_000


class Threads:
    """What was asked for, and what Numba was told: its number of threads belongs to a Python thread."""

    def __init__(self) -> None:
        self.asked: int | None = None
        self.applied = threading.local()


threads = Threads()


def get_num_threads() -> int:
    """How many threads kernels run on: what `set_num_threads` or MINIDL_NUM_THREADS said, else one per core."""
    if threads.asked is None:
        asked = os.environ.get("MINIDL_NUM_THREADS") or str(most_threads())
        if not asked.isdecimal() or int(asked) < 1:
            raise ValueError(f"MINIDL_NUM_THREADS must be a positive integer, but is {asked!r}")
        threads.asked = min(int(asked), most_threads())
    return threads.asked


def set_num_threads(n: int) -> None:
    """Run kernels on n threads; results are the same to the bit for any n.

    Raises:
        ValueError: n is not from 1 to the number of cores.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise TypeError(f"set_num_threads: n must be an int, not {n!r}")
    if not 1 <= n <= most_threads():
        raise ValueError(f"set_num_threads: n must be from 1 to {most_threads()}, but is {n}")
    threads.asked = int(n)


def most_threads() -> int:
    """The size of Numba's pool: NUMBA_NUM_THREADS, or one per core."""
    asked = os.environ.get("NUMBA_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else available_cores()


def available_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(n: int) -> None:
    """Tell Numba how many threads this Python thread's kernels run on."""
    if getattr(threads.applied, "n", None) != n:
        threads.applied.n = n
        numba().set_num_threads(n)
