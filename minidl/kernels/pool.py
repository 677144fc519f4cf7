"""Pooling as loops: each thread takes whole planes (n, c), so windows that overlap never meet in another thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import contiguous, helper, kernel
from minidl.kernels.math import choose
from minidl.kernels.simd import at

Pair = tuple[int, int]


def max_pool2d_forward(
    x: np.ndarray, size: Pair, stride: Pair, padding: Pair, dilation: Pair, output: Pair
) -> tuple[np.ndarray, np.ndarray]:
    """The maxima (N, C, P, Q), and where in its plane (H·W places, row by row) each was found, int32."""
    y = np.empty((*x.shape[:2], *output), x.dtype)
    index = np.empty(y.shape, np.int32)
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
            work=2 * y.size * size[0] * size[1],
        )
    return y, index


def max_pool2d_backward(g: np.ndarray, index: np.ndarray, x_shape: tuple[int, ...]) -> np.ndarray:
    """∂L/∂x (N, C, H, W) from g = ∂L/∂y (N, C, P, Q)."""
    gx = np.empty(x_shape, g.dtype) if g.size else np.zeros(x_shape, g.dtype)
    if g.size:
        max_backward_loops(g.shape[0] * g.shape[1], contiguous(g), contiguous(index), gx, work=gx.size)
    return gx


def avg_pool2d_forward(x: np.ndarray, counts: np.ndarray, size: Pair, stride: Pair, padding: Pair) -> np.ndarray:
    """The sums of the windows (N, C, P, Q), divided by counts (P, Q)."""
    y = np.empty((*x.shape[:2], *counts.shape), x.dtype)
    if y.size:
        work = y.size * size[0] * size[1]
        avg_forward_loops(
            y.shape[0] * y.shape[1], contiguous(x), contiguous(counts), y, *size, *stride, *padding, work=work
        )
    return y


def avg_pool2d_backward(
    g: np.ndarray, counts: np.ndarray, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> np.ndarray:
    """∂L/∂x (N, C, H, W) from g = ∂L/∂y (N, C, P, Q)."""
    gx = np.empty(x_shape, g.dtype) if g.size else np.zeros(x_shape, g.dtype)
    if g.size:
        work = g.size * size[0] * size[1]
        avg_backward_loops(
            g.shape[0] * g.shape[1], contiguous(g), contiguous(counts), gx, *size, *stride, *padding, work=work
        )
    return gx


def plane(dtype: np.dtype, n: int = 4) -> np.ndarray:
    return np.ones((1, 1, n, n), dtype)


def max_forward_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, plane(dtype), plane(dtype, 3), np.zeros((1, 1, 3, 3), np.int32), 2, 2, 1, 1, 0, 0, 1, 1


@kernel(example=max_forward_example)
def max_forward_loops(task, x, y, index, R, S, sh, sw, ph, pw, dh, dw):  # type: ignore[no-untyped-def]
    """y[n, c, p, q] = max_rs x[n, c, p·sh - ph + r·dh, q·sw - pw + s·dw]; the first of equals, or the last NaN.

    In a frame of -∞ a tap lies equally far from all windows, so one long loop a tap compares what it sees everywhere,
    as if the step sw were 1, and remembers which tap saw most. Of that every sw-th column is kept. Rows that are sh
    apart lie one behind the other in the frame: so the rows between windows are passed over.
    """
    N, C, H, W = x.shape
    _, _, P, Q = y.shape
    n, c = task // C, task % C
    wide, high = max((Q - 1) * sw + (S - 1) * dw + 1, pw + W), max((P - 1) * sh + (R - 1) * dh + 1, ph + H)
    lines = (high + sh - 1) // sh
    values, image = np.empty(sh * lines * wide, x.dtype), x.reshape(-1)
    for i in range(values.size):
        values[i] = -np.inf
    for h in range(H):
        row = ((ph + h) % sh * lines + (ph + h) // sh) * wide + pw
        for w in range(W):
            values[at(row + w)] = image[at((task * H + h) * W + w)]
    length = (P - 1) * wide + (Q - 1) * sw + 1
    best, place = np.empty(length, x.dtype), np.empty(length, np.int32)
    for i in range(length):
        best[i], place[i] = -np.inf, -1
    shift = np.empty(R * S, np.int32)
    for r in range(R):
        for s in range(S):
            tap = np.int32(r * S + s)
            shift[tap] = (r * dh - ph) * W + s * dw - pw
            compare(values, (r * dh % sh * lines + r * dh // sh) * wide + s * dw, best, place, tap)
    for p in range(P):
        row, out, found = y[n, c, p], index[n, c, p], True
        for q in range(Q):
            i = p * wide + q * sw
            tap = place[at(i)]
            row[q] = best[at(i)]
            out[q] = p * sh * W + q * sw + shift[at(max(tap, 0) + 0)]
            found = found & (tap >= 0)
        if not found:  # somewhere nothing is above -∞
            for q in range(Q):
                if place[p * wide + q * sw] < 0:
                    out[q] = first_seen(H, W, p * sh - ph, q * sw - pw, R, S, dh, dw)


@helper()
def compare(values, start, best, place, tap):  # type: ignore[no-untyped-def]
    """Replace where the tap sees more, or NaN; a choice, not a branch: a maximum is hard to predict."""
    for i in range(best.size):
        value, now, where = values[at(start + i)], best[i], place[i]
        better = (value > now) | (value != value)
        best[i] = choose(better, value, now)
        place[i] = choose(better, tap, where)


@helper()
def first_seen(H, W, h, w, R, S, dh, dw):  # type: ignore[no-untyped-def]
    """The first place of the image in the window at (h, w); -1 where it sees nothing but padding."""
    for r in range(R):
        for s in range(S):
            if 0 <= h + r * dh < H and 0 <= w + s * dw < W:
                return np.int32((h + r * dh) * W + w + s * dw)
    return np.int32(-1)


@helper()
def seen(w, step, W, Q):  # type: ignore[no-untyped-def]
    """Of windows 0 ... Q - 1 a tap sees columns w, w + step, ...: the first within the image, and which windows."""
    first = max(0, (step - 1 - w) // step)
    last = min(Q, (W - 1 - w) // step + 1) if w < W else 0
    return w + first * step, first, last


def max_backward_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, plane(dtype, 3), np.zeros((1, 1, 3, 3), np.int32), plane(dtype)


@kernel(example=max_backward_example)
def max_backward_loops(task, g, index, gx):  # type: ignore[no-untyped-def]
    """gx[n, c, index[n, c, p, q]] += g[n, c, p, q]"""
    N, C, P, Q = g.shape
    n, c = task // C, task % C
    flat, grad, places = gx[n, c].reshape(-1), g[n, c].reshape(-1), index[n, c].reshape(-1)
    flat[:] = 0
    for i in range(grad.size):
        if places[i] >= 0:
            flat[at(places[i] + 0)] += grad[i]


def avg_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, plane(dtype), np.ones((3, 3), dtype), plane(dtype, 3), 2, 2, 1, 1, 0, 0


@kernel(example=avg_example)
def avg_forward_loops(task, x, counts, y, R, S, sh, sw, ph, pw):  # type: ignore[no-untyped-def]
    """y[n, c, p, q] = Σ over r, s of x[n, c, p·sh - ph + r, q·sw - pw + s] / counts[p, q]"""
    N, C, H, W = x.shape
    P, Q = counts.shape
    n, c = task // C, task % C
    for p in range(P):
        total = y[n, c, p]
        total[:] = 0
        for h in range(max(p * sh - ph, 0), min(p * sh - ph + R, H)):
            for s in range(S):
                w, first, last = seen(s - pw, sw, W, Q)
                if first < last:
                    add(total[first:last], x[n, c, h, w:], sw)
        count = counts[p]
        for q in range(Q):
            total[q] = total[q] / count[q]


@helper()
def add(total, values, step):  # type: ignore[no-untyped-def]
    """total[q] += values[q · step]"""
    if step == 1:
        for q in range(total.size):
            total[q] += values[q]
    elif step == 2:
        for q in range(total.size):
            total[q] += values[2 * q]
    else:
        for q in range(total.size):
            total[q] += values[step * q]


def avg_backward_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, plane(dtype, 3), np.ones((3, 3), dtype), plane(dtype), 2, 2, 1, 1, 0, 0


@kernel(example=avg_backward_example)
def avg_backward_loops(task, g, counts, gx, R, S, sh, sw, ph, pw):  # type: ignore[no-untyped-def]
    """gx[n, c, p·sh - ph + r, q·sw - pw + s] += g[n, c, p, q] / counts[p, q]"""
    N, C, H, W = gx.shape
    P, Q = counts.shape
    n, c = task // C, task % C
    gx[n, c] = 0
    share = np.empty(Q, g.dtype)
    for p in range(P):
        for q in range(Q):
            share[q] = g[n, c, p, q] / counts[p, q]
        for h in range(max(p * sh - ph, 0), min(p * sh - ph + R, H)):
            for s in range(S):
                w, first, last = seen(s - pw, sw, W, Q)
                row = gx[n, c, h, w:] if first < last else gx[n, c, h, :0]
                for q in range(last - first):
                    row[at(q * sw)] += share[at(first + q)]
