"""Normalisation."""

from __future__ import annotations

import numpy as np

from minidl.ops.norm import BatchNorm, LayerNorm, channel_axes, per_channel
from wrong_backwards.bank import right, wrong


@wrong("batch_norm", BatchNorm)
def formula_of_evaluation_in_training(self, g):
    x, weight, _ = self.inputs
    _, gw, gb = right(BatchNorm)(self, g)
    scale = self.inverse if weight is None else self.inverse * weight
    return g * per_channel(scale, x.ndim), gw, gb


@wrong("batch_norm", BatchNorm)
def formula_of_training_in_evaluation(self, g):
    mean, self.mean = self.mean, None
    try:
        return right(BatchNorm)(self, g)
    finally:
        self.mean = mean


@wrong("batch_norm", BatchNorm)
def forgets_the_path_through_the_variance(self, g):
    x, weight, _ = self.inputs
    gx, gw, gb = right(BatchNorm)(self, g)
    if self.mean is None and gx is not None:
        scale = self.inverse if weight is None else self.inverse * weight
        gx = per_channel(scale, x.ndim) * (g - g.mean(channel_axes(x.ndim), keepdims=True))
    return gx, gw, gb


@wrong("batch_norm", BatchNorm)
def forgets_the_path_through_the_mean(self, g):
    x, weight, _ = self.inputs
    gx, gw, gb = right(BatchNorm)(self, g)
    if self.mean is None and gx is not None:
        scale = self.inverse if weight is None else self.inverse * weight
        gx = gx + per_channel(scale * g.mean(channel_axes(x.ndim)), x.ndim)
    return gx, gw, gb


@wrong("batch_norm", BatchNorm)
def weight_gradient_from_the_input_not_normalised(self, g):
    gx, gw, gb = right(BatchNorm)(self, g)
    return gx, None if gw is None else (g * self.inputs[0]).sum(channel_axes(g.ndim)), gb


@wrong("batch_norm", BatchNorm)
def statistics_over_the_batch_axis_only(self, g):
    gx, gw, gb = right(BatchNorm)(self, g)
    if gb is not None and g.ndim > 2:
        gb = g.sum(0).reshape(len(gb), -1)[:, 0]
    return gx, gw, gb


@wrong("layer_norm", LayerNorm)
def means_over_the_wrong_axis(self, g):
    x, weight, _ = self.inputs
    _, gw, gb = right(LayerNorm)(self, g)
    gh = g if weight is None else g * weight
    rows = *x.shape[: x.ndim - self.count], *(1,) * self.count
    mean, inverse = self.mean.reshape(rows), self.inverse.reshape(rows)
    normed = (x - mean) * inverse
    gx = gh - gh.mean(0, keepdims=True) - normed * (gh * normed).mean(0, keepdims=True)
    return gx * inverse, gw, gb


@wrong("layer_norm", LayerNorm)
def forgets_the_weight(self, g):
    x, weight, bias = self.inputs
    _, gw, gb = right(LayerNorm)(self, g)
    self.inputs = x, None if weight is None else np.ones_like(weight), bias
    gx, _, _ = right(LayerNorm)(self, g)
    self.inputs = x, weight, bias
    return gx, gw, gb
