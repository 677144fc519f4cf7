"""Sequences of different lengths: padded to the longest, or packed without padding.

A padded batch of sequences a, b, c of lengths 2, 3, 1 and the same packed, longer sequences first, step by step:

    a0 a1 --                step     0         1      2
    b0 b1 b2                data     b0 a0 c0  b1 a1  b2
    c0 -- --                sizes    3         2      1
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.axes import as_bool, as_int, as_integers
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

    def to(self, dtype: Any) -> PackedSequence:
        """The same sequences with data of another dtype."""
        return self._replace(data=self.data.to(dtype))

    def float(self) -> PackedSequence:
        """The same sequences with data in float32."""
        return self.to(np.float32)

    def double(self) -> PackedSequence:
        """The same sequences with data in float64."""
        return self.to(np.float64)


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
    return pack("pack_padded_sequence", input, lengths, batch_first, enforce_sorted)


def pack(name: str, input: Tensor, lengths: Any, batch_first: bool, enforce_sorted: bool) -> PackedSequence:
    """`pack_padded_sequence`, whoever was asked for it."""
    T, N = padded_shape(name, "input", input, batch_first)
    sizes, t, n, order = packed_rows(name, as_lengths(name, lengths, N, T), enforce_sorted)
    return packed(input[(n, t) if batch_first else (t, n)], sizes, order)


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
        TypeError: not a PackedSequence, or no int. ValueError: a total_length below the longest, a padding_value that
            the data's dtype does not hold, a PackedSequence put together by hand whose parts contradict each other.
    """
    name = "pad_packed_sequence"
    sizes, order = unpacked(name, sequence)
    batch_first = as_bool(name, "batch_first", batch_first)
    T = len(sizes) if total_length is None else as_int(name, "total_length", total_length)
    if T < len(sizes):
        raise ValueError(f"{name}: total_length {T} is below the longest sequence's {len(sizes)}")
    t, n = alive(sizes)
    order = np.arange(sizes[0]) if order is None else order
    source = np.full((T, sizes[0]), len(t))
    source[t, order[n]] = np.arange(len(t))
    padded = spread(name, sequence.data, source.T if batch_first else source, padding_value)
    lengths = np.empty(sizes[0], np.int64)
    lengths[order] = (sizes[:, None] > np.arange(sizes[0])).sum(0)
    return padded, made(lengths)


