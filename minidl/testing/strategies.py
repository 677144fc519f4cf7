"""Hypothesis strategies: arrays of every dtype, shape and layout, and arguments for operations.

The arguments of an operation come as a `Sample`, so that `check_sample(OPERATIONS["conv2d"], sample)` can check it.
What is drawn are shapes, options and a seed, and the values come from the seed: nobody can read a shrunk array anyway.

>>> from hypothesis import given
>>> from minidl.ops.table import OPERATIONS
>>> from minidl.testing import check_sample
>>> from minidl.testing.strategies import conv2d_arguments
>>> @given(conv2d_arguments())
... def test_conv2d(sample):
...     check_sample(OPERATIONS["conv2d"], sample)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl.dtypes import SUPPORTED
from minidl.ops.samples import distinct, normal
from minidl.ops.table import Sample
from minidl.testing.layouts import LAYOUTS, broadcast

__all__ = [
    "arrays",
    "avg_pool2d_arguments",
    "broadcastable_shapes",
    "conv2d_arguments",
    "cross_entropy_arguments",
    "dtypes",
    "indices",
    "layouts",
    "linear_arguments",
    "max_pool2d_arguments",
    "norm_arguments",
    "shapes",
]

Shape = tuple[int, ...]


# Arrays


def dtypes(kinds: str = "fiub") -> st.SearchStrategy[np.dtype]:
    """The dtypes that Tensors have, of some kinds: f loating, i nteger, u nsigned, b oolean."""
    return st.sampled_from([dtype for dtype in SUPPORTED if dtype.kind in kinds])


def shapes(min_dims: int = 0, max_dims: int = 4, min_side: int = 0, max_side: int = 4) -> st.SearchStrategy[Shape]:
    """Shapes, with dimensions of length 1 and, unless `min_side` says otherwise, 0."""
    sides = st.integers(min_side, max_side)
    return st.lists(sides, min_size=min_dims, max_size=max_dims).map(tuple)


def layouts() -> st.SearchStrategy[Callable[[np.ndarray], np.ndarray]]:
    """Functions that lay an array out otherwise: transposed, strided, reversed, read-only."""
    return st.sampled_from(list(LAYOUTS.values()))


@st.composite
def arrays(
    draw: Any,
    shape: Shape | st.SearchStrategy[Shape] | None = None,
    dtype: Any = np.float64,
    values: Callable[..., np.ndarray] = normal,
    stride_0: bool = False,
) -> np.ndarray:
    """Arrays in any layout.

    Args:
        shape: a shape, or a strategy for it; by default any.
        dtype: a dtype, or a strategy for it.
        values: draws floating-point values, from a generator and lengths, as those of `minidl.ops.samples` do.
        stride_0: also arrays that repeat one value along a dimension without copies, as broadcasting makes them.
    """
    shape = draw(shapes() if shape is None else shape if isinstance(shape, st.SearchStrategy) else st.just(shape))
    dtype = draw(dtype) if isinstance(dtype, st.SearchStrategy) else np.dtype(dtype)
    rng = generator(draw)
    if dtype.kind == "f":
        a = values(rng, *shape).astype(dtype)
    else:
        low = 0 if dtype.kind in "ub" else -9
        a = np.asarray(rng.integers(low, 2 if dtype.kind == "b" else 10, shape)).astype(dtype)
    return draw(st.sampled_from([*LAYOUTS.values(), *([broadcast] if stride_0 else [])]))(a)


def generator(draw: Any) -> np.random.Generator:
    """A NumPy generator from a drawn seed."""
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


@st.composite
def broadcastable_shapes(draw: Any, count: int = 2, max_dims: int = 3, max_side: int = 3) -> tuple[Shape, ...]:
    """Shapes that broadcast together: some dimensions left out in front, some of length 1."""
    whole = draw(shapes(0, max_dims, 0, max_side))
    found = []
    for _ in range(count):
        start = draw(st.integers(0, len(whole)))
        found.append(tuple(1 if draw(st.booleans()) else n for n in whole[start:]))
    return tuple(found)


@st.composite
def indices(draw: Any, shape: Shape) -> Any:
    """An index for an array of a shape: ints, slices, Ellipsis, None, integer arrays and masks, in any mixture."""
    rng = generator(draw)
    if draw(st.integers(0, 9)) == 0:
        return np.asarray(rng.random(shape) < 0.5)
    parts: list[Any] = []
    common = draw(st.sampled_from([(), (1,), (2,), (3, 1)]))  # integer arrays broadcast together
    for n in shape[: draw(st.integers(0, len(shape)))]:
        kinds = ["slice", "slice", "array", "mask"] + (["int"] if n else [])
        kind = draw(st.sampled_from(kinds if n else ["slice", "slice"]))
        if kind == "slice":
            parts.append(draw(st.slices(n)))
        elif kind == "int":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "array":
            parts.append(np.asarray(rng.integers(-n, n, common)))
        else:  # a mask counts as an integer array of length 1, so that it broadcasts with the others
            mask = np.zeros(n, bool)
            mask[rng.integers(n)] = True
            parts.append(mask)
    if draw(st.booleans()):
        parts.append(Ellipsis)
        parts.extend(draw(st.slices(n)) for n in shape[len(parts) - 1 :][-1:] if len(parts) - 1 < len(shape))
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    return tuple(parts)


# Arguments of operations


@st.composite
def conv2d_arguments(draw: Any, max_side: int = 7) -> Sample:
    """Images, filters and options of `conv2d`: nothing square, nothing that divides, any padding, groups, no batch."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    c, k = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    size, stride, dilation = draw(pairs(1, 3)), draw(pairs(1, 3)), draw(pairs(1, 2))
    padding: Any = draw(st.one_of(pairs(0, 2), st.sampled_from(["valid", "same"])))
    if padding == "same":
        stride = (1, 1)
    free = (0, 0) if isinstance(padding, str) else padding
    lengths = sides(draw, size, dilation, free, max_side)
    batch = draw(st.sampled_from([(), (0,), (1,), (2,), (3,)]))
    x = draw(arrays((*batch, groups * c, *lengths)))
    weight = draw(arrays((groups * k, c, *size)))
    bias = draw(st.one_of(st.none(), arrays((groups * k,))))
    return Sample(x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)


