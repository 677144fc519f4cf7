"""The register tile: the one place where minidl writes vector instructions itself.

A product of matrices C = A B spends all its time in loops that LLVM's vectoriser does not get right: to keep a
processor busy, a block of C must stay in vector registers while many rank-1 updates are added to it,

    for d in range(depth):  C[i, j] += A[i, d] * B[d, j]      for all i < rows, j < columns

with `rows` broadcast scalars of A and `columns` neighbouring values of B at each step: rows · columns multiply-adds
for rows + columns loads. Numba's `@intrinsic` lets us say so in LLVM's own terms, vectors of `columns` values; LLVM
cuts them into the machine's registers. Of A single values are read, of B `columns`
that lie side by side. Where they lie is said by tables: A[i, d] at the sum of where row i starts and of a step that
depends on d alone, the row of B at another step. That covers matrices in either order, packed ones, and the windows of
an image as well.

The tile's shape follows the machine: as many accumulators as registers allow. `MINIDL_SIMD` chooses by hand. There is
a family of three: the wide tile, which is the fastest, and two for matrices that would leave much of the wide one
empty: the narrow tile, of one vector of columns and 8 rows whatever the machine, and the low tile, which has the wide
one's columns and less than half of its rows.

| in a kernel | |
|---|---|
| `set_tile`, `set_narrow_tile`, `set_low_tile` | C = A B; arguments at `llvm_tile` |
| `add_tile`, `add_narrow_tile`, `add_low_tile` | C += A B; the same arguments |
| `tile_rows`, `narrow_rows`, `low_rows`, `tile_columns`, `narrow_columns` | of an array's dtype; constants |
| `transpose` | turns a square of as many values as the narrow tile has columns |

Outside of kernels `tile_shape(dtype)`, `tile_shape(dtype, "narrow")`, `tile_shape(dtype, "low")` give rows and columns.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np

from minidl.kernels.compiler import llvm
from minidl.kernels.jit import Intrinsic

# Rows of the tile, and bytes of one row: AVX-512 has 32 registers of 64 bytes, AVX2 has 16 of 32, others 16 of 16. LLVM
# loads the values of A for all rows of a step before it uses the first, so they need registers too: with AVX-512,
# 10 · 2 sums, 10 values of A and 2 vectors of B make 32. Two rows more, and every step moves registers to memory.
# Narrow: eight sums are what hides that a multiply-add takes four cycles where two begin in each.
# High, flat and long: for convolution, as filters are 8, 16, 32, ..., or few, or one.
TILES = {
    "avx512": {
        "wide": (10, 128),
        "narrow": (8, 64),
        "low": (4, 128),
        "high": (8, 128),
        "flat": (4, 256),
        "long": (1, 512),
    },
    "avx2": {"wide": (6, 64), "narrow": (8, 32), "low": (3, 64), "high": (6, 64), "flat": (4, 64), "long": (1, 256)},
    "generic": {"wide": (4, 32), "narrow": (8, 16), "low": (2, 32), "high": (4, 32), "flat": (2, 64), "long": (1, 128)},
}


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


def tile_shape(dtype: np.dtype, kind: str = "wide") -> tuple[int, int]:
    """Rows and columns of a tile for a dtype."""
    rows, row_bytes = TILES[simd()][kind]
    return rows, row_bytes // np.dtype(dtype).itemsize


def plain_tile(kind: str, accumulate: bool) -> Any:
    """The tile in plain Python, as the definition and for NUMBA_DISABLE_JIT=1."""

    def tile(a, starts, a_steps, b, start, b_steps, first, depth, c, c_start, c_step):  # type: ignore[no-untyped-def]
        rows, columns = tile_shape(c.dtype, kind)
        steps = slice(first, first + depth)
        left = a[np.add.outer(starts[:rows], a_steps[steps])]
        right = b[np.add.outer(start + b_steps[steps], np.arange(columns))]
        for i in range(rows):
            row = c[c_start + i * c_step :][:columns]
            row[...] = left[i] @ right + (row if accumulate else 0)

    return tile


def llvm_tile(kind: str, accumulate: bool) -> Any:
    """From Numba's parts, a tile as an intrinsic.

        tile(a, starts, a_steps, b, start, b_steps, first, depth, c, c_start, c_step)

    a, b, c are flat arrays of one dtype. For d = first, first + 1, ... the value of A in row i is
    a[starts[i] + a_steps[d]], the row of B b[start + b_steps[d] :][:columns]. Row i of the tile of C is
    c[c_start + i · c_step :][:columns].
    """

    def build(parts: Any) -> Any:
        ir, types = parts.ir, parts.types

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            scalar = context.get_value_type(signature.args[0].dtype)
            scalar_bytes = signature.args[0].dtype.bitwidth // 8
            rows, columns = tile_shape(np.dtype(str(signature.args[0].dtype)), kind)
            vector, index = ir.VectorType(scalar, columns), ir.IntType(64)
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), columns), None)
            undefined, lane = ir.Constant(vector, ir.Undefined), ir.Constant(ir.IntType(32), 0)
            name = f"llvm.fma.v{columns}f{8 * scalar_bytes}"
            fma = builder.module.declare_intrinsic(name, (), ir.FunctionType(vector, [vector] * 3))
            _, _, _, _, start, _, first, depth, _, c_start, c_step = args

            def place(array: int, offset: Any) -> Any:
                data = context.make_array(signature.args[array])(context, builder, args[array]).data
                return builder.gep(data, [offset])

            def load_vector(pointer: Any) -> Any:
                return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=scalar_bytes)

            left = [place(0, builder.load(place(1, index(i)))) for i in range(rows)]
            a_steps, b, b_steps = place(2, first), place(3, start), place(5, first)
            c = [place(8, builder.add(c_start, builder.mul(c_step, index(i)))) for i in range(rows)]
            if accumulate:  # ask for the rows of C now: they will be there when the sums are
                byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
                fetch = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
                prefetch = builder.module.declare_intrinsic("llvm.prefetch", (byte,), fetch)
                for row in c:
                    builder.call(prefetch, [builder.bitcast(row, byte), flag(1), flag(3), flag(1)])

            before = builder.block
            loop, after = builder.append_basic_block("tile"), builder.append_basic_block("tile_end")
            builder.cbranch(builder.icmp_signed(">", depth, index(0)), loop, after)
            builder.position_at_end(loop)
            d = builder.phi(index)
            totals = [builder.phi(vector) for _ in range(rows)]
            step = builder.load(builder.gep(a_steps, [d]))
            right = load_vector(builder.gep(b, [builder.load(builder.gep(b_steps, [d]))]))
            updated = []
            for row, total in zip(left, totals, strict=True):
                value = builder.insert_element(undefined, builder.load(builder.gep(row, [step])), lane)
                spread = builder.shuffle_vector(value, undefined, lanes)
                updated.append(builder.call(fma, [spread, right, total]))
            next_d = builder.add(d, index(1))
            again = builder.cbranch(builder.icmp_signed("<", next_d, depth), loop, after)
            again.set_metadata("llvm.loop", as_it_is(ir, builder.module))
            d.add_incoming(index(0), before)
            d.add_incoming(next_d, loop)
            zero = ir.Constant(vector, None)
            for total, end in zip(totals, updated, strict=True):
                total.add_incoming(zero, before)
                total.add_incoming(end, loop)

            builder.position_at_end(after)
            results = [builder.phi(vector) for _ in range(rows)]
            for result, end in zip(results, updated, strict=True):
                result.add_incoming(zero, before)
                result.add_incoming(end, loop)
            for row, result in zip(c, results, strict=True):
                total = builder.fadd(result, load_vector(row)) if accumulate else result
                builder.store(total, builder.bitcast(row, vector.as_pointer()), align=scalar_bytes)
            return context.get_dummy_value()

        def tile(typing, a, starts, a_steps, b, start, b_steps, first, depth, c, c_start, c_step):  # type: ignore
            i = types.int64
            return types.void(a, starts, a_steps, b, i, b_steps, i, i, c, i, i), emit

        return parts.intrinsic(tile)

    return build


def as_it_is(ir: Any, module: Any) -> Any:
    """What a loop's last branch carries to be left as it is: unrolled, a tile needs more registers than there are."""
    unrolled = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    loop = module.add_metadata([unrolled])
    loop.operands = loop, unrolled  # such a node must name itself first
    return loop


