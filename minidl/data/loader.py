"""DataLoader: samples, in the order of a sampler, collected into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from minidl.data.dataset import Subset, TensorDataset
from minidl.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from minidl.factories import made
from minidl.random import Generator
from minidl.tensor import Tensor


class DataLoader:
    """Iterates over a data set in batches, once for every `for` loop.

    Args:
        dataset: anything with `__getitem__(index)` and `__len__()`.
        batch_size: samples a batch; None gives single samples as they are.
        shuffle: a new random order every epoch.
        sampler: an iterable of indices, instead of `shuffle`.
        batch_sampler: an iterable of lists of indices, instead of the four that say how batches are made.
        collate_fn: makes a batch from a list of samples; `default_collate` by default.
        drop_last: leave out a last batch that is not full.
        generator: where the order comes from; `minidl.default_generator` by default. The order is repeatable to the
            bit from the generator's state at the start of the epoch.

    PyTorch's options about worker processes do not exist here: everything happens in this process.

    Raises:
        ValueError: options that exclude each other, or a batch size that is not positive.
        TypeError: an option that does not exist here, such as `num_workers`.

    Example:
        >>> import minidl
        >>> from minidl.data import DataLoader, TensorDataset
        >>> data = TensorDataset(minidl.arange(5), minidl.arange(5) * 10)
        >>> for x, y in DataLoader(data, batch_size=2):
        ...     print(x, y)
        tensor([0, 1]) tensor([ 0, 10])
        tensor([2, 3]) tensor([20, 30])
        tensor([4]) tensor([40])
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        drop_last: bool = False,
        generator: Generator | None = None,
    ) -> None:
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler and shuffle exclude each other: a sampler decides on the order")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ValueError(
                "DataLoader: batch_sampler and batch_size, shuffle, sampler or drop_last exclude each other"
            )
        if batch_size is None and drop_last:
            raise ValueError("DataLoader: drop_last means nothing without batches (batch_size is None)")
        if sampler is None and batch_sampler is None:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_sampler is None and batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.generator = generator

    def __iter__(self) -> Iterator[Any]:
        if self.batch_sampler is None:
            for index in self.sampler:
                sample = self.dataset[index]
                yield sample if self.collate_fn is None else self.collate_fn(sample)
            return
        for indices in self.batch_sampler:
            if self.collate_fn is None:
                yield fetch(self.dataset, indices)
            else:
                yield self.collate_fn([self.dataset[i] for i in indices])

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]


def fetch(dataset: Any, indices: Sequence[int]) -> Any:
    """One batch: `default_collate` of the samples at `indices`, but indexed all at once where the data allow it."""
    reader = getattr(type(dataset), "__getitem__", None)
    if reader is Subset.__getitem__:
        return fetch(dataset.dataset, [dataset.indices[i] for i in indices])
    if reader is TensorDataset.__getitem__ and getattr(dataset.transform, "takes_batches", dataset.transform is None):
        batch = [made(t._array[np.asarray(indices, np.intp)]) for t in dataset.tensors]
        return batch if dataset.transform is None else [dataset.transform(batch[0]), *batch[1:]]
    return default_collate([dataset[i] for i in indices])


def default_collate(batch: Sequence[Any]) -> Any:
    """Make a batch of a list of samples: stack arrays, gather numbers, and go into tuples, lists and mappings.

    Numbers become a Tensor (float32 for floats, int64 for integers), Tensors and arrays are stacked along a new first
    dimension, strings stay a list, a list of tuples becomes a list of batches, a mapping a mapping of batches.

    Raises:
        ValueError: arrays of different shapes, tuples of different lengths, no samples at all.
        TypeError: samples of another type.

    Example:
        >>> from minidl.data import default_collate
        >>> default_collate([(0.5, 1), (1.5, 0)])
        [tensor([0.5, 1.5]), tensor([1, 0])]
    """
    if not len(batch):
        raise ValueError("default_collate: expects at least one sample")
    first = batch[0]
    if isinstance(first, Tensor | np.ndarray | np.generic):
        arrays = [np.asarray(sample.detach() if isinstance(sample, Tensor) else sample) for sample in batch]
        shapes = {a.shape for a in arrays}
        if len(shapes) > 1:
            raise ValueError(f"default_collate: samples of different shapes do not stack: {sorted(shapes)}")
        return made(np.stack(arrays))
    if isinstance(first, bool | int | float):
        array = np.asarray(batch)
        return made(array.astype(np.float32) if array.dtype.kind == "f" else array)
    if isinstance(first, str | bytes):
        return list(batch)
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, Sequence):
        if len({len(sample) for sample in batch}) > 1:
            raise ValueError("default_collate: samples have different numbers of elements")
        columns = [default_collate(column) for column in zip(*batch, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    raise TypeError(
        f"default_collate: cannot make a batch of {type(first).__name__}; expected Tensors, arrays, numbers, strings, "
        "tuples, lists or mappings of them, or a collate_fn"
    )
