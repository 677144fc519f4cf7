"""The gradient of a table whose rows were looked up: every row gets the sum of what its copies got."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import contiguous, kernel

VALUES = 8192  # rows of the table with so many values together are one task, about


def add_rows(g: np.ndarray, ids: np.ndarray, rows: int, skip: int, by_frequency: bool) -> np.ndarray:
    """(rows, D): row r is the sum, or with `by_frequency` the mean, of g (M, D) over the places with ids[m] = r.

    Places of one id are brought together by sorting, and each row is summed by one thread in the order of the places,
    so results do not depend on the number of threads. Row `skip` stays 0.
    """
    table = np.zeros((rows, g.shape[1]), g.dtype)
    if g.size:
        order = np.argsort(ids, kind="stable")
        first = np.flatnonzero(np.diff(ids[order], prepend=-1))
        starts = np.append(first, order.size)
        block = max(1, VALUES * first.size // g.size)
        tasks, g = -(-first.size // block), contiguous(g)
        add_rows_task(tasks, g, ids, order, starts, table, skip, by_frequency, block, work=g.size // 4)
    return table


def example(dtype: np.dtype) -> tuple[Any, ...]:
    zero, x = np.zeros(1, np.int64), np.ones((1, 2), dtype)
    return 1, x, zero, zero, np.array([0, 1], np.int64), x.copy(), -1, False, 1


@kernel(example=example)
def add_rows_task(task, g, ids, order, starts, table, skip, by_frequency, block):  # type: ignore[no-untyped-def]
    """Some of the rows that were looked up."""
    for i in range(task * block, min((task + 1) * block, starts.size - 1)):
        row = ids[order[starts[i]]]
        if row != skip:
            total = table[row]
            for m in range(starts[i], starts[i + 1]):
                part = g[order[m]]
                for d in range(total.size):
                    total[d] += part[d]
            if by_frequency:
                share = g.dtype.type(1) / g.dtype.type(starts[i + 1] - starts[i])
                for d in range(total.size):
                    total[d] *= share
