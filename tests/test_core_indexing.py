"""Shapes and indexing, against NumPy (values) and differences (gradients)."""

import numpy as np
import pytest
from beside_numpy import leaf, same
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.tensor import Tensor
from minidl.testing import gradcheck
from minidl.testing.strategies import arrays, indices, shapes

# Shapes


@given(a=arrays(shapes(0, 4)), data=st.data())
def test_shapes(a, data) -> None:
    order = data.draw(st.permutations(range(a.ndim)))
    x = leaf(a)
    same(x.permute(*order), a.transpose(order))
    same(x.reshape(-1) if a.size else x.reshape(0), a.reshape(-1))
    same(x.T, a.T)
    same(x.flip(*range(a.ndim)), np.flip(a))
    same(x.squeeze(), a.squeeze())
    same(x.unsqueeze(-1), a[..., None])
    same(x.repeat(*(2,) * a.ndim), np.tile(a, (2,) * a.ndim))
    same(x.tile(2, 3), np.tile(a, (2, 3)))
    if a.ndim:
        axis, other = data.draw(st.integers(0, a.ndim - 1)), data.draw(st.integers(-a.ndim, -1))
        shift = data.draw(st.integers(-5, 5))
        same(x.roll(shift, axis), np.roll(a, shift, axis))
        same(x.roll(shift), np.roll(a, shift))
        same(x.movedim(axis, other), np.moveaxis(a, axis, other))
        same(x.transpose(axis, other), a.swapaxes(axis, other))
        for got, expected in zip(x.unbind(axis), np.moveaxis(a, axis, 0), strict=True):
            same(got, expected)
        for chunks in (1, 2, 3):
            parts = x.chunk(chunks, axis)
            assert len(parts) <= chunks
            same(minidl.cat(parts, axis), a)
        gradcheck(lambda x: [x.roll(shift, axis), x.flip(axis), x.movedim(axis, other), *x.unbind(axis)], [x])
    gradcheck(lambda x: [x.permute(*order), x.tile(2, 3), x.reshape(a.size), x.expand(2, *a.shape)], [x])


@given(data=st.data())
def test_cat_and_stack(data) -> None:
    shape = data.draw(shapes(1, 3))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    parts = []
    for n in data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3)):
        part = list(shape)
        part[axis] = n
        parts.append(data.draw(arrays(tuple(part))))
    xs = [leaf(a) for a in parts]
    same(minidl.cat(xs, axis), np.concatenate(parts, axis))
    gradcheck(lambda *xs: minidl.cat(xs, axis), xs)
    same(minidl.stack(xs[:1] * 2, axis), np.stack(parts[:1] * 2, axis))


def test_views_share_memory_and_copies_do_not() -> None:
    x = minidl.zeros(2, 3)
    for view in (x[0], x.T, x.reshape(6), x.view(3, 2), x.expand(4, 2, 3), x[:, ::2], x.flip(0), x.detach()):
        assert np.shares_memory(view.numpy(), x.numpy())
    for copy in (x.clone(), x[[0, 1]], x.T.reshape(6), x.tile(1, 2), minidl.tensor(x), x.repeat(2, 1)):
        assert not np.shares_memory(copy.numpy(), x.numpy())
    with pytest.raises(RuntimeError, match="view"):
        x.T.view(6)


# Indexing


@given(data=st.data())
def test_getitem(data) -> None:
    a = data.draw(arrays(shapes(0, 3)))
    key = data.draw(indices(a.shape))
    same(leaf(a)[key], a[key])
    gradcheck(lambda x: x[key], [leaf(a)])


@given(data=st.data())
def test_setitem(data) -> None:
    a = data.draw(arrays(shapes(0, 3)))
    key = data.draw(indices(a.shape))
    places = np.arange(a.size).reshape(a.shape)[key].ravel()
    if len(set(places.tolist())) < places.size:  # which of two values wins is nobody's promise
        return
    values = np.random.default_rng(0).standard_normal(a[key].shape)
    expected = np.array(a)
    expected[key] = values

    def assign(x: Tensor, v: Tensor) -> Tensor:
        y = x.clone()
        y[key] = v
        return y

    same(assign(leaf(a), leaf(values)), expected)
    gradcheck(assign, [leaf(a), leaf(values)])


def test_indices_may_be_tensors_lists_and_masks() -> None:
    a = np.arange(12.0).reshape(3, 4)
    x = leaf(a)
    rows = minidl.tensor([2, 0])
    same(x[rows], a[[2, 0]])
    same(x[[2, 0]], a[[2, 0]])
    same(x[[]], a[[]])
    same(x[rows, rows], a[[2, 0], [2, 0]])
    same(x[x > 3], a[a > 3])
    same(x[minidl.tensor(1)], a[1])
    same(x[..., None, -1], a[..., None, -1])
    same(minidl.stack(list(x)), a)
    index = np.array([1, 1])
    y = x[index]
    index[:] = 99  # the graph has its own copy
    y.sum().backward()
    assert x.grad[1].tolist() == [2.0] * 4 and x.grad[0].tolist() == [0.0] * 4


@given(data=st.data(), axis=st.sampled_from([0, 1, -1]))
def test_gather_and_scatter(data, axis) -> None:
    a = data.draw(arrays((3, 4)))
    shape = [2, 3]
    shape[axis] = 5
    index = np.random.default_rng(data.draw(st.integers(0, 9))).integers(0, a.shape[axis], shape)
    src = data.draw(arrays(tuple(shape)))
    part = a[:, :3] if axis == 0 else a[:2]
    same(leaf(a).gather(axis, Tensor(index)), np.take_along_axis(part, index, axis))
    expected = a.copy()
    for place in np.ndindex(*shape):
        target = list(place)
        target[axis] = index[place]
        expected[tuple(target)] += src[place]
    same(leaf(a).scatter_add(axis, Tensor(index), leaf(src)), expected)
    gradcheck(lambda x, s: [x.gather(axis, Tensor(index)), x.scatter_add(axis, Tensor(index), s)], [leaf(a), leaf(src)])
