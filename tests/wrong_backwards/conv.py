"""Convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels import conv as conv_kernels
from minidl.ops.conv import Conv2d
from minidl.ops.conv_transpose import ConvTranspose2d
from wrong_backwards.bank import right, wrong


def conv2d_with(self: Any, g: np.ndarray, **options: Any) -> tuple[Any, ...]:
    """The gradients with other geometry than forward had; what falls outside of it stays 0."""
    x, w, b = self.inputs
    o = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation} | options
    geometry = o["stride"], o["padding"], o["dilation"], self.groups
    (R, S), (dh, dw), ((t, bottom), (left, r)) = w.shape[2:], o["dilation"], o["padding"]
    P_ = (x.shape[2] + t + bottom - dh * (R - 1) - 1) // o["stride"][0] + 1
    Q_ = (x.shape[3] + left + r - dw * (S - 1) - 1) // o["stride"][1] + 1
    fitted = np.zeros((*g.shape[:2], P_, Q_), g.dtype)
    h, v = min(P_, g.shape[2]), min(Q_, g.shape[3])
    fitted[:, :, :h, :v] = g[:, :, :h, :v]
    gx = conv_kernels.conv2d_input_gradient(fitted, w, x.shape, *geometry)
    gw = conv_kernels.conv2d_weight_gradient(fitted, x, w.shape, *geometry)
    return gx, gw, None if b is None else g.sum((0, 2, 3))


@wrong("conv2d", Conv2d)
def ignores_stride(self, g):
    return conv2d_with(self, g, stride=(1, 1))


@wrong("conv2d", Conv2d)
def swaps_the_strides(self, g):
    return conv2d_with(self, g, stride=self.stride[::-1])


@wrong("conv2d", Conv2d)
def ignores_padding(self, g):
    return conv2d_with(self, g, padding=((0, 0), (0, 0)))


@wrong("conv2d", Conv2d)
def pads_columns_as_rows(self, g):
    return conv2d_with(self, g, padding=(self.padding[0], self.padding[0]))


@wrong("conv2d", Conv2d)
def ignores_dilation(self, g):
    return conv2d_with(self, g, dilation=(1, 1))


@wrong("conv2d", Conv2d)
def ignores_groups(self, g):
    gx, gw, gb = right(Conv2d)(self, g)
    return gx, None if gw is None else np.concatenate([gw[: len(gw) // self.groups]] * self.groups), gb


@wrong("conv2d", Conv2d)
def filter_flipped(self, g):
    x, w, _ = self.inputs
    _, gw, gb = right(Conv2d)(self, g)
    geometry = self.stride, self.padding, self.dilation, self.groups
    return conv_kernels.conv2d_input_gradient(g, w[:, :, ::-1, ::-1], x.shape, *geometry), gw, gb


@wrong("conv2d", Conv2d)
def filter_gradient_of_the_last_image_only(self, g):
    x, w, _ = self.inputs
    gx, _, gb = right(Conv2d)(self, g)
    geometry = self.stride, self.padding, self.dilation, self.groups
    return gx, conv_kernels.conv2d_weight_gradient(g[-1:], x[-1:], w.shape, *geometry), gb


@wrong("conv2d", Conv2d)
def filter_gradient_is_a_mean_over_the_batch(self, g):
    gx, gw, gb = right(Conv2d)(self, g)
    return gx, gw / max(len(g), 1), gb


@wrong("conv2d", Conv2d)
def bias_gradient_sums_the_batch_only(self, g):
    gx, gw, gb = right(Conv2d)(self, g)
    return gx, gw, None if gb is None or not g.size else g.sum(0)[:, 0, 0]


@wrong("conv2d", Conv2d)
def writes_into_the_cotangent(self, g):
    gx, gw, gb = right(Conv2d)(self, g)
    g *= 2
    return gx, gw, gb


@wrong("conv2d", Conv2d)
def gradient_in_double_precision(self, g):
    return tuple(None if x is None else x.astype(np.float64) for x in right(Conv2d)(self, g))


@wrong("conv2d", Conv2d)
def reads_memory_as_if_it_were_contiguous(self, g):
    return right(Conv2d)(self, np.frombuffer(g.tobytes("A"), g.dtype).reshape(g.shape))


@wrong("conv_transpose2d", ConvTranspose2d)
def convolves_with_the_filters_turned(self, g):
    x, w = self.inputs
    turned = np.ascontiguousarray(w[:, :, ::-1, ::-1])
    return conv_kernels.conv2d_forward(g, turned, None, *self.geometry()), right(ConvTranspose2d)(self, g)[1]


@wrong("conv_transpose2d", ConvTranspose2d)
def filters_gradient_turned(self, g):
    gx, gw = right(ConvTranspose2d)(self, g)
    return gx, gw if gw is None else np.ascontiguousarray(gw[:, :, ::-1, ::-1])


@wrong("conv_transpose2d", ConvTranspose2d)
def filters_gradient_of_one_image(self, g):
    x, w = self.inputs
    gx, _ = right(ConvTranspose2d)(self, g)
    return gx, conv_kernels.conv2d_weight_gradient(x[:1], g[:1], w.shape, *self.geometry())
