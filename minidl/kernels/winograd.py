"""Winograd's convolution F(4×4, 3×3): 36 multiplications where the formula has 144.

A row of four outputs of a filter of three, y_p = Σ_r w_r · x_(p+r), are the middle coefficients of a product of
polynomials. Such a product is known once its values at enough points are: evaluate both factors at 0, ±1, ±2 and ∞,
multiply point by point, and interpolate. In matrices, and once for each direction of the image,

    y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ x B)] A        for a patch x (6, 6), a filter w (3, 3) and outputs y (4, 4).

The middle is a product for each of 36 points: summed over channels, for many filters and patches at once, 36 products
of matrices, which the tile does. Its adjoints are the other two passes: the gradient of the image is a convolution of g
with turned filters, and the gradient of the filters, the adjoint in w of the formula above,

    gw = Gᵀ [Σ_patches (A g Aᵀ) ⊙ (Bᵀ x B)] G.

It is less exact than the formula, as Bᵀ and Aᵀ add and subtract numbers up to 8 times as large as the result: about
5e-5 in float32 for outputs of variance 1. A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", 2016.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.frame import Pair
from minidl.kernels.gemm import matmul
from minidl.kernels.jit import contiguous, helper, kernel
from minidl.kernels.simd import add_tile, at, combination, set_tile, tile_columns, tile_rows, tile_shape

BT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    float,
)
G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], float) / 24
AT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], float)
POINTS = 36
DEPTH = 384  # patches that a tile sums at once

evaluate_patch, interpolate, evaluate_gradient = combination(BT), combination(AT), combination(AT.T)


def winograd_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, corner: Pair, size: Pair) -> np.ndarray:
    """y (N, K, *size) of images x (N, C, H, W) and filters (K, C, 3, 3); window (0, 0) begins `corner` before x."""
    K, C, _, _ = weight.shape
    points = matmul(np.kron(G, G).astype(x.dtype), weight.reshape(K * C, 9).T)  # (36, K · C)
    return products(x, points, bias, C, 1, corner, (x.shape[0], K, *size))


def winograd_input_gradient(g: np.ndarray, weight: np.ndarray, corner: Pair, x_shape: tuple[int, ...]) -> np.ndarray:
    """∂L/∂x: the convolution of g (N, K, P, Q) with turned filters; `corner` is the padding of forward."""
    K, C, _, _ = weight.shape
    turned = G[:, ::-1]
    points = matmul(np.kron(turned, turned).astype(g.dtype), weight.reshape(K * C, 9).T)
    none = np.empty(0, g.dtype)
    return products(g, points, none, 1, C, (2 - corner[0], 2 - corner[1]), x_shape)


def products(
    x: np.ndarray, points: np.ndarray, bias: np.ndarray, row: int, step: int, corner: Pair, shape: tuple[int, ...]
) -> np.ndarray:
    """y of that shape; the value of filter k, channel c at a point is points[point, k · row + c · step]."""
    y = np.empty(shape, x.dtype)
    N, K, P, Q = shape
    _, columns = tile_shape(x.dtype)
    tasks, work = -(-N * patches(P) * patches(Q) // columns), y.size * x.shape[1] // 10
    steps = np.arange(x.shape[1]) * step, np.arange(x.shape[1]) * columns
    patch_products_task(tasks, contiguous(x), points.reshape(-1), bias, y, row, *steps, *corner, work=work)
    return y


def winograd_weight_gradient(g: np.ndarray, x: np.ndarray, corner: Pair) -> np.ndarray:
    """∂L/∂w (K, C, 3, 3) from g (N, K, P, Q) and x (N, C, H, W)."""
    (N, K, P, Q), C = g.shape, x.shape[1]
    rows, columns = tile_shape(g.dtype)
    count = N * patches(P) * patches(Q)
    seen = np.empty((POINTS, -(-C // columns), count, columns), g.dtype)
    asked = np.empty((POINTS, -(-K // columns), count, columns), g.dtype)
    evaluate_task(N * patches(P) * seen.shape[1], contiguous(x), seen, patches(Q), *corner, False, work=x.size * 4)
    evaluate_task(N * patches(P) * asked.shape[1], contiguous(g), asked, patches(Q), 0, 0, True, work=g.size * 4)
    sums = np.zeros((POINTS, -(-K // rows) * rows, seen.shape[1] * columns), g.dtype)
    tasks, work = POINTS * seen.shape[1], POINTS * K * C * count // 40
    patch_sums_task(tasks, asked.reshape(-1), seen.reshape(-1), sums, np.arange(count) * columns, K, work=work)
    sums = np.ascontiguousarray(sums[:, :K, :C]).reshape(POINTS, K * C)
    return matmul(sums.T, np.kron(G, G).astype(g.dtype)).reshape(K, C, 3, 3)


def patches(size: int) -> int:
    """How many patches of four outputs cover a side."""
    return -(-size // 4)


def products_example(dtype: np.dtype) -> tuple[Any, ...]:
    rows, _ = tile_shape(dtype)
    plane, table = np.ones((1, 1, 4, 4), dtype), np.zeros(1, np.int64)
    y, points, none = np.empty((1, rows, 4, 4), dtype), np.ones(POINTS * rows, dtype), np.empty(0, dtype)
    return 1, plane, points, none, y, 1, table, table, 1, 1


@kernel(example=products_example)
def patch_products_task(task, x, points, bias, y, row, steps, lanes, top, left):  # type: ignore[no-untyped-def]
    """All outputs of a few patches, one in each of the tile's columns."""
    rows, columns = tile_rows(x), tile_columns(x)
    N, C, H, W = x.shape
    _, K, P, Q = y.shape
    down, along = (P + 3) // 4, (Q + 3) // 4
    begin = task * columns
    here = min(columns, N * down * along - begin)
    patch, half = np.zeros(POINTS * columns, x.dtype), np.empty(POINTS * columns, x.dtype)
    seen, sums = np.empty(POINTS * C * columns, x.dtype), np.empty(POINTS * K * columns, x.dtype)
    image, out = x.reshape(-1), y.reshape(-1)
    first, high, wide = np.empty(columns, np.int64), np.empty(columns, np.int64), np.empty(columns, np.int64)
    for j in range(here):
        t = begin + j
        first[j], high[j], wide[j] = t // (down * along), t // along % down * 4, t % along * 4
    for c in range(C):
        for j in range(here):
            load_patch(image, (first[j] * C + c) * H * W, H, W, patch[j:], columns, high[j] - top, wide[j] - left, 6)
        for i in range(6):
            evaluate_patch(patch, i * columns, 6 * columns, half, i * columns, 6 * columns)
        for i in range(6):
            evaluate_patch(half, i * 6 * columns, columns, seen, (i * 6 * C + c) * columns, C * columns)
    starts = np.empty(rows, np.int64)
    for point in range(POINTS):
        for block in range(0, K, rows):
            k = min(block, K - rows)  # the last tile begins earlier and computes some values again
            for i in range(rows):
                starts[i] = point * K * C + (k + i) * row
            right, to = point * C * columns, (point * K + k) * columns
            set_tile(points, starts, steps, seen, right, lanes, 0, C, sums, to, columns)
    for k in range(K):
        for i in range(6):
            interpolate(sums, (i * K + k) * columns, 6 * K * columns, half, i * columns, 6 * columns)
        for i in range(4):
            interpolate(half, i * 6 * columns, columns, patch, i * 4 * columns, columns)
        shift = bias[k] if bias.size else half.dtype.type(0)
        for j in range(here):
            store_patch(out, (first[j] * K + k) * P * Q, P, Q, patch[j:], columns, high[j], wide[j], shift)


