"""Normalisation, one channel or one row at a time, so that the values wait in the cache from one pass to the next.

Mean and variance take two passes, first the mean, then the squares of what is left: the difference of two large
numbers, Σx²/n - mean², would lose all digits for data far from 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.kernels.jit import contiguous, kernel

VALUES = 16384  # rows of so many values together are one task


def batch_norm_forward(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y of x (N, C, ...), with each channel's mean and (biased) variance (C,)."""
    y, mean, variance = empty(x), np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    if x.size:
        parameters = given(weight, x), given(bias, x), np.full(1, eps, x.dtype)
        channel_task(x.shape[1], channels(x), *parameters, channels(y), mean, variance, work=x.size)
    return y, mean, variance


def channel_affine(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """x (N, C, ...) times scale plus shift (C,)."""
    y = empty(x)
    if x.size:
        affine_task(x.shape[1], channels(x), contiguous(scale), contiguous(shift), channels(y), work=x.size // 2)
    return y


def batch_norm_backward(
    g: np.ndarray, x: np.ndarray, weight: np.ndarray | None, mean: np.ndarray, inverse: np.ndarray, training: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """gx (N, C, ...), gw and gb (C,); in training mean and inverse depend on x."""
    gx, gw, gb = empty(x), np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    if x.size:
        share = np.full(1, x.shape[1] / x.size if training else 0, x.dtype)
        options = given(weight, x), contiguous(mean), contiguous(inverse), share
        channel_gradient_task(x.shape[1], channels(g), channels(x), *options, channels(gx), gw, gb, work=x.size)
    return gx, gw, gb


def layer_norm_forward(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, eps: float, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y of x, whose last `count` dimensions are a row, with each row's mean and 1 / σ."""
    rows, y = as_rows(x, count), empty(x)
    M, D = rows.shape
    mean, inverse = np.empty(M, x.dtype), np.empty(M, x.dtype)
    if x.size:
        block = max(1, VALUES // D)
        parameters = given(weight, x), given(bias, x), np.full(1, eps, x.dtype)
        layer_task(-(-M // block), rows, *parameters, as_rows(y, count), mean, inverse, block, work=x.size)
    return y, mean, inverse


def layer_norm_backward(
    g: np.ndarray, x: np.ndarray, weight: np.ndarray | None, mean: np.ndarray, inverse: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """gx like x, gw and gb like a row of it."""
    rows, gx = as_rows(x, count), empty(x)
    M, D = rows.shape
    block = max(1, VALUES // max(D, 1))
    blocks = -(-M // block)
    sums = np.zeros((2, blocks, *x.shape[x.ndim - count :]), x.dtype)
    if x.size:
        kept, partial = (given(weight, x), mean, inverse), sums.reshape(2, blocks, D)
        layer_gradient_task(blocks, as_rows(g, count), rows, *kept, as_rows(gx, count), partial, block, work=x.size)
    return gx, sums[0].sum(0), sums[1].sum(0)


def empty(like: np.ndarray) -> np.ndarray:
    """A C-contiguous array of the same shape and dtype."""
    return np.empty(like.shape, like.dtype)


def channels(x: np.ndarray) -> np.ndarray:
    """(N, C, ...) as (N, C, values), C-contiguous."""
    return contiguous(x).reshape(*x.shape[:2], math.prod(x.shape[2:]))


def as_rows(x: np.ndarray, count: int) -> np.ndarray:
    """The last `count` dimensions as rows: (M, values), C-contiguous."""
    split = x.ndim - count
    return contiguous(x).reshape(math.prod(x.shape[:split]), math.prod(x.shape[split:]))


def given(parameter: np.ndarray | None, x: np.ndarray) -> np.ndarray:
    """A parameter as kernels take it, empty for none."""
    return np.empty(0, x.dtype) if parameter is None else contiguous(parameter).reshape(-1)


def like(*kinds: str) -> Any:
    """Arguments to compile with: x for (N, C, L), c for (C,)."""
    return lambda dtype: (1, *(np.ones((1, 1, 2) if kind == "x" else 1, dtype) for kind in kinds))


@kernel(example=like("x", "c", "c", "c", "x", "c", "c"))
def channel_task(task, x, weight, bias, eps, y, mean, variance):  # type: ignore[no-untyped-def]
    """One channel: its mean, its variance, its y."""
    N, C, L = x.shape
    zero, n = x.dtype.type(0), np.float64(N * L)
    total = np.float64(0)
    for i in range(N):
        row, part = x[i, task], zero
        for j in range(row.size):
            part += row[j]
        total += part
    m = x.dtype.type(total / n)
    total = np.float64(0)
    for i in range(N):
        row, part = x[i, task], zero
        for j in range(row.size):
            part += (row[j] - m) * (row[j] - m)
        total += part
    v = x.dtype.type(total / n)
    mean[task], variance[task] = m, v
    scale = x.dtype.type(1) / np.sqrt(v + eps[0])
    scale = scale * weight[task] if weight.size else scale
    shift = bias[task] if bias.size else zero
    for i in range(N):
        row, out = x[i, task], y[i, task]
        for j in range(row.size):
            out[j] = (row[j] - m) * scale + shift


@kernel(example=like("x", "c", "c", "x"))
def affine_task(task, x, scale, shift, y):  # type: ignore[no-untyped-def]
    """One channel, scaled and shifted."""
    a, b = scale[task], shift[task]
    for i in range(x.shape[0]):
        row, out = x[i, task], y[i, task]
        for j in range(row.size):
            out[j] = row[j] * a + b


@kernel(example=like("x", "x", "c", "c", "c", "c", "x", "c", "c"))
def channel_gradient_task(task, g, x, weight, mean, inverse, share, gx, gw, gb):  # type: ignore[no-untyped-def]
    """One channel: gb = Σ g, gw = Σ g x̂, gx = (g - x̂ · gw / n - gb / n) · w / σ."""
    N, C, L = x.shape
    zero, m, r = x.dtype.type(0), mean[task], inverse[task]
    sum_g, sum_gx = np.float64(0), np.float64(0)
    for i in range(N):
        row, grad = x[i, task], g[i, task]
        part, product = zero, zero
        for j in range(row.size):
            part += grad[j]
            product += grad[j] * (row[j] - m)
        sum_g += part
        sum_gx += product
    gb[task], gw[task] = sum_g, sum_gx * r
    scale = r * weight[task] if weight.size else r
    slope, shift = gw[task] * share[0] * r, gb[task] * share[0]
    for i in range(N):
        row, grad, out = x[i, task], g[i, task], gx[i, task]
        for j in range(row.size):
            out[j] = (grad[j] - (row[j] - m) * slope - shift) * scale


def rows_example(dtype: np.dtype) -> tuple[Any, ...]:
    row, one = np.ones((1, 2), dtype), np.ones(1, dtype)
    return 1, row, row[0], row[0], one, row.copy(), one.copy(), one.copy(), 1


@kernel(example=rows_example)
def layer_task(task, x, weight, bias, eps, y, mean, inverse, block):  # type: ignore[no-untyped-def]
    """Some rows: mean, 1 / σ and y."""
    M, D = x.shape
    zero, n = x.dtype.type(0), x.dtype.type(D)
    for i in range(task * block, min((task + 1) * block, M)):
        row, out = x[i], y[i]
        total = zero
        for j in range(row.size):
            total += row[j]
        m = total / n
        total = zero
        for j in range(row.size):
            total += (row[j] - m) * (row[j] - m)
        r = x.dtype.type(1) / np.sqrt(total / n + eps[0])
        mean[i], inverse[i] = m, r
        if weight.size and bias.size:
            for j in range(row.size):
                out[j] = (row[j] - m) * r * weight[j] + bias[j]
        else:
            for j in range(row.size):
                value = (row[j] - m) * r
                value = value * weight[j] if weight.size else value
                out[j] = value + bias[j] if bias.size else value


def rows_gradient_example(dtype: np.dtype) -> tuple[Any, ...]:
    row, one = np.ones((1, 2), dtype), np.ones(1, dtype)
    return 1, row, row, row[0], one, one, row.copy(), np.ones((2, 1, 2), dtype), 1


@kernel(example=rows_gradient_example)
def layer_gradient_task(task, g, x, weight, mean, inverse, gx, sums, block):  # type: ignore[no-untyped-def]
    """Some rows: gx = (ĝ - x̂ · mean(ĝ x̂) - mean(ĝ)) / σ with ĝ = g · w; their Σ g x̂ and Σ g."""
    M, D = x.shape
    zero, n = x.dtype.type(0), x.dtype.type(D)
    gw, gb, ones = sums[0, task], sums[1, task], np.ones(D, x.dtype)
    w = weight if weight.size else ones
    for i in range(task * block, min((task + 1) * block, M)):
        row, grad, out, m, r = x[i], g[i], gx[i], mean[i], inverse[i]
        total, product = zero, zero
        for j in range(row.size):
            hat, scaled = (row[j] - m) * r, grad[j] * w[j]
            total += scaled
            product += scaled * hat
        total, product = total / n, product / n
        for j in range(row.size):
            hat = (row[j] - m) * r
            out[j] = (grad[j] * w[j] - hat * product - total) * r
            gw[j] += grad[j] * hat
            gb[j] += grad[j]
