"""Pooling."""

from __future__ import annotations

import numpy as np

from minidl.kernels import pool as pool_kernels
from minidl.ops.pool import AvgPool2d, MaxPool2d
from wrong_backwards.bank import right, wrong


@wrong("max_pool2d", MaxPool2d)
def overwrites_where_windows_overlap(self, g, _=None):
    N, C, H, W = self.inputs[0].shape
    gx = np.zeros((N, C, H * W), g.dtype)
    np.put_along_axis(gx, self.index.astype(np.int64).reshape(N, C, -1), g.reshape(N, C, -1), 2)
    return gx.reshape(N, C, H, W)


@wrong("max_pool2d", MaxPool2d)
def every_value_of_the_window_gets_it(self, g, _=None):
    x = self.inputs[0]
    gx = np.zeros_like(x)
    (R, S), (sh, sw), (ph, pw) = self.size, self.stride, self.padding
    for p in range(g.shape[2]):
        for q in range(g.shape[3]):
            rows = slice(max(p * sh - ph, 0), p * sh - ph + R)
            gx[:, :, rows, max(q * sw - pw, 0) : q * sw - pw + S] += g[:, :, p : p + 1, q : q + 1]
    return gx


@wrong("max_pool2d", MaxPool2d)
def index_counted_by_columns(self, g, _=None):
    N, C, H, W = self.inputs[0].shape
    index = self.index % W * H + self.index // W
    return pool_kernels.max_pool2d_backward(g, np.ascontiguousarray(index), (N, C, H, W))


@wrong("max_pool2d", MaxPool2d)
def last_image_only(self, g, g_index=None):
    gx = right(MaxPool2d)(self, g, g_index)
    gx[:-1] = 0
    return gx


@wrong("avg_pool2d", AvgPool2d)
def divides_by_the_window_though_it_reaches_over_the_edge(self, g):
    full = np.full(self.output, np.prod(self.size), g.dtype)
    return pool_kernels.avg_pool2d_backward(g, full, self.image, self.size, self.stride, self.padding)


@wrong("avg_pool2d", AvgPool2d)
def forgets_to_divide(self, g):
    return pool_kernels.avg_pool2d_backward(
        g, np.ones(self.output, g.dtype), self.image, self.size, self.stride, self.padding
    )


@wrong("avg_pool2d", AvgPool2d)
def overwrites_instead_of_accumulating(self, g):
    gx = np.zeros(self.image, g.dtype)
    (R, S), (sh, sw), (ph, pw) = self.size, self.stride, self.padding
    spread = g / self.counts(g.dtype)
    for p in range(g.shape[2]):
        for q in range(g.shape[3]):
            rows = slice(max(p * sh - ph, 0), p * sh - ph + R)
            gx[:, :, rows, max(q * sw - pw, 0) : q * sw - pw + S] = spread[:, :, p : p + 1, q : q + 1]
    return gx
