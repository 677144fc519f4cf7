"""The convolution kernels against loops over the taps, in float64: values, layouts, threads, NaN, empty arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.kernels import conv, jit, threads

FEW = settings(max_examples=60, deadline=None)
DTYPES = ("float32", "float64")


def taps(x, weight, out_shape, stride, padding, dilation, groups):
    """For every weight: its index (k, c, r, s), the channel it reads, the places it sees in the padded image."""
    (K, c, R, S), (P, Q) = weight.shape, out_shape[2:]
    for k in range(K):
        for channel in range(c):
            for r in range(R):
                for s in range(S):
                    top, left = r * dilation[0], s * dilation[1]
                    rows = slice(top, top + (P - 1) * stride[0] + 1, stride[0])
                    columns = slice(left, left + (Q - 1) * stride[1] + 1, stride[1])
                    yield (k, channel, r, s), k // (K // groups) * c + channel, rows, columns


def reference(x, weight, g, *geometry):
    """(y, gx, gw), in float64."""
    (top, bottom), (left, right) = geometry[1]
    H, W = x.shape[2:]
    image = np.pad(x.astype(float), ((0, 0), (0, 0), (top, bottom), (left, right)))
    y, gw, gx = np.zeros(g.shape), np.zeros(weight.shape), np.zeros_like(image)
    for at, channel, rows, columns in taps(x, weight, g.shape, *geometry):
        seen = image[:, channel, rows, columns]
        y[:, at[0]] += float(weight[at]) * seen
        gw[at] = (g[:, at[0]] * seen).sum()
        gx[:, channel, rows, columns] += float(weight[at]) * g[:, at[0]]
    return y, gx[:, :, top : top + H, left : left + W], gw


def kernels(x, weight, g, *geometry):
    """(y, gx, gw) by the kernels."""
    return (
        conv.conv2d_forward(x, weight, None, *geometry),
        conv.conv2d_input_gradient(g, weight, x.shape, *geometry),
        conv.conv2d_weight_gradient(g, x, weight.shape, *geometry),
    )


def problem(seed, N, C, H, W, K, R, S, stride, padding, dilation, groups, dtype="float64"):
    """x, weight, g and the geometry; H and W count what is left over besides the smallest image that works."""
    (top, bottom), (left, right) = padding
    H = max(dilation[0] * (R - 1) + 1 - top - bottom, 1) + H
    W = max(dilation[1] * (S - 1) + 1 - left - right, 1) + W
    P = (H + top + bottom - dilation[0] * (R - 1) - 1) // stride[0] + 1
    Q = (W + left + right - dilation[1] * (S - 1) - 1) // stride[1] + 1
    rng = np.random.default_rng(seed)
    shapes = (N, C * groups, H, W), (K * groups, C, R, S), (N, K * groups, P, Q)
    x, weight, g = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    return x, weight, g, stride, padding, dilation, groups


def check(arguments):
    """The kernels give the reference's shapes, dtype and values, the error growing with the length of the sums."""
    dtype = arguments[0].dtype
    tolerance = {"float32": 3e-6, "float64": 1e-14}[dtype.name]
    for name, got, expected in zip(("y", "gx", "gw"), kernels(*arguments), reference(*arguments), strict=True):
        assert got.dtype == dtype, name
        assert got.shape == expected.shape, name
        scale = np.sqrt(max(a.size for a in arguments[:3]) + 1) * 10
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale, err_msg=name)


def small_int(most, least=1):
    return st.integers(least, most)


def two(strategy):
    return st.tuples(strategy, strategy)


problems = st.builds(
    problem,
    seed=st.integers(0, 999),
    N=small_int(3),
    C=small_int(3),
    H=small_int(8, 0),
    W=small_int(8, 0),
    K=small_int(4),
    R=small_int(4),
    S=small_int(4),
    stride=two(small_int(3)),
    padding=two(two(small_int(3, 0))),
    dilation=two(small_int(3)),
    groups=small_int(3),
    dtype=st.sampled_from(DTYPES),
)


