"""What conv2d says to arguments that do not go together: the operation, the argument, and the shapes."""

from __future__ import annotations

import re

import pytest

import minidl
import minidl.nn.functional as F

X, W = (8, 4, 32, 30), (16, 4, 3, 5)


@pytest.mark.parametrize(
    ("x", "w", "options", "message"),
    [
        ((4,), W, {}, "conv2d: input must be (N, C, H, W) or (C, H, W) and weight (K, C / groups, R, S)"),
        (X, (16, 4, 3), {}, "their shapes are (8, 4, 32, 30) and (16, 4, 3)"),
        (
            X,
            (16, 3, 3, 5),
            {},
            "weight expects 3 input channels but x has 4 (x: N=8 C=4 H=32 W=30, weight: K=16 C=3 R=3 S=5, groups=1)",
        ),
        (X, W, {"groups": 3}, "conv2d: groups must be positive and divide the number of filters"),
        (X, W, {"groups": 0}, "conv2d: groups must be positive"),
        (X, W, {"groups": 2}, "conv2d: weight expects 8 input channels but x has 4"),
        (X, W, {"bias": (4,)}, "conv2d: bias must have shape (16,), not (4,)"),
        (X, (16, 4, 0, 5), {}, "conv2d: the filters are empty"),
        (X, (0, 4, 3, 5), {}, "conv2d: groups must be positive and divide the number of filters"),
        (X, W, {"stride": 0}, "conv2d: stride must be at least 1"),
        (X, W, {"stride": (1, 2, 3)}, "conv2d: stride must be an int or a pair of ints"),
        (X, W, {"dilation": 0}, "conv2d: dilation must be at least 1"),
        (X, W, {"dilation": 16}, "conv2d: the kernel (3, 5) with dilation (16, 16) is larger than the padded image"),
        (X, W, {"padding": -1}, "conv2d: padding must be at least 0"),
        (X, W, {"padding": "full"}, "conv2d: padding must be 'same', 'valid' or numbers, not 'full'"),
        (X, W, {"padding": "same", "stride": 2}, "conv2d: padding='same' needs stride 1"),
    ],
)
def test_shapes_and_numbers_that_do_not_go_together(x, w, options, message):
    options = {name: minidl.zeros(*value) if name == "bias" else value for name, value in options.items()}
    with pytest.raises(ValueError, match=re.escape(message)):
        F.conv2d(minidl.zeros(*x), minidl.zeros(*w), **options)


def test_dtypes():
    x, w = minidl.zeros(*X), minidl.zeros(*W)
    for arguments in ((x, w.double()), (x, w, minidl.zeros(16, dtype=minidl.float64)), (x.numpy(), w)):
        with pytest.raises(TypeError, match="conv2d"):
            F.conv2d(*arguments)
    with pytest.raises(TypeError, match="conv2d"):
        F.conv2d(minidl.zeros(*X, dtype=minidl.int64), minidl.zeros(*W, dtype=minidl.int64))


@pytest.mark.parametrize(
    ("x", "w", "options", "message"),
    [
        ((4, 5), (4, 3, 2, 2), {}, "input must be (N, C, H, W) or (C, H, W) and weight (C, K / groups, R, S)"),
        ((2, 4, 5, 6), (3, 4, 2, 2), {}, "weight expects 3 input channels but x has 4 (x: N=2 C=4 H=5 W=6"),
        ((2, 4, 5, 6), (4, 3, 2, 2), {"groups": 3}, "groups must be positive and divide the number of channels"),
        ((2, 4, 5, 6), (4, 3, 2, 2), {"groups": 2, "bias": (3,)}, "bias must have shape (6,), not (3,)"),
        ((2, 4, 0, 6), (4, 3, 2, 2), {}, "neither the filters nor an image may be empty"),
        ((2, 4, 5, 6), (4, 3, 2, 2), {"padding": 3}, "an output of 0 x 1 places"),
        ((2, 4, 5, 6), (4, 3, 2, 2), {"stride": 2**39}, "an output of 2199023255554 x 2748779069442 places"),
        ((2, 4, 5, 6), (4, 3, 2, 2), {"padding": "same"}, "padding must be an int"),
        ((2, 4, 5, 6), (4, 3, 2, 2), {"stride": (2, 3), "output_padding": 2}, "output_padding (2, 2) must be below"),
    ],
)
def test_what_does_not_go_together_when_transposed(x, w, options, message):
    options = {name: minidl.zeros(*value) if name == "bias" else value for name, value in options.items()}
    with pytest.raises((ValueError, TypeError), match=re.escape(f"conv_transpose2d: {message}")):
        F.conv_transpose2d(minidl.zeros(*x), minidl.zeros(*w), **options)
