"""Pooling of sequences: they are images of one row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minidl.ops.pool import AvgPool2d, MaxPool2d, as_batch, distinct, pooling_arguments, squeezed
from minidl.ops.table import Sample, operation, run
from minidl.tensor import Tensor


def max_pool1d_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Overlapping and gapped windows, padding, dilation, both roundings."""
    yield Sample(distinct(rng, 2, 3, 7), 2)
    yield Sample(distinct(rng, 2, 2, 8), 3, stride=2, padding=1, ceil_mode=True)
    yield Sample(distinct(rng, 1, 2, 9), (2,), stride=1, dilation=3)
    yield Sample(distinct(rng, 3, 8), 2, stride=3, return_indices=True)
    yield Sample(distinct(rng, 0, 3, 4), 2)


@operation(samples=max_pool1d_samples)
def max_pool1d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of every window: y[n, c, p] = max_r x[n, c, p·stride + r·dilation].

    Arguments and errors as `max_pool2d`, but that each size is one number.

    Shapes:
        (N, C, T) -> (N, C, P), P = ⌊(T + 2·padding - dilation·(R - 1) - 1) / stride⌋ + 1, with `return_indices` and the
        indices (int64); also without N.

    >>> import minidl, minidl.nn.functional as F
    >>> F.max_pool1d(minidl.tensor([[1.0, 4.0, 3.0, 2.0]]), 2)
    tensor([[4., 3.]])
    """
    x = as_batch("max_pool1d", input, "T")
    options = pooling_arguments("max_pool1d", x, kernel_size, stride, padding, dilation, ceil_mode)
    found = run(MaxPool2d(**options, indices=bool(return_indices)), x.unsqueeze(2))
    return squeezed(found, 2) if input.ndim == 3 else squeezed(found, 0, 2)


def avg_pool1d_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Every way to count what a window's sum is divided by."""
    yield Sample(rng.standard_normal((2, 3, 7)), 2)
    yield Sample(rng.standard_normal((2, 2, 8)), 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)
    yield Sample(rng.standard_normal((1, 2, 9)), (2,), stride=(3,), padding=(1,), ceil_mode=True)
    yield Sample(rng.standard_normal((3, 8)), 3, stride=1)
    yield Sample(rng.standard_normal((0, 3, 4)), 2)


@operation(samples=avg_pool1d_samples)
def avg_pool1d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of every window: y[n, c, p] = Σ_r x[n, c, p·stride + r] / count[p].

    Arguments and errors as `avg_pool2d`, but that each size is one number.

    Shapes:
        (N, C, T) -> (N, C, P), P = ⌊(T + 2·padding - R) / stride⌋ + 1; also without N.

    >>> import minidl, minidl.nn.functional as F
    >>> F.avg_pool1d(minidl.tensor([[1.0, 4.0, 3.0, 2.0]]), 2)
    tensor([[2.5, 2.5]])
    """
    x = as_batch("avg_pool1d", input, "T")
    options = pooling_arguments("avg_pool1d", x, kernel_size, stride, padding, 1, ceil_mode)
    del options["dilation"]
    node = AvgPool2d(**options, count_include_pad=count_include_pad, divisor_override=None)
    return squeezed(run(node, x.unsqueeze(2)), *([2] if input.ndim == 3 else [0, 2]))
