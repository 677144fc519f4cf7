"""Sums and products of large arrays: as NumPy's, for all ways to broadcast, all layouts, any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
from minidl.kernels import elementwise, threads

SHAPES = [
    ((300, 301), (300, 301)),
    ((300, 301), (301,)),
    ((300, 301), (1, 301)),
    ((300, 301), (300, 1)),
    ((300, 301), (1,)),
    ((300, 301), ()),
    ((5, 64, 16, 16), (64, 1, 1)),
    ((5, 64, 16, 16), (1, 64, 1, 1)),
    ((5, 64, 8, 64), (64, 8, 64)),
    ((5, 64, 16, 16), (5, 1, 16, 1)),
    ((64, 1, 64, 64), (64, 1, 64, 1)),
    ((2, 16, 64, 64), (64, 64)),
    ((90000,), (90000,)),
    ((300, 1), (1, 301)),
    ((301,), (300, 301)),
    ((3, 256, 256), (256, 1)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("first", "second"), SHAPES)
def test_pairs(first, second, dtype):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(first).astype(dtype), rng.standard_normal(second).astype(dtype)
    for left, right in ((a, b), (b, a), (a[::-1], b), (a.astype("float64"), b)):
        np.testing.assert_array_equal(elementwise.add(left, right), np.add(left, right), strict=True)
        np.testing.assert_array_equal(elementwise.multiply(left, right), np.multiply(left, right), strict=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (2, 3), (3,), (0,), (0, 2, 3), (0, 1), (1, 3), (1, 2), ()])
def test_sums(axes, dtype):
    x = (np.random.default_rng(0).standard_normal((9, 16, 20, 33)) * 9).astype(dtype)
    for a in (x, x[:, ::-1]):
        for keepdims in (False, True):
            exact = a.astype("float64").sum(axes, keepdims=keepdims)
            got = elementwise.total(a, axes, keepdims)
            assert got.shape == exact.shape and got.dtype == dtype
            np.testing.assert_allclose(got, exact, rtol=0, atol=1e-3 if dtype == "float32" else 1e-9)


def test_the_same_bits_on_any_number_of_threads_and_nan_stays():
    x = np.random.default_rng(0).standard_normal((64, 30000)).astype("float32")
    before, results = threads.get_num_threads(), []
    try:
        for n in (1, threads.most_threads()):
            threads.set_num_threads(n)
            results.append([elementwise.total(x, axes, False) for axes in ((0, 1), (1,), (0,))])
    finally:
        threads.set_num_threads(before)
    for one, many in zip(*results, strict=True):
        np.testing.assert_array_equal(one, many)
    x[3, 29000] = np.nan
    assert np.isnan(elementwise.total(x, (0, 1), False))
    assert np.flatnonzero(np.isnan(elementwise.total(x, (1,), False))).tolist() == [3]
    assert np.flatnonzero(np.isnan(elementwise.total(x, (0,), False))).tolist() == [29000]


def test_gradients_of_a_large_bias_and_scale():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in ((5, 64, 16, 16), (64, 1, 1), (1, 64, 1, 1))]
    x, scale, shift = (minidl.tensor(a, requires_grad=True) for a in arrays)
    g = rng.standard_normal(arrays[0].shape)
    (x * scale + shift).backward(minidl.tensor(g))
    np.testing.assert_allclose(x.grad.numpy(), g * arrays[1])
    np.testing.assert_allclose(scale.grad.numpy(), (g * arrays[0]).sum((0, 2, 3))[:, None, None])
    np.testing.assert_allclose(shift.grad.numpy(), g.sum((0, 2, 3))[None, :, None, None])
