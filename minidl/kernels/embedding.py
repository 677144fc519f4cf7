"""Rows of a table that are looked up; and its gradient: every row gets the sum of what its copies got."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.elementwise import LARGE
from minidl.kernels.jit import contiguous, kernel

VALUES = 8192  # rows of the table with so many values together are one task, about


def take_rows(table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """(M, D): rows ids (M,) of the table."""
    values = len(ids) * table.shape[1]
    if values < LARGE or table.dtype.char not in "fd" or (table.size > values and not table.flags.carray):
        return table.take(ids, axis=0)
    rows = np.empty((len(ids), table.shape[1]), table.dtype)
    block = max(1, VALUES // table.shape[1])
    take_rows_task(-(-len(ids) // block), contiguous(table), ids, rows, block, work=rows.size // 5)
    return rows


def take_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, np.ones((1, 2), dtype), np.zeros(1, np.int64), np.ones((1, 2), dtype), 1


@kernel(example=take_example)
def take_rows_task(task, table, ids, rows, block):  # type: ignore[no-untyped-def]
    """A block of them."""
    for i in range(task * block, min((task + 1) * block, ids.size)):
        row, to = table[ids[i]], rows[i]
        for d in range(row.size):
            to[d] = row[d]


def add_rows(g: np.ndarray, ids: np.ndarray, rows: int, skip: int = -1, by_frequency: bool = False) -> np.ndarray:
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


def one_hot_ids(x: np.ndarray) -> np.ndarray | None:
    """Where rows that have a single 1, and else 0, have it: times a matrix, they look up its rows. Else None."""
    if x.ndim != 2 or not x.size or np.count_nonzero(x[0]) != 1 or np.count_nonzero(x) != len(x):
        return None
    ids = x.argmax(1)
    return ids if (x[np.arange(len(x)), ids] == 1).all() else None


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
