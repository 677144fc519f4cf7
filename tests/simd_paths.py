"""A script: products and convolutions against NumPy in float64, on the path that MINIDL_SIMD names.

It prints the path. Its arguments are the dtypes to convolve in; the tile and products are checked in both. A file
rather than code in a string, since Numba keeps no compiled code that has no file.
"""

import sys

import numpy as np

from minidl.kernels import conv, gemm, simd
from minidl.kernels.few_rows import multiply_rows, pack
from minidl.kernels.jit import kernel
from minidl.kernels.simd import (
    add_narrow_tile,
    add_tile,
    narrow_columns,
    narrow_rows,
    set_narrow_tile,
    set_tile,
    tile_columns,
    tile_rows,
)

# What each tile is held against: rows anywhere, steps in any order, the rest of memory left as it was.


@kernel(example=lambda dtype: ())
def wide(task, a, starts, a_steps, b, start, b_steps, first, depth, c, c_start, c_step, add, shape):
    shape[0], shape[1] = tile_rows(a), tile_columns(a)
    if add:
        add_tile(a, starts, a_steps, b, start, b_steps, first, depth, c, c_start, c_step)
    else:
        set_tile(a, starts, a_steps, b, start, b_steps, first, depth, c, c_start, c_step)


@kernel(example=lambda dtype: ())
def narrow(task, a, starts, a_steps, b, start, b_steps, first, depth, c, c_start, c_step, add, shape):
    shape[0], shape[1] = narrow_rows(a), narrow_columns(a)
    if add:
        add_narrow_tile(a, starts, a_steps, b, start, b_steps, first, depth, c, c_start, c_step)
    else:
        set_narrow_tile(a, starts, a_steps, b, start, b_steps, first, depth, c, c_start, c_step)


def check_tiles():
    rng = np.random.default_rng(1)
    for run in (wide, narrow):
        for dtype, limit in (("float32", 1e-5), ("float64", 1e-14)):
            rows, columns = simd.tile_shape(np.dtype(dtype), run.name)
            for depth, first, add in ((0, 1, 0), (0, 0, 1), (1, 2, 0), (1, 0, 1), (37, 3, 0), (50, 0, 1)):
                a, b = (rng.standard_normal(n).astype(dtype) for n in (300, 900))
                starts, a_steps = rng.integers(0, 100, rows), rng.integers(0, 200, first + depth)
                b_steps, start = rng.integers(0, 700, first + depth), int(rng.integers(0, 100))
                c = rng.standard_normal(3 + rows * (columns + 5)).astype(dtype)
                c_start, c_step, shape = 3, columns + 5, np.zeros(2, np.int64)
                exact, inside = c.astype(float), np.zeros(c.size, bool)
                for i in range(rows):
                    here = slice(c_start + i * c_step, c_start + i * c_step + columns)
                    inside[here] = True
                    total = sum(
                        (
                            float(a[starts[i] + a_steps[d]]) * b[start + b_steps[d] :][:columns].astype(float)
                            for d in range(first, first + depth)
                        ),
                        np.zeros(columns),
                    )
                    exact[here] = total + (exact[here] if add else 0)
                before = c.copy()
                run(1, a, starts, a_steps, b, start, b_steps, first, depth, c, c_start, c_step, add, shape)
                assert tuple(shape) == (rows, columns), (run.name, dtype, shape)
                assert (c[~inside] == before[~inside]).all(), (run.name, dtype, depth, first, add)
                error = np.abs(c - exact).max() / max(1, np.abs(exact).max())
                assert error < limit, (run.name, dtype, depth, first, add, error)


# Products

# Edges of all tiles, blocks of the depth, few rows and columns, several bands of rows, A packed (1024 rows). M, N, K:
# fmt: off
PRODUCTS = (
    (1, 1, 1), (7, 33, 5), (64, 65, 66), (130, 40, 901), (12, 300, 400), (1, 70, 600), (3, 128, 40),
    (95, 9, 300), (24, 330, 270), (1, 40, 1), (150, 1, 201), (14, 1100, 9), (9, 256, 70), (45, 256, 70),
    (523, 40, 70), (1024, 330, 300),
)
# fmt: on
rng = np.random.default_rng(0)


def compare(name, got, expected, limit):
    expected = np.asarray(expected)
    error = float(np.abs(got - expected).max() / max(np.sqrt(np.mean(expected**2)), 1e-30))
    assert got.shape == expected.shape and error < limit, (name, got.dtype, got.shape, error)


def check_products(dtype, limit):
    for M, N, K in PRODUCTS:
        a, b, bias = (rng.standard_normal(s).astype(dtype) for s in ((M, K), (K, N), N))
        exact = a.astype(float) @ b.astype(float)
        for left in (a, np.asfortranarray(a), a[::-1][::-1]):
            for right in (b, np.asfortranarray(b)):
                c = np.full((M, N), np.nan, dtype)
                gemm.batched(left[None], right[None], c, bias)
                compare("gemm", c, exact + bias, limit)
                gemm.batched(left[None], right[None], c, None, True)
                compare("gemm, added", c, 2 * exact + bias, limit)


def rows_example(dtype):
    return 1, np.ones(1, dtype), 1, 1, 1, np.ones(1, dtype), 1, 1, np.ones(64, dtype)