def llvm_constant(kind: str, position: int) -> Any:
    """From Numba's parts, a tile's number of rows (0) or columns (1) for an array's dtype, as a constant."""

    def build(parts: Any) -> Any:
        def size(typing, array):  # type: ignore[no-untyped-def]
            def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return parts.ir.Constant(parts.ir.IntType(64), tile_shape(np.dtype(str(array.dtype)), kind)[position])

            return parts.types.int64(array), emit

        return parts.intrinsic(size)

    return build


def family(kind: str) -> tuple[Intrinsic, Intrinsic, Intrinsic, Intrinsic]:
    """For a kind of tile: set, add, and its rows and columns.

    Loops up to a constant are unrolled and vectorised, so kernels ask for the tile's shape where they use it.
    """
    return (
        Intrinsic(llvm_tile(kind, accumulate=False), plain_tile(kind, accumulate=False)),
        Intrinsic(llvm_tile(kind, accumulate=True), plain_tile(kind, accumulate=True)),
        Intrinsic(llvm_constant(kind, 0), lambda array: tile_shape(array.dtype, kind)[0]),
        Intrinsic(llvm_constant(kind, 1), lambda array: tile_shape(array.dtype, kind)[1]),
    )


set_tile, add_tile, tile_rows, tile_columns = family("wide")
set_narrow_tile, add_narrow_tile, narrow_rows, narrow_columns = family("narrow")
set_low_tile, add_low_tile, low_rows, _ = family("low")


