"""Dropout draws by place: the same bits however they are asked for, and random in every way that is looked at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl.kernels import dropout

DTYPES = ("float32", "float64")


def splitmix64(seed, count):
    """The generator as its authors wrote it: a state that is added to, and mixed; the upper half of each number."""
    word, numbers = 2**64 - 1, []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & word
        z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & word
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & word
        numbers.append((z ^ (z >> 31)) >> 32)
    return np.array(numbers, np.uint64)


@given(st.integers(0, 2**63 - 1))
def test_the_stream_is_splitmix64(seed):
    with np.errstate(over="ignore"):
        got = dropout.random_bits(np.uint64(seed), np.arange(50, dtype=np.uint64))
    # z ^ (z >> 31) changes the upper 31 of the upper 32 bits not at all, and the lowest of them by bit 63
    np.testing.assert_array_equal(got >> np.uint64(1), splitmix64(seed, 50) >> np.uint64(1))


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    st.integers(0, 2**63 - 1),
    st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    st.sampled_from([(1, 1), (7, 1), (8192, 1), (20001, 1), (5, 3), (3, 9000), (600, 40), (0, 4)]),
)
def test_the_kernel_asks_the_same_as_numpy(dtype, seed, p, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    kept = dropout.kept(seed, p, shape[0])[:, None]
    expected = x * (kept * np.array(1 / (1 - p) if p < 1 else 0, dtype))
    got = dropout.dropout(x, seed, p, shape[1])
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("p", [0.03, 0.5, 0.8])
def test_counts_runs_and_neighbours_are_random(p):
    """Seeds next to each other, and the places of one: shares and correlations are within 5 standard deviations."""
    n = 1 << 16
    masks = np.array([dropout.kept(seed, p, n) for seed in (*range(8), 2**62, 2**63 - 1)]).astype(float)
    shares = masks.mean(1)
    assert (abs(shares - (1 - p)) < 5 * np.sqrt(p * (1 - p) / n)).all()
    standard = (masks - (1 - p)) / np.sqrt(p * (1 - p))
    of_seeds = standard @ standard.T / n
    assert (abs(of_seeds - np.diag(np.diag(of_seeds))) < 5 / np.sqrt(n)).all()
    for lag in (1, 2, 3, 8, 16, 64, 1024):
        assert (abs((standard[:, :-lag] * standard[:, lag:]).sum(1) / n) < 5 / np.sqrt(n)).all(), lag
    dropped = masks.reshape(len(masks), -1, 8).sum(2).astype(int)  # of eight in a row, how many are kept
    counts = np.bincount(dropped.ravel(), minlength=9)
    binomial = np.array(
        [np.prod([(8 - i) / (i + 1) for i in range(k)]) * (1 - p) ** k * p ** (8 - k) for k in range(9)]
    )
    expected = binomial * dropped.size
    assert ((counts - expected) ** 2 / np.maximum(expected, 1)).sum() < 40  # χ², 8 degrees of freedom: p < 1e-5


def test_repeatable_by_seed_and_by_generator_and_not_otherwise():
    x = minidl.ones(100, 30)

    def drawn(seed=None, generator=None):
        if seed is not None:
            minidl.manual_seed(seed)
        return F.dropout(x, 0.5, generator=generator).numpy()

    np.testing.assert_array_equal(drawn(3), drawn(3))
    assert (drawn(3) != drawn(4)).any() and (drawn() != drawn()).any()
    one, other = (minidl.Generator().manual_seed(7) for _ in range(2))
    np.testing.assert_array_equal(drawn(generator=one), drawn(generator=other))


def test_the_gradient_meets_the_same_mask():
    x = minidl.randn(50, 6, 7, 8)
    x.requires_grad = True
    for function in (F.dropout, F.dropout2d):
        x.grad = None
        y = function(x, 0.4)
        g = minidl.randn(50, 6, 7, 8)
        y.backward(g)
        factor = (y.detach() / x.detach()).numpy()
        np.testing.assert_allclose(x.grad.numpy(), g.numpy() * factor, rtol=1e-5)


@pytest.mark.parametrize(
    "setting", ["MINIDL_SIMD=generic", "MINIDL_SIMD=avx2", "MINIDL_NUM_THREADS=1", "NUMBA_DISABLE_JIT=1"]
)
def test_the_same_bits_by_any_path(setting):
    code = """
import zlib, numpy as np
from minidl.kernels import dropout
x = np.random.default_rng(0).standard_normal((500, 9)).astype(np.float32)
print([zlib.crc32(dropout.dropout(x, 5, 0.3, inner).tobytes()) for inner in (1, 9)])
"""
    name, value = setting.split("=")
    root = str(Path(dropout.__file__).parents[2])
    printed = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env=os.environ | {"PYTHONPATH": root, "MINIDL_QUIET": "1"} | extra,
            check=True,
            timeout=100,
            capture_output=True,
        ).stdout
        for extra in ({}, {name: value})
    ]
    assert printed[0] == printed[1]
