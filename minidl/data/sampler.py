"""Samplers: in which order the samples come, and which of them come together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized

from minidl.random import Generator, stream


class Sampler:
    """What can be iterated over for indices (or lists of indices), once for every epoch."""

    def __iter__(self) -> Iterator:
        raise NotImplementedError(f"{type(self).__name__}: a Sampler needs an __iter__()")


class SequentialSampler(Sampler):
    """0, 1, 2, ... `len(data_source) - 1`.

    >>> from minidl.data import SequentialSampler
    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """Every index once in random order; with `replacement`, `num_samples` independent draws.

    Args:
        data_source: what has the length.
        replacement: whether an index may come again.
        num_samples: how many indices to draw; `len(data_source)` by default. Without replacement, more than there are
            means further permutations.
        generator: where chance comes from; `minidl.default_generator` by default.

    Raises:
        ValueError: `num_samples` is not a positive integer, or there is nothing to draw from with replacement.

    Example:
        >>> import minidl
        >>> from minidl.data import RandomSampler
        >>> sorted(RandomSampler("abcd", generator=minidl.Generator().manual_seed(0)))
        [0, 1, 2, 3]
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        if num_samples is not None and (not isinstance(num_samples, int) or num_samples <= 0):
            raise ValueError(f"RandomSampler: num_samples must be a positive integer, got {num_samples!r}")
        self.data_source = data_source
        self.replacement = replacement
        self.num_samples = num_samples
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        chance = stream(self.generator)
        n, wanted = len(self.data_source), len(self)
        if n == 0 and wanted:
            raise ValueError(f"RandomSampler: cannot draw {wanted} samples from an empty data set")
        if self.replacement:
            yield from chance.integers(0, n, wanted).tolist() if wanted else ()
            return
        for start in range(0, wanted, n or 1):
            yield from chance.permutation(n)[: wanted - start].tolist()

    def __len__(self) -> int:
        return len(self.data_source) if self.num_samples is None else self.num_samples


class BatchSampler(Sampler):
    """Lists of `batch_size` indices of another sampler; the last one may be shorter, unless `drop_last`.

    >>> from minidl.data import BatchSampler
    >>> list(BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(f"BatchSampler: batch_size must be a positive integer, got {batch_size!r}")
        if not isinstance(drop_last, bool):
            raise ValueError(f"BatchSampler: drop_last must be True or False, got {drop_last!r}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
