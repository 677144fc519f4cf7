"""Activations of one kernel: to the last digits, at kinks and infinities, in blocks, on threads."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
from minidl.kernels import curves, threads
from minidl.kernels.activation import BLOCK
from minidl.nn import functional as F

CALLS = {
    "leaky_relu": {"negative_slope": 0.2},
    "relu6": {},
    "hardtanh": {"min_val": -0.5, "max_val": 2.0},
    "hardsigmoid": {},
    "hardswish": {},
    "elu": {"alpha": 1.5},
    "celu": {"alpha": 0.5},
    "selu": {},
    "softplus": {"beta": 2.0, "threshold": 3.0},
    "logsigmoid": {},
    "mish": {},
    "gelu": {"approximate": "tanh"},
}
NEGATIVE = ("celu", {"alpha": -0.5})


def both(name, options, x, g):
    """y and gx."""
    x = minidl.tensor(x, requires_grad=True)
    y = getattr(F, name)(x, **options)
    y.backward(minidl.tensor(g))
    return y.detach().numpy(), x.grad.numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CALLS)
def test_as_the_definition_in_float64(name, dtype):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-w, w, BLOCK // 2) for w in (0.01, 1, 8, 100)]).astype(dtype)
    g = rng.standard_normal(x.size).astype(dtype)
    with minidl.definitions():
        exact = both(name, CALLS[name], x.astype("float64"), g.astype("float64"))
    eps = (64 if name == "gelu" else 16) * np.finfo(dtype).eps  # the definition's 1 - tanh² loses some
    for got, want in zip(both(name, CALLS[name], x, g), exact, strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=eps, atol=eps)


@pytest.mark.parametrize("name", ["softplus", "elu", "celu", "selu"])
def test_small_values_keep_their_digits(name):
    """log(1 + e^x) and e^x - 1 of small numbers are small numbers, not 0."""
    x = np.linspace(-1, -60, 50) if name == "softplus" else -np.logspace(-1, -30, 50)
    g = np.ones_like(x)
    with minidl.definitions():
        want = both(name, {}, x, g)[0]
    np.testing.assert_allclose(both(name, {}, x.astype("float32"), g.astype("float32"))[0], want, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), [*CALLS.items(), NEGATIVE])
def test_kinks_infinities_and_nan_as_pytorch(name, options, dtype):
    torch = pytest.importorskip("torch")
    x = np.array([0.0, -0.0, -3, 3, 6, 1, -1, 2, -0.5, 1.5, 1e30, np.inf, -1e30, -np.inf, np.nan], dtype)
    if name in ("hardswish", "mish", "gelu") or options == NEGATIVE[1]:
        x = x[np.abs(x) < 1e10]  # theirs, and ours, have 0 · infinity there
    if name == "hardswish":
        x = x[(x != -3) & (x != 3)]  # ours has the slopes of the outer lines
    t = torch.tensor(x, requires_grad=True)
    y = getattr(torch.nn.functional, name)(t, **options)
    y.backward(torch.ones_like(y))
    got = both(name, options, x, np.ones_like(x))
    tolerance = 8 * np.finfo("float32" if name == "hardsigmoid" else dtype).eps  # their 1 / 6 is always a float32
    np.testing.assert_allclose(got[0], y.detach().numpy(), rtol=tolerance, atol=tolerance)
    slopes = t.grad.numpy()
    if name == "hardsigmoid":
        slopes[np.isnan(x)] = 1 / 6  # where theirs is 0, unlike in hardtanh
    np.testing.assert_allclose(got[1], slopes, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CALLS)
def test_nan_stays_and_far_away_the_slopes_are_those_of_the_lines(name):
    x = np.array([np.nan, 1e30, -1e30, 1e4, -1e4], "float32")
    y, gx = both(name, CALLS[name], x, np.ones_like(x))
    assert np.isnan(y[0]) and np.isfinite(gx[1:]).all()
    np.testing.assert_array_equal(gx[1], gx[3])
    np.testing.assert_array_equal(gx[2], gx[4])


@pytest.mark.parametrize("kind", range(7))
def test_the_same_bits_for_any_length_layout_and_number_of_threads(kind):
    rng = np.random.default_rng(kind)
    numbers = (0.3, 1.1, 0.7, 0.9)
    x, g = (rng.standard_normal(20 * BLOCK + 13).astype("float32") for _ in range(2))
    x[::7] *= 10
    before = threads.get_num_threads()
    try:
        threads.set_num_threads(1)
        y, gx = curves.curve(kind, x, numbers), curves.curve_gradient(kind, g, x, numbers)
        threads.set_num_threads(threads.most_threads())
        for size in (x.size, BLOCK, 9, 1, 0):
            np.testing.assert_array_equal(curves.curve(kind, np.repeat(x[:size], 2)[::2], numbers), y[:size])
            np.testing.assert_array_equal(curves.curve_gradient(kind, g[:size], x[:size], numbers), gx[:size])
    finally:
        threads.set_num_threads(before)


def test_derivatives_of_second_order():
    x = minidl.tensor(np.array([-1.3, 0.4, 2.5]), requires_grad=True)
    for name in ("softplus", "mish", "elu"):
        (g,) = minidl.autograd.grad(getattr(F, name)(x).sum(), [x], create_graph=True)
        (second,) = minidl.autograd.grad(g.sum(), [x])
        step = minidl.tensor(np.full(3, 1e-5))
        near = [
            minidl.autograd.grad(getattr(F, name)(z).sum(), [z])[0].numpy()
            for z in ((x + s * step).detach().requires_grad_() for s in (1, -1))
        ]
        np.testing.assert_allclose(second.numpy(), (near[0] - near[1]) / 2e-5, rtol=1e-5, atol=1e-7)
