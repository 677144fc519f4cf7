"""Dropout in one pass: whether a value is kept is a function of the seed and of its place.

No mask is stored, none is read: backward asks the same question again. And a value's answer does not depend on who
asks, so results are the same to the bit for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import contiguous, helper, kernel
from minidl.kernels.math import choose

BLOCK = 8192  # values a task
STRIDE, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
SEEDS = 2**63  # seeds are below


@helper()
def random_bits(seed, place):  # type: ignore[no-untyped-def]
    """32 random bits: number `place` of the stream SplitMix64 from `seed` (G. Steele, D. Lea, C. Flood, 2014).

    That generator's state only counts, by an odd stride, and what it gives out is the state, mixed: so any number of
    the stream can be had without those before it.
    """
    z = seed + (place + np.uint64(1)) * STRIDE
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    return z >> np.uint64(32)


def kept(seed: int, p: float, count: int) -> np.ndarray:
    """For the places 0 ... count - 1, whether they are kept: with probability 1 - p."""
    with np.errstate(over="ignore"):
        return random_bits(np.uint64(seed), np.arange(count, dtype=np.uint64)) >= np.uint64(limit(p))


def limit(p: float) -> int:
    """The smallest of the 2^32 random numbers with which a value is kept."""
    return round(p * 2**32)


def dropout(x: np.ndarray, seed: int, p: float, inner: int) -> np.ndarray:
    """x / (1 - p) where it is kept, else x · 0; `inner` values that lie one after the other share one place."""
    y = np.empty(x.shape, x.dtype)
    if x.size:
        scale = np.array([0, 1 / (1 - p) if p < 1 else 0], x.dtype)
        rows, block = x.size // inner, max(1, BLOCK // inner)
        flat = contiguous(x).reshape(rows, inner), y.reshape(rows, inner)
        with np.errstate(over="ignore"):  # as plain Python, NumPy would warn of products modulo 2^64
            dropout_task(-(-rows // block), *flat, scale, seed, limit(p), block, work=x.size)
    return y


def example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, np.ones((2, 1), dtype), np.ones((2, 1), dtype), np.ones(2, dtype), 0, 1, 2


@kernel(example=example)
def dropout_task(task, x, y, scale, seed, limit, block):  # type: ignore[no-untyped-def]
    """Some rows, each of which has one place."""
    seed, limit, zero, one = np.uint64(seed), np.uint64(limit), scale[0], scale[1]
    first = task * block
    last = min(first + block, x.shape[0])
    if x.shape[1] == 1:
        xs, ys = x[first:last].reshape(-1), y[first:last].reshape(-1)
        for i in range(xs.size):
            ys[i] = xs[i] * choose(random_bits(seed, np.uint64(first + i)) >= limit, one, zero)
    else:
        for i in range(first, last):
            factor = choose(random_bits(seed, np.uint64(i)) >= limit, one, zero)
            row, out = x[i], y[i]
            for j in range(row.size):
                out[j] = row[j] * factor
