"""Losses of one number against another, one kernel each way: both arrays are read once, and a mean writes no array.

The sum is of the sums of blocks, which do not depend on threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.activation import BLOCK, CONSTANTS
from minidl.kernels.jit import contiguous, kernel
from minidl.kernels.math import choose, decay, log, log1p, sigmoid, typed

SQUARE, ABSOLUTE, HUBER, BINARY, LOGITS = range(5)

DISTANCE = typed([0.5, 2, -100, 1e-12])


def distance(kind: int, x: np.ndarray, t: np.ndarray, numbers: tuple[float, ...], reduce: bool) -> np.ndarray:
    """The losses of x against t, of one shape; or their sum, ()."""
    tasks = -(-x.size // BLOCK)
    losses, sums = (np.empty(0, x.dtype), np.empty(tasks, x.dtype)) if reduce else (np.empty_like(x, order="C"),) * 2
    flat = contiguous(x).reshape(-1), contiguous(t).reshape(-1)
    distance_task(tasks, kind, *flat, padded(numbers, x), losses.reshape(-1), sums.reshape(-1), work=x.size)
    return np.add.reduce(sums) if reduce else losses


def distance_gradient(
    kind: int, g: np.ndarray, x: np.ndarray, t: np.ndarray, numbers: tuple[float, ...], scale: float, reduced: bool
) -> np.ndarray:
    """gx = scale · g · ∂ℓ/∂x; g is the gradient of each loss, or if they were reduced one for all, ()."""
    gx = np.empty_like(x, order="C")
    flat = contiguous(x).reshape(-1), contiguous(t).reshape(-1), gx.reshape(-1)
    numbers = padded((scale * float(g) if reduced else scale, *numbers), x)
    each = np.empty(0, x.dtype) if reduced else contiguous(g).reshape(-1)
    distance_gradient_task(-(-x.size // BLOCK), kind, each, *flat, numbers, work=x.size)
    return gx


def padded(numbers: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    """Three numbers in x's dtype."""
    return np.array([*numbers, 0, 0, 0][:3], x.dtype)


def example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, SQUARE, np.ones(2, dtype), np.ones(2, dtype), np.ones(3, dtype), np.empty(0, dtype), np.empty(1, dtype)


@kernel(example=example)
def distance_task(task, kind, x, t, numbers, losses, sums):  # type: ignore[no-untyped-def]
    """One block of losses, or without room for them its sum."""
    x, t = x[task * BLOCK :][:BLOCK], t[task * BLOCK :][:BLOCK]
    y = losses[task * BLOCK :][:BLOCK] if losses.size else np.empty(x.size, x.dtype)
    bend, scale, half, least = numbers[0], numbers[1], DISTANCE(x[0])[0], DISTANCE(x[0])[2]
    zero, one = CONSTANTS(bend)[0], CONSTANTS(bend)[1]
    if kind == SQUARE:
        for i in range(x.size):
            y[i] = (x[i] - t[i]) * (x[i] - t[i])
    elif kind == ABSOLUTE:
        for i in range(x.size):
            y[i] = abs(x[i] - t[i])
    elif kind == HUBER:
        for i in range(x.size):
            d = abs(x[i] - t[i])
            y[i] = scale * choose(d < bend, half * d * d, bend * (d - half * bend))
    elif kind == BINARY:
        for i in range(x.size):
            a, b = log(x[i]), log(one - x[i])
            a, b = choose(a < least, least, a), choose(b < least, least, b)
            y[i] = -(t[i] * a) - (one - t[i]) * b
    else:
        for i in range(x.size):
            above = choose(x[i] >= 0, zero, -x[i])  # log(1 + e^-x) = max(-x, 0) + log(1 + e^-|x|)
            y[i] = (one - t[i]) * x[i] + (above + log1p(decay(-abs(x[i]))))
    if not losses.size:
        total = zero
        for i in range(x.size):
            total += y[i]
        sums[task] = total


def gradient_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, SQUARE, np.empty(0, dtype), *(np.ones(2, dtype) for _ in range(3)), np.ones(3, dtype)


@kernel(example=gradient_example)
def distance_gradient_task(task, kind, g, x, t, gx, numbers):  # type: ignore[no-untyped-def]
    """One block of gx = scale · ∂ℓ/∂x, then times g if there is one for each."""
    x, t, gx = x[task * BLOCK :][:BLOCK], t[task * BLOCK :][:BLOCK], gx[task * BLOCK :][:BLOCK]
    scale, bend, factor, one = numbers[0], numbers[1], numbers[2], CONSTANTS(numbers[0])[1]
    if kind == SQUARE:
        for i in range(x.size):
            gx[i] = (x[i] - t[i]) * DISTANCE(scale)[1] * scale
    elif kind == ABSOLUTE:
        for i in range(x.size):
            d = x[i] - t[i]
            gx[i] = scale * choose(d > 0, one, choose(d < 0, -one, d))  # 0, or NaN
    elif kind == HUBER:
        for i in range(x.size):
            d = x[i] - t[i]
            gx[i] = scale * factor * choose(d >= bend, bend, choose(d <= -bend, -bend, d))
    elif kind == BINARY:
        for i in range(x.size):
            product = (one - x[i]) * x[i]
            gx[i] = scale * (x[i] - t[i]) / choose(product < DISTANCE(scale)[3], DISTANCE(scale)[3], product)
    else:
        for i in range(x.size):
            gx[i] = scale * (sigmoid(x[i]) - t[i])
    if g.size:
        g = g[task * BLOCK :][:BLOCK]
        for i in range(x.size):
            gx[i] *= g[i]
