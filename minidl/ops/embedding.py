"""Embedding: numbers of words to rows of a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.axes import as_int
from minidl.dtypes import int64, require_float
from minidl.function import Function
from minidl.kernels.embedding import add_rows, take_rows
from minidl.ops.samples import calls, normal
from minidl.ops.table import Sample, operation, require_tensor, run
from minidl.tensor import Tensor

EPSILON = 1e-7  # that PyTorch adds to a norm before it divides by it


def embedding_definition(weight: Tensor, ids: np.ndarray, padding_idx: int, scale_grad_by_freq: bool) -> Tensor:
    """weight[ids]; what is not to have a gradient, or less of it, takes a part of its value from outside the graph."""
    y = weight[ids]
    if scale_grad_by_freq and ids.size:
        share = (1 / np.bincount(ids.reshape(-1))[ids]).astype(y.dtype)[..., None]
        y = y * Tensor(share) + y.detach() * Tensor(1 - share)
    return y.detach().where(ids[..., None] == padding_idx, y)


class Embedding(Function):
    """y_m = w[ids_m], so gw_r = Σ g_m over the places m with ids_m = r: 0 for rows that nobody looked up.

    Two conventions change the gradient: that of row padding_idx is 0; with scale_grad_by_freq, that of a row is divided
    by how often it was looked up.
    """

    definition = staticmethod(embedding_definition)

    def forward(self, weight: np.ndarray) -> np.ndarray:
        return take_rows(weight, self.ids.reshape(-1)).reshape(*self.ids.shape, weight.shape[1])

    def backward(self, g: np.ndarray) -> np.ndarray:
        rows, width = self.inputs[0].shape
        ids = self.ids.reshape(-1)
        return add_rows(g.reshape(ids.size, width), ids, rows, self.padding_idx, self.scale_grad_by_freq)


def renorm(weight: Tensor, ids: np.ndarray, max_norm: float, norm_type: float) -> None:
    """Shorten, in place, the rows that will be looked up to a norm of max_norm."""
    rows = np.unique(ids)
    table = weight._array
    norms = np.linalg.norm(table[rows].astype(np.float64), norm_type, axis=1)
    longer = norms > max_norm
    if longer.any():
        factors = (max_norm / (norms[longer] + EPSILON)).astype(table.dtype)
        table[rows[longer]] *= factors[:, None]
        weight._touch()


def checked_ids(name: str, input: Tensor, rows: int) -> np.ndarray:
    """The ids as int64, in memory that nobody else has; IndexError for one that has no row."""
    ids = input._array
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name}: input must have integers, the numbers of rows, not {ids.dtype}")
    wrong = (ids < 0) | (ids >= rows)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise IndexError(f"{name}: id {ids[place]} at {place} is out of range: weight has {rows} rows, 0..{rows - 1}")
    return ids.astype(int64)


@operation(
    samples=calls(
        lambda rng: Sample(rng.integers(0, 5, (2, 3)), normal(rng, 5, 4)),
        lambda rng: Sample(np.array([1, 1, 0, 1]), normal(rng, 3, 2)),
        lambda rng: Sample(np.array(2), normal(rng, 3, 2)),
        lambda rng: Sample(np.zeros((0, 2), np.int64), normal(rng, 3, 2)),
        lambda rng: Sample(np.zeros(2, np.int32), normal(rng, 3, 0)),
    ),
    passes=Embedding,
)
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of a table by their numbers: y = weight[input].

    Args:
        input: integers of any shape.
        weight: (rows, D).
        padding_idx: this row gets no gradient (negative: counted from the end).
        max_norm: rows that are looked up and longer than that are shortened to it first, in place.
        norm_type: the p of that norm.
        scale_grad_by_freq: divide the gradient of a row by how often it was looked up.
        sparse: minidl has no sparse gradients: True is refused.

    Returns:
        (*input.shape, D).

    Raises:
        IndexError: a number that is no row of the table.
        TypeError: input is not of integers, weight not floating-point.
        ValueError: weight is no matrix; padding_idx is not a row; sparse.

    >>> import minidl, minidl.nn.functional as F
    >>> F.embedding(minidl.tensor([2, 0]), minidl.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    tensor([[4., 5.],
            [0., 1.]])
    """
    require_tensor("embedding", input=input, weight=weight)
    require_float("embedding", weight=weight)
    if weight.ndim != 2:
        raise ValueError(f"embedding: weight must be a matrix (rows, D), not of shape {weight.shape}")
    if sparse:
        raise ValueError("embedding: sparse=True is not supported, minidl's gradients are dense; leave it out")
    rows, padding = weight.shape[0], -1
    if padding_idx is not None:
        padding = as_int("embedding", "padding_idx", padding_idx)
        if not -rows <= padding < rows:
            raise ValueError(f"embedding: padding_idx {padding} is out of range for {rows} rows")
        padding %= rows
    ids = checked_ids("embedding", input, rows)
    if max_norm is not None:
        renorm(weight, ids, float(max_norm), float(norm_type))
    options: dict[str, Any] = {"padding_idx": padding, "scale_grad_by_freq": bool(scale_grad_by_freq)}
    return run(Embedding(ids=ids, **options), weight)
