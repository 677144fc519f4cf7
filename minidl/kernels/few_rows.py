"""A few rows times a packed matrix: the register tile for as many rows as there are.

The tile of `simd.py` always multiplies as many rows as it has, and what is too much is thrown away. Where there are
few rows, and the same matrix at every time step, that would be most of the work. So here is a tile for each number of
rows from 1 up to that one's, and for a row or two one that takes several panels of columns at once: a processor begins
a multiply-add or two in every cycle, but has the sum only some four cycles later, so it needs as many independent sums.

Every value of C is Σ_d a_d b_d, added up in the order of d whatever the tile: it does not depend on which rows came
together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import Intrinsic, helper
from minidl.kernels.packing import aligned, pack_panel_columns
from minidl.kernels.simd import tile_columns, tile_rows, tile_shape

TOGETHER = {1: (4, 2, 1), 2: (2, 1)}  # for so many rows, so many panels at once; one for more rows


def plain(a, a_start, a_step, here, b, b_start, depth, together, c, c_start, c_step):  # type: ignore[no-untyped-def]
    """The tile in plain Python."""
    _, columns = tile_shape(c.dtype)
    for p in range(together):
        panel = b[b_start + p * depth * columns :][: depth * columns].reshape(depth, columns)
        for i in range(here):
            c[c_start + i * c_step + p * columns :][:columns] = a[a_start + i * a_step :][:depth] @ panel


def build(parts: Any) -> Any:
    """From Numba's parts, the tile as an intrinsic.

        few_rows(a, a_start, a_step, here, b, b_start, depth, together, c, c_start, c_step)

    Flat arrays of one dtype. Row i < here of A is a[a_start + i · a_step :][:depth]; panel p < together of B, (depth,
    columns), begins at b[b_start + p · depth · columns]; C's row i is c[c_start + i · c_step :][: together · columns].
    """
    ir, types = parts.ir, parts.types

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar = context.get_value_type(signature.args[0].dtype)
        scalar_bytes = signature.args[0].dtype.bitwidth // 8
        rows, columns = tile_shape(np.dtype(str(signature.args[0].dtype)))
        vector, index = ir.VectorType(scalar, columns), ir.IntType(64)
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), columns), None)
        undefined, lane, zero = ir.Constant(vector, ir.Undefined), ir.IntType(32)(0), ir.Constant(vector, None)
        name = f"llvm.fma.v{columns}f{8 * scalar_bytes}"
        fma = builder.module.declare_intrinsic(name, (), ir.FunctionType(vector, [vector] * 3))
        _, a_start, a_step, here, _, b_start, depth, together, _, c_start, c_step = args

        def place(array: int, offset: Any) -> Any:
            data = context.make_array(signature.args[array])(context, builder, args[array]).data
            return builder.gep(data, [offset])

        def times(i: int, step: Any) -> Any:
            return builder.mul(step, index(i))

        a, b, c = place(0, a_start), place(4, b_start), place(8, c_start)
        panel_step = builder.mul(depth, index(columns))

        def tile(i_count: int, p_count: int) -> None:
            """One loop over the depth, with all sums in registers."""
            left = [builder.gep(a, [times(i, a_step)]) for i in range(i_count)]
            right = [builder.gep(b, [times(p, panel_step)]) for p in range(p_count)]
            before, loop, after = builder.block, builder.append_basic_block("few"), builder.append_basic_block("put")
            builder.branch(loop)
            builder.position_at_end(loop)
            d = builder.phi(index)
            totals = [[builder.phi(vector) for _ in range(p_count)] for _ in range(i_count)]
            row = builder.mul(d, index(columns))
            panels = [
                builder.load(builder.bitcast(builder.gep(p, [row]), vector.as_pointer()), align=scalar_bytes)
                for p in right
            ]
            sums = []
            for pointer, total in zip(left, totals, strict=True):
                value = builder.insert_element(undefined, builder.load(builder.gep(pointer, [d])), lane)
                spread = builder.shuffle_vector(value, undefined, lanes)
                sums.append([builder.call(fma, [spread, x, y]) for x, y in zip(panels, total, strict=True)])
            next_d = builder.add(d, index(1))
            builder.cbranch(builder.icmp_signed("<", next_d, depth), loop, after)
            d.add_incoming(index(0), before)
            d.add_incoming(next_d, loop)
            for i in range(i_count):
                for p in range(p_count):
                    totals[i][p].add_incoming(zero, before)
                    totals[i][p].add_incoming(sums[i][p], loop)
            builder.position_at_end(after)
            for i in range(i_count):
                out = builder.gep(c, [times(i, c_step)])
                for p in range(p_count):
                    to = builder.bitcast(builder.gep(out, [index(p * columns)]), vector.as_pointer())
                    builder.store(sums[i][p], to, align=scalar_bytes)

        end = builder.append_basic_block("done")
        start = builder.block
        cases = []
        for i_count in range(1, rows + 1):
            for p_count in TOGETHER.get(i_count, (1,)):
                block = builder.append_basic_block("rows")
                builder.position_at_end(block)
                tile(i_count, p_count)
                builder.branch(end)
                cases.append((8 * i_count + p_count, block))
        builder.position_at_end(start)
        switch = builder.switch(builder.add(builder.mul(here, index(8)), together), end)
        for code, block in cases:
            switch.add_case(index(code), block)
        builder.position_at_end(end)
        return context.get_dummy_value()

    def few_rows(typing, a, a_start, a_step, here, b, b_start, depth, together, c, c_start, c_step):  # type: ignore
        i = types.int64
        return types.void(a, i, i, i, b, i, i, i, c, i, i), emit

    return parts.intrinsic(few_rows)


few_rows = Intrinsic(build, plain)


@helper()
def pack(b, depth, width, depth_step, column_step):  # type: ignore[no-untyped-def]
    """A matrix (depth, width) in panels of the tile's columns, (depth, columns) each, filled up with zeros."""
    columns = tile_columns(b)
    panels = (width + columns - 1) // columns
    packed = aligned(panels * columns * depth, b)
    for p in range(panels):
        j = p * columns
        pack_panel_columns(
            b[j * column_step :], packed[j * depth :], min(columns, width - j), depth, depth_step, column_step
        )
    return packed


@helper(inline=False)
def multiply_rows(a, step, count, depth, packed, c):  # type: ignore[no-untyped-def]
    """c = a · packed for `count` > 0 rows, a[i * step :][:depth]; a row of c has a value for each column of the panels.

    As many rows as the tile takes, or groups of equal size: 16 rows are 8 and 8 rather than 10 and 6. Each panel is
    used for all rows while it is in the nearest cache.
    """
    rows, columns = tile_rows(a), tile_columns(a)
    panels = packed.size // (columns * depth)
    groups = (count + rows - 1) // rows
    most = 4 if count == 1 else 2 if count == 2 else 1
    p = 0
    while p < panels:
        together = most
        while together > panels - p:
            together //= 2
        for k in range(groups):
            i = count * k // groups
            here = count * (k + 1) // groups - i
            few_rows(
                a, i * step, step, here, packed, p * columns * depth, depth, together,
                c, (i * panels + p) * columns, panels * columns,
            )  # fmt: skip
        p += together
