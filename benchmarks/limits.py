"""The machine's own limits, measured: what no program can do faster, or hardly.

GFLOP/s of a product of two 2048×2048 float32 matrices by NumPy's BLAS; GB/s of a copy of 256 MB, read and written, by
all threads. Each is the best of some seconds of tries. A row may reach more than its limit: Winograd's convolution
needs fewer multiplications than are counted, and what stays in a cache need not pass through memory.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.processes import restrict

SIDE = 2048
MEGABYTES = 256


def best(function: Callable[[], object], budget: float) -> float:
    """Seconds of the fastest of the calls that fit the budget of seconds."""
    times: list[float] = []
    before = start = time.perf_counter()
    while not times or before - start < budget:
        function()
        now = time.perf_counter()
        times.append(now - before)
        before = now
    return min(times)


def gflops(budget: float = 3.0) -> float:
    """Of a large matrix product."""
    a, b = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), np.float32)
    out = np.empty_like(a)
    return 2 * SIDE**3 / best(lambda: np.matmul(a, b, out=out), budget) / 1e9


def gigabytes(threads: int, budget: float = 2.0) -> float:
    """A second, of a large copy: bytes read and bytes written."""
    source = np.ones(MEGABYTES * 1_000_000, np.uint8)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:
        spent = best(lambda: list(pool.map(lambda part: np.copyto(*part), parts)), budget)
    return 2 * source.nbytes / spent / 1e9


if __name__ == "__main__":
    restrict(int(sys.argv[1]))
    print(json.dumps({"gflops": gflops(), "gigabytes": gigabytes(int(sys.argv[1]))}))
