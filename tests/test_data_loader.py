"""Data sets, samplers, DataLoader, default_collate."""

from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.data import (
    BatchSampler,
    Compose,
    DataLoader,
    Dataset,
    Normalize,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    ToFloat,
    default_collate,
    random_split,
)


def gen(seed=0):
    return minidl.Generator().manual_seed(seed)


def table(n=10):
    return TensorDataset(minidl.arange(n * 6).reshape(n, 2, 3).to(minidl.float32), minidl.arange(n))


class Slow(Dataset):
    """The same samples, without the fast way."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __getitem__(self, index):
        return self.dataset[index]

    def __len__(self):
        return len(self.dataset)


@given(st.integers(0, 12), st.integers(1, 5), st.booleans(), st.booleans(), st.integers(0, 3))
def test_loader_fast_and_slow_agree(n, batch_size, shuffle, drop_last, seed):
    data = table(n)
    loaders = [DataLoader(d, batch_size, shuffle, drop_last=drop_last, generator=gen(seed)) for d in (data, Slow(data))]
    fast, slow = (list(loader) for loader in loaders)
    assert len(fast) == len(slow) == len(loaders[0]) == (n // batch_size if drop_last else -(-n // batch_size))
    for one, other in zip(fast, slow, strict=True):
        assert type(one) is type(other) is list
        for a, b in zip(one, other, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
    seen = sorted(int(i) for _, y in fast for i in y)
    assert len(seen) == (n - n % batch_size if drop_last else n) and len(set(seen)) == len(seen)
    if not shuffle:
        assert seen == [int(i) for _, y in fast for i in y]


def test_loader_shuffles_anew_and_repeats_from_a_seed():
    def order(loader):
        return [int(i) for _, y in loader for i in y]

    loader = DataLoader(table(50), 4, shuffle=True, generator=gen())
    first, second = order(loader), order(loader)
    assert first != second and sorted(first) == sorted(second) == list(range(50))
    loader = DataLoader(table(50), 4, shuffle=True, generator=gen())
    assert (order(loader), order(loader)) == (first, second)
    minidl.manual_seed(0)
    assert order(DataLoader(table(50), 4, shuffle=True)) == first


def test_loader_batches_share_no_memory_with_the_data():
    data = table()
    x, _ = next(iter(DataLoader(data, 10)))
    x.zero_()
    assert float(data.tensors[0].sum()) > 0


def test_loader_takes_lists_samplers_and_functions():
    assert [b.numpy().tolist() for b in DataLoader([1, 2, 3], batch_size=2)] == [[1, 2], [3]]
    assert list(DataLoader([1, 2, 3], batch_size=None)) == [1, 2, 3]
    assert list(DataLoader("abc", sampler=[2, 0], batch_size=2)) == [["c", "a"]]
    assert list(DataLoader("abc", batch_sampler=[[2], [0, 1]], collate_fn="".join)) == ["c", "ab"]
    assert [x.shape for x, _ in DataLoader(Subset(table(), [1, 2, 3]), 2)] == [(2, 2, 3), (1, 2, 3)]


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": -1},
        {"batch_size": 1.5},
        {"batch_size": True},
        {"shuffle": True, "sampler": [0]},
        {"batch_sampler": [[0]], "batch_size": 2},
        {"batch_sampler": [[0]], "shuffle": True},
        {"batch_sampler": [[0]], "drop_last": True},
        {"batch_size": None, "drop_last": True},
    ],
)
def test_loader_refuses(options):
    with pytest.raises(ValueError, match=r"DataLoader|BatchSampler"):
        DataLoader(table(), **options)


def test_loader_accepts_nothing_that_it_would_ignore():
    with pytest.raises(TypeError, match="num_workers"):
        DataLoader(table(), num_workers=2)


def test_subclass_with_its_own_getitem_is_not_bypassed():
    class Negative(TensorDataset):
        def __getitem__(self, index):
            return tuple(-t for t in super().__getitem__(index))

    assert next(iter(DataLoader(Negative(minidl.arange(3)), 3)))[0].numpy().tolist() == [0, -1, -2]


def test_transform_of_ours_gets_batches_and_any_other_samples():
    x = minidl.arange(24).reshape(4, 1, 2, 3).to(minidl.uint8)
    ours = Compose([ToFloat(2), Normalize(1, 2)])
    shapes = []

    def other(image):
        shapes.append(image.shape)
        return ours(image)

    batches = [next(iter(DataLoader(TensorDataset(x, transform=t), 4)))[0] for t in (ours, other)]
    np.testing.assert_array_equal(batches[0], batches[1])
    np.testing.assert_array_equal(batches[0], ((np.arange(24).reshape(4, 1, 2, 3) / 2 - 1) / 2).astype(np.float32))
    assert shapes == [(1, 2, 3)] * 4
    shapes.clear()
    list(DataLoader(TensorDataset(x, transform=Compose([ToFloat(), other])), 4))
    assert shapes == [(1, 2, 3)] * 4


def test_tensor_dataset():
    data = TensorDataset(np.arange(3), minidl.ones(3, 2))
    assert len(data) == 3 and [t.shape for t in data[0]] == [(), (2,)]
    with pytest.raises(ValueError, match=r"first dimensions differ \(shapes: \(3,\), \(4,\)\)"):
        TensorDataset(np.arange(3), np.arange(4))
    with pytest.raises(ValueError, match="first dimensions"):
        TensorDataset(np.float32(1))
    with pytest.raises(ValueError, match="at least one"):
        TensorDataset()
    with pytest.raises(IndexError):
        data[3]
    with pytest.raises(IndexError):
        next(iter(DataLoader(data, sampler=[7])))


def test_samplers():
    assert list(SequentialSampler(range(3))) == [0, 1, 2]
    drawn = list(RandomSampler(range(3), replacement=True, num_samples=100, generator=gen()))
    assert len(drawn) == 100 and set(drawn) == {0, 1, 2}
    more = list(RandomSampler(range(3), num_samples=7, generator=gen()))
    assert len(more) == 7 and sorted(more[:3]) == sorted(more[3:6]) == [0, 1, 2]
    assert list(RandomSampler([])) == []
    with pytest.raises(ValueError, match="num_samples"):
        RandomSampler([1], num_samples=0)
    with pytest.raises(ValueError, match="empty"):
        list(RandomSampler([], num_samples=2))
    assert list(BatchSampler([3, 1, 2], 2, True)) == [[3, 1]] and len(BatchSampler([3, 1, 2], 2, False)) == 2


def test_random_split():
    parts = random_split(range(11), [0.5, 0.3, 0.2], gen())
    assert [len(p) for p in parts] == [6, 3, 2] and sorted(i for p in parts for i in p) == list(range(11))
    once, again = ([list(part) for part in random_split(range(5), [2, 3], gen(1))] for _ in range(2))
    assert once == again
    for lengths in ([5, 5], [12, -1], [0.5, 0.7], [float("nan"), 1], [1.5, 9.5]):
        with pytest.raises(ValueError, match="random_split"):
            random_split(range(11), lengths)


def test_collate():
    assert default_collate([True, False]).dtype == np.bool_
    assert default_collate([1, 2]).dtype == np.int64 and default_collate([1.0, 2]).dtype == np.float32
    assert default_collate([np.float64(1), np.float64(2)]).dtype == np.float64
    assert default_collate(["a", "b"]) == ["a", "b"]
    Point = namedtuple("Point", "x y")
    batch = default_collate([{"p": Point(1, "u"), "l": [1.0, minidl.zeros(2)]}] * 3)
    assert batch["p"].x.shape == (3,) and batch["p"].y == ["u"] * 3 and batch["l"][1].shape == (3, 2)
    for samples, message in [
        ([], "at least one"),
        ([minidl.zeros(2), minidl.zeros(3)], r"different shapes.*\(2,\), \(3,\)"),
        ([(1, 2), (1,)], "different numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            default_collate(samples)
    with pytest.raises(TypeError, match="cannot make a batch of object"):
        default_collate([object()])


def test_base_classes_say_what_is_missing():
    with pytest.raises(NotImplementedError, match="needs a __getitem__"):
        Dataset()[0]
