"""Adaptive pooling: as many windows as asked for, which share an image or a sequence evenly, whatever its size.

Of P windows over H rows, window p holds the rows ⌊p·H/P⌋ to ⌈(p + 1)·H/P⌉ - 1. They overlap where P does not divide H.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minidl.ops.pool import as_batch, distinct, squeezed
from minidl.ops.table import Sample, operation
from minidl.ops.windows import MOST_PLACES, numbers
from minidl.tensor import Tensor


def output_sizes(name: str, input: Tensor, output_size: Any) -> tuple[int, ...]:
    """How many windows in each direction; None keeps the input's length."""
    lengths = input.shape[2:]
    sizes = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * len(lengths)
    if len(sizes) != len(lengths) or 0 in input.shape[1:]:
        raise ValueError(f"{name}: output_size {output_size} does not go with shape {input.shape}")
    kept = tuple(n if size is None else size for n, size in zip(lengths, sizes, strict=True))
    output = numbers(name, "output_size", kept, 0, len(lengths))
    if math.prod(output) > MOST_PLACES:
        raise ValueError(f"{name}: an output_size of {output_size} is too large (input {input.shape})")
    return output


def edges(windows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each window starts, and where it ends."""
    p = np.arange(windows)
    return p * length // max(windows, 1), -(-(p + 1) * length // max(windows, 1))


# Means


def averaging_matrix(windows: int, length: int, dtype: np.dtype) -> Tensor:
    """(windows, length): row p has 1/count at the places that window p holds."""
    (start, end), place = edges(windows, length), np.arange(length)
    inside = (start[:, None] <= place) & (place < end[:, None])
    return Tensor((inside / (end - start)[:, None]).astype(dtype))


def adaptive_avg_pool2d_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Windows that tile the image, and such that overlap."""
    yield Sample(rng.standard_normal((2, 3, 6, 8)), (3, 2))
    yield Sample(rng.standard_normal((3, 5, 7)), (2, 3))
    yield Sample(rng.standard_normal((2, 2, 5, 7)), (None, 1))


@operation(samples=adaptive_avg_pool2d_samples)
def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None] | None) -> Tensor:
    """The means of P×Q windows that share the image evenly: for P = Q = 1 the mean of each channel.

    It is linear along each direction: a matrix of 0 and 1/count from the left and from the right, y = A x Bᵀ.

    Args:
        input: images (N, C, H, W), or one image (C, H, W).
        output_size: P and Q, or one number for both; None keeps the image's.

    Returns:
        (N, C, P, Q).

    Raises:
        TypeError: input is no floating-point Tensor.
        ValueError: negative sizes, an image of nothing.

    >>> import minidl, minidl.nn.functional as F
    >>> F.adaptive_avg_pool2d(minidl.arange(8, dtype=minidl.float32).reshape(1, 2, 4), 1)
    tensor([[[3.5]]])
    """
    x = as_batch("adaptive_avg_pool2d", input)
    P, Q = output_sizes("adaptive_avg_pool2d", x, output_size)
    y = averaging_matrix(P, x.shape[2], x.dtype) @ x @ averaging_matrix(Q, x.shape[3], x.dtype).mT
    return y if input.ndim == 4 else y.squeeze(0)


