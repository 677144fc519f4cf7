"""The register tile: the one place where minidl writes vector instructions itself.

A product of matrices C = A B spends all its time in loops that LLVM's vectoriser does not get right: to keep a
processor busy, a block of C must stay in vector registers while many rank-1 updates are added to it,

    for d in range(depth):  C[i, j] += A[d, i] * B[d, j]      for all i < rows, j < columns

with `rows` broadcast scalars of A and `columns` neighbouring values of B at each step: rows · columns multiply-adds
for rows + columns loads. Numba's `@intrinsic` lets us say so in LLVM's own terms, vectors of `columns` values; LLVM
cuts them into the machine's registers. A and B come packed, so that each step reads what lies next: A as (depth, rows),
B as (depth, columns).

The tile's shape follows the machine: as many accumulators as registers allow. `MINIDL_SIMD` chooses by hand.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np

from minidl.kernels.compiler import llvm
from minidl.kernels.jit import Intrinsic

# Rows of the tile, and bytes of one row: AVX-512 has 32 registers of 64 bytes, AVX2 has 16 of 32, others 16 of 16.
TILES = {"avx512": (12, 128), "avx2": (6, 64), "generic": (4, 32)}


@cache
def simd() -> str:
    """The widest set of vector instructions that this machine has, or what MINIDL_SIMD names."""
    asked = os.environ.get("MINIDL_SIMD", "").lower()
    if asked:
        if asked not in TILES:
            raise ValueError(f"MINIDL_SIMD must be one of {', '.join(TILES)}, but is {asked!r}")
        return asked
    features = llvm().get_host_cpu_features()
    if features.get("avx512f"):
        return "avx512"
    return "avx2" if features.get("avx2") and features.get("fma") else "generic"


def tile_shape(dtype: np.dtype) -> tuple[int, int]:
    """Rows and columns of the tile for a dtype."""
    rows, row_bytes = TILES[simd()]
    return rows, row_bytes // np.dtype(dtype).itemsize


def plain_tile(accumulate: bool) -> Any:
    """The tile in plain Python, as the definition and for NUMBA_DISABLE_JIT=1."""

    def tile(a, a_start, b, b_start, depth, c, c_start, c_step):  # type: ignore[no-untyped-def]
        rows, columns = tile_shape(c.dtype)
        left = a[a_start : a_start + depth * rows].reshape(depth, rows)
        right = b[b_start : b_start + depth * columns].reshape(depth, columns)
        for i in range(rows):
            start = c_start + i * c_step
            row = c[start : start + columns]
            row[...] = left[:, i] @ right + (row if accumulate else 0)

    return tile


def llvm_tile(accumulate: bool) -> Any:
    """From Numba's parts, the tile as an intrinsic: tile(a, a_start, b, b_start, depth, c, c_start, c_step).

    a, b, c are flat arrays of one dtype; row i of the tile is c[c_start + i · c_step :][:columns].
    """

    def build(parts: Any) -> Any:
        ir, types = parts.ir, parts.types

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            scalar = context.get_value_type(signature.args[0].dtype)
            scalar_bytes = signature.args[0].dtype.bitwidth // 8
            rows, columns = tile_shape(np.dtype(str(signature.args[0].dtype)))
            vector, index = ir.VectorType(scalar, columns), ir.IntType(64)
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), columns), None)
            undefined, first = ir.Constant(vector, ir.Undefined), ir.Constant(ir.IntType(32), 0)
            name = f"llvm.fma.v{columns}f{8 * scalar_bytes}"
            fma = builder.module.declare_intrinsic(name, (), ir.FunctionType(vector, [vector] * 3))

            def start_of(array: int, offset: Any) -> Any:
                data = context.make_array(signature.args[array])(context, builder, args[array]).data
                return builder.gep(data, [offset])

            def load_vector(pointer: Any) -> Any:
                return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=scalar_bytes)

            a, b, depth = start_of(0, args[1]), start_of(2, args[3]), args[4]
            c_rows = [start_of(5, builder.add(args[6], builder.mul(args[7], index(i)))) for i in range(rows)]
            zero = ir.Constant(vector, None)
            initial = [zero] * rows
            if accumulate:
                prefetch = builder.module.declare_intrinsic(
                    "llvm.prefetch.p0i8",
                    (),
                    ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()] + [ir.IntType(32)] * 3),
                )
                for row in c_rows:
                    p = builder.bitcast(row, ir.IntType(8).as_pointer())
                    for line in range(0, columns * scalar_bytes, 64):
                        builder.call(
                            prefetch,
                            [builder.gep(p, [index(line)]), ir.IntType(32)(1), ir.IntType(32)(3), ir.IntType(32)(1)],
                        )

            before = builder.block
            loop, after = builder.append_basic_block("tile"), builder.append_basic_block("tile_end")
            builder.cbranch(builder.icmp_signed(">", depth, index(0)), loop, after)
            builder.position_at_end(loop)
            d = builder.phi(index)
            totals = [builder.phi(vector) for _ in range(rows)]
            right = load_vector(builder.gep(b, [builder.mul(d, index(columns))]))
            updated = []
            for i, total in enumerate(totals):
                left = builder.load(builder.gep(a, [builder.add(builder.mul(d, index(rows)), index(i))]))
                spread = builder.shuffle_vector(builder.insert_element(undefined, left, first), undefined, lanes)
                updated.append(builder.call(fma, [spread, right, total]))
            next_d = builder.add(d, index(1))
            builder.cbranch(builder.icmp_signed("<", next_d, depth), loop, after)
            d.add_incoming(index(0), before)
            d.add_incoming(next_d, loop)
            for total, start, end in zip(totals, initial, updated, strict=True):
                total.add_incoming(start, before)
                total.add_incoming(end, loop)

            builder.position_at_end(after)
            results = [builder.phi(vector) for _ in range(rows)]
            for result, start, end in zip(results, initial, updated, strict=True):
                result.add_incoming(start, before)
                result.add_incoming(end, loop)
            if accumulate:
                results = [builder.fadd(result, load_vector(row)) for row, result in zip(c_rows, results, strict=True)]
            for row, result in zip(c_rows, results, strict=True):
                builder.store(result, builder.bitcast(row, vector.as_pointer()), align=scalar_bytes)
            return context.get_dummy_value()

        def tile(typing, a, a_start, b, b_start, depth, c, c_start, c_step):  # type: ignore[no-untyped-def]
            i = types.int64
            return types.void(a, i, b, i, i, c, i, i), emit

        return parts.intrinsic(tile)

    return build


add_tile = Intrinsic(llvm_tile(accumulate=True), plain_tile(accumulate=True))
set_tile = Intrinsic(llvm_tile(accumulate=False), plain_tile(accumulate=False))


def llvm_constant(position: int) -> Any:
    """From Numba's parts, the tile's number of rows (0) or columns (1) for an array's dtype, as a constant."""

    def build(parts: Any) -> Any:
        def size(typing, array):  # type: ignore[no-untyped-def]
            def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return parts.ir.Constant(parts.ir.IntType(64), tile_shape(np.dtype(str(array.dtype)))[position])

            return parts.types.int64(array), emit

        return parts.intrinsic(size)

    return build


# Loops up to a constant are unrolled and vectorised, so kernels ask for the tile's shape where they use it.
tile_rows = Intrinsic(llvm_constant(0), lambda array: tile_shape(array.dtype)[0])
tile_columns = Intrinsic(llvm_constant(1), lambda array: tile_shape(array.dtype)[1])


def llvm_index(parts: Any) -> Any:
    """From Numba's parts, the same 64 bits, unsigned."""

    def at(typing, i):  # type: ignore[no-untyped-def]
        return parts.types.uint64(parts.types.int64), lambda context, builder, signature, args: args[0]

    return parts.intrinsic(at)


# x[at(i)] is x[i] for an i that is not negative: without Python's question whether to count from the end, which keeps
# loops from being vectorised.
at = Intrinsic(llvm_index, lambda i: i)
