"""Norms, softmax, cross-entropy and optimisers' steps in float32 against NumPy in float64, where digits can be lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl.kernels import norm, optim, softmax
from minidl.kernels.many import Rows
from minidl.optim.adagrad import plain_step as plain_adagrad
from minidl.optim.adam import plain_step as plain_adam
from minidl.optim.rmsprop import plain_step as plain_rmsprop
from minidl.optim.sgd import plain_step as plain_sgd

DTYPES = ("float32", "float64")


def of_rows(step):
    """A kernel's step as its plain form is called: with the arrays of one parameter."""
    return lambda *arrays, **options: step(Rows([arrays]), **options)


@pytest.mark.parametrize("offset", [0, 1000])
@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(1, 5), st.integers(1, 70), st.integers(0, 99))
def test_batch_norm_far_from_zero(offset, N, C, L, seed):
    """The difference of two large numbers would leave no digit of the variance."""
    x = (np.random.default_rng(seed).standard_normal((N, C, L)) + offset).astype("f")
    y, mean, variance = norm.batch_norm_forward(x, None, None, 1e-5)
    exact = x.astype(float)
    np.testing.assert_allclose(mean, exact.mean((0, 2)), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(variance, exact.var((0, 2)), rtol=2e-4, atol=1e-6)
    centred = exact - exact.mean((0, 2), keepdims=True)
    expected = centred / np.sqrt(exact.var((0, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, expected, atol=1e-3 if offset else 1e-4)


@pytest.mark.parametrize("offset", [0, 1000])
@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(2, 900), st.integers(0, 99))
def test_layer_norm_far_from_zero(offset, M, D, seed):
    x = (np.random.default_rng(seed).standard_normal((M, D)) + offset).astype("f")
    y, _, inverse = norm.layer_norm_forward(x, None, None, 1e-5, 1)
    exact = x.astype(float)
    np.testing.assert_allclose(inverse, 1 / np.sqrt(exact.var(1) + 1e-5), rtol=1e-3)
    expected = (exact - exact.mean(1, keepdims=True)) / np.sqrt(exact.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, expected, atol=5e-3 if offset else 1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 300), st.floats(0.1, 300), st.integers(0, 99))
def test_softmax_rows(dtype, M, n, scale, seed):
    x = (scale * np.random.default_rng(seed).standard_normal((M, n))).astype(dtype)
    e = np.exp(x.astype(np.longdouble) - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    eps = 50 * np.finfo(dtype).eps
    np.testing.assert_allclose(softmax.softmax_forward(x, False), p.astype(float), rtol=eps, atol=1e-30)
    logp = (x - x.max(1, keepdims=True)).astype(float) - np.log(e.sum(1, keepdims=True)).astype(float)
    np.testing.assert_allclose(softmax.softmax_forward(x, True), logp, rtol=eps, atol=eps * scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_infinities_and_nan(dtype):
    x = np.array([[0, -np.inf, 0, -np.inf], [-np.inf] * 4, [0, np.nan, 1, 2], [np.inf, 0, 0, 0]], dtype)
    p = softmax.softmax_forward(x, False)
    np.testing.assert_array_equal(p[0], [0.5, 0, 0.5, 0])
    assert np.isnan(p[1:3]).all() and np.isnan(p[3, 0])
    losses, _ = softmax.cross_entropy_forward(x, np.array([0, 0, 0, 0]), np.ones(4, dtype), 0.0)
    np.testing.assert_allclose(losses[0], np.log(2), rtol=1e-6)
    assert np.isnan(losses[1:]).all()


def test_cross_entropy_of_a_certain_mistake_and_of_ignored_rows():
    x = minidl.tensor([[1000.0, 0.0], [0.0, -1000.0], [np.nan, 0.0]], requires_grad=True)
    loss = F.cross_entropy(x, minidl.tensor([1, 0, -100]), reduction="none")
    np.testing.assert_array_equal(loss.detach().numpy(), [1000, 0, 0])
    loss.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[1, -1], [0, 0], [0, 0]])


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=25, deadline=None)
@given(st.sampled_from([1, 7, 8192, 20001]), st.booleans(), st.sampled_from([0.0, 0.1]), st.integers(0, 99))
def test_steps_are_those_of_their_plain_form(dtype, size, amsgrad, decay, seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(size).astype(dtype) for _ in range(2)] + [
        rng.random(size).astype(dtype) for _ in range(3)
    ]
    arrays[2] -= 0.5
    options = {"rate": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "root": 2.0, "decay": decay, "keep": 0.99}
    eps = 20 * np.finfo(dtype).eps
    for steps, chosen in (
        ((of_rows(optim.adam_step), plain_adam), options),
        ((of_rows(optim.sgd_step), plain_sgd), None),
    ):
        results = []
        for step in steps:
            p, g, m, v, largest = (a.copy() for a in arrays)
            if chosen is None:
                step(
                    p,
                    g,
                    m if amsgrad else None,
                    rate=0.1,
                    momentum=0.9,
                    damped=0.8,
                    decay=decay,
                    nesterov=seed % 2 == 0,
                )
            else:
                step(p, g, m, v, largest if amsgrad else None, **chosen)
            np.testing.assert_array_equal(g, arrays[1])
            results.append((p, m, v, largest))
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(a, b, rtol=eps, atol=eps)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([1, 7, 8192, 20001]), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.1]), st.integers(0, 99)
)
def test_root_mean_square_steps_are_those_of_their_plain_form(dtype, size, centered, momentum, decay, seed):
    rng = np.random.default_rng(seed)
    p, g, a, b = (rng.uniform(-0.5, 0.5, size).astype(dtype) for _ in range(4))
    v = 1 + rng.random(size).astype(dtype)  # more than a²
    options = {"rate": 0.1, "alpha": 0.9, "eps": 1e-8, "momentum": 0.8, "decay": decay}
    forms = [
        (
            of_rows(optim.rmsprop_step),
            plain_rmsprop,
            (p, g, v, a if centered else None, b if momentum else None),
            options,
        ),
        (of_rows(optim.adagrad_step), plain_adagrad, (p, g, v), {"rate": 0.1, "eps": 1e-8, "decay": decay}),
    ]
    eps = 20 * np.finfo(dtype).eps
    for kernel, plain, arrays, chosen in forms:
        results = []
        for step in (kernel, plain):
            mine = [None if x is None else x.copy() for x in arrays]
            step(*mine, **chosen)
            np.testing.assert_array_equal(mine[1], g)
            results.append([x for x in mine if x is not None])
        for got, expected in zip(*results, strict=True):
            np.testing.assert_allclose(got, expected, rtol=eps, atol=eps)
