"""Depthwise convolution: every channel has one filter of its own, and no product of matrices is to be found.

y[n, c, p, q] = Σ_rs w[c, r, s] · x[n, c, p·sh + r·dh, q·sw + s·dw]: for each tap, a row of the image times a number is
added to a row of the output. Rows are short and lie in the nearest cache; along them LLVM's vectoriser does its work.
The image comes padded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import helper, kernel


def example(dtype: np.dtype) -> tuple[Any, ...]:
    """x, w and y, strides and dilations."""
    return 1, np.ones((1, 1, 4, 4), dtype), np.ones((1, 2, 2), dtype), np.ones((1, 1, 3, 3), dtype), 1, 1, 1, 1


@kernel(example=example)
def depthwise_forward_loops(task, x, w, y, sh, sw, dh, dw):  # type: ignore[no-untyped-def]
    """y[n, c, p, q] = Σ_rs w[c, r, s] · x[n, c, p·sh + r·dh, q·sw + s·dw]"""
    N, C, P, Q = y.shape
    _, R, S = w.shape
    n, c = task // C, task % C
    for p in range(P):
        row = y[n, c, p]
        row[:] = 0
        for r in range(R):
            for s in range(S):
                gather_row(row, w[c, r, s], x[n, c, p * sh + r * dh, s * dw :], sw)


@kernel(example=example)
def depthwise_input_gradient_loops(task, gx, w, g, sh, sw, dh, dw):  # type: ignore[no-untyped-def]
    """gx[n, c, p·sh + r·dh, q·sw + s·dw] += w[c, r, s] · g[n, c, p, q]"""
    N, C, P, _ = g.shape
    _, R, S = w.shape
    n, c = task // C, task % C
    gx[n, c] = 0
    for p in range(P):
        for r in range(R):
            for s in range(S):
                scatter_row(gx[n, c, p * sh + r * dh, s * dw :], sw, w[c, r, s], g[n, c, p])


@kernel(example=example)
def depthwise_weight_gradient_loops(task, x, gw, g, sh, sw, dh, dw):  # type: ignore[no-untyped-def]
    """gw[c, r, s] = Σ_npq g[n, c, p, q] · x[n, c, p·sh + r·dh, q·sw + s·dw]"""
    N, C, P, _ = g.shape
    _, R, S = gw.shape
    for r in range(R):
        for s in range(S):
            total = 0 * g[0, 0, 0, 0]
            for n in range(N):
                for p in range(P):
                    total += dot(g[n, task, p], x[n, task, p * sh + r * dh, s * dw :], sw)
            gw[task, r, s] = total


@helper()
def gather_row(y, a, x, step):  # type: ignore[no-untyped-def]
    """y[q] += a · x[q·step]; the common step 1 is a loop of its own, which vectorises."""
    if step == 1:
        for q in range(y.size):
            y[q] += a * x[q]
    else:
        for q in range(y.size):
            y[q] += a * x[q * step]


@helper()
def scatter_row(y, step, a, x):  # type: ignore[no-untyped-def]
    """y[q·step] += a · x[q]"""
    if step == 1:
        for q in range(x.size):
            y[q] += a * x[q]
    else:
        for q in range(x.size):
            y[q * step] += a * x[q]


@helper()
def dot(g, x, step):  # type: ignore[no-untyped-def]
    """Σ_q g[q] · x[q·step]"""
    total = 0 * g[0]
    if step == 1:
        for q in range(g.size):
            total += g[q] * x[q]
    else:
        for q in range(g.size):
            total += g[q] * x[q * step]
    return total
