"""Vectors against vectors: lengths, angles, distances, and the losses by which embeddings are learnt."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minidl.axes import broadcast_shapes
from minidl.dtypes import require_float, require_same_dtype
from minidl.ops.loss import reduced
from minidl.ops.samples import calls, on, signed
from minidl.ops.table import Sample, operation, require_tensor
from minidl.tensor import Tensor


def compared(name: str, **vectors: Tensor) -> None:
    """TypeError unless all are floating-point Tensors of one dtype, ValueError unless they broadcast."""
    require_tensor(name, **vectors)
    require_same_dtype(name, **vectors)
    broadcast_shapes(name, *(x.shape for x in vectors.values()))


@operation(samples=calls(on(3, 4, draw=signed), on(2, 3, 2, draw=signed, p=3, dim=-1), on(4, draw=signed, p=1, dim=0)))
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Vectors of length 1: x / max(‖x‖_p, eps), along a dim.

    >>> import minidl, minidl.nn.functional as F
    >>> F.normalize(minidl.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6, 0.8],
            [0. , 0. ]])
    """
    require_tensor("normalize", input=input)
    require_float("normalize", input=input)
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)


def pairs(rng: np.random.Generator) -> Iterator[Sample]:
    """Two batches of vectors, and one of them against a single vector."""
    yield Sample(signed(rng, 3, 4), signed(rng, 3, 4))
    yield Sample(signed(rng, 2, 3), signed(rng, 3))


@operation(samples=pairs)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along a dim: x1 · x2 / (max(‖x1‖, eps) · max(‖x2‖, eps)).

    Shapes:
        x1 and x2 broadcast; the result has that shape without the dim.

    >>> import minidl, minidl.nn.functional as F
    >>> F.cosine_similarity(minidl.tensor([1.0, 0.0]), minidl.tensor([[3.0, 4.0], [-2.0, 0.0]]))
    tensor([ 0.6, -1. ])
    """
    compared("cosine_similarity", x1=x1, x2=x2)
    shape = broadcast_shapes("cosine_similarity", x1.shape, x2.shape)
    x1, x2 = x1.expand(shape), x2.expand(shape)
    lengths = x1.norm(2, dim).clamp(min=eps) * x2.norm(2, dim).clamp(min=eps)
    return (x1 * x2).sum(dim) / lengths


@operation(samples=pairs)
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The distance ‖x1 - x2 + eps‖_p along the last dim; eps keeps the gradient of equal vectors finite.

    Shapes:
        x1 and x2 (..., D), which broadcast -> (...).

    >>> import minidl, minidl.nn.functional as F
    >>> F.pairwise_distance(minidl.tensor([3.0, 4.0]), minidl.tensor([0.0, 0.0]), eps=0.0)
    tensor(5.)
    """
    compared("pairwise_distance", x1=x1, x2=x2)
    return (x1 - x2 + eps).norm(p, -1, keepdim)


def triplets(rng: np.random.Generator) -> Iterator[Sample]:
    """Triplets clear of the margin's kink; some count, some do not."""
    anchor = rng.standard_normal((4, 3))
    near, far = anchor + signed(rng, 4, 3) * 0.5, anchor + signed(rng, 4, 3) + 3
    for reduction in ("mean", "sum", "none"):
        yield Sample(anchor, near, far, reduction=reduction)
        yield Sample(anchor, far, near, margin=0.5, p=3, swap=True, reduction=reduction)


@operation(samples=triplets)
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(a, p) - d(a, n) + margin): like is to be nearer than unlike, by a margin, d being `pairwise_distance`.

    V. Balntas et al., "Learning local feature descriptors with triplets and shallow convolutional neural networks",
    2016.

    Args:
        anchor, positive, negative: (..., D), which broadcast.
        swap: measure the negative from the positive, where it is nearer to that.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: a margin that is not positive, an unknown reduction, shapes that do not broadcast.

    >>> import minidl, minidl.nn.functional as F
    >>> a, p, n = minidl.tensor([[0.0]]), minidl.tensor([[2.0]]), minidl.tensor([[-1.5]])
    >>> F.triplet_margin_loss(a, p, n, eps=0.0)
    tensor(1.5)
    """
    compared("triplet_margin_loss", anchor=anchor, positive=positive, negative=negative)
    if not margin > 0:
        raise ValueError(f"triplet_margin_loss: margin must be positive, but is {margin}")
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return reduced("triplet_margin_loss", (near - far + margin).clamp(min=0), reduction)


def signs(rng: np.random.Generator) -> Iterator[Sample]:
    """Pairs that belong together and pairs that do not."""
    target = Tensor(np.array([1, -1, -1, 1]))
    for reduction in ("mean", "none"):
        yield Sample(signed(rng, 4, 3), signed(rng, 4, 3), target, reduction=reduction)


@operation(samples=signs, smooth=False)
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """1 - cos of the angle of vectors that belong together (target 1), max(0, cos - margin) of others (target -1).

    Where the target is neither, the loss is 0.

    Args:
        input1, input2: (N, D) or (D,). target: (N,) or ().
        margin: in -1..1; 0 to 0.5 is usual.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: other shapes, an unknown reduction.

    >>> import minidl, minidl.nn.functional as F
    >>> x, y = minidl.tensor([[1.0, 0.0]] * 2), minidl.tensor([[3.0, 4.0]] * 2)
    >>> F.cosine_embedding_loss(x, y, minidl.tensor([-1, 0]), reduction="none")
    tensor([0.6, 0. ])
    """
    name = "cosine_embedding_loss"
    compared(name, input1=input1, input2=input2)
    require_tensor(name, target=target)
    if input1.shape != input2.shape or input1.ndim not in (1, 2) or target.shape != input1.shape[:-1]:
        shapes = f"{input1.shape}, {input2.shape} and {target.shape}"
        raise ValueError(f"{name}: expects (N, D), (N, D) and (N,), or (D,), (D,) and (), not {shapes}")
    cosine = cosine_similarity(input1, input2, dim=-1)
    loss = (1 - cosine).where(target == 1, 0.0) + (cosine - margin).clamp(min=0).where(target == -1, 0.0)
    return reduced(name, loss, reduction)


def rankings(rng: np.random.Generator) -> Iterator[Sample]:
    """Scores clear of the kink, in the right order and in the wrong one."""
    x1 = rng.standard_normal(5)
    yield Sample(x1, x1 + signed(rng, 5), Tensor(np.array([1, -1, 1, -1, 1.0])), margin=0.1)
    yield Sample(x1, x1 + signed(rng, 5), Tensor(np.array(1.0)), reduction="none")


@operation(samples=rankings)
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """max(0, -target · (input1 - input2) + margin): the first is to be larger (target 1) or smaller (-1).

    >>> import minidl, minidl.nn.functional as F
    >>> F.margin_ranking_loss(minidl.tensor([1.0, 1.0]), minidl.tensor([3.0, 0.0]), minidl.tensor([1.0, 1.0]))
    tensor(1.)

    Raises:
        ValueError: shapes that do not broadcast, an unknown reduction.
    """
    compared("margin_ranking_loss", input1=input1, input2=input2, target=target)
    return reduced("margin_ranking_loss", (margin - target * (input1 - input2)).clamp(min=0), reduction)
