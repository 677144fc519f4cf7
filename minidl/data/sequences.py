"""Sequences of different lengths: the utterances that come with the package, and batches of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidl.axes import as_integers
from minidl.data.npz import read_npz
from minidl.data.sampler import Sampler
from minidl.factories import made
from minidl.random import Generator, stream
from minidl.tensor import Tensor

VOWELS = Path(__file__).parent / "files" / "japanese_vowels.npz"


@dataclass(frozen=True)
class SequenceSet:
    """Sequences, their classes, and the part held out for judging.

    Attributes:
        x: sequences (T_n, I) of float32.
        y: (N,) int64, the index of each one's class.
        classes: the names of the classes.
        test_x, test_y: the held-out part.
    """

    x: list[np.ndarray]
    y: np.ndarray
    classes: tuple[str, ...]
    test_x: list[np.ndarray]
    test_y: np.ndarray

    def digest(self) -> str:
        """A fingerprint of all sequences and labels, by which a resumed run knows its data again."""
        sha = hashlib.sha256()
        for array in (*self.x, self.y, *self.test_x, self.test_y):
            sha.update(f"{array.dtype} {array.shape}".encode())
            sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()[:16]


def load_japanese_vowels() -> SequenceSet:
    """640 utterances of two vowels by nine speakers, 7 to 29 frames of 12 cepstrum coefficients: 270 and 370 held out.

    M. Kudo, J. Toyama, M. Shimbo, "Japanese Vowels", UCI Machine Learning Repository, 1999,
    https://doi.org/10.24432/C5NS47, CC BY 4.0. They come with the package.

    >>> from minidl.data import load_japanese_vowels
    >>> vowels = load_japanese_vowels()
    >>> len(vowels.x), vowels.x[0].shape, len(vowels.test_x), len(vowels.classes)
    (270, (20, 12), 370, 9)
    """
    arrays = read_npz(VOWELS)

    def part(name: str) -> tuple[list[np.ndarray], np.ndarray]:
        frames = arrays[f"{name}_x"].astype(np.float32) / 2048
        ends = np.cumsum(arrays[f"{name}_len"], dtype=np.int64)
        return np.split(frames, ends[:-1]), arrays[f"{name}_y"].astype(np.int64)

    x, y = part("train")
    return SequenceSet(x, y, tuple(f"speaker {k + 1}" for k in range(y.max() + 1)), *part("test"))


class SimilarLengthSampler(Sampler):
    """Batches of sequences of similar lengths, so that little of a batch is padding.

    All sequences are put in random order and cut into pools of `pool` batches; those of a pool are sorted by length and
    cut into batches, which come in random order. A small pool leaves more to chance, a large one pads less.

    Args:
        lengths: of all sequences.
        batch_size: sequences a batch; the last one of all pools may be shorter, unless `drop_last`.
        shuffle: False sorts all by length, and draws nothing.
        pool: batches that are sorted together.
        drop_last: leave out a batch that is not full.
        generator: where chance comes from; `minidl.default_generator` by default.

    Raises:
        TypeError: lengths that are no integers. ValueError: `batch_size` or `pool` is not a positive integer.

    Example:
        >>> from minidl.data import SimilarLengthSampler
        >>> list(SimilarLengthSampler([7, 2, 9, 3, 8], batch_size=2, shuffle=False))
        [[1, 3], [0, 4], [2]]
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        batch_size: int,
        shuffle: bool = True,
        pool: int = 8,
        drop_last: bool = False,
        generator: Generator | None = None,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("pool", pool)):
            if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
                raise ValueError(f"SimilarLengthSampler: {name} must be a positive integer, got {value!r}")
        self.lengths = as_integers("SimilarLengthSampler", "lengths", lengths)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.pool = pool
        self.drop_last = drop_last
        self.generator = generator

    def __iter__(self) -> Iterator[list[int]]:
        n, size = len(self.lengths), self.batch_size
        chance = stream(self.generator) if self.shuffle else None
        order = np.arange(n) if chance is None else chance.permutation(n)
        pooled = n or 1 if chance is None else size * self.pool
        batches = []
        for start in range(0, n, pooled):
            pool = order[start : start + pooled]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")].tolist()
            batches += [pool[i : i + size] for i in range(0, len(pool), size)]
        batches = [batch for batch in batches if len(batch) == size or not self.drop_last]
        yield from batches if chance is None else (batches[i] for i in chance.permutation(len(batches)).tolist())

    def __len__(self) -> int:
        n = len(self.lengths)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def collate_sequences(batch: Sequence[tuple[Any, Any]]) -> tuple[Tensor, Tensor, Tensor]:
    """Make a batch of samples (sequence, label): x padded with zeros to the longest, the lengths, and the labels.

    Args:
        batch: sequences (T_n, ...), arrays or Tensors of one dtype, each with an integer.

    Returns:
        x (N, T, ...), lengths (N,) int64, labels (N,) int64: what `lstm(x, lengths=lengths)` takes with `batch_first`.

    Raises:
        TypeError: samples that are no pairs, dtypes that differ, labels that are no integers. ValueError: no samples, a
            sequence without steps, or shapes that differ after the first dimension.

    Example:
        >>> import numpy as np
        >>> from minidl.data import collate_sequences
        >>> x, lengths, y = collate_sequences([(np.ones((3, 2)), 0), (np.ones((1, 2)), 1)])
        >>> x.shape, lengths, y
        ((2, 3, 2), tensor([3, 1]), tensor([0, 1]))
    """
    if not len(batch):
        raise ValueError("collate_sequences: expects at least one sample")
    if not all(isinstance(sample, tuple | list) and len(sample) == 2 for sample in batch):
        raise TypeError("collate_sequences: expects samples (sequence, label)")
    labels = as_integers("collate_sequences", "labels", [y for _, y in batch])
    sequences = [np.asarray(x.detach() if isinstance(x, Tensor) else x) for x, _ in batch]
    shapes = [x.shape for x in sequences]
    if len({(x.ndim, *x.shape[1:]) for x in sequences}) > 1 or not all(x.ndim and len(x) for x in sequences):
        raise ValueError(f"collate_sequences: expects sequences (T, ...) that differ in T > 0 only, got {shapes}")
    if len({x.dtype for x in sequences}) > 1:
        raise TypeError(f"collate_sequences: dtypes differ: {', '.join(str(x.dtype) for x in sequences)}")
    lengths = np.array([len(x) for x in sequences], np.int64)
    padded = np.zeros((len(batch), lengths.max(), *shapes[0][1:]), sequences[0].dtype)
    for row, x in zip(padded, sequences, strict=True):
        row[: len(x)] = x
    return made(padded), made(lengths), made(labels)
