"""PyTorch's functions that pick values by index or mask, over the methods of Tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.axes import as_int
from minidl.dtypes import int64
from minidl.ops.samples import calls, normal, on
from minidl.ops.table import Sample, operation, require_tensor
from minidl.tensor import Tensor

__all__ = [
    "gather",
    "index_select",
    "masked_fill",
    "masked_select",
    "narrow",
    "nonzero",
    "one_hot",
    "repeat_interleave",
    "scatter_add",
    "select",
    "take_along_dim",
    "tril",
    "triu",
]


@operation(
    samples=calls(
        lambda rng: Sample(normal(rng, 3, 4), 0, rng.integers(0, 3, (2, 4))),
        lambda rng: Sample(normal(rng, 3, 4), -1, rng.integers(0, 4, (2, 7))),
        lambda rng: Sample(normal(rng, 3), 0, np.zeros(0, np.int64)),
    )
)
def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim 0, out[i][j] = input[i][index[i][j]] for dim 1, and so on.

    >>> import minidl
    >>> logits = minidl.tensor([[0.1, 0.9], [0.8, 0.2]])
    >>> minidl.gather(logits, 1, minidl.tensor([[1], [0]]))
    tensor([[0.9],
            [0.8]])
    """
    require_tensor("gather", input=input, index=index)
    return input.gather(dim, index)


@operation(
    samples=calls(
        lambda rng: Sample(normal(rng, 3, 4), 0, rng.integers(0, 3, (5, 4)), normal(rng, 5, 4)),
        lambda rng: Sample(normal(rng, 3, 4), 1, rng.integers(0, 4, (2, 3)), normal(rng, 3, 4)),
    )
)
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """input with src added: out[index[i][j]][j] += src[i][j] for dim 0, out[i][index[i][j]] += src[i][j] for dim 1."""
    require_tensor("scatter_add", input=input, index=index, src=src)
    return input.scatter_add(dim, index, src)


@operation(
    samples=calls(
        lambda rng: Sample(normal(rng, 3, 4), 1, np.array([3, 0, 3])),
        lambda rng: Sample(normal(rng, 3), 0, np.array([2])),
    )
)
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices along a dim that a vector of indices names."""
    require_tensor("index_select", input=input, index=index)
    return input.index_select(dim, index)


@operation(samples=calls(on(3, 4, dim=1, index=-2)))
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice number `index` along a dim, without that dim."""
    require_tensor("select", input=input)
    return input.select(dim, index)


@operation(samples=calls(on(3, 4, dim=1, start=1, length=2), on(3, 4, dim=0, start=-2, length=2)))
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """The part from `start` of `length` along a dim."""
    require_tensor("narrow", input=input)
    return input.narrow(dim, start, length)


@operation(
    samples=calls(
        lambda rng: Sample(normal(rng, 3, 4), rng.random((3, 4)) < 0.5),
        lambda rng: Sample(normal(rng, 4), rng.random((3, 1)) < 0.5),
    )
)
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The values where the mask is true, in one dimension."""
    require_tensor("masked_select", input=input, mask=mask)
    return input.masked_select(mask)


@operation(
    samples=calls(
        lambda rng: Sample(normal(rng, 3, 4), rng.random(4) < 0.5, -1.5),
        lambda rng: Sample(normal(rng, 3, 4), rng.random((3, 4)) < 0.5, normal(rng)),
    )
)
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """input with `value`, a number or a 0-dimensional Tensor, where the mask is true."""
    require_tensor("masked_fill", input=input, mask=mask)
    return input.masked_fill(mask, value)


@operation(
    samples=calls(
        lambda rng: Sample(normal(rng, 3, 4), rng.integers(0, 4, (3, 2)), 1),
        lambda rng: Sample(normal(rng, 3, 4), rng.integers(0, 3, (2, 1)), 0),
        lambda rng: Sample(normal(rng, 3, 4), rng.integers(0, 12, (2, 3))),
    )
)
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """As `gather`, but indices and input broadcast; without a dim, of the flattened input."""
    require_tensor("take_along_dim", input=input, indices=indices)
    return input.take_along_dim(indices, dim)


@operation(samples=calls(lambda rng: Sample((normal(rng, 3, 4) > 0) * 1.0), lambda rng: Sample(normal(rng, 3) > 0)))
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Where the values are not 0: (count, ndim) indices, or with `as_tuple` one vector for each dimension."""
    require_tensor("nonzero", input=input)
    return input.nonzero(as_tuple=as_tuple)


@operation(
    samples=calls(
        on(3, 2, repeats=2), on(3, 2, repeats=Tensor(np.array([2, 0, 3])), dim=0), on(2, 3, repeats=2, dim=-1)
    )
)
def repeat_interleave(input: Tensor, repeats: int | Tensor, dim: int | None = None) -> Tensor:
    """Each slice along a dim `repeats` times, all as often or each by its number; without a dim, each value.

    >>> import minidl
    >>> minidl.repeat_interleave(minidl.tensor([5, 7]), minidl.tensor([1, 3]))
    tensor([5, 7, 7, 7])
    """
    require_tensor("repeat_interleave", input=input)
    return input.repeat_interleave(repeats, dim)


@operation(
    samples=calls(
        lambda rng: Sample(rng.integers(0, 3, (2, 4)), 5),
        lambda rng: Sample(rng.integers(0, 3, 4)),
        lambda rng: Sample(np.zeros((0,), np.int64), 2),
    )
)
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """A new last dimension of length `num_classes` with a 1 at the class, else 0; int64.

    Args:
        tensor: classes, integers from 0.
        num_classes: by default the largest class + 1.

    >>> import minidl, minidl.nn.functional as F
    >>> F.one_hot(minidl.tensor([2, 0]), 3)
    tensor([[0, 0, 1],
            [1, 0, 0]])
    """
    require_tensor("one_hot", tensor=tensor)
    classes, num_classes = tensor._array, as_int("one_hot", "num_classes", num_classes)
    if classes.dtype.kind not in "iu":
        raise TypeError(f"one_hot: classes must be integers, not {classes.dtype}")
    classes = classes.astype(int64)
    if num_classes < 1 and (num_classes != -1 or not classes.size):
        raise ValueError(f"one_hot: num_classes must be positive, not {num_classes}, for shape {tensor.shape}")
    largest = int(classes.max(initial=-1))
    if num_classes == -1:
        num_classes = largest + 1
    if classes.min(initial=0) < 0 or largest >= num_classes:
        raise IndexError(f"one_hot: classes must be in 0..{num_classes - 1}, but go from {classes.min()} to {largest}")
    return Tensor((classes[..., None] == np.arange(num_classes)).astype(int64))


@operation(samples=calls(on(3, 4), on(2, 3, 3, diagonal=-1)))
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices, with the diagonal so far above the main one; 0 above it."""
    require_tensor("tril", input=input)
    return input.tril(diagonal)


@operation(samples=calls(on(3, 4), on(2, 3, 3, diagonal=1)))
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of matrices, from the diagonal so far above the main one; 0 below it."""
    require_tensor("triu", input=input)
    return input.triu(diagonal)