@FEW
@given(problems)
def test_any_geometry(arguments):
    check(arguments)


NO, ONE = ((0, 0), (0, 0)), ((1, 1), (1, 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape",
    [  # more than one tile, task or block in each direction, and what is left over at each end
        (3, 5, 14, 17, 13, 3, 3, (1, 1), ONE, (1, 1), 1),
        (2, 13, 11, 19, 29, 3, 2, (2, 1), ((1, 0), (0, 2)), (1, 2), 1),
        (9, 1, 24, 23, 8, 5, 5, (1, 1), NO, (1, 1), 1),
        (2, 1, 14, 15, 1, 3, 3, (1, 1), ONE, (1, 1), 16),
        (2, 1, 14, 15, 1, 3, 5, (2, 3), ONE, (2, 1), 16),
        (2, 1, 14, 15, 3, 3, 3, (2, 2), ONE, (1, 1), 7),
        (2, 4, 9, 35, 5, 3, 3, (1, 2), ONE, (1, 1), 3),
        (1, 40, 8, 8, 40, 1, 1, (1, 1), NO, (1, 1), 1),
        (2, 7, 12, 9, 14, 1, 1, (2, 2), NO, (1, 1), 1),
        (1, 1, 0, 70, 1, 1, 3, (1, 1), NO, (1, 1), 1),
        (1, 3, 20, 20, 16, 7, 7, (2, 2), ((3, 3), (3, 3)), (1, 1), 1),
        (2, 16, 5, 6, 16, 2, 2, (5, 4), NO, (1, 1), 1),
        (2, 3, 20, 40, 15, 3, 3, (1, 1), ((0, 1), (0, 0)), (1, 1), 1),
        (1, 40, 70, 150, 9, 3, 3, (1, 1), ONE, (1, 1), 1),
        (2, 17, 20, 21, 40, 3, 3, (2, 2), ONE, (1, 1), 1),
        (40, 2, 5, 4, 3, 3, 3, (1, 1), ONE, (1, 1), 2),
        (7, 6, 14, 13, 16, 5, 5, (1, 1), NO, (1, 1), 1),  # squares within an image, and across two
        (7, 70, 12, 7, 8, 3, 3, (1, 1), NO, (1, 1), 2),
    ],
    ids=str,
)
def test_larger_than_a_tile(shape, dtype):
    check(problem(0, *shape, dtype))


def layouts(a):
    """The same values, laid out in memory in other ways."""
    yield np.asfortranarray(a)
    yield a[..., ::-1].copy()[..., ::-1]
    yield np.repeat(a, 2, axis=-1)[..., ::2]
    yield a.swapaxes(0, 1).copy().swapaxes(0, 1)
    frozen = a.copy()
    frozen.flags.writeable = False
    yield frozen
    unaligned = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    unaligned[...] = a
    yield unaligned


@pytest.mark.parametrize("groups", [1, 4])
def test_layouts_give_the_same_bits_and_are_left_alone(groups):
    *arrays, stride, padding, dilation, groups = problem(
        1, 2, 4 // groups, 6, 7, 8 // groups, 3, 2, (2, 1), ((1, 2), (0, 1)), (1, 2), groups
    )
    geometry = stride, padding, dilation, groups
    expected = kernels(*arrays, *geometry)
    before = [a.copy() for a in arrays]
    compiled = count_compiled()
    for position, array in enumerate(arrays):
        for other in layouts(array):
            changed = [other if i == position else a for i, a in enumerate(arrays)]
            for got, value in zip(kernels(*changed, *geometry), expected, strict=True):
                np.testing.assert_array_equal(got, value)
            np.testing.assert_array_equal(other, array)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert count_compiled() == compiled, "a layout was compiled for separately"


def count_compiled():
    """How many forms of kernels Numba has compiled."""
    return sum(len(kernel.codes) for kernel in jit.KERNELS.values())


def test_gradient_of_nothing_but_a_broadcast_scalar():
    """What `y.sum().backward()` hands over: every value of g is the same place in memory, read-only."""
    x, weight, g, *geometry = problem(2, 2, 3, 5, 6, 4, 3, 3, (1, 1), ONE, (1, 1), 1)
    ones = np.broadcast_to(np.float64(1), g.shape)
    for got, value in zip(kernels(x, weight, ones, *geometry), reference(x, weight, ones, *geometry), strict=True):
        np.testing.assert_allclose(got, value, atol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_not_a_number_and_infinity_reach_what_they_touch_and_nothing_else(value, stride, groups):
    shape = (2, 8 // groups, 9, 8, 8 // groups, 3, 3, stride, ONE, (1, 1), groups)
    for spoiled in (0, 2):  # x, g: the weights touch everything
        arguments = problem(3, *shape)
        arguments[spoiled][1, 2, 1, 1] = value
        with np.errstate(invalid="ignore"):
            expected = reference(*arguments)
        for name, got, wanted in zip(("y", "gx", "gw"), kernels(*arguments), expected, strict=True):
            np.testing.assert_array_equal(np.isfinite(got), np.isfinite(wanted), err_msg=name)
            np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted), err_msg=name)


def test_not_a_number_stays_in_its_image_where_images_share_a_tile():
    x, weight, g, *geometry = problem(7, 6, 4, 2, 2, 32, 3, 3, (1, 1), ONE, (1, 1), 1)
    x[0], g[0] = np.nan, np.nan
    for got in kernels(x, weight, g, *geometry)[:2]:
        assert np.isnan(got[0]).all()
        assert np.isfinite(got[1:]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("groups", [1, 3])
def test_empty_batch(groups, dtype):
    x, weight, g, *geometry = problem(0, 0, 2, 5, 6, 4, 3, 3, (2, 1), ONE, (1, 1), groups, dtype)
    y, gx, gw = kernels(x, weight, g, *geometry)
    assert (y.shape, gx.shape, gw.shape) == (g.shape, x.shape, weight.shape)
    assert y.dtype == gx.dtype == gw.dtype == dtype
    assert not gw.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("groups", [1, 6])
def test_the_same_bits_every_time_and_on_any_number_of_threads(groups, dtype, monkeypatch):
    monkeypatch.setattr(threads, "LITTLE", 0)  # threads even for these few operations
    arguments = problem(4, 5, 6 // groups, 13, 12, 12 // groups, 3, 3, (1, 1), ONE, (1, 1), groups, dtype)
    before, results = threads.get_num_threads(), []
    try:
        for n in sorted({1, 2, threads.most_threads()} & set(range(1, threads.most_threads() + 1))):
            threads.set_num_threads(n)
            results += [kernels(*arguments), kernels(*arguments)]
    finally:
        threads.set_num_threads(before)
    for others in results[1:]:
        for first, other in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(first, other)


def test_one_image_alone_gives_the_bits_that_it_gives_in_a_batch():
    x, weight, g, *geometry = problem(5, 4, 3, 9, 9, 8, 3, 3, (1, 1), ONE, (1, 1), 1, "float32")
    y, gx, _ = kernels(x, weight, g, *geometry)
    one, gone, _ = kernels(x[2:3], weight, g[2:3], *geometry)
    np.testing.assert_array_equal(one, y[2:3])
    np.testing.assert_array_equal(gone, gx[2:3])


def test_results_are_new_arrays():
    """Written into, they change neither the inputs nor the next result."""
    arguments = problem(6, 2, 2, 4, 4, 2, 1, 1, (1, 1), NO, (1, 1), 1)
    first = kernels(*arguments)
    copies = [a.copy() for a in first]
    for a in first:
        assert not any(np.shares_memory(a, b) for b in arguments[:3])
        a += 1
    for again, copy in zip(kernels(*arguments), copies, strict=True):
        np.testing.assert_array_equal(again, copy)
