"""Softmax and cross-entropy, a few rows at a time: maximum, exponentials and their sum while a row is in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import contiguous, helper, kernel
from minidl.kernels.math import choose, exp, larger, log

VALUES = 8192  # rows of so many values together are one task


def softmax_forward(x: np.ndarray, logarithm: bool) -> np.ndarray:
    """Along the last dimension of x, exp(x) / Σ exp(x), or its logarithm."""
    y = np.empty(x.shape, x.dtype)
    if x.size:
        n = x.shape[-1]
        block = max(1, VALUES // n)
        x, out = contiguous(x).reshape(-1, n), y.reshape(-1, n)
        softmax_task(-(-len(x) // block), x, out, logarithm, block, work=2 * x.size)
    return y


def softmax_backward(g: np.ndarray, y: np.ndarray, logarithm: bool) -> np.ndarray:
    """gx from the result y, along its last dimension: y (g - Σ g y); of the logarithm, g - exp(y) Σ g."""
    gx = np.empty(y.shape, y.dtype)
    if y.size:
        n = y.shape[-1]
        block = max(1, VALUES // n)
        g, y, out = contiguous(g).reshape(-1, n), contiguous(y).reshape(-1, n), gx.reshape(-1, n)
        softmax_gradient_task(-(-len(y) // block), g, y, out, logarithm, block, work=y.size)
    return gx


def cross_entropy_forward(
    x: np.ndarray, labels: np.ndarray, weights: np.ndarray, smoothing: float
) -> tuple[np.ndarray, np.ndarray]:
    """ℓ (M,) of scores x (M, C), and log Σ exp(x) of each row; a label of -1 counts nothing."""
    losses, sums = np.zeros(len(x), x.dtype), np.zeros(len(x), x.dtype)
    if x.size:
        block = max(1, VALUES // x.shape[1])
        options = contiguous(labels), contiguous(weights), np.full(1, smoothing, x.dtype)
        cross_entropy_task(-(-len(x) // block), contiguous(x), *options, losses, sums, block, work=2 * x.size)
    return losses, sums


def cross_entropy_backward(
    g: np.ndarray, x: np.ndarray, labels: np.ndarray, weights: np.ndarray, smoothing: float, sums: np.ndarray
) -> np.ndarray:
    """gx (M, C) from g = ∂L/∂ℓ (M,) and what forward returned: g · (p Σ t - t)."""
    gx = np.empty(x.shape, x.dtype)
    if x.size:
        block = max(1, VALUES // x.shape[1])
        options = contiguous(labels), contiguous(weights), np.full(1, smoothing, x.dtype), sums
        cross_entropy_gradient_task(
            -(-len(x) // block), contiguous(g), contiguous(x), *options, gx, block, work=2 * x.size
        )
    return gx


@helper()
def maximum(x):  # type: ignore[no-untyped-def]
    """The largest value of a row, or NaN if there is one."""
    result = x[0]
    for j in range(x.size):
        result = larger(result, x[j])
    return result


def example(dtype: np.dtype) -> tuple[Any, ...]:
    x = np.zeros((1, 2), dtype)
    return 1, x, x.copy(), False, 1


@kernel(example=example)
def softmax_task(task, x, y, logarithm, block):  # type: ignore[no-untyped-def]
    """Some rows; the maximum is taken off, so that exp cannot overflow."""
    for i in range(task * block, min((task + 1) * block, x.shape[0])):
        row, out = x[i], y[i]
        shift, total = maximum(row), x.dtype.type(0)
        if logarithm:
            for j in range(row.size):
                total += exp(row[j] - shift)
            shift += log(total)
            for j in range(row.size):
                out[j] = row[j] - shift
        else:
            for j in range(row.size):
                out[j] = exp(row[j] - shift)
                total += out[j]
            scale = x.dtype.type(1) / total
            for j in range(row.size):
                out[j] = out[j] * scale


def gradient_example(dtype: np.dtype) -> tuple[Any, ...]:
    x = np.zeros((1, 2), dtype)
    return 1, x, x, x.copy(), False, 1


@kernel(example=gradient_example)
def softmax_gradient_task(task, g, y, gx, logarithm, block):  # type: ignore[no-untyped-def]
    """Some rows."""
    for i in range(task * block, min((task + 1) * block, y.shape[0])):
        row, grad, out = y[i], g[i], gx[i]
        total = y.dtype.type(0)
        if logarithm:
            for j in range(row.size):
                total += grad[j]
            for j in range(row.size):
                out[j] = grad[j] - exp(row[j]) * total
        else:
            for j in range(row.size):
                total += grad[j] * row[j]
            for j in range(row.size):
                out[j] = row[j] * (grad[j] - total)


def cross_entropy_example(dtype: np.dtype) -> tuple[Any, ...]:
    x, one = np.zeros((1, 2), dtype), np.ones(1, dtype)
    return 1, x, np.zeros(1, np.int64), x[0].copy(), one, one.copy(), one.copy(), 1


@kernel(example=cross_entropy_example)
def cross_entropy_task(task, x, labels, weights, smoothing, losses, sums, block):  # type: ignore[no-untyped-def]
    """Some rows: s = log Σ exp(x) and ℓ = Σ_c t_c (s - x_c), t = (1 - ε) w_y [c = y] + ε w_c / C."""
    zero, one, e = x.dtype.type(0), x.dtype.type(1), smoothing[0]
    for i in range(task * block, min((task + 1) * block, x.shape[0])):
        row, label = x[i], labels[i]
        shift, total = maximum(row), zero
        for j in range(row.size):
            total += exp(row[j] - shift)
        s = shift + log(total)
        sums[i] = s
        if label >= 0:
            weight = (one - e) * weights[label]
            loss = weight * ((shift - row[label]) + log(total)) if weight != 0 else zero
            if e != 0:
                rest, share = zero, e / x.dtype.type(row.size)
                for j in range(row.size):
                    rest += choose(weights[j] == 0, zero, weights[j] * (s - row[j]))
                loss += share * rest
            losses[i] = loss


def cross_entropy_gradient_example(dtype: np.dtype) -> tuple[Any, ...]:
    x, one = np.zeros((1, 2), dtype), np.ones(1, dtype)
    return 1, one, x, np.zeros(1, np.int64), x[0].copy(), one, one.copy(), x.copy(), 1


@kernel(example=cross_entropy_gradient_example)
def cross_entropy_gradient_task(task, g, x, labels, weights, smoothing, sums, gx, block):  # type: ignore[no-untyped-def]
    """Some rows: gx = g · (p Σ t - t) with p = exp(x - s)."""
    zero, one, e = x.dtype.type(0), x.dtype.type(1), smoothing[0]
    share, all_weights = e / x.dtype.type(x.shape[1]), zero
    for j in range(weights.size):
        all_weights += weights[j]
    for i in range(task * block, min((task + 1) * block, x.shape[0])):
        row, out, label, s = x[i], gx[i], labels[i], sums[i]
        if label < 0:
            out[:] = zero
        else:
            own = (one - e) * weights[label]
            total = own + share * all_weights
            if total == 0:
                out[:] = zero
            else:
                for j in range(row.size):
                    out[j] = g[i] * (exp(row[j] - s) * total - share * weights[j])
                out[label] = g[i] * (exp(row[label] - s) * total - (own + share * weights[label]))
