"""The length of many gradients as one vector, and their shortening: each value is read once for either."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import kernel
from minidl.kernels.many import Rows, block, values


def square_sum(rows: Rows) -> float:
    """Σ x² over all arrays of rows of one, the blocks' sums of their dtype, the sum of those a float64."""
    sums = np.zeros(rows.tasks, rows.dtype)
    rows.run(square_task, sums, work=0.2)
    return float(sums.sum(dtype=np.float64))


def scale(rows: Rows, factor: float) -> None:
    """x ← factor · x for all arrays of rows of one."""
    rows.run(scale_task, np.array([factor], rows.dtype), work=0.3)


def square_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 0, np.ones(1, dtype), np.ones((3, 1), np.int64)


@kernel(example=square_example)
def square_task(task, sums, lines):  # type: ignore[no-untyped-def]
    """The sum of squares of one block."""
    x = values(lines, block(lines, task), 0, sums)
    total = sums[task]
    for i in range(x.size):
        total += x[i] * x[i]
    sums[task] = total


@kernel(example=square_example)
def scale_task(task, factor, lines):  # type: ignore[no-untyped-def]
    """One block, scaled."""
    x, by = values(lines, block(lines, task), 0, factor), factor[0]
    for i in range(x.size):
        x[i] *= by