@st.composite
def max_pool2d_arguments(draw: Any, max_side: int = 8) -> Sample:
    """Images whose values are all different, and options of `max_pool2d`: overlapping and gapped windows."""
    size, stride, dilation = draw(pairs(1, 3)), draw(st.one_of(st.none(), pairs(1, 4))), draw(pairs(1, 2))
    padding = tuple(draw(st.integers(0, r // 2)) for r in size)
    x = draw(arrays((*pooled_batch(draw), *sides(draw, size, dilation, padding, max_side)), values=distinct))
    ceil_mode = draw(st.booleans())
    return Sample(x, size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)


@st.composite
def avg_pool2d_arguments(draw: Any, max_side: int = 8) -> Sample:
    """Images and options of `avg_pool2d`: every way of counting."""
    size, stride = draw(pairs(1, 3)), draw(st.one_of(st.none(), pairs(1, 4)))
    padding = tuple(draw(st.integers(0, r // 2)) for r in size)
    x = draw(arrays((*pooled_batch(draw), *sides(draw, size, (1, 1), padding, max_side))))
    return Sample(
        x,
        size,
        stride=stride,
        padding=padding,
        ceil_mode=draw(st.booleans()),
        count_include_pad=draw(st.booleans()),
        divisor_override=draw(st.sampled_from([None, None, 3, -2])),
    )


@st.composite
def linear_arguments(draw: Any) -> Sample:
    """Inputs of any number of leading dimensions, a weight and perhaps a bias."""
    n, m = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    x = draw(arrays((*draw(shapes(0, 3, 0, 3)), n)))
    return Sample(x, draw(arrays((m, n))), draw(st.one_of(st.none(), arrays((m,)))))


@st.composite
def norm_arguments(draw: Any) -> Sample:
    """Inputs (N, C, ...) of `batch_norm` in training, with weight and bias.

    Of two values in a channel the normed ones are ±1 whatever they were: a gradient of almost 0, made of rounding only.
    """
    channels = draw(st.integers(1, 3))
    rest = draw(st.sampled_from([(), (3,), (2, 3), (1, 1)]))
    x = draw(arrays((draw(st.integers(3, 5)), channels, *rest)))
    return Sample(x, None, None, draw(arrays((channels,))), draw(arrays((channels,))), training=True)


@st.composite
def cross_entropy_arguments(draw: Any) -> Sample:
    """Logits (N, C, ...), class indices, and options of `cross_entropy`: ignored labels, smoothing, every reduction."""
    classes = draw(st.integers(1, 4))
    batch, rest = draw(st.integers(1, 4)), draw(st.sampled_from([(), (3,), (2, 1)]))
    rng = generator(draw)
    target = np.asarray(rng.integers(0, classes, (batch, *rest)))
    options: dict[str, Any] = {
        "reduction": draw(st.sampled_from(["mean", "sum", "none"])),
        "label_smoothing": draw(st.sampled_from([0.0, 0.0, 0.1])),
    }
    if draw(st.booleans()) and target.size > 1 and classes > 1:
        options["ignore_index"] = int(target.flat[0])
        target.flat[-1] = (target.flat[0] + 1) % classes  # of all ignored, the mean is NaN
    return Sample(draw(arrays((batch, classes, *rest))), target, **options)


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    """(rows, columns)"""
    return st.tuples(st.integers(low, high), st.integers(low, high))


def sides(draw: Any, size: Shape, dilation: Shape, padding: Shape, most: int) -> Shape:
    """Lengths of an image into which, with its padding, a window fits."""
    least = [max(d * (r - 1) + 1 - 2 * p, 1) for r, d, p in zip(size, dilation, padding, strict=True)]
    return tuple(draw(st.integers(n, max(n, most))) for n in least)


def pooled_batch(draw: Any) -> Shape:
    """(N, C) or (C,)"""
    return draw(st.sampled_from([(2,), (0, 2), (1, 1), (2, 2)]))
