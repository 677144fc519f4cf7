"""Losses of scores for classes: how far predictions are from targets, as one number to descend."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minidl.axes import broadcast_shapes
from minidl.dtypes import require_same_dtype
from minidl.function import Function
from minidl.kernels import softmax as kernels
from minidl.ops.softmax import log_softmax, shifted
from minidl.ops.table import Sample, operation, require_tensor, run
from minidl.tensor import Tensor


def cross_entropy_definition(x: Tensor, t: Tensor) -> Tensor:
    """-Σ_c t_c · log softmax(x)_c for each row; what has no weight, though its probability be 0, counts nothing."""
    scores = log_softmax(x, -1)
    return -(scores.where(t.detach() != 0, 0.0) * t).sum(-1)


class CrossEntropy(Function):
    """ℓ_m = -Σ_c t_mc · log p_mc with p = softmax(x), for scores x (M, C) and target weights t (M, C).

    log p_c = x_c - log Σ_j exp(x_j), so ∂ℓ/∂x_c = -t_c + p_c Σ_j t_j and ∂ℓ/∂t_c = -log p_c: where the targets add up
    to 1, the gradient of the scores is the probabilities minus the targets.
    """

    definition = staticmethod(cross_entropy_definition)

    def forward(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        scores = shifted(x, 1)
        exponentials = np.exp(scores)
        total = exponentials.sum(1, keepdims=True)
        self.probabilities = np.divide(exponentials, total, out=exponentials)
        scores -= np.log(total)
        products = scores * t
        products[t == 0] = 0
        return -products.sum(1)

    def backward(self, g: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        x, t = self.inputs
        g = g[:, None]
        gx = gt = None
        if self.needs[0]:
            total = t.sum(1, keepdims=True)
            gx = self.probabilities * total
            gx -= t
            gx *= np.where(total == 0, 0, g)  # a row that counts nothing, though the mean of nothing be NaN
            gx[~t.any(1)] = 0  # ignored rows, also where all are and g, divided by their count, is infinite
        if self.needs[1]:
            scores = shifted(x, 1)
            gt = -g * (scores - np.log(np.exp(scores).sum(1, keepdims=True)))
        return gx, gt


def dense_targets(labels: np.ndarray, weights: np.ndarray, smoothing: float) -> np.ndarray:
    """t (M, C) of labels (M,), -1 for those that count nothing: t_c = (1 - ε) w_y [c = y] + ε w_c / C."""
    t = np.zeros((labels.size, weights.size), weights.dtype)
    if t.size:
        t += smoothing / weights.size * weights
        t[np.arange(labels.size), labels] += (1 - smoothing) * weights[labels]
        t[labels < 0] = 0
    return t


def label_definition(x: Tensor, labels: np.ndarray, weights: np.ndarray, smoothing: float) -> Tensor:
    """The cross-entropy with the targets that the labels stand for."""
    return cross_entropy_definition(x, x._constant(dense_targets(labels, weights, smoothing)))


class LabelCrossEntropy(Function):
    """`CrossEntropy` of labels y (M,): targets that are 0 but for one class are not written out.

    With s = log Σ_j exp(x_j) the loss is (1 - ε) w_y (s - x_y) + ε / C Σ_c w_c (s - x_c), and p_c = exp(x_c - s), so
    forward keeps one number a row, s. Rows with the label -1 count nothing.
    """

    definition = staticmethod(label_definition)

    def forward(self, x: np.ndarray) -> np.ndarray:
        losses, self.sums = kernels.cross_entropy_forward(x, self.labels, self.weights, self.smoothing)
        return losses

    def backward(self, g: np.ndarray) -> np.ndarray:
        options = self.labels, self.weights, self.smoothing, self.sums
        return kernels.cross_entropy_backward(g, self.inputs[0], *options)


def reduced(name: str, loss: Tensor, reduction: str, count: Tensor | None = None) -> Tensor:
    """The losses themselves, their sum, or their mean (over `count` where not all count the same)."""
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction != "mean":
        raise ValueError(f"{name}: reduction must be 'none', 'mean' or 'sum', not {reduction!r}")
    return loss.mean() if count is None else loss.sum() / count


def class_weights(name: str, input: Tensor, weight: Tensor | None) -> np.ndarray:
    """What each class counts, (C,)."""
    C = input.shape[1]
    if weight is None:
        return np.ones(C, input.dtype)
    if weight.shape != (C,):
        raise ValueError(f"{name}: weight must have shape ({C},), one for each class, not {weight.shape}")
    return weight._array


def checked_labels(name: str, input: Tensor, target: Tensor, ignore_index: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (M,), with 0 for those to ignore, and which count; IndexError for labels that name no class."""
    labels, C = target._array, input.shape[1]
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name}: target must hold class indices, but is {target.dtype}")
    expected = (input.shape[0], *input.shape[2:])
    if target.shape != expected:
        raise ValueError(f"{name}: target must have shape {expected}, not {target.shape} (input: {input.shape})")
    labels = labels.reshape(-1)
    counts = labels != ignore_index
    wrong = counts & ((labels < 0) | (labels >= C))
    if wrong.any():
        raise IndexError(f"{name}: label {labels[wrong][0]} is out of range for {C} classes (0..{C - 1})")
    return np.where(counts, labels, 0), counts


