"""What the poolings say to arguments that do not go together: the operation, the argument, and the shapes."""

from __future__ import annotations

import re

import pytest

import minidl
import minidl.nn.functional as F

X = (2, 3, 8, 6)


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((8, 6), {"kernel_size": 2}, "input must be (N, C, H, W) or (C, H, W), not (8, 6)"),
        ((2, 0, 8, 6), {"kernel_size": 2}, "only the batch may be empty, not the shape (2, 0, 8, 6)"),
        (X, {"kernel_size": 0}, "kernel_size must be at least 1"),
        (X, {"kernel_size": (2, 2, 2)}, "kernel_size must be an int or a pair of ints"),
        (X, {"kernel_size": 2, "stride": 0}, "stride must be at least 1"),
        (X, {"kernel_size": 2, "padding": -1}, "padding must be at least 0"),
        (X, {"kernel_size": 3, "padding": 2}, "padding must be at most half the window"),
        (X, {"kernel_size": 7}, "the kernel (7, 7) with dilation (1, 1) is larger than the padded image (image (8, 6)"),
    ],
)
def test_shapes_and_numbers_that_do_not_go_together(name, shape, options, message):
    with pytest.raises(ValueError, match=re.escape(f"{name}: {message}")):
        getattr(F, name)(minidl.zeros(*shape), **options)


def test_what_only_one_of_them_has():
    x = minidl.zeros(*X)
    with pytest.raises(ValueError, match="max_pool2d: dilation must be at least 1"):
        F.max_pool2d(x, 2, dilation=0)
    with pytest.raises(ValueError, match="avg_pool2d: divisor_override must not be 0"):
        F.avg_pool2d(x, 2, divisor_override=0)
    with pytest.raises(ValueError, match="adaptive_avg_pool2d: output_size"):
        F.adaptive_avg_pool2d(x, (1, 2, 3))


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_dtypes(name):
    with pytest.raises(TypeError, match=name):
        getattr(F, name)(minidl.zeros(*X, dtype=minidl.int64), 2)
    with pytest.raises(TypeError, match=name):
        getattr(F, name)(minidl.zeros(*X).numpy(), 2)


@pytest.mark.parametrize("name", ["max_pool1d", "avg_pool1d"])
@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((8,), {"kernel_size": 2}, "input must be (N, C, T) or (C, T), not (8,)"),
        ((3, 8), {"kernel_size": (2, 2)}, "kernel_size must be an int or a sequence of one, not (2, 2)"),
        ((3, 8), {"kernel_size": 3, "padding": 2}, "padding must be at most half the window, but is (2,)"),
        ((3, 8), {"kernel_size": 9}, "the kernel (9,) with dilation (1,) is larger than the padded image (image (8,)"),
    ],
)
def test_sequences_are_called_sequences(name, shape, options, message):
    with pytest.raises(ValueError, match=re.escape(f"{name}: {message}")):
        getattr(F, name)(minidl.zeros(*shape), **options)


@pytest.mark.parametrize("kind", ["avg", "max"])
def test_adaptive(kind):
    pool1d, pool2d = (getattr(F, f"adaptive_{kind}_pool{n}d") for n in (1, 2))
    for size in ((1, 2, 3), -1, (2, -1)):
        with pytest.raises(ValueError, match=f"adaptive_{kind}_pool2d: output_size"):
            pool2d(minidl.zeros(*X), size)
    with pytest.raises(ValueError, match=f"adaptive_{kind}_pool1d: output_size"):
        pool1d(minidl.zeros(2, 3, 8), (2, 2))
    with pytest.raises(ValueError, match=f"adaptive_{kind}_pool1d: an output_size of {2**60} is too large"):
        pool1d(minidl.zeros(2, 3, 8), 2**60)
    with pytest.raises(ValueError, match=re.escape(f"adaptive_{kind}_pool1d: input must be (N, C, T)")):
        pool1d(minidl.zeros(*X), 2)
    assert pool1d(minidl.zeros(0, 3, 8), 2).shape == (0, 3, 2) and pool2d(minidl.zeros(*X), (0, 3)).shape == (
        2,
        3,
        0,
        3,
    )
