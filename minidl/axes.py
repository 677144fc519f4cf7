"""Axes, shapes and sizes as users write them, checked and made canonical."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def as_int(name: str, argument: str, value: Any) -> int:
    """A Python int from an int, a NumPy integer or a 0-dimensional integer Tensor; TypeError otherwise."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: {argument} must be an int, not {value!r}") from None


def as_bool(name: str, argument: str, value: Any) -> bool:
    """A bool of Python's or NumPy's; TypeError otherwise: a 0.5 or "sum" in its place was meant for something else."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: {argument} must be True or False, not {value!r}")
    return bool(value)


def as_integers(name: str, argument: str, values: Any) -> np.ndarray:
    """A vector of int64 from a sequence, a vector or a Tensor of integers; TypeError or ValueError otherwise."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        raise ValueError(f"{name}: {argument} must have one dimension, not those of {values!r}") from None
    if array.dtype.kind not in "iu" and not (isinstance(values, list | tuple) and not array.size):
        raise TypeError(f"{name}: {argument} must be integers, not {array.dtype}: {values!r}")
    if array.ndim != 1:
        raise ValueError(f"{name}: {argument} must have one dimension, not shape {array.shape}")
    return array.astype(np.int64)


def norm_axis(name: str, axis: Any, ndim: int) -> int:
    """A dimension in 0 <= axis < ndim; else IndexError. A 0-dimensional Tensor has dimension 0, as in PyTorch."""
    axis = as_int(name, "dim", axis)
    n = max(ndim, 1)
    if not -n <= axis < n:
        raise IndexError(f"{name}: dim {axis} is out of range for {ndim} dimensions")
    return axis % n


def norm_axes(name: str, axes: int | Iterable[int] | None, ndim: int) -> tuple[int, ...]:
    """Dimensions as a sorted tuple; None or () stands for all. ValueError if one is named twice."""
    if axes is None:
        return tuple(range(ndim))
    if not isinstance(axes, Iterable):
        axes = (axes,)
    found = tuple(sorted(norm_axis(name, axis, ndim) for axis in axes))
    if len(set(found)) < len(found):
        raise ValueError(f"{name}: a dim appears twice in {axes}")
    if ndim == 0:
        return ()
    return found or tuple(range(ndim))


def as_shape(name: str, shape: tuple[Any, ...]) -> tuple[int, ...]:
    """A shape from `f(2, 3)` or `f((2, 3))`."""
    if len(shape) == 1 and isinstance(shape[0], Sequence):
        shape = tuple(shape[0])
    return tuple(as_int(name, "shape", n) for n in shape)


def infer_shape(name: str, shape: tuple[int, ...], source: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` with a -1 replaced by what is left of `source`; ValueError if the sizes differ."""
    size = math.prod(source)
    known = math.prod(n for n in shape if n != -1)
    unknown = shape.count(-1)
    if unknown > 1 or any(n < -1 for n in shape):
        raise ValueError(f"{name}: {shape} is not a shape; at most one -1 and no other negative length")
    if unknown and known and size % known == 0:
        shape = tuple(size // known if n == -1 else n for n in shape)
    elif unknown or known != size:
        raise ValueError(f"{name}: {source} has {size} elements, which do not fill {shape}")
    return shape


def broadcast_shapes(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that all broadcast to; ValueError naming the operation if there is none."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(f"{name}: shapes {' and '.join(map(str, shapes))} do not broadcast together") from None


def broadcasts_to(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether an array of a shape, repeated along dimensions of length 1 and new ones in front, has the whole shape."""
    return len(shape) <= len(whole) and all(n in (1, m) for n, m in zip(shape[::-1], whole[::-1], strict=False))


def split_sizes(name: str, size: int | Sequence[int], length: int) -> list[int]:
    """The lengths of the parts of a `split`; ValueError unless they add up to `length`."""
    if isinstance(size, Sequence):
        sizes = [as_int(name, "split size", n) for n in size]
        if sum(sizes) != length or min(sizes, default=0) < 0:
            raise ValueError(f"{name}: sizes {sizes} do not add up to the length {length}")
        return sizes
    size = as_int(name, "split size", size)
    if size < 0 or (size == 0 and length):
        raise ValueError(f"{name}: size must be positive, not {size}")
    if length == 0:
        return [0]
    return [min(size, length - start) for start in range(0, length, size)]
