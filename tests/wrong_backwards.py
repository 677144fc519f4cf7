"""A bank of wrong backwards, such as students write and reviewers miss: the checks must reject every one.

Each entry replaces the backward of one Function while one operation of the op table is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import primitives as P
from minidl.function import Function, call
from minidl.kernels import conv as conv_kernels
from minidl.kernels import pool as pool_kernels
from minidl.ops.activation import Clamp, LeakyRelu, Relu
from minidl.ops.attention import ScaledDotProductAttention
from minidl.ops.conv import Conv2d
from minidl.ops.distances import Bent, BinaryCrossEntropy, LogitsCrossEntropy, Squared
from minidl.ops.dropout import Dropout
from minidl.ops.embedding import Embedding
from minidl.ops.heads import SplitHeads
from minidl.ops.linear import Linear
from minidl.ops.loss import CrossEntropy, LabelCrossEntropy, NllLoss
from minidl.ops.norm import BatchNorm, LayerNorm, channel_axes, per_channel
from minidl.ops.pool import AvgPool2d, MaxPool2d
from minidl.ops.positions import RotaryEmbedding
from minidl.ops.recurrent import Gru, Lstm, RnnRelu, RnnTanh
from minidl.ops.smooth import Elu, Gelu, Sigmoid, Silu, Softplus
from minidl.ops.softmax import LogSoftmax, Softmax


@dataclass(frozen=True)
class Wrong:
    """One mistake: `backward` stands in for that of `passes` while `operation` is checked."""

    operation: str
    passes: type[Function]
    backward: Callable[..., Any]

    @property
    def name(self) -> str:
        return f"{self.operation}: {self.backward.__name__.strip('_').replace('_', ' ')}"


BANK: list[Wrong] = []


def wrong(operation: str, passes: type[Function]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(backward: Callable[..., Any]) -> Callable[..., Any]:
        BANK.append(Wrong(operation, passes, backward))
        return backward

    return register


def right(passes: type[Function]) -> Callable[..., Any]:
    """The backward as it is in the library, whatever stands in for it now."""
    return RIGHT[passes]


PASSES = [
    Conv2d,
    MaxPool2d,
    AvgPool2d,
    Linear,
    BatchNorm,
    LayerNorm,
    Softmax,
    LogSoftmax,
    CrossEntropy,
    LabelCrossEntropy,
    Dropout,
]
PASSES += [Relu, LeakyRelu, Sigmoid, Silu, Gelu, P.MatMul, P.Sum, P.CumSum, P.Prod, P.Max, P.Exp, P.Tanh, P.Add, P.Mul]
PASSES += [P.Div, P.Sqrt, P.GetItem, P.Gather, P.ScatterAdd, P.Cat, P.Pad, P.Permute, P.Einsum, P.Where, P.Log]
PASSES += [Lstm, Gru, ScaledDotProductAttention, Embedding, RotaryEmbedding]
PASSES += [SplitHeads, RnnTanh, RnnRelu]
PASSES += [Clamp, Elu, Softplus, NllLoss, Squared, Bent, BinaryCrossEntropy, LogitsCrossEntropy]
RIGHT = {passes: passes.backward for passes in PASSES}


# Mistakes that can be made anywhere


def with_wrong_sign(passes: type[Function], i: int) -> Callable[..., Any]:
    def wrong_sign(self: Any, *g: Any) -> Any:
        grads = right(passes)(self, *g)
        if type(grads) is not tuple:
            return -grads
        return tuple(-x if i == j and x is not None else x for j, x in enumerate(grads))

    wrong_sign.__name__ = f"wrong_sign_of_gradient_{i}"
    return wrong_sign


def all_zero(self: Any, g: Any) -> Any:
    found = tuple(None if x is None else np.zeros_like(x) for x in self.inputs)
    return found if len(found) > 1 else found[0]


for operation, passes, i in [
    ("conv2d", Conv2d, 0),
    ("conv2d", Conv2d, 1),
    ("conv2d", Conv2d, 2),
    ("max_pool2d", MaxPool2d, 0),
    ("avg_pool2d", AvgPool2d, 0),
    ("linear", Linear, 1),
    ("batch_norm", BatchNorm, 0),
    ("cross_entropy", CrossEntropy, 0),
    ("matmul", P.MatMul, 1),
    ("div", P.Div, 1),
    ("einsum", P.Einsum, 0),
]:
    wrong(operation, passes)(with_wrong_sign(passes, i))
wrong("conv2d", Conv2d)(all_zero)
wrong("linear", Linear)(all_zero)
wrong("layer_norm", LayerNorm)(all_zero)


# Convolution


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


# Pooling


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


# Linear and matmul


@wrong("linear", Linear)
def bias_gradient_without_the_batch_sum(self, g):
    gx, gw, gb = right(Linear)(self, g)
    return gx, gw, None if gb is None else g.reshape(-1, len(self.inputs[1]))[-1:].sum(0)


@wrong("linear", Linear)
def weight_gradient_of_the_last_sample_only(self, g):
    gx, gw, gb = right(Linear)(self, g)
    x = self.inputs[0]
    rows, gs = x.reshape(-1, x.shape[-1])[-1:], g.reshape(-1, len(gw))[-1:]
    return gx, gs.T @ rows, gb


@wrong("linear", Linear)
def weight_gradient_divided_by_the_batch(self, g):
    gx, gw, gb = right(Linear)(self, g)
    return gx, gw / max(g.size // len(gw), 1), gb


# Recurrent layers


@wrong("lstm", Lstm)
def last_states_pass_no_gradient(self, g, gh, gc):
    return right(Lstm)(self, g, np.zeros_like(gh), np.zeros_like(gc))


@wrong("lstm", Lstm)
def first_cell_state_gets_no_gradient(self, *grads):
    found = right(Lstm)(self, *grads)
    return (*found[:2], np.zeros_like(found[2]), *found[3:])


@wrong("lstm", Lstm)
def ignores_the_direction(self, *grads):
    self.reverse = False
    return right(Lstm)(self, *grads)


@wrong("lstm", Lstm)
def projection_gets_what_came_from_above_only(self, g, *states):
    found = right(Lstm)(self, g, *states)
    return found if found[7] is None else (*found[:7], g.T @ self.kept[2])


@wrong("lstm", Lstm)
def projection_is_not_differentiated(self, *grads):
    found = right(Lstm)(self, *grads)
    return found if found[7] is None else (*found[:7], np.zeros_like(found[7]))


@wrong("gru", Gru)
def weight_gradient_of_the_last_step_only(self, *grads):
    found = list(right(Gru)(self, *grads))
    found[3] = found[3] / len(self.sizes)
    return tuple(found)


@wrong("gru", Gru)
def one_bias_gradient_for_both(self, *grads):
    found = list(right(Gru)(self, *grads))
    found[5] = None if found[4] is None else found[4].copy()
    return tuple(found)


@wrong("rnn_tanh", RnnTanh)
def forgets_the_state_before_the_first_step(self, *grads):
    found = list(right(RnnTanh)(self, *grads))
    found[1] = None if found[1] is None else np.zeros_like(found[1])
    return tuple(found)


@wrong("rnn_relu", RnnRelu)
def ignores_the_gradients_of_the_last_states(self, g, last):
    return right(RnnRelu)(self, g, np.zeros_like(last))


@wrong("matmul", P.MatMul)
def result_is_transposed(self, g):
    ga, gb = right(P.MatMul)(self, g)
    return ga, None if gb is None else np.asarray(gb).swapaxes(-1, -2).reshape(gb.shape)


@wrong("matmul", P.MatMul)
def only_the_first_of_the_batch(self, g):
    kept = np.zeros(g.shape, g.dtype)
    kept[:1] = np.asarray(g)[:1]
    return right(P.MatMul)(self, kept)


# Normalisation


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


# Softmax and cross entropy


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


# Activations and dropout


@wrong("relu", Relu)
def passes_what_is_negative(self, g):
    return g * (np.asarray(self.output) <= 0)


@wrong("relu", Relu)
def multiplies_by_the_output_not_by_its_mask(self, g):
    return g * self.output


@wrong("relu", Relu)
def cuts_the_gradient_where_it_is_negative(self, g):
    return g * (np.asarray(g) > 0)


@wrong("leaky_relu", LeakyRelu)
def slope_is_forgotten(self, g):
    return g * (np.asarray(self.inputs[0]) > 0)


@wrong("relu6", Clamp)
def lets_it_pass_above_the_upper_end(self, g):
    return g * (self.inputs[0] > self.low)


@wrong("hardsigmoid", Clamp)
def slope_of_one(self, g):
    return right(Clamp)(self, g) / self.scale


@wrong("celu", Elu)
def forgets_the_inner_derivative(self, g):
    x = self.inputs[0]
    return right(Elu)(self, g) if self.rate == 1 else np.where(x <= 0, right(Elu)(self, g) / self.rate, g)


@wrong("elu", Elu)
def uses_the_input_where_the_exponential_belongs(self, g):
    x = self.inputs[0]
    return g * np.where(x <= 0, self.height * (1 + x), self.scale)


@wrong("softplus", Softplus)
def derivative_is_tanh(self, g):
    return g * np.tanh(self.inputs[0])


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


@wrong("sigmoid", Sigmoid)
def uses_the_input_for_the_output(self, g):
    y = np.arctanh(np.clip(np.asarray(self.output) * 2 - 1, -1 + 1e-12, 1 - 1e-12)) * 2
    return g * (y * (1 - y))


@wrong("silu", Silu)
def forgets_the_product_rule(self, g):
    (x,) = self.inputs
    return g * (1.0 / ((-x).exp() + 1.0)) if hasattr(x, "exp") else g / (np.exp(-x) + 1)


@wrong("gelu", Gelu)
def derivative_of_the_other_form(self, g):
    (x,) = self.inputs
    return right(Gelu)(self, g) * 1.001


@wrong("dropout", Dropout)
def ignores_the_mask(self, g):
    return g


@wrong("dropout", Dropout)
def forgets_to_scale(self, g):
    return right(Dropout)(self, g) * (1 - self.p)


@wrong("dropout", Dropout)
def draws_another_mask(self, g):
    return Dropout(seed=self.seed + 1, p=self.p, over=self.over).forward(g)


# Reductions, elementwise, shapes, indexing: only the finite differences know better


@wrong("mean", P.Scale)
def forgets_one_over_n(self, g):
    return g


@wrong("sum", P.Sum)
def spreads_by_row_not_by_dim(self, g):
    shape = np.asarray(g).size and self.source
    return np.resize(np.asarray(g), shape or self.source)


@wrong("sum", P.Sum)
def divides_as_if_it_were_a_mean(self, g):
    return right(P.Sum)(self, g) / 2.0


@wrong("cumsum", P.CumSum)
def sums_forward_instead_of_back(self, g):
    return np.cumsum(np.asarray(g), self.axis)


@wrong("prod", P.Prod)
def divides_by_the_factor(self, g):
    (a,) = (np.asarray(x) for x in self.inputs)
    kept = np.expand_dims(np.asarray(g), self.axis) if np.ndim(g) < a.ndim else np.asarray(g)
    with np.errstate(all="ignore"):
        return kept * np.nan_to_num(a.prod(self.axis, keepdims=True) / a)


@wrong("amax", P.Max)
def gives_it_to_all(self, g):
    return np.broadcast_to(
        np.asarray(g).reshape([1 if i in self.axes else n for i, n in enumerate(self.source)]), self.source
    )


@wrong("add", P.Add)
def forgets_to_unbroadcast(self, g):
    first = [tuple(slice(0, n) for n in shape) for shape in self.shapes or (g.shape, g.shape)]
    return tuple(np.asarray(g)[(0,) * (g.ndim - len(key))][key] for key in first)


@wrong("mul", P.Mul)
def own_factor_in_place_of_the_other(self, g):
    ga, gb = right(P.Mul)(self, g)
    return (ga, gb) if self.shapes else (gb, ga)


@wrong("sqrt", P.Sqrt)
def loses_the_factor_2(self, g):
    return g / self.output


@wrong("exp", P.Exp)
def writes_into_the_kept_output(self, g):
    out = np.asarray(self.output)
    out *= g
    return out


@wrong("tanh", P.Tanh)
def derivative_without_the_square(self, g):
    return g * (1.0 - self.output)


@wrong("log", P.Log)
def multiplies_where_it_should_divide(self, g):
    return g * self.inputs[0]


@wrong("gather", P.Gather)
def repeated_places_are_overwritten(self, g):
    a = np.zeros(self.source, g.dtype)
    np.put_along_axis(a[tuple(slice(n if i != self.axis else None) for i, n in enumerate(self.index.shape))],
                      self.index, np.asarray(g), self.axis)  # fmt: skip
    return a


@wrong("index_select", P.GetItem)
def slices_picked_twice_count_once(self, g):
    a = np.zeros(self.source, g.dtype)
    a[self.key] = np.asarray(g)
    return a


@wrong("scatter_add", P.ScatterAdd)
def source_gradient_not_gathered(self, g):
    return np.resize(np.asarray(g), self.index.shape)


@wrong("cat", P.Cat)
def parts_come_back_reversed(self, g):
    return tuple(None if part is None else part[::-1] for part in right(P.Cat)(self, g))


@wrong("pad", P.Pad)
def cuts_off_the_wrong_end(self, g):
    inner = tuple(slice(after, n - before) for (before, after), n in zip(self.widths, g.shape, strict=True))
    return g[inner]


@wrong("permute", P.Permute)
def permutes_again_instead_of_back(self, g):
    back = right(P.Permute)(self, g)
    again = np.asarray(g).transpose(self.axes)
    return again if again.shape == back.shape else np.resize(again, back.shape)


@wrong("where", P.Where)
def both_branches_get_it(self, g):
    return g, g


# Attention, embedding, positions

for i in range(4):
    wrong("scaled_dot_product_attention", ScaledDotProductAttention)(with_wrong_sign(ScaledDotProductAttention, i))


@wrong("scaled_dot_product_attention", ScaledDotProductAttention)
def softmax_passes_the_gradient_on(self, g):
    """Without D = g · y."""
    output, self.output = self.output, np.zeros_like(self.output)
    grads = right(ScaledDotProductAttention)(self, g)
    self.output = output
    return grads


@wrong("scaled_dot_product_attention", ScaledDotProductAttention)
def keys_forget_the_scale(self, g):
    gq, gk, gv, gmask = right(ScaledDotProductAttention)(self, g)
    return gq, gk / self.scale, gv, gmask


@wrong("scaled_dot_product_attention", ScaledDotProductAttention)
def causality_is_forgotten(self, g):
    causal, self.options = self.options, {**self.options, "causal": False}
    grads = right(ScaledDotProductAttention)(self, g)
    self.options = causal
    return grads


@wrong("scaled_dot_product_attention", ScaledDotProductAttention)
def dropout_is_drawn_anew(self, g):
    options, self.options = self.options, {**self.options, "seed": self.options["seed"] + 1}
    grads = right(ScaledDotProductAttention)(self, g)
    self.options = options
    return grads


@wrong("scaled_dot_product_attention", ScaledDotProductAttention)
def boolean_mask_is_forgotten(self, g):
    inputs, mask = self.inputs, self.inputs[3]
    if mask is not None and mask.dtype == bool:
        self.inputs = (*inputs[:3], None)
    grads = right(ScaledDotProductAttention)(self, g)
    self.inputs = inputs
    return grads


@wrong("embedding", Embedding)
def rows_looked_up_twice_count_once(self, g):
    gw = np.zeros_like(self.inputs[0])
    gw[self.ids] = g
    return gw


@wrong("embedding", Embedding)
def neighbouring_row(self, g):
    return np.roll(right(Embedding)(self, g), 1, 0)


@wrong("rotary_embedding", RotaryEmbedding)
def turns_on_instead_of_back(self, g):
    return call(RotaryEmbedding, g, cos=self.cos, sin=self.sin, interleaved=self.interleaved)


@wrong("split_heads", SplitHeads)
def parts_stand_in_another_order(self, *gs):
    return right(SplitHeads)(self, *gs[::-1])


@wrong("split_heads", SplitHeads)
def heads_stand_where_rows_should(self, *gs):
    N, H, T, d = gs[0].shape
    return np.concatenate([g.reshape(N, T, H * d) for g in gs], -1)


@wrong("split_heads", SplitHeads)
def only_the_queries_get_a_gradient(self, *gs):
    return right(SplitHeads)(self, gs[0], *(np.zeros_like(g) for g in gs[1:]))
