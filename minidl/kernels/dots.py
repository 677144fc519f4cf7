"""Sums of products along rows: what a filter's gradient is made of.

    gw[k, d] = Σ_o g[k, o] · image[o + taps[d]]      over all windows o

Windows of a row lie side by side, in g as in the image, so vectors of neighbouring o are multiplied value by value,
and a few filters times a few taps are summed in registers at once: neither g nor the windows are copied. Only at the
end are the lanes of the sums added up. Of a row's last vector the lanes past its end count as zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import Intrinsic, kernel
from minidl.kernels.simd import simd
from minidl.kernels.windows import Windows, frame_rows, layout

# Filters and taps whose sums are held in registers at once, and bytes of a register.
DOTS = {"avx512": (4, 5, 64), "avx2": (4, 3, 32), "generic": (4, 3, 16)}
ONE_FILTER = {"avx512": (1, 9, 64), "avx2": (1, 9, 32), "generic": (1, 9, 16)}
Shapes = dict[str, tuple[int, int, int]]


def dots(shapes: Shapes) -> Intrinsic:
    """The sums as an intrinsic.

        dots(a, a_starts, a_rows, b, b_starts, b_rows, rows, length, sums)

    sums[i, j] += Σ_r Σ_o a[a_starts[i] + a_rows[r] + o] · b[b_starts[j] + b_rows[r] + o] for r < rows, o < length.
    """

    def plain(a, a_starts, a_rows, b, b_starts, b_rows, rows, length, sums):  # type: ignore[no-untyped-def]
        height, width, _ = shapes[simd()]
        along = np.arange(length)
        left = a[a_starts[:height, None, None] + a_rows[:rows, None] + along].reshape(height, -1)
        right = b[b_starts[:width, None, None] + b_rows[:rows, None] + along].reshape(width, -1)
        sums[: height * width] += (left @ right.T).reshape(-1)

    def build(parts: Any) -> Any:
        ir, types = parts.ir, parts.types

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            dtype = signature.args[0].dtype
            scalar, size, index = context.get_value_type(dtype), dtype.bitwidth // 8, ir.IntType(64)
            height, width, register = shapes[simd()]
            lanes = register // size
            vector, mask = ir.VectorType(scalar, lanes), ir.VectorType(ir.IntType(1), lanes)
            name = f"v{lanes}f{8 * size}"
            fma = builder.module.declare_intrinsic(f"llvm.fma.{name}", (), ir.FunctionType(vector, [vector] * 3))
            arguments = [vector.as_pointer(), ir.IntType(32), mask, vector]
            some = builder.module.declare_intrinsic(
                f"llvm.masked.load.{name}.p0", (), ir.FunctionType(vector, arguments)
            )
            add = builder.module.declare_intrinsic(
                f"llvm.vector.reduce.fadd.{name}", (), ir.FunctionType(scalar, [scalar, vector])
            )
            zero = ir.Constant(vector, None)
            *_, rows, length, _ = args

            def data(array: int) -> Any:
                return context.make_array(signature.args[array])(context, builder, args[array]).data

            def number(array: int, i: Any) -> Any:
                return builder.load(builder.gep(data(array), [i]))

            left = [builder.gep(data(0), [number(1, index(i))]) for i in range(height)]
            right = [builder.gep(data(3), [number(4, index(j))]) for j in range(width)]
            totals = [[parts.cgutils.alloca_once_value(builder, zero) for _ in right] for _ in left]
            for line in totals:  # in a loop, each time anew
                for total in line:
                    builder.store(zero, total)

            def multiply(a_shift: Any, b_shift: Any, inside: Any) -> None:
                def load(start: Any, shift: Any) -> Any:
                    pointer = builder.bitcast(builder.gep(start, [shift]), vector.as_pointer())
                    if inside is None:
                        return builder.load(pointer, align=size)
                    return builder.call(some, [pointer, ir.IntType(32)(size), inside, zero])

                columns = [load(start, b_shift) for start in right]
                for start, line in zip(left, totals, strict=True):
                    a = load(start, a_shift)
                    for b, total in zip(columns, line, strict=True):
                        builder.store(builder.call(fma, [a, b, builder.load(total)]), total)

            whole = builder.and_(length, index(-lanes))
            rest = builder.sub(length, whole)
            count = builder.insert_element(
                ir.Constant(ir.VectorType(index, lanes), ir.Undefined), rest, ir.IntType(32)(0)
            )
            count = builder.shuffle_vector(count, count, ir.Constant(ir.VectorType(ir.IntType(32), lanes), None))
            numbers = ir.Constant(ir.VectorType(index, lanes), list(range(lanes)))
            inside = builder.icmp_signed("<", numbers, count)
            with parts.cgutils.for_range(builder, rows) as row:
                a_row, b_row = number(2, row.index), number(5, row.index)
                with parts.cgutils.for_range(builder, builder.udiv(whole, index(lanes))) as step:
                    shift = builder.mul(step.index, index(lanes))
                    multiply(builder.add(a_row, shift), builder.add(b_row, shift), None)
                with builder.if_then(builder.icmp_signed("!=", rest, index(0))):
                    multiply(builder.add(a_row, whole), builder.add(b_row, whole), inside)
            for i, line in enumerate(totals):
                for j, total in enumerate(line):
                    place = builder.gep(data(8), [index(i * width + j)])
                    lanes_sum = builder.call(add, [scalar(0), builder.load(total)], fastmath=["reassoc"])
                    builder.store(builder.fadd(builder.load(place), lanes_sum), place)
            return context.get_dummy_value()

        def intrinsic(typing, a, a_starts, a_rows, b, b_starts, b_rows, rows, length, sums):  # type: ignore
            i = types.int64
            return types.void(a, a_starts, a_rows, b, b_starts, b_rows, i, i, sums), emit

        return parts.intrinsic(intrinsic)

    return Intrinsic(build, plain)


some_dots, one_filter_dots = dots(DOTS), dots(ONE_FILTER)
ROW = 1024  # windows that are summed before lanes are added up, if images have so many
TASKS = 16  # so many at least, if there are images, bands of them and filters
PARTS = 1 << 20  # values of all parts' sums


def sums_along_rows(x: np.ndarray, windows: Windows, g: np.ndarray, groups: int) -> np.ndarray:
    """Σ_o g[k, o] · image[o + taps[d]] over all images and windows o, as (K, taps of a filter)."""
    (N, C, *size), (_, K, P, Q) = x.shape, g.shape
    height = K // groups
    rows, columns, _ = (ONE_FILTER if height == 1 else DOTS)[simd()]
    frame = layout(windows, C // groups, (size[0], size[1]), x.itemsize, -(-TASKS // (N * groups)), 1)
    depth = frame.taps.size
    blocks, stretches = -(-height // rows), -(-depth // columns)
    images = 1 if frame.bands > 1 else max(1, min(ROW // (P * Q), -(-N * groups // TASKS)))
    units = -(-N // images) * frame.bands
    parts = min(units, -(-TASKS // groups), max(2, PARTS // (K * depth)))
    shares = max(1, min(blocks, TASKS // (groups * parts)))
    sums = np.zeros((parts, groups, blocks, stretches, rows * columns), g.dtype)
    numbers = np.array([frame.band, frame.bands, images, units, shares, frame.size, rows, columns])
    tasks, work = parts * groups * shares, N * P * Q * K * depth // 40
    dots_task(tasks, x, frame.taps, frame.numbers, g, sums, numbers, work=work)
    total = sums.sum(0) if parts > 1 else sums[0]
    total = total.reshape(groups, blocks, stretches, rows, columns).transpose(0, 1, 3, 2, 4)
    return total.reshape(groups, blocks * rows, -1)[:, :height, :depth]


def example(dtype: np.dtype) -> tuple[Any, ...]:
    image = np.ones((1, 1, 1, 1), dtype)
    frame = layout(Windows((1, 1), (0, 0), (1, 1), (0,), (0,)), 1, (1, 1), dtype.itemsize, 1, 1)
    rows, columns, _ = ONE_FILTER[simd()]
    sums = np.zeros((1, 1, 1, 1, rows * columns), dtype)
    numbers = np.array([1, 1, 1, 1, 1, frame.size, rows, columns])
    return 1, image, frame.taps, frame.numbers, image.copy(), sums, numbers


@kernel(example=example)
def dots_task(task, x, taps, numbers, g, sums, out):  # type: ignore[no-untyped-def]
    """Some filters of a group with all their taps, over a part of the images."""
    N, K, P, Q = g.shape
    _, C, H, _ = x.shape
    band, bands, images, units, shares, size, rows, columns = (
        out[0],
        out[1],
        out[2],
        out[3],
        out[4],
        out[5],
        out[6],
        out[7],
    )
    parts, groups, blocks, stretches, _ = sums.shape
    part, group, share = task // (groups * shares), task // shares % groups, task % shares
    C, height, wide = C // groups, K // groups, numbers[5]
    gradient, image = g.reshape(-1), x.reshape(-1)
    if size:
        image = np.empty(images * size, x.dtype)
    g_starts, g_rows = np.empty(rows, np.int64), np.empty(images * band, np.int64)
    x_starts, x_rows = np.empty(columns, np.int64), np.empty(images * band, np.int64)
    for unit in range(units * part // parts, units * (part + 1) // parts):
        n, first = unit // bands * images, unit % bands * band
        here, lines, length = min(images, N - n), min(band, P - first), Q
        begin, step = (n * groups + group) * C * H * wide + first * wide, C * groups * H * wide
        if size:
            begin, step = 0, size
            for i in range(here):
                frame_rows(x, n + i, group * C, C, first, numbers, image, i * size)
        elif wide == Q:  # rows follow each other without a gap, in the image and in g
            lines, length = 1, lines * Q
        for i in range(here):
            for line in range(lines):
                g_rows[i * lines + line], x_rows[i * lines + line] = (i * K * P + line) * Q, i * step + line * wide
        for block in range(blocks * share // shares, blocks * (share + 1) // shares):
            for i in range(rows):  # spare rows repeat a filter
                k = group * height + min(block * rows + i, height - 1)
                g_starts[i] = ((n * K + k) * P + first) * Q
            for stretch in range(stretches):
                for j in range(columns):
                    x_starts[j] = begin + taps[min(stretch * columns + j, taps.size - 1)]
                total = sums[part, group, block, stretch]
                if rows == 1:
                    one_filter_dots(gradient, g_starts, g_rows, image, x_starts, x_rows, here * lines, length, total)
                else:
                    some_dots(gradient, g_starts, g_rows, image, x_starts, x_rows, here * lines, length, total)
