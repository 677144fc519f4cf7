"""Winograd's convolution against the direct one in float64: all three passes, edges, the setting that forbids it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl.kernels import conv, winograd

ONE = (1, 1)


@pytest.fixture(autouse=True)
def allowed():
    before = conv.winograd.allowed
    yield
    conv.winograd.allowed = before


def direct(x, w, bias, g, padding):
    """y, gx and gw in float64 without Winograd."""
    x, w, bias, g = (a.astype(float) for a in (x, w, bias, g))
    geometry = ONE, padding, ONE, 1
    return (
        conv.conv2d_forward(x, w, bias, *geometry),
        conv.conv2d_input_gradient(g, w, x.shape, *geometry),
        conv.conv2d_weight_gradient(g, x, w.shape, *geometry),
    )


def passes(x, w, bias, g, padding):
    """y, gx and gw by Winograd."""
    (top, _), (left, _) = padding
    return (
        winograd.winograd_forward(x, w, bias, (top, left), g.shape[2:]),
        winograd.winograd_input_gradient(g, w, (top, left), x.shape),
        winograd.winograd_weight_gradient(g, x, (top, left)),
    )


pads = st.tuples(st.integers(0, 2), st.integers(0, 2))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3), st.integers(12, 35), st.integers(12, 20), st.integers(3, 11), st.integers(3, 14),
    st.tuples(pads, pads), st.sampled_from(["float32", "float64"]), st.integers(0, 99),
)  # fmt: skip
def test_any_shape(N, C, K, H, W, padding, dtype, seed):
    rng = np.random.default_rng(seed)
    P, Q = H + sum(padding[0]) - 2, W + sum(padding[1]) - 2
    shapes = (N, C, H, W), (K, C, 3, 3), (K,), (N, K, P, Q)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    before = [a.copy() for a in arrays]
    limit = 3e-5 if dtype == "float32" else 1e-13
    for got, exact in zip(passes(*arrays, padding), direct(*arrays, padding), strict=True):
        assert got.shape == exact.shape and got.dtype == dtype
        assert np.abs(got - exact).max() <= limit * max(np.sqrt(np.mean(exact**2)) * 5, 1)
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_error_that_the_documentation_states():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 64, 16, 16)), rng.standard_normal((64, 64, 3, 3)) / 24
    none = np.empty(0, np.float32)
    got = winograd.winograd_forward(x.astype("f"), w.astype("f"), none, (1, 1), (16, 16))
    exact = conv.conv2d_forward(
        x.astype("f").astype(float), w.astype("f").astype(float), None, ONE, ((1, 1), (1, 1)), ONE, 1
    )
    assert 0.9 < exact.std() < 1.1
    assert 1e-7 < np.abs(got - exact).max() < 5e-5


def test_it_is_taken_where_it_pays_and_only_if_allowed(monkeypatch):
    calls = []
    for name in ("winograd_forward", "winograd_input_gradient", "winograd_weight_gradient"):
        one = getattr(conv, name)
        monkeypatch.setattr(conv, name, lambda *args, one=one, name=name: calls.append(name) or one(*args))

    def run(dtype="float32", size=3, stride=1, channels=64):
        calls.clear()
        x = minidl.ones(2, channels, 16, 16, dtype=dtype).requires_grad_()
        w = minidl.ones(64, channels, size, size, dtype=dtype).requires_grad_()
        F.conv2d(x, w, stride=stride, padding=1).sum().backward()
        return len(calls)

    assert run() == 3
    assert [run("float64"), run(size=1), run(stride=2), run(channels=8)] == [0, 0, 0, 0]
    minidl.allow_winograd(False)
    assert run() == 0
    minidl.allow_winograd(True)
    assert run() == 3
    with pytest.raises(TypeError, match="allow_winograd"):
        minidl.allow_winograd(1)


def test_not_a_number_stays_in_its_image():
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((5, 12, 8, 8)), rng.standard_normal((12, 12, 3, 3))
    x[0] = np.nan
    for got in (
        winograd.winograd_forward(x, w, np.empty(0), (1, 1), (8, 8)),
        winograd.winograd_input_gradient(x, w, (1, 1), x.shape),
    ):
        assert np.isnan(got[0]).all()
        assert np.isfinite(got[1:]).all()
