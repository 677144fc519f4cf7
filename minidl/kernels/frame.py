"""Images in a frame of zeros, so that no loop over windows asks whether it has left the image."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import contiguous, kernel
from minidl.kernels.simd import at

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def framed(x: np.ndarray, frame: Padding) -> np.ndarray:
    """x (N, C, H, W) in a frame of ((top, bottom), (left, right)) zeros; where that is negative, cut off there."""
    x = contiguous(x)
    if frame == ((0, 0), (0, 0)):
        return x
    (top, bottom), (left, right) = frame
    N, C, H, W = x.shape
    out = np.empty((N, C, max(top + H + bottom, 0), max(left + W + right, 0)), x.dtype)
    if out.size:
        frame_task(N * C, x, out, top, left, work=out.size // 2)
    return out


def example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, np.ones((1, 1, 2, 2), dtype), np.empty((1, 1, 4, 4), dtype), 1, 1


@kernel(example=example)
def frame_task(task, x, out, top, left):  # type: ignore[no-untyped-def]
    """One plane: out[h, w] = x[h - top, w - left] where that is in x, else 0."""
    _, _, H, W = x.shape
    _, _, height, width = out.shape
    values, framed = x.reshape(-1), out.reshape(-1)  # loops over flat memory, as slices of rows take long to compile
    first, last = min(max(left, 0), width), max(min(left + W, width), 0)
    for h in range(height):
        row, source = (task * height + h) * width, (task * H + h - top) * W - left
        inside = 0 <= h - top < H and first < last
        for w in range(first if inside else width):
            framed[at(row + w)] = 0
        if inside:
            for w in range(first, last):
                framed[at(row + w)] = values[at(source + w)]
            for w in range(last, width):
                framed[at(row + w)] = 0


def plane_sums(g: np.ndarray) -> np.ndarray:
    """Σ over images and places of g (N, C, H, W), as (C,)."""
    N, C, H, W = g.shape
    sums = np.zeros((N, C), g.dtype)
    if g.size:
        plane_sum_task(N * C, contiguous(g).reshape(N * C, H * W), sums.reshape(-1), work=g.size // 4)
    return sums.sum(0)


@kernel(example=lambda dtype: (1, np.ones((1, 4), dtype), np.empty(1, dtype)))
def plane_sum_task(task, g, sums):  # type: ignore[no-untyped-def]
    """Σ of one plane."""
    row, total = g[task], g.dtype.type(0)
    for j in range(row.size):
        total += row[j]
    sums[task] = total
