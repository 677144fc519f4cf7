"""Pooling as loops: each thread takes whole planes (n, c), so windows that overlap never meet in another thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import contiguous, kernel

Pair = tuple[int, int]


def max_pool2d_forward(
    x: np.ndarray, size: Pair, stride: Pair, padding: Pair, dilation: Pair, output: Pair
) -> tuple[np.ndarray, np.ndarray]:
    """The maxima (N, C, P, Q), and where in its plane (H·W places, row by row) each was found, int64."""
    y = np.empty((*x.shape[:2], *output), x.dtype)
    index = np.empty(y.shape, np.int64)
    if y.size:
        max_forward_loops(
            y.shape[0] * y.shape[1],
            contiguous(x),
            y,
            index,
            *size,
            *stride,
            *padding,
            *dilation,
            work=4 * y.size * size[0] * size[1],
        )
    return y, index


def max_pool2d_backward(g: np.ndarray, index: np.ndarray, x_shape: tuple[int, ...]) -> np.ndarray:
    """∂L/∂x (N, C, H, W) from g = ∂L/∂y (N, C, P, Q)."""
    gx = np.zeros(x_shape, g.dtype)
    if g.size:
        max_backward_loops(g.shape[0] * g.shape[1], contiguous(g), contiguous(index), gx, work=4 * gx.size)
    return gx


def avg_pool2d_forward(x: np.ndarray, counts: np.ndarray, size: Pair, stride: Pair, padding: Pair) -> np.ndarray:
    """The sums of the windows (N, C, P, Q), divided by counts (P, Q)."""
    y = np.empty((*x.shape[:2], *counts.shape), x.dtype)
    if y.size:
        work = 4 * y.size * size[0] * size[1]
        avg_forward_loops(
            y.shape[0] * y.shape[1], contiguous(x), contiguous(counts), y, *size, *stride, *padding, work=work
        )
    return y


def avg_pool2d_backward(
    g: np.ndarray, counts: np.ndarray, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> np.ndarray:
    """∂L/∂x (N, C, H, W) from g = ∂L/∂y (N, C, P, Q)."""
    gx = np.zeros(x_shape, g.dtype)
    if g.size:
        work = 4 * g.size * size[0] * size[1]
        avg_backward_loops(
            g.shape[0] * g.shape[1], contiguous(g), contiguous(counts), gx, *size, *stride, *padding, work=work
        )
    return gx


def plane(dtype: np.dtype, n: int = 4) -> np.ndarray:
    return np.ones((1, 1, n, n), dtype)


def max_forward_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, plane(dtype), plane(dtype, 3), np.zeros((1, 1, 3, 3), np.int64), 2, 2, 1, 1, 0, 0, 1, 1


@kernel(example=max_forward_example)
def max_forward_loops(task, x, y, index, R, S, sh, sw, ph, pw, dh, dw):  # type: ignore[no-untyped-def]
    """y[n, c, p, q] = max_rs x[n, c, p·sh - ph + r·dh, q·sw - pw + s·dw]; the first of equals, or the last NaN."""
    N, C, H, W = x.shape
    _, _, P, Q = y.shape
    n, c = task // C, task % C
    image, best, place = x[n, c], y[n, c], index[n, c]
    for p in range(P):
        for q in range(Q):
            best[p, q] = -np.inf
            value, at = best[p, q], -1  # what stays if the window sees nothing but padding
            for r in range(R):
                h = p * sh - ph + r * dh
                if 0 <= h < H:
                    for s in range(S):
                        w = q * sw - pw + s * dw
                        if 0 <= w < W:
                            v = image[h, w]
                            better = (v > value) | (v != v) | (at < 0)
                            value = v if better else value  # a choice, not a branch: a maximum is hard to predict
                            at = h * W + w if better else at
            best[p, q], place[p, q] = value, at


def max_backward_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, plane(dtype, 3), np.zeros((1, 1, 3, 3), np.int64), plane(dtype)


@kernel(example=max_backward_example)
def max_backward_loops(task, g, index, gx):  # type: ignore[no-untyped-def]
    """gx[n, c, index[n, c, p, q]] += g[n, c, p, q]"""
    N, C, P, Q = g.shape
    n, c = task // C, task % C
    flat = gx[n, c].reshape(-1)
    for p in range(P):
        for q in range(Q):
            at = index[n, c, p, q]
            if at >= 0:
                flat[at] += g[n, c, p, q]


def avg_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, plane(dtype), np.ones((3, 3), dtype), plane(dtype, 3), 2, 2, 1, 1, 0, 0


@kernel(example=avg_example)
def avg_forward_loops(task, x, counts, y, R, S, sh, sw, ph, pw):  # type: ignore[no-untyped-def]
    """y[n, c, p, q] = Σ over r, s of x[n, c, p·sh - ph + r, q·sw - pw + s] / counts[p, q]"""
    N, C, H, W = x.shape
    P, Q = counts.shape
    n, c = task // C, task % C
    for p in range(P):
        top, bottom = max(p * sh - ph, 0), min(p * sh - ph + R, H)
        for q in range(Q):
            total = 0 * counts[p, q]
            for h in range(top, bottom):
                for w in range(max(q * sw - pw, 0), min(q * sw - pw + S, W)):
                    total += x[n, c, h, w]
            y[n, c, p, q] = total / counts[p, q]


def avg_backward_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, plane(dtype, 3), np.ones((3, 3), dtype), plane(dtype), 2, 2, 1, 1, 0, 0


@kernel(example=avg_backward_example)
def avg_backward_loops(task, g, counts, gx, R, S, sh, sw, ph, pw):  # type: ignore[no-untyped-def]
    """gx[n, c, p·sh - ph + r, q·sw - pw + s] += g[n, c, p, q] / counts[p, q]"""
    N, C, H, W = gx.shape
    P, Q = counts.shape
    n, c = task // C, task % C
    for p in range(P):
        top, bottom = max(p * sh - ph, 0), min(p * sh - ph + R, H)
        for q in range(Q):
            share = g[n, c, p, q] / counts[p, q]
            for h in range(top, bottom):
                for w in range(max(q * sw - pw, 0), min(q * sw - pw + S, W)):
                    gx[n, c, h, w] += share