@kernel(example=rows_example)
def rows_kernel(task, a, step, count, depth, b, depth_step, column_step, c):
    width = b.size // depth
    multiply_rows(a, step, count, depth, pack(b, depth, width, depth_step, column_step), c)


def check_few_rows(dtype, limit):
    for depth, width in ((1, 1), (5, 33), (37, 4 * 37), (64, 256), (130, 7)):
        b = rng.standard_normal((depth, width)).astype(dtype)
        padded = -(-width // simd.tile_shape(b.dtype)[1]) * simd.tile_shape(b.dtype)[1]
        a = rng.standard_normal((23, depth + 3)).astype(dtype)
        alone = []
        for count in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 23):
            for turned in (False, True):
                c = np.full((count + 1, padded), np.nan, dtype)
                memory = (np.asfortranarray(b).T if turned else b).reshape(-1).copy()
                steps = (1, depth) if turned else (width, 1)
                rows_kernel(1, a.reshape(-1), depth + 3, count, depth, memory, *steps, c.reshape(-1))
                assert np.isnan(c[count:]).all() and not c[:count, width:].any()
                compare("few rows", c[:count, :width], a[:count, :depth].astype(float) @ b.astype(float), limit)
                alone = alone if len(alone) else c[0].copy()
                assert (c[0] == alone).all()  # to the bit, whoever else is there


# Convolutions

GEOMETRIES = (
    # N, C, H, W, K, R, S, stride, padding, dilation, groups
    (2, 3, 9, 8, 5, 3, 2, (1, 1), ((1, 0), (0, 1)), (1, 1), 1),
    (2, 16, 17, 40, 24, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    (3, 8, 12, 11, 20, 3, 3, (2, 3), ((1, 2), (2, 1)), (2, 1), 2),
    (2, 48, 9, 13, 50, 3, 3, (1, 1), ((1, 1), (2, 0)), (1, 1), 1),
    (5, 40, 4, 4, 33, 1, 1, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    (2, 1, 8, 8, 8, 5, 5, (1, 1), ((2, 2), (2, 2)), (1, 1), 1),
    (2, 6, 15, 20, 6, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 6),
    (1, 6, 15, 20, 12, 5, 3, (2, 1), ((0, 2), (1, 1)), (1, 2), 3),
    (2, 2, 40, 70, 9, 3, 3, (1, 1), ((0, 1), (0, 0)), (1, 1), 1),
    (2, 20, 21, 20, 33, 3, 3, (2, 2), ((1, 1), (1, 1)), (1, 1), 1),
)


def windows(x, R, S, stride, padding, dilation):
    (top, bottom), (left, right) = padding
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    P = (x.shape[2] - dilation[0] * (R - 1) - 1) // stride[0] + 1
    Q = (x.shape[3] - dilation[1] * (S - 1) - 1) // stride[1] + 1
    taps = [
        x[:, :, r * dilation[0] :, s * dilation[1] :][
            :, :, : (P - 1) * stride[0] + 1 : stride[0], : (Q - 1) * stride[1] + 1 : stride[1]
        ]
        for r in range(R)
        for s in range(S)
    ]
    return np.stack(taps, 2)  # (N, C, R S, P, Q)


def check_convolutions(dtype, limit):
    for geometry in GEOMETRIES:
        N, C, H, W, K, R, S, stride, padding, dilation, groups = geometry
        x, w = (rng.standard_normal(s).astype(dtype) for s in ((N, C, H, W), (K, C // groups, R, S)))
        X = windows(x.astype(float), R, S, stride, padding, dilation)
        _, _, _, P, Q = X.shape
        X = X.reshape(N, groups, -1, P, Q)
        V = w.astype(float).reshape(groups, K // groups, -1)
        y = conv.conv2d_forward(x, w, None, stride, padding, dilation, groups)
        compare("forward", y, np.einsum("ngdpq,gkd->ngkpq", X, V).reshape(y.shape), 10 * limit)
        g = rng.standard_normal(y.shape).astype(dtype)
        G = g.astype(float).reshape(N, groups, -1, P, Q)
        gw = conv.conv2d_weight_gradient(g, x, w.shape, stride, padding, dilation, groups)
        compare("weight gradient", gw, np.einsum("ngdpq,ngkpq->gkd", X, G).reshape(w.shape), 10 * limit)
        gx = conv.conv2d_input_gradient(g, w, x.shape, stride, padding, dilation, groups)
        # <g, conv(x')> = <gx, x'> for any x'
        for _ in range(3):
            other = rng.standard_normal(x.shape)
            O = windows(other, R, S, stride, padding, dilation).reshape(N, groups, -1, P, Q)
            forward = np.einsum("ngdpq,gkd,ngkpq->", O, V, G, optimize=True)
            scale = np.sqrt(np.sum(gx.astype(float) ** 2))
            assert abs(forward - np.sum(gx * other)) < 20 * limit * scale, ("input gradient", geometry)


if __name__ == "__main__":
    print(simd.simd())
    check_tiles()
    for dtype, limit in (("float32", 2e-5), ("float64", 1e-13)):
        check_products(dtype, limit)
        check_few_rows(dtype, limit)
        if dtype in sys.argv:
            check_convolutions(dtype, limit)