@helper()
def load_patch(values, start, H, W, patch, step, h, w, size):  # type: ignore[no-untyped-def]
    """patch[(i, j) · step] = plane[h + i, w + j], 0 outside of the plane (H, W), which begins at `start`."""
    corner = start + h * W + w
    if h >= 0 and w >= 0 and h + size <= H and w + size <= W:
        for i in range(size):
            for j in range(size):
                patch[at((i * size + j) * step)] = values[at(corner + i * W + j)]
    else:
        for i in range(size):
            for j in range(size):
                inside = 0 <= h + i < H and 0 <= w + j < W
                patch[at((i * size + j) * step)] = values[at(corner + i * W + j)] if inside else 0


@helper()
def store_patch(values, start, P, Q, patch, step, p, q, shift):  # type: ignore[no-untyped-def]
    """plane[p + i, q + j] = patch[(i, j) · step] + shift, where that is in the plane (P, Q) at `start`."""
    corner = start + p * Q + q
    if p + 4 <= P and q + 4 <= Q:
        for i in range(4):
            for j in range(4):
                values[at(corner + i * Q + j)] = patch[at((i * 4 + j) * step)] + shift
    else:
        for i in range(min(4, P - p)):
            for j in range(min(4, Q - q)):
                values[at(corner + i * Q + j)] = patch[at((i * 4 + j) * step)] + shift


