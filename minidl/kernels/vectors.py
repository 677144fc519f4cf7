"""Rows of vectors as wide as the register tile: reduced to one row, changed by one row, copied.

Where a kernel holds many short rows and one row of what belongs to their columns (a maximum, a sum, a shift), LLVM asks
at every row whether the two overlap, and keeps neither in registers. These say what is meant: vectors, as in `simd.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.kernels.jit import Intrinsic
from minidl.kernels.simd import combination, tile_shape

UNROLL = 4  # rows at once, so that no operation waits for the one before it

Emit = Callable[[Any, Any, Any], Any]


def of_rows(plain: Callable[..., None], combine: Emit, fold: bool) -> Intrinsic:
    """From what is done with two vectors, an operation on rows: f(x, start, n, step, v, at).

    x_j is x[start + j · step :][:columns] for j < n, v is v[at :][:columns], of the same dtype. A fold makes v the
    combination of itself and all x_j; otherwise each x_j becomes its combination with v.
    """

    def build(parts: Any) -> Any:
        ir, types = parts.ir, parts.types

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            scalar = context.get_value_type(signature.args[0].dtype)
            scalar_bytes = signature.args[0].dtype.bitwidth // 8
            _, columns = tile_shape(np.dtype(str(signature.args[0].dtype)))
            vector, index = ir.VectorType(scalar, columns), ir.IntType(64)

            def place(array: int, offset: Any) -> Any:
                data = context.make_array(signature.args[array])(context, builder, args[array]).data
                return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())

            def loop(first: Any, last: Any, width: int, v: Any) -> Any:
                """Rows first, first + 1, ... below last, `width` in each turn; returns v."""
                before = builder.block
                body, after = builder.append_basic_block("rows"), builder.append_basic_block("rows_end")
                builder.cbranch(builder.icmp_signed("<", first, last), body, after)
                builder.position_at_end(body)
                j, here = builder.phi(index), builder.phi(vector)
                places = [
                    place(0, builder.add(args[1], builder.mul(builder.add(j, index(r)), args[3]))) for r in range(width)
                ]
                rows = [builder.load(p, align=scalar_bytes) for p in places]
                new = here
                if fold:
                    while len(rows) > 1:
                        rows = [combine(parts, builder, pair) for pair in zip(rows[::2], rows[1::2], strict=True)]
                    new = combine(parts, builder, (rows[0], here))
                else:
                    for p, row in zip(places, rows, strict=True):
                        builder.store(combine(parts, builder, (row, here)), p, align=scalar_bytes)
                next_j = builder.add(j, index(width))
                builder.cbranch(builder.icmp_signed("<", next_j, last), body, after)
                j.add_incoming(first, before)
                j.add_incoming(next_j, body)
                here.add_incoming(v, before)
                here.add_incoming(new, body)
                builder.position_at_end(after)
                result = builder.phi(vector)
                result.add_incoming(v, before)
                result.add_incoming(new, body)
                return result

            n, row = args[2], place(4, args[5])
            whole = builder.and_(n, index(-UNROLL))
            v = loop(index(0), whole, UNROLL, builder.load(row, align=scalar_bytes))
            v = loop(whole, n, 1, v)
            if fold:
                builder.store(v, row, align=scalar_bytes)
            return context.get_dummy_value()

        def operation(typing, x, start, n, step, v, at):  # type: ignore[no-untyped-def]
            i = types.int64
            return types.void(x, i, i, i, v, i), emit

        return parts.intrinsic(operation)

    def in_python(x, start, n, step, v, at):  # type: ignore[no-untyped-def]
        _, columns = tile_shape(x.dtype)
        row = v[at:][:columns]
        for j in range(n):
            plain(x[start + j * step :][:columns], row)

    return Intrinsic(build, in_python)


def emit_larger(parts: Any, builder: Any, pair: Any) -> Any:
    a, b = pair
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def plain_larger(x: np.ndarray, v: np.ndarray) -> None:
    v[...] = np.where(x > v, x, v)


def plain_sum(x: np.ndarray, v: np.ndarray) -> None:
    v += x


def plain_difference(x: np.ndarray, v: np.ndarray) -> None:
    x -= v


largest = of_rows(plain_larger, emit_larger, fold=True)  # NaN is passed over, unless v has it in the end
add_up = of_rows(plain_sum, lambda parts, builder, pair: builder.fadd(*pair), fold=True)
subtract = of_rows(plain_difference, lambda parts, builder, pair: builder.fsub(*pair), fold=False)
copy_row = combination(np.eye(1))
copy_rows = combination(np.eye(UNROLL))
copy_register = combination(np.eye(1), "narrow")
