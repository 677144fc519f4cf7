"""The pooling kernels against loops in plain Python, in float64; the conventions at ties and NaN are PyTorch's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.kernels import jit, pool, threads

FEW = settings(max_examples=80, deadline=None)
DTYPES = ("float32", "float64")


def window(place, size, stride, padding, dilation, length):
    """The rows (or columns) inside the image that output row (or column) `place` sees."""
    start = place * stride - padding
    return [h for h in range(start, start + dilation * (size - 1) + 1, dilation) if 0 <= h < length]


def max_reference(x, size, stride, padding, dilation, output):
    """Values and places: the first maximum, but of NaN the last; -∞ at place -1 where a window sees only padding."""
    N, C, H, W = x.shape
    y, index = np.full((N, C, *output), -np.inf), np.full((N, C, *output), -1, np.int64)
    for n, c, p, q in np.ndindex(y.shape):
        for h in window(p, size[0], stride[0], padding[0], dilation[0], H):
            for w in window(q, size[1], stride[1], padding[1], dilation[1], W):
                v = x[n, c, h, w]
                if index[n, c, p, q] < 0 or v > y[n, c, p, q] or np.isnan(v):
                    y[n, c, p, q], index[n, c, p, q] = v, h * W + w
    return y, index


def max_backward_reference(g, index, x_shape):
    gx = np.zeros(x_shape)
    for n, c, p, q in np.ndindex(g.shape):
        if index[n, c, p, q] >= 0:
            gx[n, c].flat[index[n, c, p, q]] += g[n, c, p, q]
    return gx


def avg_reference(x, g, counts, size, stride, padding):
    """y and gx."""
    y, gx = np.zeros(g.shape), np.zeros(x.shape)
    for n, c, p, q in np.ndindex(g.shape):
        for h in window(p, size[0], stride[0], padding[0], 1, x.shape[2]):
            for w in window(q, size[1], stride[1], padding[1], 1, x.shape[3]):
                y[n, c, p, q] += x[n, c, h, w] / counts[p, q]
                gx[n, c, h, w] += g[n, c, p, q] / counts[p, q]
    return y, gx


def outputs(length, size, stride, padding, dilation, ceil_mode):
    """How many windows fit; with ceil_mode the last may reach over the end, but must begin before it."""
    free = length + 2 * padding - dilation * (size - 1) - 1
    if free < 0:
        return 0
    count = (math.ceil if ceil_mode else math.floor)(free / stride) + 1
    return count - 1 if (count - 1) * stride >= length + padding else count


@st.composite
def geometries(draw, dilated=True):
    """((H, W), size, stride, padding, dilation, output) with at least one window."""
    directions = []
    ceil_mode = draw(st.booleans())
    for _ in range(2):
        size, stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
        padding, dilation = draw(st.integers(0, size // 2)), draw(st.integers(1, 3)) if dilated else 1
        smallest = max(dilation * (size - 1) + 1 - 2 * padding, 1)
        length = draw(st.integers(smallest, smallest + 9))
        directions.append(
            (length, size, stride, padding, dilation, outputs(length, size, stride, padding, dilation, ceil_mode))
        )
    return tuple(zip(*directions, strict=True))


def images(seed, shape, dtype, ties):
    """Random values, or few different ones, so that windows have several maxima."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-1, 2, shape) if ties else rng.standard_normal(shape)).astype(dtype)


@FEW
@given(geometries(), st.integers(0, 999), st.integers(0, 2), st.integers(1, 3), st.sampled_from(DTYPES), st.booleans())
def test_max(geometry, seed, N, C, dtype, ties):
    image, *options = geometry
    x = images(seed, (N, C, *image), dtype, ties)
    y, index = pool.max_pool2d_forward(x, *options)
    expected, places = max_reference(x, *options)
    assert (y.dtype, index.dtype) == (dtype, np.int32)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(index, places)
    g = images(seed + 1, y.shape, dtype, ties=False)
    gx = pool.max_pool2d_backward(g, index, x.shape)
    assert gx.dtype == dtype
    np.testing.assert_allclose(gx, max_backward_reference(g, index, x.shape), rtol=1e-5, atol=1e-5)


@FEW
@given(geometries(), st.integers(0, 999), st.sampled_from(DTYPES))
def test_max_of_nan_and_infinity(geometry, seed, dtype):
    image, *options = geometry
    x = images(seed, (2, 2, *image), dtype, ties=True)
    kinds = np.random.default_rng(seed).integers(0, 8, x.shape)
    for kind, value in enumerate((np.nan, np.inf, -np.inf)):
        x[kinds == kind] = value
    for got, expected in zip(pool.max_pool2d_forward(x, *options), max_reference(x, *options), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("row", "place"),
    [  # what torch.nn.functional.max_pool2d(..., return_indices=True) answers (2.13)
        ([1, 3, 3, 2], 1),
        ([0, 0, 0, 0], 0),
        ([2, np.nan, 1, 5], 1),
        ([np.nan, 1, np.nan, 2], 2),
        ([1, np.nan, 2, np.nan], 3),
        ([np.nan] * 4, 3),
        ([-np.inf] * 4, 0),
        ([-0.0, 0.0, -0.0, 0.0], 0),
    ],
)
@pytest.mark.parametrize("size", [(1, 4), (2, 2)])
def test_which_place_is_the_maximum(row, place, size):
    x = np.array(row, np.float32).reshape(1, 1, *size)
    y, index = pool.max_pool2d_forward(x, size, size, (0, 0), (1, 1), (1, 1))
    assert index.item() == place
    np.testing.assert_array_equal(y.item(), x.flat[place])


