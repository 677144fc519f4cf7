"""exp, log, tanh, sigmoid, erf and what is made of them: within 4 units in the last place, everywhere."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.kernels import activation
from minidl.kernels import math as helpers

DTYPES = ("float32", "float64")
TASKS = {name: getattr(activation, f"{name}_task") for name in ("exp", "log", "tanh", "sigmoid", "erf")}


def exact_sigmoid(x):
    return np.longdouble(0) if x <= -11000 else 1 / (1 + np.exp(-x))


EXACT = {  # more digits than float64 has; erf, which NumPy lacks, in float64
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sigmoid": np.vectorize(exact_sigmoid, otypes=[np.longdouble]),
    "erf": np.vectorize(math.erf, otypes=[float]),
}


def places():
    """A dense grid near 0, wide ones, all magnitudes, and the ends of what floats can hold."""
    rng = np.random.default_rng(0)
    parts = [rng.uniform(-w, w, 4000) for w in (0.1, 1, 4, 20, 110, 750)]
    for low, high in ((-320, 308), (-45, 5)):
        parts += [sign * 10.0 ** rng.uniform(low, high, 4000) for sign in (1, -1)]
    return np.concatenate(parts)


def units(got, exact, dtype):
    """The error in units of the last place of the exact value."""
    with np.errstate(all="ignore"):
        rounded = np.asarray(exact).astype(dtype)
        error = np.abs(got.astype(np.longdouble) - exact) / np.spacing(np.abs(rounded)).astype(np.longdouble)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    return np.where(same, 0, error)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TASKS)
def test_within_four_units(name, dtype):
    with np.errstate(all="ignore"):
        x = places().astype(dtype)
        exact = EXACT[name](x.astype(np.longdouble))
    got = activation.mapped(TASKS[name], x, 1)
    assert got.dtype == dtype
    error = units(got, exact, dtype)
    assert error.max() <= 4, (x[error.argmax()], got[error.argmax()], exact[error.argmax()])


@pytest.mark.parametrize("name", TASKS)
@given(st.floats(width=32))
def test_any_float32(name, value):
    x = np.full(3, value, np.float32)
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(np.longdouble))
    assert units(activation.mapped(TASKS[name], x, 1), exact, "float32").max() <= 4


SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan]
ANSWERS = {
    "exp": [1, 1, np.inf, 0, np.nan],
    "log": [-np.inf, -np.inf, np.inf, np.nan, np.nan],
    "tanh": [0.0, -0.0, 1, -1, np.nan],
    "sigmoid": [0.5, 0.5, 1, 0, np.nan],
    "erf": [0.0, -0.0, 1, -1, np.nan],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TASKS)
def test_zeros_infinities_and_nan(name, dtype):
    got = activation.mapped(TASKS[name], np.array(SPECIAL, dtype), 1)
    np.testing.assert_array_equal(got, np.array(ANSWERS[name], dtype))
    np.testing.assert_array_equal(np.signbit(got[:2]), np.signbit(np.array(ANSWERS[name][:2])))


@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu(dtype):
    x = np.linspace(-50, 50, 20001).astype(dtype)
    exact = np.array([v * 0.5 * math.erfc(-v * math.sqrt(0.5)) for v in x.astype(float)])
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(activation.mapped(activation.gelu_task, x, 1), exact, rtol=4 * eps, atol=4 * eps)
    got = activation.mapped(activation.gelu_task, np.array([*SPECIAL, -1e4], dtype), 1)
    np.testing.assert_array_equal(got, np.array([0, -0.0, np.inf, np.nan, np.nan, -0.0]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 7, 8192, 8193, 30011])
def test_every_length_and_layout(size, dtype):
    rng = np.random.default_rng(size)
    x, g = rng.standard_normal(size).astype(dtype), rng.standard_normal(size).astype(dtype)
    expected = np.where(x > 0, x, 0)
    for other in (x, x[::-1][::-1], np.repeat(x, 2)[::2]):
        np.testing.assert_array_equal(activation.mapped(activation.relu_task, other, 1), expected)
    gx = activation.mapped_gradient(activation.relu_gradient_task, g, expected, 1)
    np.testing.assert_array_equal(gx, np.where(x > 0, g, 0))
    y = np.tanh(x)
    gx = activation.mapped_gradient(activation.tanh_gradient_task, g, y, 1)
    np.testing.assert_allclose(gx, g * (1 - y.astype(float) ** 2), rtol=1e-5, atol=1e-6)


def test_the_same_in_plain_python():
    """Without compilation the helpers are functions of NumPy's numbers."""
    code = """
import numpy as np
from minidl.kernels import math as m
with np.errstate(all="ignore"):
    for kind in (np.float32, np.float64):
        for v in (-90.0, -1.5, -0.0, 0.3, 2.0, np.inf, np.nan):
            x = kind(v)
            for f, exact in ((m.exp, np.exp), (m.tanh, np.tanh), (m.log, np.log)):
                got, want = f(x), exact(x)
                near = np.isclose(got, want, rtol=8 * np.finfo(kind).eps, atol=0, equal_nan=True)
                assert got.dtype == kind and near, (f.name, x, got)
"""
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(Path(helpers.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