def evaluate_example(dtype: np.dtype) -> tuple[Any, ...]:
    _, columns = tile_shape(dtype)
    return 1, np.ones((1, 1, 4, 4), dtype), np.empty((POINTS, 1, 1, columns), dtype), 1, 1, 1, False


@kernel(example=evaluate_example)
def evaluate_task(task, x, values, along, top, left, of_gradient):  # type: ignore[no-untyped-def]
    """A row of patches at the points, one channel in each column: values (points, blocks, patches, columns)."""
    columns = tile_columns(x)
    _, C, H, W = x.shape
    _, blocks, count, _ = values.shape
    block, line = task % blocks, task // blocks
    down = count // along // x.shape[0]
    n, p, here = line // down, line % down * 4, min(columns, C - block * columns)
    patch, half = np.zeros(POINTS * columns, x.dtype), np.empty(POINTS * columns, x.dtype)
    image, out, size = x.reshape(-1), values.reshape(-1), 4 if of_gradient else 6
    for q in range(along):
        for j in range(here):
            start = (n * C + block * columns + j) * H * W
            load_patch(image, start, H, W, patch[j:], columns, p - top, q * 4 - left, size)
        to, step = (block * count + line * along + q) * columns, blocks * count * columns
        if of_gradient:
            for i in range(4):
                evaluate_gradient(patch, i * columns, 4 * columns, half, i * columns, 4 * columns)
            for i in range(6):
                evaluate_gradient(half, i * 4 * columns, columns, out, i * 6 * step + to, step)
        else:
            for i in range(6):
                evaluate_patch(patch, i * columns, 6 * columns, half, i * columns, 6 * columns)
            for i in range(6):
                evaluate_patch(half, i * 6 * columns, columns, out, i * 6 * step + to, step)


def sums_example(dtype: np.dtype) -> tuple[Any, ...]:
    rows, columns = tile_shape(dtype)
    values = np.ones(POINTS * columns, dtype)
    return 1, values, values, np.zeros((POINTS, rows, columns), dtype), np.zeros(1, np.int64), 1


@kernel(example=sums_example)
def patch_sums_task(task, asked, seen, sums, steps, K):  # type: ignore[no-untyped-def]
    """At one point, Σ over patches of g's value for every filter times the image's for a block of channels."""
    rows, columns = tile_rows(seen), tile_columns(seen)
    _, height, C = sums.shape
    count, filters = steps.size, (K + columns - 1) // columns
    point, block = task // (C // columns), task % (C // columns)
    total, starts = sums[point].reshape(-1), np.empty(rows, np.int64)
    right = (point * (C // columns) + block) * count * columns
    for t in range(0, count, DEPTH):
        depth = min(DEPTH, count - t)
        for first in range(0, height, rows):
            for i in range(rows):
                k = min(first + i, K - 1)  # spare rows repeat the last filter
                starts[i] = (point * filters + k // columns) * count * columns + k % columns
            add_tile(asked, starts, steps, seen, right, steps, t, depth, total, first * C + block * columns, C)