def plain_transpose(x, x_start, x_step, y, y_start, y_step):  # type: ignore[no-untyped-def]
    """The transpose in plain Python."""
    _, n = tile_shape(x.dtype, "narrow")
    across = np.arange(n)
    y[np.add.outer(y_start + across * y_step, across)] = x[np.add.outer(x_start + across * x_step, across)].T


def llvm_transpose(parts: Any) -> Any:
    """From Numba's parts, a small square turned in registers: transpose(x, x_start, x_step, y, y_start, y_step).

    y[y_start + i · y_step + j] = x[x_start + j · x_step + i] for i, j < n, a vector's values. A square is turned when
    its quarters are and the two off the diagonal have changed places. So rows i and i + n/2 exchange half of their
    values, then rows n/4 apart in each half exchange quarters, ... until neighbours exchange single values.
    """
    ir, types = parts.ir, parts.types

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar = context.get_value_type(signature.args[0].dtype)
        scalar_bytes = signature.args[0].dtype.bitwidth // 8
        _, n = tile_shape(np.dtype(str(signature.args[0].dtype)), "narrow")
        vector, index, lane = ir.VectorType(scalar, n), ir.IntType(64), ir.VectorType(ir.IntType(32), n)

        def place(array: int, i: int) -> Any:
            data = context.make_array(signature.args[array])(context, builder, args[array]).data
            offset = builder.add(args[array + 1], builder.mul(args[array + 2], index(i)))
            return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())

        lines = [builder.load(place(0, i), align=scalar_bytes) for i in range(n)]
        apart = n // 2
        while apart:
            # In a shuffle of two vectors, lanes n, n + 1, ... are the second's.
            upper = ir.Constant(lane, [j if not j & apart else n + j - apart for j in range(n)])
            lower = ir.Constant(lane, [j + apart if not j & apart else n + j for j in range(n)])
            for i in range(n):
                if not i & apart:
                    one, other = lines[i], lines[i + apart]
                    lines[i] = builder.shuffle_vector(one, other, upper)
                    lines[i + apart] = builder.shuffle_vector(one, other, lower)
            apart //= 2
        for i, line in enumerate(lines):
            builder.store(line, place(3, i), align=scalar_bytes)
        return context.get_dummy_value()

    def transpose(typing, x, x_start, x_step, y, y_start, y_step):  # type: ignore[no-untyped-def]
        i = types.int64
        return types.void(x, i, i, y, i, i), emit

    return parts.intrinsic(transpose)


transpose = Intrinsic(llvm_transpose, plain_transpose)


