"""Sums and products of two large arrays, and sums of one, on threads; for everything small or unusual there is NumPy.

The smaller operand lies along neighbouring dimensions of the larger, which has `outer` times `middle` times `inner`
values; it has `middle`. That is a bias along the last dimension, or of channels; and the other way round, the
same three numbers say what is left of a sum.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.kernels.activation import BLOCK, CONSTANTS
from minidl.kernels.jit import kernel

LARGE = 2**16  # values from which on threads are worth it


def add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a + b"""
    return combined(a, b, False) if a.size >= LARGE and fit(a, b) else np.add(a, b)


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a * b"""
    return combined(a, b, True) if a.size >= LARGE and fit(a, b) else np.multiply(a, b)


def fit(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the kernel takes the pair: plain arrays of one floating dtype, b along neighbouring dimensions of a."""
    plain = a.flags.carray and b.flags.carray and a.dtype == b.dtype and a.dtype.char in "fd"
    return plain and (a.shape == b.shape or along(a.shape, kept(a.shape, b.shape)) is not None)


def kept(shape: tuple[int, ...], other: tuple[int, ...]) -> list[int] | None:
    """The dimensions of `shape` that `other`, which broadcasts to it, has too."""
    other = (1,) * (len(shape) - len(other)) + other
    if len(other) > len(shape) or any(n not in (1, m) for n, m in zip(other, shape, strict=True)):
        return None
    return [i for i, n in enumerate(other) if n != 1]


def along(shape: tuple[int, ...], axes: list[int] | None) -> tuple[int, int, int] | None:
    """outer, middle and inner, if the axes are neighbours."""
    if axes is None or (axes and axes[-1] - axes[0] + 1 != len(axes)):
        return None
    first, last = (axes[0], axes[-1] + 1) if axes else (0, 0)
    return math.prod(shape[:first]), math.prod(shape[first:last]), math.prod(shape[last:])


def combined(a: np.ndarray, b: np.ndarray, product: bool) -> np.ndarray:
    """a + b or a * b of two that fit."""
    y, shape = np.empty_like(a), along(a.shape, kept(a.shape, b.shape))
    if a.shape == b.shape or shape is None:
        rows, block, tasks, each = a.reshape(1, -1), 1, -(-a.size // BLOCK), False
    else:
        _, middle, inner = shape
        each = inner > 1
        rows = a.reshape(-1, inner if each else middle)
        block = max(1, BLOCK // rows.shape[1])
        tasks = -(-len(rows) // block)
    combine_task(tasks, product, rows, b.reshape(-1), y.reshape(rows.shape), block, each, work=a.size // 2)
    return y


def total(a: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """Σ a over axes."""
    left = [i for i in range(a.ndim) if i not in axes]
    shape = along(a.shape, left) if a.size >= LARGE and a.flags.carray and a.dtype.char in "fd" else None
    if shape is None:
        return np.add.reduce(a, axes, keepdims=keepdims)
    outer, middle, inner = shape
    if inner > 1:
        sums = row_sums(a.reshape(-1, inner)).reshape(outer, middle)
    else:
        sums = column_sums(a.reshape(outer, middle))
    sums = np.add.reduce(sums, 0)
    return sums.reshape([1 if i in axes else n for i, n in enumerate(a.shape) if keepdims or i not in axes])


def row_sums(a: np.ndarray) -> np.ndarray:
    """Σ of each row: of blocks of it, then of these."""
    rows, n = a.shape
    parts = -(-n // BLOCK)
    sums, group = np.empty((rows, parts), a.dtype), max(1, BLOCK // n)
    sum_task(-(-rows * parts // group), a, sums, group, False, work=a.size // 5)
    return np.add.reduce(sums, 1)


def column_sums(a: np.ndarray) -> np.ndarray:
    """The sums of some rows together, block by block."""
    group = max(1, 4 * BLOCK // a.shape[1])
    sums = np.empty((-(-len(a) // group), a.shape[1]), a.dtype)
    sum_task(len(sums), a, sums, group, True, work=a.size // 5)
    return sums


def example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, False, np.ones((1, 2), dtype), np.ones(2, dtype), np.ones((1, 2), dtype), 1, False


@kernel(example=example)
def combine_task(task, product, a, b, y, block, each):  # type: ignore[no-untyped-def]
    """A block of values, of one array after the other; or some rows with b, or each with a number of b's."""
    if b.size == a.size:
        one, other, out = a[0][task * BLOCK :][:BLOCK], b[task * BLOCK :][:BLOCK], y[0][task * BLOCK :][:BLOCK]
        if product:
            for j in range(one.size):
                out[j] = one[j] * other[j]
        else:
            for j in range(one.size):
                out[j] = one[j] + other[j]
        return
    for i in range(task * block, min((task + 1) * block, a.shape[0])):
        row, out = a[i], y[i]
        if not each and product:
            for j in range(row.size):
                out[j] = row[j] * b[j]
        elif not each:
            for j in range(row.size):
                out[j] = row[j] + b[j]
        elif product:
            factor = b[i % b.size]
            for j in range(row.size):
                out[j] = row[j] * factor
        else:
            shift = b[i % b.size]
            for j in range(row.size):
                out[j] = row[j] + shift


def sum_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, np.ones((1, 2), dtype), np.ones((1, 1), dtype), 1, False


@kernel(example=sum_example)
def sum_task(task, a, sums, group, columns):  # type: ignore[no-untyped-def]
    """The sum of some rows, or the sums of blocks of rows."""
    if columns:
        out = sums[task]
        out[:] = CONSTANTS(a[0, 0])[0]
        for i in range(task * group, min((task + 1) * group, a.shape[0])):
            row = a[i]
            for j in range(row.size):
                out[j] += row[j]
    else:
        parts = sums.shape[1]
        for k in range(task * group, min((task + 1) * group, sums.size)):
            row, result = a[k // parts][k % parts * BLOCK :][:BLOCK], CONSTANTS(a[0, 0])[0]
            for j in range(row.size):
                result += row[j]
            sums[k // parts, k % parts] = result