def test_a_window_of_nothing_but_padding():
    """Dilation can step over a small image: the maximum of nothing is -∞, and its gradient goes nowhere."""
    x = np.ones((1, 2, 1, 1))
    y, index = pool.max_pool2d_forward(x, (2, 1), (1, 1), (1, 0), (2, 1), (1, 1))
    assert (y == -np.inf).all()
    assert (index == -1).all()
    assert not pool.max_pool2d_backward(np.ones_like(y), index, x.shape).any()


@FEW
@given(geometries(dilated=False), st.integers(0, 999), st.integers(0, 2), st.integers(1, 3), st.sampled_from(DTYPES))
def test_avg(geometry, seed, N, C, dtype):
    image, size, stride, padding, _, output = geometry
    x = images(seed, (N, C, *image), dtype, ties=False)
    counts = np.random.default_rng(seed).integers(1, 9, output).astype(dtype)
    g = images(seed + 1, (N, C, *output), dtype, ties=False)
    y = pool.avg_pool2d_forward(x, counts, size, stride, padding)
    gx = pool.avg_pool2d_backward(g, counts, x.shape, size, stride, padding)
    assert y.dtype == gx.dtype == dtype
    tolerance = {"float32": 1e-5, "float64": 1e-13}[dtype]
    for got, expected in zip((y, gx), avg_reference(x, g, counts, size, stride, padding), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


def test_avg_hands_on_nan_and_infinity():
    x = np.zeros((1, 1, 4, 4), np.float32)
    x[0, 0, 0, 0], x[0, 0, 3, 3] = np.nan, np.inf
    counts = np.full((2, 2), 4, np.float32)
    y = pool.avg_pool2d_forward(x, counts, (2, 2), (2, 2), (0, 0))
    np.testing.assert_array_equal(y[0, 0], [[np.nan, 0], [0, np.inf]])
    gx = pool.avg_pool2d_backward(y, counts, x.shape, (2, 2), (2, 2), (0, 0))
    np.testing.assert_array_equal(np.isnan(gx[0, 0, :2, :2]), True)
    assert not np.isnan(gx[0, 0, 2:]).any()


def layouts(a):
    """The same values, laid out in memory in other ways."""
    yield np.asfortranarray(a)
    yield a[..., ::-1].copy()[..., ::-1]
    yield np.repeat(a, 2, axis=-1)[..., ::2]
    frozen = a.copy()
    frozen.flags.writeable = False
    yield frozen
    unaligned = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    unaligned[...] = a
    yield unaligned


def test_layouts_give_the_same_bits_and_are_left_alone():
    rng = np.random.default_rng(0)
    x, counts = rng.standard_normal((2, 3, 7, 6)), np.arange(1.0, 13).reshape(4, 3)
    options = (3, 2), (2, 2), (1, 0)
    y, index = pool.max_pool2d_forward(x, *options, (1, 1), (4, 3))
    g = rng.standard_normal(y.shape)

    def results(x, g, index, counts):
        return (
            *pool.max_pool2d_forward(x, *options, (1, 1), (4, 3)),
            pool.max_pool2d_backward(g, index, x.shape),
            pool.avg_pool2d_forward(x, counts, *options),
            pool.avg_pool2d_backward(g, counts, x.shape, *options),
        )

    arrays = x, g, index, counts
    expected, before, compiled = results(*arrays), [a.copy() for a in arrays], count_compiled()
    for position, array in enumerate(arrays):
        for other in layouts(array):
            changed = [other if i == position else a for i, a in enumerate(arrays)]
            for got, value in zip(results(*changed), expected, strict=True):
                np.testing.assert_array_equal(got, value)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert count_compiled() == compiled, "a layout was compiled for separately"


def count_compiled():
    """How many forms of kernels Numba has compiled."""
    return sum(len(kernel.codes) for kernel in jit.KERNELS.values())


def test_overlapping_windows_add_up_the_same_on_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(threads, "LITTLE", 0)  # threads even for these few operations
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 5, 17, 18)).astype(np.float32)
    options, output = ((3, 3), (1, 1), (1, 1)), (17, 18)
    counts = np.full(output, 9, np.float32)
    before, results = threads.get_num_threads(), []
    try:
        for n in range(1, min(threads.most_threads(), 4) + 1):
            threads.set_num_threads(n)
            y, index = pool.max_pool2d_forward(x, *options, (1, 1), output)
            back = pool.max_pool2d_backward(y, index, x.shape)
            avg = pool.avg_pool2d_forward(x, counts, *options)
            results.append((y, index, back, avg, pool.avg_pool2d_backward(avg, counts, x.shape, *options)))
    finally:
        threads.set_num_threads(before)
    for others in results[1:]:
        for first, other in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(first, other)
