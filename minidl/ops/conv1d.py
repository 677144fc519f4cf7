"""Convolution of sequences: they are images of one row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from minidl.ops.conv import convolution
from minidl.ops.table import Sample, operation
from minidl.tensor import Tensor


def conv1d_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Every kind of padding, strides, gaps, groups, no sequence at all."""

    def sample(x: tuple[int, ...], w: tuple[int, ...], bias: bool = True, **options: object) -> Sample:
        arrays = [rng.standard_normal(x), rng.standard_normal(w)]
        return Sample(*arrays, rng.standard_normal(w[0]) if bias else None, **options)

    yield sample((2, 3, 7), (4, 3, 3))
    yield sample((2, 4, 9), (6, 2, 2), stride=2, padding=3, groups=2)
    yield sample((1, 3, 8), (3, 1, 4), bias=False, dilation=2, padding="same", groups=3)
    yield sample((3, 5), (2, 3, 1), stride=(3,), padding="valid")
    yield sample((0, 3, 5), (2, 3, 2))


@operation(samples=conv1d_samples)
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve sequences with filters: y[n, k, t] = bias[k] + Σ_cs weight[k, c, s] · x[n, c, t·σ + s·δ].

    It is `conv2d` with images and filters of one row.

    Args:
        input: sequences (N, C, T), or one (C, T). weight: filters (K, C / groups, S). bias: (K,).
        stride: σ, how far the window moves. dilation: δ, how far the filter's values lie apart.
        padding: zeros before and after; "valid" is none; "same" keeps the length (stride 1 only).
        groups: the channels are cut into so many groups, each with filters of its own.

    Returns:
        (N, K, P), P = ⌊(T + 2·padding - dilation·(S - 1) - 1) / stride⌋ + 1; (K, P) for one sequence.

    Raises:
        TypeError: arguments that are no floating-point Tensors of one dtype.
        ValueError: shapes that do not go together, a filter longer than the padded sequence, a stride of 0.

    >>> import minidl, minidl.nn.functional as F
    >>> F.conv1d(minidl.tensor([[1.0, 2.0, 4.0, 8.0]]), minidl.tensor([[[1.0, 10.0]]]), stride=2)
    tensor([[21., 84.]])
    """
    return convolution("conv1d", "T", "S", input, weight, bias, stride, padding, dilation, groups)
