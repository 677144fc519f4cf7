"""Reductions, sorting and running sums, against NumPy (values) and differences (gradients)."""

import numpy as np
import pytest
from beside_numpy import leaf, same
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.ops.samples import distinct, normal, signed
from minidl.tensor import Tensor
from minidl.testing import gradcheck
from minidl.testing.strategies import arrays, shapes


@st.composite
def array_and_axes(draw, values=normal, min_side=1):
    a = draw(arrays(shapes(1, 3, min_side, 3), values=values))
    axes = draw(st.one_of(st.none(), st.integers(-a.ndim, a.ndim - 1), st.sets(st.integers(0, a.ndim - 1), min_size=1)))
    return a, tuple(sorted(axes)) if isinstance(axes, set) else axes


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin", "max", "min"])
@given(data=st.data(), keep=st.booleans())
def test_reductions(name, data, keep) -> None:
    a, axes = data.draw(array_and_axes(values=distinct))
    if name in ("max", "min"):  # along one dim only, and with it the indices
        axes = axes if isinstance(axes, int) else -1
        values, index = getattr(leaf(a), name)(axes, keepdim=keep)
        same(index, getattr(np, f"arg{name}")(a, axis=axes, keepdims=keep))
        same(getattr(leaf(a), f"arg{name}")(axes, keepdim=keep), index.numpy())
        same(values, getattr(a, name)(axis=axes, keepdims=keep))
        gradcheck(lambda x: getattr(x, name)(axes).values, [leaf(a)])
        return
    expected = getattr(np, name)(a, axis=axes, keepdims=keep)
    same(getattr(leaf(a), name)(axes, keep), expected)
    same(getattr(leaf(a), name)(axis=axes, keepdims=keep), expected)
    gradcheck(lambda x: getattr(x, name)(axes, keep), [leaf(a)])


@given(case=array_and_axes(), correction=st.sampled_from([0, 1]))
def test_variance(case, correction) -> None:
    a, axes = case
    n = a.size if axes is None else np.prod([a.shape[i] for i in np.atleast_1d(axes)])
    if n <= 1:
        return
    same(leaf(a).var(axes, correction=correction), a.var(axis=axes, ddof=correction))
    same(leaf(a).std(axes, unbiased=bool(correction)), a.std(axis=axes, ddof=correction))
    gradcheck(lambda x: x.var(axes, correction=correction), [leaf(a)])


@given(case=array_and_axes(values=signed))
def test_norms_products_and_running_sums(case) -> None:
    a, axes = case
    axis = axes if isinstance(axes, int) else 0
    same(leaf(a).cumsum(axis), a.cumsum(axis))
    same(leaf(a).prod(axis), a.prod(axis))
    same(leaf(a).norm(dim=axis), np.linalg.norm(a, axis=axis))
    same(leaf(a).logsumexp(axes), np.log(np.exp(a).sum(axes)))
    same(leaf(a).softmax(axis), np.exp(a) / np.exp(a).sum(axis, keepdims=True))
    for function in (Tensor.cumsum, Tensor.prod, Tensor.softmax, Tensor.log_softmax):
        gradcheck(function, [leaf(a), axis])
    gradcheck(lambda x: x.norm(dim=axis) + x.norm(3, dim=axis) + x.norm(1, axis), [leaf(a)])


@given(case=array_and_axes(values=distinct), descending=st.booleans())
def test_sort_and_topk(case, descending) -> None:
    a, axes = case
    axis = axes if isinstance(axes, int) else 0
    order = np.argsort(-a if descending else a, axis=axis)
    values, index = leaf(a).sort(axis, descending)
    same(index, order)
    same(values, np.take_along_axis(a, order, axis))
    k = (a.shape[axis] + 1) // 2
    values, index = leaf(a).topk(k, axis, largest=descending)
    same(index, np.take(order, np.arange(k), axis))
    gradcheck(lambda x: x.sort(axis, descending).values, [leaf(a)])
    gradcheck(lambda x: x.topk(k, axis).values, [leaf(a)])


def test_sort_is_stable_both_ways() -> None:
    x = minidl.tensor([2.0, 1.0, 2.0, 1.0])
    assert x.argsort().tolist() == [1, 3, 0, 2]
    assert x.argsort(descending=True).tolist() == [0, 2, 1, 3]


def test_reductions_of_nothing() -> None:
    x = minidl.zeros(2, 0)
    assert x.sum().item() == 0 and x.sum(1).tolist() == [0, 0] and x.prod().item() == 1
    assert np.isnan(x.mean().item())
    for name in ("max", "min", "amax", "argmax"):
        with pytest.raises(ValueError, match=name):
            getattr(x, name)()
    assert x.all().item() is True and x.any().item() is False


def test_integers_and_booleans_add_up() -> None:
    assert minidl.tensor([True, True]).sum().item() == 2
    assert minidl.tensor([100, 100], dtype=minidl.int8).sum().item() == 200
    with pytest.raises(TypeError, match="mean"):
        minidl.tensor([1, 2]).mean()