def as_rows(x: Tensor) -> Tensor:
    """(N, C, d1, ...) as (N · d1 ..., C)."""
    return (x if x.ndim == 2 else x.movedim(1, -1)).reshape(-1, x.shape[1]) if x.shape[1] else x.reshape(0, 0)


def cross_entropy_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Labels and probabilities, weights, ignored labels, smoothing, every reduction, images of labels."""
    x, labels = rng.standard_normal((5, 4)), rng.integers(0, 4, 5)
    yield Sample(x, labels)
    yield Sample(x, labels, reduction="sum", ignore_index=int(labels[0]))
    weight = Tensor(rng.uniform(0.5, 2, 4))
    yield Sample(x, labels, weight=weight, label_smoothing=0.2, ignore_index=int(labels[1]))
    yield Sample(x, labels, reduction="none", label_smoothing=0.5)
    yield Sample(rng.standard_normal((2, 3, 2, 3)), rng.integers(0, 3, (2, 2, 3)), label_smoothing=0.1)
    yield Sample(x, rng.dirichlet(np.ones(4), 5), weight=weight, label_smoothing=0.1)
    yield Sample(rng.standard_normal(3), np.array(2))


@operation(samples=cross_entropy_samples, passes=CrossEntropy)
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """How surprised the scores are by the right class: -log softmax(input)[target].

    For weights w and smoothing ε the loss of a row with label y is -Σ_c t_c log p_c, where t_c = (1 - ε) w_y [c = y]
    + ε w_c / C; the mean divides by the sum of all w_y. Targets may also be probabilities q of the same shape as the
    scores: t_c = w_c ((1 - ε) q_c + ε / C), and the mean divides by the number of rows.

    C. Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016 (label smoothing).

    Args:
        input: scores (N, C), (C,) for one row, or (N, C, d1, ...).
        target: class indices (N,), () or (N, d1, ...), integer; or probabilities of input's shape.
        weight: what each class counts (C,).
        ignore_index: rows with this label count nothing; if all do, the mean is NaN.
        reduction: "none" (a loss for each row), "mean" or "sum".
        label_smoothing: ε in 0..1.

    Raises:
        IndexError: a label that names no class. TypeError: dtypes, ValueError: shapes that do not go together.

    >>> import minidl, minidl.nn.functional as F
    >>> F.cross_entropy(minidl.tensor([[0.0, 0.0]]), minidl.tensor([1]))
    tensor(0.6931472)
    """
    require_tensor("cross_entropy", input=input, target=target, weight=weight)
    require_same_dtype("cross_entropy", input=input, weight=weight)
    if input.ndim == 0:
        raise ValueError("cross_entropy: input must be (N, C), (C,) or (N, C, d1, ...), not ()")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must be in 0..1, but is {label_smoothing}")
    if input.ndim == 1:
        options = weight, ignore_index, reduction, label_smoothing
        loss = cross_entropy(input.unsqueeze(0), target.unsqueeze(0), *options)
        return loss.squeeze(0) if loss.ndim else loss
    weights, C = class_weights("cross_entropy", input, weight), input.shape[1]
    shape = (input.shape[0], *input.shape[2:])
    if target.is_floating_point():
        require_same_dtype("cross_entropy", input=input, target=target)
        if target.shape != input.shape:
            raise ValueError(f"cross_entropy: probabilities of shape {target.shape} for scores of {input.shape}")
        targets = as_rows(target) * (1 - label_smoothing) + label_smoothing / max(C, 1)
        targets = targets * Tensor(weights)
        count = None if reduction != "mean" else targets._constant(np.asarray(len(targets), input.dtype))
        loss = run(CrossEntropy(), as_rows(input), targets)
    else:
        labels, counts = checked_labels("cross_entropy", input, target, ignore_index)
        of_rows = weights[labels] * counts if C else np.zeros(0, input.dtype)
        count = None if reduction != "mean" else input._constant(np.asarray(of_rows.sum(), input.dtype))
        node = LabelCrossEntropy(labels=np.where(counts, labels, -1), weights=weights, smoothing=label_smoothing)
        loss = run(node, as_rows(input))
    return reduced("cross_entropy", loss.reshape(shape), reduction, count)


def nll_loss_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """As for cross entropy."""
    x, labels = rng.standard_normal((5, 4)), rng.integers(0, 4, 5)
    yield Sample(x, labels)
    yield Sample(x, labels, weight=Tensor(rng.uniform(0.5, 2, 4)), ignore_index=int(labels[1]))
    yield Sample(rng.standard_normal((2, 3, 2)), rng.integers(0, 3, (2, 2)), reduction="none")


def nll_definition(x: Tensor, labels: np.ndarray, weights: np.ndarray, counts: np.ndarray) -> Tensor:
    """For each row the number at its label, times what the row counts, negative."""
    chosen = x.gather(1, x._constant(labels[:, None])).squeeze(1)
    return (-chosen * x._constant(weights)).where(x._constant(counts), 0.0)


class NllLoss(Function):
    """ℓ_m = -w_m x[m, y_m], 0 for rows that do not count; so gx is -w_m g_m at y_m, and 0 at the other classes."""

    definition = staticmethod(nll_definition)

    def forward(self, x: np.ndarray) -> np.ndarray:
        return np.where(self.counts, -x[np.arange(self.labels.size), self.labels] * self.weights, 0).astype(x.dtype)

    def backward(self, g: np.ndarray) -> np.ndarray:
        gx = np.zeros(self.inputs[0].shape, g.dtype)
        gx[np.arange(self.labels.size), self.labels] = np.where(self.counts, -g * self.weights, 0)
        return gx


@operation(samples=nll_loss_samples, passes=NllLoss)
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood -w_y · input[y]: `cross_entropy` of scores that are log-probabilities already.

    >>> import minidl, minidl.nn.functional as F
    >>> F.nll_loss(minidl.tensor([[-0.5, -1.0]]), minidl.tensor([1]))
    tensor(1.)
    """
    require_tensor("nll_loss", input=input, target=target, weight=weight)
    require_same_dtype("nll_loss", input=input, weight=weight)
    if input.ndim == 0:
        raise ValueError("nll_loss: input must be (N, C), (C,) or (N, C, d1, ...), not ()")
    if input.ndim == 1:
        loss = nll_loss(input.unsqueeze(0), target.unsqueeze(0), weight, ignore_index, reduction)
        return loss.squeeze(0) if loss.ndim else loss
    weights = class_weights("nll_loss", input, weight)
    labels, counts = checked_labels("nll_loss", input, target, ignore_index)
    of_rows = (weights[labels] if labels.size else weights[:0]) * counts
    loss = run(NllLoss(labels=labels, weights=of_rows, counts=counts), as_rows(input))
    count = input._constant(np.asarray(of_rows.sum(), input.dtype))
    return reduced("nll_loss", loss.reshape((input.shape[0], *input.shape[2:])), reduction, count)