def adaptive_avg_pool1d_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Windows that tile the sequence, and such that overlap; more windows than values."""
    yield Sample(rng.standard_normal((2, 3, 6)), 3)
    yield Sample(rng.standard_normal((3, 7)), (4,))
    yield Sample(rng.standard_normal((2, 2, 3)), 5)


@operation(samples=adaptive_avg_pool1d_samples)
def adaptive_avg_pool1d(input: Tensor, output_size: int | Sequence[int]) -> Tensor:
    """The means of P windows that share the sequence evenly. Arguments and errors as `adaptive_avg_pool2d`.

    Shapes:
        (N, C, T) -> (N, C, P); also without N.

    >>> import minidl, minidl.nn.functional as F
    >>> F.adaptive_avg_pool1d(minidl.tensor([[1.0, 3.0, 5.0]]), 2)
    tensor([[2., 4.]])
    """
    x = as_batch("adaptive_avg_pool1d", input, "T")
    (P,) = output_sizes("adaptive_avg_pool1d", x, output_size)
    y = x @ averaging_matrix(P, x.shape[2], x.dtype).mT
    return y if input.ndim == 3 else y.squeeze(0)


# Maxima


def window_places(windows: int, length: int) -> np.ndarray:
    """(windows, longest window): the places that each window holds; a shorter one repeats its last, never the first."""
    start, end = edges(windows, length)
    longest = int((end - start).max(initial=1))
    return np.minimum(start[:, None] + np.arange(longest), end[:, None] - 1)


def adaptive_max_pool2d_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Windows that tile the image, and such that overlap."""
    yield Sample(distinct(rng, 2, 3, 6, 8), (3, 2))
    yield Sample(distinct(rng, 3, 5, 7), (2, 3), return_indices=True)
    yield Sample(distinct(rng, 2, 2, 5, 7), (None, 1))


@operation(samples=adaptive_max_pool2d_samples)
def adaptive_max_pool2d(
    input: Tensor, output_size: int | Sequence[int | None] | None, return_indices: bool = False
) -> Any:
    """The maxima of P×Q windows that share the image evenly; of equal values the first gets the gradient.

    Args:
        input: images (N, C, H, W), or one image (C, H, W).
        output_size: P and Q, or one number for both; None keeps the image's.
        return_indices: return also where in its image, counted row by row, each maximum was found (int64).

    Returns:
        (N, C, P, Q), with `return_indices` and the indices.

    Raises:
        TypeError: input is no floating-point Tensor.
        ValueError: negative sizes, an image of nothing.

    >>> import minidl, minidl.nn.functional as F
    >>> F.adaptive_max_pool2d(minidl.arange(8, dtype=minidl.float32).reshape(1, 2, 4), (1, 2))
    tensor([[[5., 7.]]])
    """
    x = as_batch("adaptive_max_pool2d", input)
    found = window_maxima(x, output_sizes("adaptive_max_pool2d", x, output_size))
    found = found if return_indices else found[0]
    return found if input.ndim == 4 else squeezed(found, 0)


def window_maxima(x: Tensor, output: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The windows of images side by side, (N, C, P, Q, R·S), and of each the maximum and its index."""
    (N, C, H, W), (P, Q) = x.shape, output
    rows, columns = window_places(P, H), window_places(Q, W)
    places = (rows[:, None, :, None] * W + columns[:, None, :]).reshape(P, Q, rows.shape[1] * columns.shape[1])
    values, first = x.reshape(N, C, H * W)[:, :, places].max(-1)
    index = np.take_along_axis(places[None, None], np.asarray(first)[..., None], -1).squeeze(-1)
    return values, Tensor(index)


def adaptive_max_pool1d_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """As for means."""
    yield Sample(distinct(rng, 2, 3, 6), 3)
    yield Sample(distinct(rng, 3, 7), (4,), return_indices=True)
    yield Sample(distinct(rng, 2, 2, 3), 5)


@operation(samples=adaptive_max_pool1d_samples)
def adaptive_max_pool1d(input: Tensor, output_size: int | Sequence[int], return_indices: bool = False) -> Any:
    """The maxima of P windows that share the sequence evenly. Arguments and errors as `adaptive_max_pool2d`.

    Shapes:
        (N, C, T) -> (N, C, P), with `return_indices` and the indices; also without N.

    >>> import minidl, minidl.nn.functional as F
    >>> F.adaptive_max_pool1d(minidl.tensor([[1.0, 3.0, 5.0]]), 2)
    tensor([[3., 5.]])
    """
    x = as_batch("adaptive_max_pool1d", input, "T")
    found = window_maxima(x.unsqueeze(2), (1, *output_sizes("adaptive_max_pool1d", x, output_size)))
    found = found if return_indices else found[0]
    return squeezed(found, 2) if input.ndim == 3 else squeezed(found, 0, 2)
