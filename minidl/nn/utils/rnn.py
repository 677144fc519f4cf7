"""Sequences of different lengths: padded to the longest, or packed without padding.

A padded batch of sequences a, b, c of lengths 2, 3, 1 and the same packed, longer sequences first, step by step:

    a0 a1 --                step     0         1      2
    b0 b1 b2                data     b0 a0 c0  b1 a1  b2
    c0 -- --                sizes    3         2      1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.factories import made
from minidl.primitives import Cat
from minidl.tensor import Tensor, apply


class PackedSequence(NamedTuple):
    """Sequences without padding, as `pack_padded_sequence` makes them and recurrent layers take and return them.

    Attributes:
        data: (total, ...), the rows of all steps, one step after the other, longer sequences first.
        batch_sizes: (T,) int64, how many sequences have each step.
        sorted_indices: (N,) int64, which of the caller's sequences is the longest, the second, ...; None: sorted.
        unsorted_indices: (N,) int64, the other way around.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int] | np.ndarray, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Leave out the padding.

    Args:
        input: (T, N, ...), or (N, T, ...) with `batch_first`.
        lengths: (N,), of the sequences.
        enforce_sorted: insist on falling lengths; else they are sorted, and what comes back is in the old order.

    Raises:
        TypeError: lengths that are no integers. ValueError: a length below 1 or above T, another number of them,
            lengths that are not sorted.

    >>> import minidl
    >>> from minidl.nn.utils.rnn import pack_padded_sequence
    >>> pack_padded_sequence(minidl.tensor([[1, 2, 0], [3, 4, 5]]), [2, 3], batch_first=True, enforce_sorted=False)
    PackedSequence(data=tensor([3, 1, 4, 2, 5]), batch_sizes=tensor([2, 2, 1]), sorted_indices=tensor([1, 0]),
                   unsorted_indices=tensor([1, 0]))
    """
    if not isinstance(input, Tensor):
        raise TypeError(f"pack_padded_sequence: input must be a Tensor, not {type(input).__name__}")
    if input.ndim < 2:
        raise ValueError(f"pack_padded_sequence: input must have time and batch dimensions, not shape {input.shape}")
    T, N = (input.shape[1], input.shape[0]) if batch_first else input.shape[:2]
    array = as_lengths("pack_padded_sequence", lengths, N, T)
    order = None
    if not enforce_sorted:
        order = np.argsort(-array, kind="stable")
        array = array[order]
    elif (np.diff(array) > 0).any():
        raise ValueError(
            f"pack_padded_sequence: lengths must not grow ({array.tolist()}); sort them or pass enforce_sorted=False"
        )
    sizes = (np.arange(array.max())[:, None] < array).sum(1)
    t, n = rows(sizes)
    n = n if order is None else order[n]
    data = input[(n, t) if batch_first else (t, n)]
    if order is None:
        return PackedSequence(data, made(sizes))
    return PackedSequence(data, made(sizes), made(order), made(np.argsort(order)))


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """The opposite of `pack_padded_sequence`: the padded batch and its lengths.

    Args:
        sequence: packed.
        batch_first: return (N, T, ...) instead of (T, N, ...).
        padding_value: where there is no step.
        total_length: pad to that length instead of the longest sequence's.

    Raises:
        TypeError: not a PackedSequence. ValueError: a total_length below the longest.
    """
    if not isinstance(sequence, PackedSequence):
        raise TypeError(f"pad_packed_sequence: expected a PackedSequence, not {type(sequence).__name__}")
    sizes = sequence.batch_sizes._array
    T = len(sizes) if total_length is None else int(total_length)
    if T < len(sizes):
        raise ValueError(f"pad_packed_sequence: total_length {T} is below the longest sequence's {len(sizes)}")
    t, n = rows(sizes)
    order = np.arange(sizes[0]) if sequence.sorted_indices is None else sequence.sorted_indices._array
    padding = made(np.full((1, *sequence.data.shape[1:]), padding_value, sequence.data.dtype))
    source = np.full((T, sizes[0]), len(t))  # the row of padding, after all others
    source[t, order[n]] = np.arange(len(t))
    padded = apply(Cat(axis=0), sequence.data, padding)[source.T if batch_first else source]
    lengths = np.empty(sizes[0], np.int64)
    lengths[order] = (sizes[:, None] > np.arange(sizes[0])).sum(0)
    return padded, made(lengths)


def pad_sequence(sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0) -> Tensor:
    """Sequences (T_n, ...) as one padded batch (T, N, ...), or (N, T, ...) with `batch_first`.

    >>> import minidl
    >>> from minidl.nn.utils.rnn import pad_sequence
    >>> pad_sequence([minidl.tensor([1, 2]), minidl.tensor([3])], batch_first=True)
    tensor([[1, 2], [3, 0]])

    Raises:
        ValueError: no sequences, or shapes that differ beyond the first dimension.
    """
    packed = pack_sequence(sequences, enforce_sorted=False)
    return pad_packed_sequence(packed, batch_first, padding_value)[0]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (T_n, ...).

    Raises:
        TypeError: not Tensors. ValueError: none, an empty one, or shapes that differ beyond the first dimension.
    """
    sequences = list(sequences)
    if not all(isinstance(s, Tensor) for s in sequences):
        raise TypeError("pack_sequence: expected a list of Tensors")
    if not sequences or len({(s.ndim, *s.shape[1:]) for s in sequences}) > 1 or not sequences[0].ndim:
        raise ValueError(f"pack_sequence: shapes must agree after the first dimension: {[s.shape for s in sequences]}")
    lengths = np.array([len(s) for s in sequences])
    first = np.cumsum(lengths) - lengths
    T = int(lengths.max())
    index = np.minimum(first[:, None] + np.arange(T), int(lengths.sum()) - 1)  # what lies beyond a length is not used
    return pack_padded_sequence(apply(Cat(axis=0), *sequences)[index], lengths, True, enforce_sorted)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The opposite of `pad_sequence`: a list of sequences (T_n, ...)."""
    packed = pack_padded_sequence(padded_sequences, lengths, batch_first, enforce_sorted=False)
    return unpack_sequence(packed)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The opposite of `pack_sequence`."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return [padded[n, :length] for n, length in enumerate(lengths._array)]


def rows(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row of packed data its step and its sequence."""
    alive = np.arange(sizes[0]) < sizes[:, None]
    return np.nonzero(alive)  # type: ignore[return-value]


def as_lengths(name: str, lengths: Any, N: int, T: int) -> np.ndarray:
    """As an array of N integers in 1..T."""
    array = np.asarray(lengths.detach() if isinstance(lengths, Tensor) else lengths)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: lengths must be integers, not {array.dtype}: {lengths!r}")
    if array.shape != (N,) or not N:
        raise ValueError(f"{name}: expected lengths of {N} sequences, at least one, got shape {array.shape}")
    if array.min() < 1 or array.max() > T:
        raise ValueError(f"{name}: lengths must be in 1..{T}, got {array.tolist()}")
    return array.astype(np.int64)
