"""Activations of lines and exponentials, one kernel each way for all of them: its `kind` says which.

The choice is made once for a block of values; each kind has a loop of its own, one expression, which LLVM vectorises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.kernels.activation import BLOCK, CONSTANTS
from minidl.kernels.jit import contiguous, helper, kernel
from minidl.kernels.math import LIMITS, choose, decay, exp, expm1, log1p, sigmoid, typed

LEAKY, CLAMP, HARDSWISH, ELU, SOFTPLUS, MISH, GELU = range(7)
NUMBERS = 4  # that a kind may take
LINE, CURVE = 0.5, 1.5  # nanoseconds for a value

HARD = typed([3, 1 / 6, 1 / 3, 0.5])
FLAT = typed([20, 2])  # beyond, mish is a line
# √(2/π), 0.044715 and three times that; beyond 40, Φ is 0 or 1
CUBIC = typed([0.7978845608028654, 0.044715, 0.134145, 40])


def curve(kind: int, x: np.ndarray, numbers: Sequence[float]) -> np.ndarray:
    """y = f(x), value by value."""
    x = contiguous(x)
    y = np.empty_like(x)
    work = x.size * (LINE if kind < ELU else CURVE)
    curve_task(-(-x.size // BLOCK), kind, x.reshape(-1), y.reshape(-1), padded(numbers, x), work=work)
    return y


def curve_gradient(kind: int, g: np.ndarray, x: np.ndarray, numbers: Sequence[float]) -> np.ndarray:
    """gx = g · f'(x), value by value."""
    g, x = contiguous(g), contiguous(x)
    gx = np.empty_like(x)
    work, flat = x.size * (LINE if kind < ELU else CURVE), (g.reshape(-1), x.reshape(-1), gx.reshape(-1))
    curve_gradient_task(-(-x.size // BLOCK), kind, *flat, padded(numbers, x), work=work)
    return gx


def padded(numbers: Sequence[float], x: np.ndarray) -> np.ndarray:
    """The numbers in x's dtype, always as many."""
    return np.array([*numbers, *[0.0] * (NUMBERS - len(numbers))], x.dtype)


@helper()
def clamped(x, low, high):  # type: ignore[no-untyped-def]
    """x within low..high; NaN stays NaN."""
    return choose(x <= low, low, choose(x >= high, high, x))


@helper()
def mish_parts(x):  # type: ignore[no-untyped-def]
    """e = exp(x) and n = e (e + 2), with which tanh(log(1 + e)) = ((1 + e)² - 1) / ((1 + e)² + 1) = n / (n + 2)."""
    e = exp(x)
    return e, e * (e + FLAT(x)[1])


@helper()
def mish_slope(x):  # type: ignore[no-untyped-def]
    """t + x (1 - t²) σ(x), where t = n / (n + 2) and so 1 - t = 2 / (n + 2)."""
    one, two, end = CONSTANTS(x)[1], FLAT(x)[1], FLAT(x)[0]
    at = clamped(x, LIMITS(x)[0], end)
    e, n = mish_parts(at)
    t = n / (n + two)
    return choose(x > end, one, t + at * (two / (n + two) * (one + t) * (e / (one + e))))


@helper()
def gelu_logistic(x):  # type: ignore[no-untyped-def]
    """½ (1 + tanh u) = σ(2u) for u = √(2/π) (x + 0.044715 x³)."""
    u = CUBIC(x)[0] * (x + CUBIC(x)[1] * (x * x * x))
    return sigmoid(u + u)


@helper()
def gelu_logistic_slope(x):  # type: ignore[no-untyped-def]
    """σ + x σ (1 - σ) 2u'"""
    at, one = clamped(x, -CUBIC(x)[3], CUBIC(x)[3]), CONSTANTS(x)[1]
    s, slope = gelu_logistic(at), CUBIC(x)[0] * (one + CUBIC(x)[2] * (at * at))
    return s + at * (s * (one - s)) * (slope + slope)


def example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, LEAKY, np.ones(4, dtype), np.ones(4, dtype), np.ones(NUMBERS, dtype)


@kernel(example=example)
def curve_task(task, kind, x, y, numbers):  # type: ignore[no-untyped-def]
    """One block of y = f(x)."""
    x, y = x[task * BLOCK :][:BLOCK], y[task * BLOCK :][:BLOCK]
    a, b, c, d = numbers[0], numbers[1], numbers[2], numbers[3]
    zero, three, sixth = CONSTANTS(a)[0], HARD(a)[0], HARD(a)[1]
    if kind == LEAKY:
        for i in range(x.size):
            y[i] = choose(x[i] > 0, x[i], a * x[i])
    elif kind == CLAMP:  # to a..b, moved by c, times d
        for i in range(x.size):
            y[i] = (clamped(x[i], a, b) + c) * d
    elif kind == HARDSWISH:
        for i in range(x.size):
            middle = x[i] * (x[i] + three) * sixth
            y[i] = choose(x[i] >= three, x[i], choose(x[i] <= -three, x[i] * zero, middle))
    elif kind == ELU:  # a (exp(b x) - 1), or c x
        for i in range(x.size):
            y[i] = choose(x[i] <= 0, a * expm1(b * x[i]), c * x[i])
    elif kind == SOFTPLUS:  # of a x, divided by a, up to a x = b
        for i in range(x.size):
            z = a * x[i]
            soft = (choose(z <= 0, zero, z) + log1p(decay(-abs(z)))) / a
            y[i] = choose(z > b, x[i], soft)
    elif kind == MISH:
        for i in range(x.size):
            _, n = mish_parts(choose(x[i] > FLAT(x[i])[0], FLAT(x[i])[0], x[i]))
            y[i] = x[i] * (n / (n + FLAT(x[i])[1]))
    else:
        for i in range(x.size):
            y[i] = x[i] * gelu_logistic(x[i])


def gradient_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, LEAKY, *(np.ones(4, dtype) for _ in range(3)), np.ones(NUMBERS, dtype)


@kernel(example=gradient_example)
def curve_gradient_task(task, kind, g, x, gx, numbers):  # type: ignore[no-untyped-def]
    """One block of gx = g · f'(x)."""
    g, x, gx = g[task * BLOCK :][:BLOCK], x[task * BLOCK :][:BLOCK], gx[task * BLOCK :][:BLOCK]
    a, b, c, d = numbers[0], numbers[1], numbers[2], numbers[3]
    zero, one, three = CONSTANTS(a)[0], CONSTANTS(a)[1], HARD(a)[0]
    if kind == LEAKY:
        for i in range(x.size):
            gx[i] = g[i] * choose(x[i] > 0, one, a)
    elif kind == CLAMP:
        for i in range(x.size):
            gx[i] = choose((x[i] <= a) | (x[i] >= b), zero, g[i] * d)
    elif kind == HARDSWISH:
        for i in range(x.size):
            middle = x[i] * HARD(a)[2] + HARD(a)[3]
            gx[i] = g[i] * choose(x[i] >= three, one, choose(x[i] <= -three, zero, middle))
    elif kind == ELU:
        for i in range(x.size):
            gx[i] = g[i] * choose(x[i] <= 0, a * b * decay(b * x[i]), c)
    elif kind == SOFTPLUS:
        for i in range(x.size):
            z = a * x[i]
            gx[i] = g[i] * choose(z > b, one, sigmoid(z))
    elif kind == MISH:
        for i in range(x.size):
            gx[i] = g[i] * mish_slope(x[i])
    else:
        for i in range(x.size):
            gx[i] = g[i] * gelu_logistic_slope(x[i])
