"""Functions that make Tensors: from data, filled, counted, random."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.axes import as_int, as_shape
from minidl.dtypes import as_array, as_dtype, float32, int64
from minidl.function import Version
from minidl.random import Generator, stream
from minidl.tensor import Tensor, from_result

DType = Any


def made(array: np.ndarray, requires_grad: bool = False) -> Tensor:
    """A Tensor on a new array."""
    t = from_result(array, None, Version())
    return t.requires_grad_() if requires_grad else t


def tensor(data: Any, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """A Tensor with a copy of the data: numbers, nested sequences, an ndarray or a Tensor.

    Python floats become float32, ints int64; an ndarray keeps its dtype.

    >>> import minidl
    >>> minidl.tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])

    Raises:
        ValueError: rows of different lengths.
        TypeError: a dtype that is not supported, such as complex128 or object.
    """
    if isinstance(data, Tensor):
        data = data._array
    elif isinstance(data, list | tuple) and any(isinstance(x, Tensor) for x in data):
        data = np.stack([x._array if isinstance(x, Tensor) else as_array(x) for x in data])
    return made(np.array(as_array(data, dtype), order="C"), requires_grad)


def as_tensor(data: Any, dtype: DType = None) -> Tensor:
    """As `tensor`, but a Tensor is returned as it is and an ndarray shares its memory where the dtype allows."""
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtype)
    return Tensor(as_array(data, dtype))


def from_numpy(array: np.ndarray) -> Tensor:
    """A Tensor on the memory of an ndarray. TypeError for anything else."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected an ndarray, not {type(array).__name__}")
    return Tensor(array)


def checked_shape(name: str, shape: tuple[Any, ...]) -> tuple[int, ...]:
    shape = as_shape(name, shape)
    if min(shape, default=0) < 0:
        raise ValueError(f"{name}: a length in {shape} is negative")
    return shape


