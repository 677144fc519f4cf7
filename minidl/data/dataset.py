"""Data sets: something with a length, and a sample at every index."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from minidl.random import Generator, stream
from minidl.tensor import Tensor

T = TypeVar("T", covariant=True)


class Dataset(Generic[T]):
    """A map-style data set. A subclass writes `__getitem__(index)`, which returns one sample, and `__len__()`.

    Example:
        >>> from minidl.data import Dataset
        >>> class Squares(Dataset):
        ...     def __getitem__(self, index):
        ...         return index**2
        ...
        ...     def __len__(self):
        ...         return 10
        >>> Squares()[3]
        9
    """

    def __getitem__(self, index: int) -> T:
        raise NotImplementedError(f"{type(self).__name__}: a Dataset needs a __getitem__(index)")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__}: a Dataset needs a __len__()")


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Tensors of one length: sample i is the tuple of their i-th rows.

    Args:
        tensors: Tensors or arrays whose first dimensions are equal. An array shares its memory.
        transform: applied to the first element of a sample. A transform of `minidl.data` is given whole batches
            `(N, ...)` by the DataLoader, any other callable one sample at a time.

    Raises:
        ValueError: none given, or their lengths differ.

    Example:
        >>> import minidl
        >>> from minidl.data import TensorDataset
        >>> data = TensorDataset(minidl.tensor([[1.0], [2.0], [3.0]]), minidl.tensor([0, 1, 0]))
        >>> len(data), data[1]
        (3, (tensor([2.]), tensor(1)))
    """

    def __init__(self, *tensors: Any, transform: Callable[[Any], Any] | None = None) -> None:
        if not tensors:
            raise ValueError("TensorDataset: expects at least one Tensor")
        self.tensors = tuple(t if isinstance(t, Tensor) else Tensor(np.asarray(t)) for t in tensors)
        self.transform = transform
        lengths = [t.shape[0] if t.ndim else None for t in self.tensors]
        if len(set(lengths)) > 1 or lengths[0] is None:
            raise ValueError(
                f"TensorDataset: the first dimensions differ (shapes: {', '.join(str(t.shape) for t in self.tensors)})"
            )

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        sample = tuple(t[index] for t in self.tensors)
        return sample if self.transform is None else (self.transform(sample[0]), *sample[1:])

    def __len__(self) -> int:
        return self.tensors[0].shape[0]


class Subset(Dataset[T]):
    """The samples of `dataset` at `indices`, in that order.

    Example:
        >>> from minidl.data import Subset
        >>> list(Subset("abcdef", [4, 0]))
        ['e', 'a']
    """

    def __init__(self, dataset: Dataset[T], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: int) -> T:
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Dataset[T], lengths: Sequence[int | float], generator: Generator | None = None
) -> list[Subset[T]]:
    """Split a data set at random into parts without common samples.

    Args:
        dataset: what to split.
        lengths: lengths that add up to `len(dataset)`, or fractions that add up to 1; what rounding down leaves over
            goes to the parts one by one, the first first.
        generator: where the permutation comes from; `minidl.default_generator` by default.

    Raises:
        ValueError: the lengths do not add up, or one is negative.

    Example:
        >>> import minidl
        >>> from minidl.data import random_split
        >>> [len(part) for part in random_split(range(10), [0.75, 0.25], minidl.Generator().manual_seed(0))]
        [8, 2]
    """
    n, given = len(dataset), list(lengths)
    if any(not part >= 0 for part in given):
        raise ValueError(f"random_split: lengths must not be negative, got {given}")
    if math.isclose(sum(given), 1) and sum(given) <= 1:
        counts = [math.floor(n * part) for part in given]
        for i in range(n - sum(counts)):
            counts[i % len(counts)] += 1
        given = list(counts)
    if sum(given) != n or any(part != int(part) for part in given):
        raise ValueError(f"random_split: lengths {list(lengths)} do not add up to the {n} samples there are")
    order = stream(generator).permutation(n).tolist()
    ends = np.cumsum([int(part) for part in given]).tolist()
    return [Subset(dataset, order[end - int(part) : end]) for end, part in zip(ends, given, strict=True)]
