"""The linear layer: y = x Wᵀ + b."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minidl.dtypes import require_same_dtype
from minidl.function import Function
from minidl.kernels.gemm import matmul
from minidl.ops.table import Sample, operation, require_tensor, run
from minidl.tensor import Tensor


def linear_definition(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """y = x Wᵀ + b, for x (..., in), W (out, in), b (out,)."""
    y = x @ weight.mT
    return y if bias is None else y + bias


class Linear(Function):
    """y[n, o] = Σ_i x[n, i] · w[o, i] + b[o].

    Each product hands the gradient of its sum to both factors, and b was added to every row n:

        gx[n, i] = Σ_o g[n, o] · w[o, i]      gx = g W
        gw[o, i] = Σ_n g[n, o] · x[n, i]      gw = gᵀ x
        gb[o]    = Σ_n g[n, o]

    Leading dimensions of x are all rows.
    """

    definition = staticmethod(linear_definition)

    def forward(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        return matmul(x, weight.T, bias) if x.ndim > 1 else matmul(x[None], weight.T, bias)[0]

    def backward(self, g: np.ndarray) -> tuple[np.ndarray | None, ...]:
        x, weight, _ = self.inputs
        gx = (matmul(g, weight) if x.ndim > 1 else matmul(g[None], weight)[0]) if self.needs[0] else None
        n = x.size // x.shape[-1] if x.shape[-1] else g.size // max(len(weight), 1)
        rows, g = x.reshape(n, x.shape[-1]), g.reshape(n, len(weight))
        gw = matmul(g.T, rows) if self.needs[1] else None
        gb = g.sum(0) if self.needs[2] else None
        return gx, gw, gb


def linear_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """A batch, a vector, leading dimensions, no bias, no rows."""
    for rows in ((5,), (), (2, 3), (0,)):
        yield Sample(rng.standard_normal((*rows, 4)), rng.standard_normal((3, 4)), rng.standard_normal(3))
    yield Sample(rng.standard_normal((2, 1)), rng.standard_normal((3, 1)))


@operation(samples=linear_samples, passes=Linear)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x Wᵀ + b.

    Args:
        input: (..., in).
        weight: (out, in), or (in,) for one output without a dimension of its own.
        bias: (out,).

    Returns:
        (..., out).

    Raises:
        TypeError: arguments that are no floating-point Tensors of one dtype.
        ValueError: shapes that do not go together.

    >>> import minidl, minidl.nn.functional as F
    >>> F.linear(minidl.tensor([1.0, 2.0]), minidl.tensor([[1.0, 1.0], [1.0, -1.0]]))
    tensor([ 3., -1.])
    """
    require_tensor("linear", input=input, weight=weight, bias=bias)
    require_same_dtype("linear", input=input, weight=weight, bias=bias)
    if weight.ndim == 1:
        if bias is not None and bias.ndim:
            raise ValueError(f"linear: with a weight of shape {weight.shape} bias has no dimension, not {bias.shape}")
        return linear(input, weight.unsqueeze(0), None if bias is None else bias.unsqueeze(0)).squeeze(-1)
    if weight.ndim != 2 or not input.ndim or input.shape[-1] != weight.shape[1]:
        raise ValueError(f"linear: weight (out, in) has shape {weight.shape} but input (..., in) has {input.shape}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"linear: bias must have shape {weight.shape[:1]}, not {bias.shape}")
    return run(Linear(), input, weight, bias)