def zeros(*size: Any, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """Zeros of a shape: `zeros(2, 3)` or `zeros((2, 3))`."""
    return made(np.zeros(checked_shape("zeros", size), as_dtype(dtype or float32)), requires_grad)


def ones(*size: Any, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """Ones of a shape."""
    return made(np.ones(checked_shape("ones", size), as_dtype(dtype or float32)), requires_grad)


def empty(*size: Any, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """Whatever the memory held, in a shape."""
    return made(np.empty(checked_shape("empty", size), as_dtype(dtype or float32)), requires_grad)


def full(size: Sequence[int], fill_value: Any, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """One value in a shape; the dtype is the value's: float32, int64 or bool."""
    dtype = as_array(fill_value).dtype if dtype is None else as_dtype(dtype)
    return made(np.full(checked_shape("full", tuple(size)), fill_value, dtype), requires_grad)


def zeros_like(input: Tensor, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape and dtype of another Tensor."""
    return zeros(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


def ones_like(input: Tensor, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape and dtype of another Tensor."""
    return ones(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


def empty_like(input: Tensor, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """Whatever the memory held, in the shape and dtype of another Tensor."""
    return empty(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


def full_like(input: Tensor, fill_value: Any, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """One value in the shape and dtype of another Tensor."""
    return full(input.shape, fill_value, dtype=dtype or input.dtype, requires_grad=requires_grad)


def arange(
    start: float, end: float | None = None, step: float = 1, *, dtype: DType = None, requires_grad: bool = False
) -> Tensor:
    """start, start + step, ... below end; `arange(n)` counts from 0. int64 for ints, else float32."""
    if end is None:
        start, end = 0, start
    if step == 0:
        raise ValueError("arange: step must not be 0")
    if (end - start) / step < 0:
        raise ValueError(f"arange: from {start} to {end} a step of {step} leads away")
    if dtype is None:
        dtype = int64 if all(isinstance(n, int | np.integer) for n in (start, end, step)) else float32
    return made(np.arange(start, end, step).astype(as_dtype(dtype)), requires_grad)


def linspace(start: float, end: float, steps: int, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """`steps` values from start to end, both included, evenly spaced."""
    if steps < 0:
        raise ValueError(f"linspace: steps must not be negative, but is {steps}")
    return made(np.linspace(start, end, steps).astype(as_dtype(dtype or float32)), requires_grad)


def eye(n: int, m: int | None = None, *, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """A matrix of n rows and m (or n) columns with ones on the diagonal."""
    shape = checked_shape("eye", (n, n if m is None else m))
    return made(np.eye(*shape, dtype=as_dtype(dtype or float32)), requires_grad)


def random_tensor(
    name: str, size: tuple[Any, ...], dtype: DType, requires_grad: bool, draw: Callable[..., np.ndarray]
) -> Tensor:
    dtype = as_dtype(dtype or float32)
    if dtype.kind != "f":
        raise TypeError(f"{name}: dtype must be floating-point, not {dtype}")
    return made(np.asarray(draw(checked_shape(name, size), dtype)), requires_grad)


def rand(*size: Any, generator: Generator | None = None, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """Uniform in [0, 1)."""
    return random_tensor("rand", size, dtype, requires_grad, stream(generator).random)


def randn(*size: Any, generator: Generator | None = None, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """Standard normal."""
    return random_tensor("randn", size, dtype, requires_grad, stream(generator).standard_normal)


def rand_like(input: Tensor, *, generator: Generator | None = None, dtype: DType = None) -> Tensor:
    """Uniform in [0, 1), of the shape and dtype of another Tensor."""
    return rand(input.shape, generator=generator, dtype=dtype or input.dtype)


def randn_like(input: Tensor, *, generator: Generator | None = None, dtype: DType = None) -> Tensor:
    """Standard normal, of the shape and dtype of another Tensor."""
    return randn(input.shape, generator=generator, dtype=dtype or input.dtype)


def randint(
    low: int,
    high: Any = None,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: DType = None,
) -> Tensor:
    """Whole numbers, uniform in low..high-1: `randint(low, high, size)` or `randint(high, size)`."""
    if size is None:
        low, high, size = 0, low, high
    if not isinstance(size, Sequence):
        raise TypeError(f"randint: size must be a tuple, not {size!r}")
    if not low < high:
        raise ValueError(f"randint: from {low} to {high} there is nothing to draw")
    values = stream(generator).integers(low, high, checked_shape("randint", tuple(size)))
    return made(np.asarray(values).astype(as_dtype(dtype or int64)))


def randperm(n: int, *, generator: Generator | None = None) -> Tensor:
    """0..n-1 in random order."""
    if n < 0:
        raise ValueError(f"randperm: n must not be negative, but is {n}")
    return made(stream(generator).permutation(n).astype(np.int64))


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that each element of `input` gives, else 0."""
    p = input._array
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError("bernoulli: probabilities must be in 0..1")
    return made((stream(generator).random(p.shape, np.float64) < p).astype(p.dtype))


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Draw indices of classes, (num_samples,) or (N, num_samples), with probabilities in proportion to each row.

    >>> import minidl
    >>> minidl.multinomial(minidl.tensor([0.0, 3.0, 0.0]), 2, replacement=True)
    tensor([1, 1])

    Args:
        input: (C,) or (N, C), weights that need not add up to 1.
        replacement: whether a class may be drawn again.

    Raises:
        TypeError: weights that are no floating-point Tensor.
        ValueError: other shapes, weights that are negative, not finite or all 0; fewer of them than are to be drawn.
    """
    if not isinstance(input, Tensor) or input.dtype.kind != "f":
        raise TypeError(f"multinomial: input must be a floating-point Tensor, not {getattr(input, 'dtype', input)}")
    count, weights = as_int("multinomial", "num_samples", num_samples), np.atleast_2d(input._array).astype(np.float64)
    if input.ndim not in (1, 2) or not input.shape[-1]:
        raise ValueError(f"multinomial: input must be (C,) or (N, C), not {input.shape}")
    if not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any(1).all():
        raise ValueError("multinomial: weights must be finite and not negative, and no row all 0")
    fewest = int((weights > 0).sum(1).min(initial=weights.shape[1]))
    if count < 1 or (not replacement and count > fewest):
        raise ValueError(f"multinomial: cannot draw {count} of {fewest} classes (replacement={replacement})")
    chance = stream(generator)
    if replacement:
        edges = np.cumsum(weights, 1)
        points = chance.random((len(weights), count)) * edges[:, -1:]
        drawn = [np.searchsorted(row, at, side="right") for row, at in zip(edges, points, strict=True)]
        found = np.array(drawn, np.int64).reshape(len(weights), count)
    else:  # the first to arrive, where a class of weight w arrives after an exponential time of mean 1/w
        with np.errstate(divide="ignore"):
            found = np.argsort(chance.exponential(size=weights.shape) / weights, axis=1, kind="stable")[:, :count]
    return made(found[0] if input.ndim == 1 else np.ascontiguousarray(found))


def normal(
    mean: float, std: float, size: Sequence[int], *, generator: Generator | None = None, dtype: DType = None
) -> Tensor:
    """Normal with a mean and a standard deviation."""
    if not (math.isfinite(mean) and std >= 0):
        raise ValueError(f"normal: mean must be finite and std not negative, but they are {mean} and {std}")
    return randn(size, generator=generator, dtype=dtype) * std + mean
