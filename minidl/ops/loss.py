"""Losses: how far predictions are from targets, as one number to descend."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minidl.axes import broadcast_shapes
from minidl.dtypes import require_float, require_same_dtype
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


@operation(samples=nll_loss_samples)
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
    loss = -as_rows(input).gather(1, input._constant(labels[:, None])).squeeze(1) * input._constant(of_rows)
    loss = loss.where(input._constant(counts), 0.0)
    count = input._constant(np.asarray(of_rows.sum(), input.dtype))
    return reduced("nll_loss", loss.reshape((input.shape[0], *input.shape[2:])), reduction, count)


def elementwise_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Pairs clear of the kink at equality, and of the bend at a distance of 1."""
    target = rng.standard_normal((3, 4))
    x = target + rng.choice([-1.6, -0.4, 0.5, 1.7], (3, 4))
    for reduction in ("mean", "sum", "none"):
        yield Sample(x, target, reduction=reduction)


def compared(name: str, input: Tensor, target: Tensor) -> None:
    require_tensor(name, input=input, target=target)
    require_float(name, input=input, target=target)
    require_same_dtype(name, input=input, target=target)
    broadcast_shapes(name, input.shape, target.shape)


@operation(samples=elementwise_samples)
def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """The squared error (input - target)², times weight if given.

    >>> import minidl, minidl.nn.functional as F
    >>> F.mse_loss(minidl.tensor([1.0, 3.0]), minidl.tensor([1.0, 1.0]))
    tensor(2.)
    """
    compared("mse_loss", input, target)
    loss = (input - target) ** 2
    if weight is None:
        return reduced("mse_loss", loss, reduction)
    count = weight.expand(loss.shape).sum() if reduction == "mean" else None
    return reduced("mse_loss", loss * weight, reduction, count)


@operation(samples=elementwise_samples)
def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """The absolute error |input - target|; its gradient at 0 is 0.

    >>> import minidl, minidl.nn.functional as F
    >>> F.l1_loss(minidl.tensor([1.0, 3.0]), minidl.tensor([1.0, 1.0]))
    tensor(1.)
    """
    compared("l1_loss", input, target)
    return reduced("l1_loss", (input - target).abs(), reduction)


@operation(samples=elementwise_samples)
def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d² / (2 beta) below a distance d of beta, else d - beta / 2 (R. Girshick, "Fast R-CNN", 2015).

    >>> import minidl, minidl.nn.functional as F
    >>> F.smooth_l1_loss(minidl.tensor([1.0, 3.0]), minidl.tensor([0.0, 0.0]), reduction="none")
    tensor([0.5, 2.5])
    """
    compared("smooth_l1_loss", input, target)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, but is {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)
    return reduced("smooth_l1_loss", bent(input - target, beta) * (1 / beta), reduction)


@operation(samples=elementwise_samples)
def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d² / 2 below a distance d of delta, else delta · (d - delta / 2) (P. Huber, 1964).

    >>> import minidl, minidl.nn.functional as F
    >>> F.huber_loss(minidl.tensor([1.0, 3.0]), minidl.tensor([0.0, 0.0]), reduction="none")
    tensor([0.5, 2.5])
    """
    compared("huber_loss", input, target)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be positive, but is {delta}")
    return reduced("huber_loss", bent(input - target, delta), reduction)


def bent(d: Tensor, bend: float) -> Tensor:
    """d² / 2 where |d| < bend, else bend · (|d| - bend / 2)."""
    far = d.abs()
    return (d * d * 0.5).where(far.detach() < bend, (far - bend / 2) * bend)


def probability_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Probabilities well inside 0..1."""
    p, target = rng.uniform(0.1, 0.9, (3, 4)), rng.uniform(0.1, 0.9, (3, 4))
    yield Sample(p, target)
    yield Sample(p, target, weight=Tensor(rng.uniform(0.5, 2, (3, 4))), reduction="sum")


@operation(samples=probability_samples)
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """-t log p - (1 - t) log(1 - p), with logarithms cut off at -100 so that a sure mistake costs 100, not infinity.

    >>> import minidl, minidl.nn.functional as F
    >>> F.binary_cross_entropy(minidl.tensor([0.0]), minidl.tensor([1.0]))
    tensor(100.)
    """
    compared("binary_cross_entropy", input, target)
    if input.shape != target.shape:
        raise ValueError(f"binary_cross_entropy: input has shape {input.shape} but target {target.shape}")
    p = input._array
    if p.size and (p.min() < 0 or p.max() > 1):
        raise ValueError("binary_cross_entropy: probabilities must be in 0..1; for scores use the one with logits")
    loss = -(target * input.log().clamp(min=-100)) - (1 - target) * (1 - input).log().clamp(min=-100)
    return reduced("binary_cross_entropy", loss if weight is None else loss * weight, reduction)


@operation(samples=elementwise_samples)
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross entropy of sigmoid(input), as (1 - t) x + (1 + (w - 1) t) log(1 + e^-x), which does not overflow.

    `pos_weight` is w, what a positive target counts.

    >>> import minidl, minidl.nn.functional as F
    >>> F.binary_cross_entropy_with_logits(minidl.tensor([0.0]), minidl.tensor([1.0]))
    tensor(0.6931472)
    """
    name = "binary_cross_entropy_with_logits"
    compared(name, input, target)
    if input.shape != target.shape:
        raise ValueError(f"{name}: input has shape {input.shape} but target {target.shape}")
    softplus = (-input.abs()).exp().log1p() + (-input).maximum(0.0)  # log(1 + e^-x)
    positive = 1.0 if pos_weight is None else 1.0 + (pos_weight - 1.0) * target
    loss = (1 - target) * input + positive * softplus
    return reduced(name, loss if weight is None else loss * weight, reduction)
