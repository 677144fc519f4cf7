"""Softmax and losses."""

from __future__ import annotations

import numpy as np

from minidl.ops.distances import Bent, BinaryCrossEntropy, LogitsCrossEntropy, Squared
from minidl.ops.loss import CrossEntropy, LabelCrossEntropy, NllLoss
from minidl.ops.softmax import LogSoftmax, Softmax
from wrong_backwards.bank import right, wrong


@wrong("softmax", Softmax)
def only_the_diagonal_of_the_jacobian(self, g):
    return g * self.output * (1.0 - self.output)


@wrong("softmax", Softmax)
def sums_over_another_axis(self, g):
    gp = g * self.output
    return gp - self.output * gp.sum(axis=(self.axis + 1) % max(g.ndim, 1), keepdims=True)


@wrong("softmax", Softmax)
def passes_the_gradient_through(self, g):
    return g


@wrong("log_softmax", LogSoftmax)
def forgets_the_sum_of_the_gradient(self, g):
    return g - np.exp(np.asarray(self.output))


@wrong("log_softmax", LogSoftmax)
def uses_log_probabilities_for_probabilities(self, g):
    return g - self.output * g.sum(axis=self.axis, keepdims=True)


@wrong("cross_entropy", CrossEntropy)
def ignores_the_incoming_gradient(self, g):
    gx, gt = right(CrossEntropy)(self, np.ones_like(g))
    return gx, gt


@wrong("cross_entropy", CrossEntropy)
def ignores_ignore_index_and_class_weights(self, g):
    x, t = self.inputs
    gx, gt = right(CrossEntropy)(self, g)
    return (self.probabilities - t) * g[:, None] if gx is not None else None, gt


@wrong("cross_entropy", CrossEntropy)
def ignores_label_smoothing(self, g):
    x, t = self.inputs
    gx, gt = right(CrossEntropy)(self, g)
    hard = np.zeros_like(t)
    if t.size:
        hard[np.arange(len(t)), t.argmax(1)] = t.sum(1)
    return (self.probabilities * t.sum(1, keepdims=True) - hard) * g[:, None] if gx is not None else None, gt


@wrong("cross_entropy", CrossEntropy)
def no_gradient_for_probabilities_as_targets(self, g):
    gx, gt = right(CrossEntropy)(self, g)
    return gx, None


@wrong("cross_entropy", LabelCrossEntropy)
def climbs(self, g):
    return -right(LabelCrossEntropy)(self, g)


@wrong("cross_entropy", LabelCrossEntropy)
def probabilities_alone(self, g):
    return np.exp(self.inputs[0] - self.sums[:, None]) * g[:, None]


@wrong("cross_entropy", LabelCrossEntropy)
def counts_ignored_rows(self, g):
    gx = right(LabelCrossEntropy)(self, g)
    ignored = self.labels < 0
    gx[ignored] = np.exp(self.inputs[0] - self.sums[:, None])[ignored]
    return gx


@wrong("cross_entropy", LabelCrossEntropy)
def smooths_no_label(self, g):
    self.smoothing, smoothing = 0.0, self.smoothing
    gx = right(LabelCrossEntropy)(self, g)
    self.smoothing = smoothing
    return gx


@wrong("nll_loss", NllLoss)
def weights_forgotten(self, g):
    gx = np.zeros_like(self.inputs[0])
    gx[np.arange(g.size), self.labels] = np.where(self.counts, -g, 0)
    return gx


@wrong("nll_loss", NllLoss)
def ignored_rows_count(self, g):
    gx = np.zeros_like(self.inputs[0])
    gx[np.arange(g.size), self.labels] = -g * np.where(self.counts, self.weights, 1)
    return gx


@wrong("mse_loss", Squared)
def mean_not_divided(self, g):
    return tuple(part / self.share(self.inputs[0].size) for part in right(Squared)(self, g))


@wrong("mse_loss", Squared)
def target_gets_the_same_sign(self, g):
    gx, _ = right(Squared)(self, g)
    return gx, gx.copy()


@wrong("smooth_l1_loss", Bent)
def no_bend(self, g):
    x, t = self.inputs
    gx = g * self.share(x.size) * self.scale * (x - t)
    return gx, -gx


@wrong("binary_cross_entropy", BinaryCrossEntropy)
def forgets_the_variance(self, g):
    x, t = self.inputs
    return g * self.share(x.size) * (x - t), right(BinaryCrossEntropy)(self, g)[1]


@wrong("binary_cross_entropy_with_logits", LogitsCrossEntropy)
def forgets_the_sigmoid(self, g):
    x, t = self.inputs
    return g * self.share(x.size) * (x - t), right(LogitsCrossEntropy)(self, g)[1]