def pad_sequence(
    sequences: Iterable[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences (T_n, ...) as one padded batch (T, N, ...), or (N, T, ...) with `batch_first`.

    >>> import minidl
    >>> from minidl.nn.utils.rnn import pad_sequence
    >>> pad_sequence([minidl.tensor([1, 2]), minidl.tensor([3])], batch_first=True)
    tensor([[1, 2], [3, 0]])

    Args:
        sequences: one or more Tensors of one dtype; they may be empty, T_n = 0.
        padding_value: where there is no step.
        padding_side: "right", behind the sequences, or "left", in front of them.

    Raises:
        TypeError: not Tensors, or of several dtypes. ValueError: no sequences, shapes that differ beyond the first
            dimension, a padding_value that the dtype does not hold, an unknown side.
    """
    data, first, lengths = joined("pad_sequence", sequences)
    batch_first = as_bool("pad_sequence", "batch_first", batch_first)
    if padding_side not in ("right", "left"):
        raise ValueError(f"pad_sequence: padding_side must be 'right' or 'left', not {padding_side!r}")
    T = lengths.max()
    t = np.arange(T) - (T - lengths[:, None] if padding_side == "left" else 0)
    source = np.where((0 <= t) & (t < lengths[:, None]), first[:, None] + t, len(data))
    return spread("pad_sequence", data, source if batch_first else source.T, padding_value)


def pack_sequence(sequences: Iterable[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (T_n, ...).

    Raises:
        TypeError: not Tensors, or of several dtypes. ValueError: none, an empty one, shapes that differ beyond the
            first dimension, lengths that are not sorted.
    """
    data, first, lengths = joined("pack_sequence", sequences)
    if lengths.min() < 1:
        raise ValueError(f"pack_sequence: a sequence is empty: their lengths are {lengths.tolist()}")
    sizes, t, n, order = packed_rows("pack_sequence", lengths, enforce_sorted)
    return packed(data[first[n] + t], sizes, order)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The opposite of `pad_sequence`: a list of sequences (T_n, ...), which may be empty."""
    name = "unpad_sequence"
    T, N = padded_shape(name, "padded_sequences", padded_sequences, batch_first)
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [rows[n, :length] for n, length in enumerate(as_lengths(name, lengths, N, T, least=0))]


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The opposite of `pack_sequence`."""
    unpacked("unpack_sequence", packed_sequences)
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return [padded[n, :length] for n, length in enumerate(lengths._array)]


# Rows and places


def alive(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row of packed data its step and its sequence."""
    return np.nonzero(np.arange(sizes[0]) < sizes[:, None])  # type: ignore[return-value]


def packed_rows(name: str, lengths: np.ndarray, enforce_sorted: bool) -> tuple[Any, ...]:
    """Of sequences that are to be packed: how many have each step; for each row its step and which of the caller's
    sequences it belongs to; and which of those is the longest, the second, ..., or None if they come so.
    """
    order = None
    if not as_bool(name, "enforce_sorted", enforce_sorted):
        order = np.argsort(-lengths, kind="stable")
        lengths = lengths[order]
    elif (np.diff(lengths) > 0).any():
        raise ValueError(f"{name}: lengths must not grow ({lengths.tolist()}); sort them or pass enforce_sorted=False")
    sizes = (np.arange(lengths.max())[:, None] < lengths).sum(1)
    t, n = alive(sizes)
    return sizes, t, n if order is None else order[n], order


def packed(data: Tensor, sizes: np.ndarray, order: np.ndarray | None) -> PackedSequence:
    if order is None:
        return PackedSequence(data, made(sizes))
    return PackedSequence(data, made(sizes), made(order), made(np.argsort(order)))


def spread(name: str, data: Tensor, source: np.ndarray, value: Any) -> Tensor:
    """data[source]; where `source` is the number of rows, one too many, stands `value`."""
    padding = np.full((1, *data.shape[1:]), as_padding(name, value, data.dtype), data.dtype)
    return apply(Cat(axis=0), data, made(padding))[source]


# What callers give


def unpacked(name: str, sequence: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """How many sequences have each step, and which of the caller's is the longest, the second, ...; None: sorted.

    A PackedSequence can be put together by hand, and `_replace` puts in what it is given: nothing else has seen
    whether its parts belong together.
    """
    if not isinstance(sequence, PackedSequence):
        raise TypeError(f"{name}: expected a PackedSequence, not {type(sequence).__name__}")
    data = sequence.data
    if not isinstance(data, Tensor):
        raise TypeError(f"{name}: the PackedSequence's data must be a Tensor, not {type(data).__name__}")
    sizes = as_integers(name, "the PackedSequence's batch_sizes", sequence.batch_sizes)
    if not sizes.size or sizes[-1] < 0 or (np.diff(sizes) > 0).any() or data.shape[:1] != (sizes.sum(),):
        raise ValueError(
            f"{name}: the PackedSequence's batch_sizes must be positive, never grow, and sum up to the rows of data, "
            f"but are {sizes.tolist()} for data of shape {data.shape}"
        )
    there, back = (
        None if each is None else as_integers(name, f"the PackedSequence's {argument}", each)
        for argument, each in (("sorted_indices", sequence[2]), ("unsorted_indices", sequence[3]))
    )
    for each in (there, back):
        if each is not None and not np.array_equal(np.sort(each), np.arange(sizes[0])):
            raise ValueError(f"{name}: the PackedSequence's indices must order {sizes[0]} rows, not be {each.tolist()}")
    if there is None or back is None:
        return sizes, there if back is None else np.argsort(back)
    if (there[back] != np.arange(sizes[0])).any():
        raise ValueError(
            f"{name}: the PackedSequence's unsorted_indices {back.tolist()} do not undo its sorted_indices "
            f"{there.tolist()}"
        )
    return sizes, there


def joined(name: str, sequences: Any) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Sequences one after the other, (total, ...); where each begins; and their lengths."""
    if not isinstance(sequences, Iterable):
        raise TypeError(f"{name}: expected a list of Tensors, not {type(sequences).__name__}")
    sequences = list(sequences)
    for s in sequences:
        if not isinstance(s, Tensor):
            raise TypeError(f"{name}: expected a list of Tensors, but one is {type(s).__name__}")
    if not sequences:
        raise ValueError(f"{name}: expected at least one sequence")
    if len({(s.ndim, *s.shape[1:]) for s in sequences}) > 1 or not sequences[0].ndim:
        raise ValueError(f"{name}: shapes must agree after the first dimension: {[s.shape for s in sequences]}")
    if len({s.dtype for s in sequences}) > 1:
        raise TypeError(f"{name}: dtypes differ: {', '.join(str(s.dtype) for s in sequences)}; cast with .to(dtype)")
    lengths = np.array([len(s) for s in sequences])
    return apply(Cat(axis=0), *sequences), np.cumsum(lengths) - lengths, lengths


def padded_shape(name: str, argument: str, x: Any, batch_first: Any) -> tuple[int, int]:
    """T and N of a padded batch."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: {argument} must be a Tensor, not {type(x).__name__}")
    if x.ndim < 2:
        raise ValueError(f"{name}: {argument} must have time and batch dimensions, not shape {x.shape}")
    return (x.shape[1], x.shape[0]) if as_bool(name, "batch_first", batch_first) else (x.shape[0], x.shape[1])


def as_lengths(name: str, lengths: Any, N: int, T: int, least: int = 1) -> np.ndarray:
    """As an array of N integers in least..T."""
    array = as_integers(name, "lengths", lengths)
    if N < least:
        raise ValueError(f"{name}: expected at least one sequence")
    if len(array) != N:
        raise ValueError(f"{name}: expected the lengths of {N} sequences, got {len(array)}")
    if array.min(initial=T) < least or array.max(initial=least) > T:
        raise ValueError(f"{name}: lengths must be in {least}..{T}, got {array.tolist()}")
    return array


def as_padding(name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """A number in a dtype that holds it; for integers its whole part."""
    value = value.item() if isinstance(value, Tensor | np.generic) and not value.ndim else value
    if not isinstance(value, bool | int | float):
        raise TypeError(f"{name}: padding_value must be a number, not {value!r}")
    try:
        value = int(value) if dtype.kind in "iu" else value
        with np.errstate(over="raise"):
            found = np.array(value).astype(dtype)
        fits = dtype.kind not in "iu" or found == value
    except (ArithmeticError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"{name}: padding_value {value} does not fit into {dtype}")
    return found
