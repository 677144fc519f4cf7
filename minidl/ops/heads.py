"""Heads: the width of a Transformer's rows cut into parts that attend each for itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minidl.axes import as_int
from minidl.function import Function
from minidl.ops.table import Sample, operation, require_tensor, run
from minidl.tensor import Tensor


def split_heads_definition(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """(N, T, parts · heads · d) as `parts` times (N, heads, T, d)."""
    N, T, width = x.shape
    return x.reshape(N, T, parts, heads, width // (parts * heads)).permute(2, 0, 3, 1, 4).unbind(0)


class SplitHeads(Function):
    """Forward only looks at x in another way; so backward puts the parts' gradients side by side, in one array."""

    definition = staticmethod(split_heads_definition)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        N, T, width = x.shape
        seen = x.reshape(N, T, self.parts, self.heads, width // (self.parts * self.heads))
        return tuple(seen[:, :, i].transpose(0, 2, 1, 3) for i in range(self.parts))

    def backward(self, *gs: np.ndarray) -> np.ndarray:
        N, H, T, d = gs[0].shape
        gx = np.empty((N, T, self.parts, H, d), gs[0].dtype)
        for i, g in enumerate(gs):
            gx[:, :, i] = g.transpose(0, 2, 1, 3)
        return gx.reshape(N, T, self.parts * H * d)


def split_heads_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Three parts and two, one head and several, no rows."""
    yield Sample(rng.standard_normal((2, 4, 12)), 3, 2)
    yield Sample(rng.standard_normal((1, 3, 6)), 2, 3)
    yield Sample(rng.standard_normal((2, 3, 6)), 3, 1)
    yield Sample(rng.standard_normal((2, 0, 6)), 3, 2)


@operation(samples=split_heads_samples, passes=SplitHeads)
def split_heads(input: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Queries, keys and values in heads, of rows that have them side by side.

    Args:
        input: (N, T, parts · heads · d), as one product with the weights of all parts gives it.
        parts: how many are side by side; heads: of each.

    Returns:
        As many as parts, each (N, heads, T, d), on the memory of the input.

    Raises:
        ValueError: another rank, or a width that does not divide.

    >>> import minidl, minidl.nn.functional as F
    >>> q, k, v = F.split_heads(minidl.zeros(2, 5, 24), 3, 4)
    >>> q.shape
    (2, 4, 5, 2)
    """
    require_tensor("split_heads", input=input)
    parts, heads = as_int("split_heads", "parts", parts), as_int("split_heads", "heads", heads)
    if input.ndim != 3 or parts < 1 or heads < 1 or input.shape[2] % (parts * heads):
        raise ValueError(f"split_heads: {input.shape} cannot be cut into {parts} parts of {heads} heads")
    return run(SplitHeads(parts=parts, heads=heads), input)
