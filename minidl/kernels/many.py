"""One launch for many arrays: a table says where they lie, and a task is a block of one of them.

To hand a kernel its arrays and start it takes longer than to change a few thousand numbers, and networks have dozens of
parameters of a few numbers: biases, scales, shifts. So arrays are gathered in `Rows`, and their kernel gets a table

    lines = first task      of every row
            values
            address         of the row's first array, its second, ...

of which it takes what belongs to its task:

    at = block(lines, task)
    p, g = values(lines, at, 0, like), values(lines, at, 1, like)    like: any array of their dtype

An address says nothing of an array's type or size, nor does it keep it alive. Hence `Rows` takes addresses only of
arrays that it has checked and holds, and it is made anew for every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import addressof, c_char
from itertools import accumulate
from operator import attrgetter
from typing import Any

import numpy as np

from minidl.kernels.jit import Intrinsic, Kernel, helper

size_of, dtype_of, is_carray = attrgetter("size"), attrgetter("dtype"), attrgetter("flags.carray")

BLOCK = 8192  # values a task
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))  # of the machine's byte order


class Rows:
    """Arrays for the launches of a kernel: in a row of one size, and of one dtype all.

    Attributes:
        lines: the table, int64; None if there is an array that kernels cannot change in place, as it is not contiguous,
            aligned, writable, or without values, or differs from others of its row.
    """

    def __init__(self, rows: Sequence[tuple[np.ndarray | None, ...]]) -> None:
        self.held, self.dtype = rows, rows[0][0].dtype  # type: ignore[union-attr]
        self.lines: np.ndarray | None = None
        columns: list[Any] = list(zip(*rows, strict=True))
        sizes, n = list(map(size_of, columns[0])), len(rows)
        if self.dtype not in FLOATS or not all(sizes):
            return
        first = [0, *accumulate([-(-size // BLOCK) for size in sizes])]
        self.tasks, self.values = first.pop(), sum(sizes)
        table = first + sizes
        for column in columns:
            if column[0] is None and all([a is None for a in column]):
                table += [0] * n
            elif self.fit(column, sizes):
                table += map(address, column)
            else:
                return
        self.lines = np.fromiter(table, np.int64, len(table)).reshape(-1, n)

    def fit(self, column: Sequence[np.ndarray], sizes: list[int]) -> bool:
        """Whether a kernel can change the arrays of a column in place."""
        return (
            set(map(type, column)) == {np.ndarray}
            and all(map(is_carray, column))
            and list(map(dtype_of, column)).count(self.dtype) == len(column)
            and list(map(size_of, column)) == sizes
        )

    def run(self, task: Kernel, like: np.ndarray, *args: Any, work: float = 1.0) -> None:
        """Run the kernel with (like, lines, *args) on all blocks of all rows; `work` is nanoseconds a value.

        Rows that share memory are changed one after the other, as if each had a launch of its own.
        """
        apart = len(self.held) == 1 or self.disjoint()
        work = work * self.values if apart else 0  # 0: on one thread, in order
        task(self.tasks, like, self.lines, *args, work=work)

    def disjoint(self) -> bool:
        """Whether no two arrays share memory: then, in memory's order, each begins when the one before has ended."""
        begins = self.lines[2:]  # 0 for those that are missing
        ends = begins + (begins > 0) * (self.dtype.itemsize * self.lines[1])
        begins, ends = np.sort(begins, axis=None), np.sort(ends, axis=None)
        return bool((begins[1:] >= ends[:-1]).all())


def address(array: np.ndarray) -> int:
    """Where an array's memory begins."""
    return addressof(c_char.from_buffer(array))


def gather(arrays: Sequence[np.ndarray]) -> tuple[list[Rows], list[np.ndarray]]:
    """Arrays as rows of one, those of one dtype together; and those that kernels cannot change in place."""
    rows: dict[Any, list[tuple[np.ndarray]]] = {}
    for a in arrays:
        rows.setdefault(a.dtype if a.size and a.flags.carray else None, []).append((a,))
    others = rows.pop(None, [])
    tables = [Rows(found) for found in rows.values()]
    others += [row for table in tables if table.lines is None for row in table.held]
    return [table for table in tables if table.lines is not None], [a for (a,) in others]


@helper()
def block(lines, task):  # type: ignore[no-untyped-def]
    """Which part of the table a task is about: the row, the first of its values, and how many."""
    row, beyond = 0, lines.shape[1]
    while beyond - row > 1:
        middle = (row + beyond) // 2
        if lines[0, middle] <= task:
            row = middle
        else:
            beyond = middle
    first = (task - lines[0, row]) * BLOCK
    return row, first, min(BLOCK, lines[1, row] - first)


@helper()
def values(lines, at, column, like):  # type: ignore[no-untyped-def]
    """The block of the array of that column; an empty one if the row has no such array."""
    row, first, count = at
    begin = lines[2 + column, row]
    return array_at(begin + first * like.itemsize, count if begin else 0, like)


def plain_array(address, count, like):  # type: ignore[no-untyped-def]
    if not count:
        return like[:0]
    return np.ndarray(count, like.dtype, (c_char * int(count * like.itemsize)).from_address(int(address)))


def llvm_array(parts: Any) -> Any:
    """From Numba's parts, array_at(address, count, like): the flat array there, of the dtype of `like`, flat too."""

    def array_at(typing, address, count, like):  # type: ignore[no-untyped-def]
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = context.make_array(like)(context, builder, args[2])
            array.data = builder.inttoptr(args[0], array.data.type)
            array.nitems = args[1]
            array.shape = parts.cgutils.pack_array(builder, [args[1]])
            array.meminfo = array.meminfo.type(None)  # whoever launched the kernel holds the memory
            return array._getvalue()

        return like(parts.types.int64, parts.types.int64, like), emit

    return parts.intrinsic(array_at)


array_at = Intrinsic(llvm_array, plain_array)