def combination(matrix: np.ndarray, kind: str = "wide") -> Intrinsic:
    """Vectors combined by a constant matrix: combine(x, x_start, x_step, y, y_start, y_step).

    y_i = Σ_j matrix[i, j] · x_j, where x_j is x[x_start + j · x_step :][:columns] with a tile's columns, likewise y_i.
    """

    def plain(x, x_start, x_step, y, y_start, y_step):  # type: ignore[no-untyped-def]
        _, columns = tile_shape(x.dtype, kind)
        vectors = np.array([x[x_start + j * x_step :][:columns] for j in range(matrix.shape[1])])
        for i, result in enumerate(matrix.astype(x.dtype) @ vectors):
            y[y_start + i * y_step :][:columns] = result

    def build(parts: Any) -> Any:
        ir, types = parts.ir, parts.types

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            scalar = context.get_value_type(signature.args[0].dtype)
            scalar_bytes = signature.args[0].dtype.bitwidth // 8
            _, columns = tile_shape(np.dtype(str(signature.args[0].dtype)), kind)
            vector, index = ir.VectorType(scalar, columns), ir.IntType(64)
            name = f"llvm.fma.v{columns}f{8 * scalar_bytes}"
            fma = builder.module.declare_intrinsic(name, (), ir.FunctionType(vector, [vector] * 3))

            def place(array: int, i: int) -> Any:
                data = context.make_array(signature.args[array])(context, builder, args[array]).data
                offset = builder.add(args[array + 1], builder.mul(args[array + 2], index(i)))
                return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())

            vectors = [builder.load(place(0, j), align=scalar_bytes) for j in range(matrix.shape[1])]
            for i, row in enumerate(matrix):
                total = None
                for factor, x in zip(row, vectors, strict=True):
                    if not factor:
                        continue
                    spread = ir.Constant(vector, [float(factor)] * columns)
                    if total is None:
                        total = x if factor == 1 else builder.fmul(spread, x)
                    elif abs(factor) == 1:
                        total = (builder.fadd if factor == 1 else builder.fsub)(total, x)
                    else:
                        total = builder.call(fma, [spread, x, total])
                builder.store(total, place(3, i), align=scalar_bytes)
            return context.get_dummy_value()

        def combine(typing, x, x_start, x_step, y, y_start, y_step):  # type: ignore[no-untyped-def]
            i = types.int64
            return types.void(x, i, i, y, i, i), emit

        return parts.intrinsic(combine)

    return Intrinsic(build, plain)


def move(parts_of_a_register: int) -> Intrinsic:
    """Some neighbouring values, a register of them or its n-th part: move(x, x_start, y, y_start, shift).

    y[y_start:][:lanes] = x[x_start:][:lanes] + shift
    """

    def plain(x, x_start, y, y_start, shift):  # type: ignore[no-untyped-def]
        lanes = register_lanes(x.dtype) // parts_of_a_register
        y[y_start:][:lanes] = x[x_start:][:lanes] + shift

    def build(parts: Any) -> Any:
        ir, types = parts.ir, parts.types

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            scalar = context.get_value_type(signature.args[0].dtype)
            size = signature.args[0].dtype.bitwidth // 8
            lanes = register_lanes(np.dtype(str(signature.args[0].dtype))) // parts_of_a_register
            vector, lane = ir.VectorType(scalar, lanes), ir.IntType(32)
            _, x_start, _, y_start, shift = args

            def place(array: int, offset: Any) -> Any:
                data = context.make_array(signature.args[array])(context, builder, args[array]).data
                return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())

            undefined = ir.Constant(vector, ir.Undefined)
            shifts = builder.insert_element(undefined, shift, lane(0))
            shifts = builder.shuffle_vector(shifts, undefined, ir.Constant(ir.VectorType(lane, lanes), None))
            moved = builder.fadd(builder.load(place(0, x_start), align=size), shifts)
            builder.store(moved, place(2, y_start), align=size)
            return context.get_dummy_value()

        def intrinsic(typing, x, x_start, y, y_start, shift):  # type: ignore[no-untyped-def]
            return types.void(x, types.int64, y, types.int64, x.dtype), emit

        return parts.intrinsic(intrinsic)

    return Intrinsic(build, plain)


def register_lanes(dtype: np.dtype) -> int:
    """How many values a vector register holds."""
    return tile_shape(dtype, "narrow")[1]


def llvm_index(parts: Any) -> Any:
    """From Numba's parts, the same 64 bits, unsigned."""

    def at(typing, i):  # type: ignore[no-untyped-def]
        return parts.types.uint64(parts.types.int64), lambda context, builder, signature, args: args[0]

    return parts.intrinsic(at)


# x[at(i)] is x[i] for an i that is not negative: without Python's question whether to count from the end, which keeps
# loops from being vectorised.
at = Intrinsic(llvm_index, lambda i: i)
