"""Activations in one pass over memory, forward and backward.

Each is one expression per value; threads take blocks of values, LLVM's vectoriser does eight or sixteen at a time. For
a few values NumPy, which need not be asked on which thread, is as fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.kernels.jit import Kernel, contiguous, helper, kernel
from minidl.kernels.math import TAIL, choose, distribution, erf, exp, log, normal, sigmoid, tanh, typed

BLOCK = 8192  # values a task
FEW = 2048  # values for which a kernel is not worth calling

CONSTANTS = typed([0, 1])


def mapped(one: Kernel, x: np.ndarray, nanoseconds: float) -> np.ndarray:
    """y = f(x), value by value; so many nanoseconds for each."""
    x = contiguous(x)
    y = np.empty_like(x)
    one(-(-x.size // BLOCK), x.reshape(-1), y.reshape(-1), work=x.size * nanoseconds)
    return y


def mapped_gradient(one: Kernel, g: np.ndarray, kept: np.ndarray, nanoseconds: float) -> np.ndarray:
    """gx = g · f'(kept), value by value."""
    g, kept = contiguous(g), contiguous(kept)
    gx = np.empty_like(g)
    one(-(-g.size // BLOCK), g.reshape(-1), kept.reshape(-1), gx.reshape(-1), work=g.size * nanoseconds)
    return gx


def worth(x: Any) -> bool:
    """Whether x is an array of float32 or float64 with more than a few values."""
    return type(x) is np.ndarray and x.size > FEW and x.dtype.char in "fd"


def values(count: int) -> Callable[[np.dtype], tuple[Any, ...]]:
    """Arguments to compile a kernel with: so many arrays of values."""
    return lambda dtype: (1, *(np.ones(4, dtype) for _ in range(count)))


@kernel(example=values(2))
def relu_task(task, x, y):  # type: ignore[no-untyped-def]
    """y = max(x, 0); NaN stays NaN."""
    x, y = x[task * BLOCK :][:BLOCK], y[task * BLOCK :][:BLOCK]
    for i in range(x.size):
        y[i] = choose(x[i] <= 0, CONSTANTS(x[i])[0], x[i])


@kernel(example=values(3))
def relu_gradient_task(task, g, y, gx):  # type: ignore[no-untyped-def]
    """gx = g where y is positive (or NaN)."""
    g, y, gx = g[task * BLOCK :][:BLOCK], y[task * BLOCK :][:BLOCK], gx[task * BLOCK :][:BLOCK]
    for i in range(g.size):
        gx[i] = choose(y[i] <= 0, CONSTANTS(g[i])[0], g[i])


@kernel(example=values(2))
def tanh_task(task, x, y):  # type: ignore[no-untyped-def]
    """y = tanh x"""
    x, y = x[task * BLOCK :][:BLOCK], y[task * BLOCK :][:BLOCK]
    for i in range(x.size):
        y[i] = tanh(x[i])


@kernel(example=values(3))
def tanh_gradient_task(task, g, y, gx):  # type: ignore[no-untyped-def]
    """gx = g (1 - y²)"""
    g, y, gx = g[task * BLOCK :][:BLOCK], y[task * BLOCK :][:BLOCK], gx[task * BLOCK :][:BLOCK]
    for i in range(g.size):
        gx[i] = g[i] * (CONSTANTS(g[i])[1] - y[i] * y[i])


@kernel(example=values(2))
def sigmoid_task(task, x, y):  # type: ignore[no-untyped-def]
    """y = 1 / (1 + exp(-x))"""
    x, y = x[task * BLOCK :][:BLOCK], y[task * BLOCK :][:BLOCK]
    for i in range(x.size):
        y[i] = sigmoid(x[i])


@kernel(example=values(3))
def sigmoid_gradient_task(task, g, y, gx):  # type: ignore[no-untyped-def]
    """gx = g y (1 - y)"""
    g, y, gx = g[task * BLOCK :][:BLOCK], y[task * BLOCK :][:BLOCK], gx[task * BLOCK :][:BLOCK]
    for i in range(g.size):
        gx[i] = g[i] * ((CONSTANTS(g[i])[1] - y[i]) * y[i])


@kernel(example=values(2))
def silu_task(task, x, y):  # type: ignore[no-untyped-def]
    """y = x σ(x)"""
    x, y = x[task * BLOCK :][:BLOCK], y[task * BLOCK :][:BLOCK]
    for i in range(x.size):
        y[i] = x[i] * sigmoid(x[i])


@kernel(example=values(3))
def silu_gradient_task(task, g, x, gx):  # type: ignore[no-untyped-def]
    """gx = g σ (1 + x (1 - σ))"""
    g, x, gx = g[task * BLOCK :][:BLOCK], x[task * BLOCK :][:BLOCK], gx[task * BLOCK :][:BLOCK]
    for i in range(g.size):
        gx[i] = g[i] * silu_slope(x[i])


@helper()
def gelu_slope(x):  # type: ignore[no-untyped-def]
    """Φ(x) + x φ(x)"""
    phi, e = normal(x)
    return phi + x * (e * TAIL(x)[2])


@helper()
def silu_slope(x):  # type: ignore[no-untyped-def]
    """σ (1 + x (1 - σ)) with σ = σ(x)"""
    s, one = sigmoid(x), CONSTANTS(x)[1]
    return s * (one + x * (one - s))


@kernel(example=values(2))
def gelu_task(task, x, y):  # type: ignore[no-untyped-def]
    """y = x Φ(x)"""
    x, y = x[task * BLOCK :][:BLOCK], y[task * BLOCK :][:BLOCK]
    for i in range(x.size):
        y[i] = x[i] * distribution(x[i])


@kernel(example=values(3))
def gelu_gradient_task(task, g, x, gx):  # type: ignore[no-untyped-def]
    """gx = g (Φ(x) + x φ(x))"""
    g, x, gx = g[task * BLOCK :][:BLOCK], x[task * BLOCK :][:BLOCK], gx[task * BLOCK :][:BLOCK]
    for i in range(g.size):
        gx[i] = g[i] * gelu_slope(x[i])


@kernel(example=values(2))
def erf_task(task, x, y):  # type: ignore[no-untyped-def]
    """y = erf x"""
    x, y = x[task * BLOCK :][:BLOCK], y[task * BLOCK :][:BLOCK]
    for i in range(x.size):
        y[i] = erf(x[i])


@kernel(example=values(2))
def exp_task(task, x, y):  # type: ignore[no-untyped-def]
    """y = exp x"""
    x, y = x[task * BLOCK :][:BLOCK], y[task * BLOCK :][:BLOCK]
    for i in range(x.size):
        y[i] = exp(x[i])


@kernel(example=values(2))
def log_task(task, x, y):  # type: ignore[no-untyped-def]
    """y = log x"""
    x, y = x[task * BLOCK :][:BLOCK], y[task * BLOCK :][:BLOCK]
    for i in range(x.size):
        y[i] = log(x[i])