def kl_div_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Log-probabilities against probabilities, and against their logarithms."""
    x, p = np.log(rng.dirichlet(np.ones(4), 3)), rng.dirichlet(np.ones(4) * 3, 3)
    for reduction in ("mean", "batchmean", "sum", "none"):
        yield Sample(x, p, reduction=reduction)
    yield Sample(x, np.log(p), reduction="batchmean", log_target=True)


@operation(samples=kl_div_samples)
def kl_div(input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """The divergence of distributions, Σ t (log t - x), of log-probabilities x from probabilities t; 0 log 0 is 0.

    S. Kullback, R. Leibler, "On information and sufficiency", 1951. Students learn from teachers by it (G. Hinton et
    al., "Distilling the knowledge in a neural network", 2015).

    Args:
        input: log-probabilities. target: probabilities, or with `log_target` their logarithms.
        reduction: "none", "sum", "mean" over all values, or "batchmean", the sum divided by the first length: the
            divergence itself, averaged over the batch.

    Raises:
        ValueError: shapes that do not broadcast, an unknown reduction.

    >>> import minidl, minidl.nn.functional as F
    >>> F.kl_div(minidl.tensor([[0.5, 0.5]]).log(), minidl.tensor([[1.0, 0.0]]), reduction="batchmean")
    tensor(0.6931472)
    """
    require_tensor("kl_div", input=input, target=target)
    require_same_dtype("kl_div", input=input, target=target)
    broadcast_shapes("kl_div", input.shape, target.shape)
    if log_target:
        loss = target.exp() * (target - input)
    else:
        loss = target * (target.where(target != 0, 1.0).log() - input)
    if reduction != "batchmean":
        return reduced("kl_div", loss, reduction)
    return loss.sum() / (input.shape[0] if input.ndim else 1)
