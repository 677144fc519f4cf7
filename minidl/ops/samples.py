"""Values to try operations on: float64, and clear of kinks and ties, where a finite difference would mean nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from minidl.ops.table import Sample

Draw = Callable[..., np.ndarray]


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Standard normal."""
    return np.asarray(rng.standard_normal(shape))


def positive(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Uniform in 0.5 .. 2, for logarithms, roots and powers."""
    return np.asarray(rng.uniform(0.5, 2, shape))


def signed(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Of either sign, and at least 0.2 from 0."""
    return np.asarray(rng.uniform(0.2, 2, shape) * rng.choice([-1, 1], shape))


def distinct(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Values in random order, no two closer than some hundredths, for whatever chooses or sorts."""
    size = math.prod(shape)
    return np.asarray((rng.permutation(size) - size // 2 + rng.uniform(0.1, 0.4)).reshape(shape) * 0.1)


def unary(draw: Draw = normal) -> Callable[[np.random.Generator], Iterator[Sample]]:
    """Samples for an operation on one Tensor: a matrix, a number, nothing."""

    def samples(rng: np.random.Generator) -> Iterator[Sample]:
        for shape in ((3, 4), (), (0, 2)):
            yield Sample(draw(rng, *shape))

    return samples


def binary(draw: Draw = normal, second: Draw | None = None) -> Callable[[np.random.Generator], Iterator[Sample]]:
    """Samples for an operation on two Tensors that broadcast."""

    def samples(rng: np.random.Generator) -> Iterator[Sample]:
        for a, b in (((3, 4), (3, 4)), ((2, 3, 1), (4,)), ((), (2, 1)), ((2, 1), (1, 0))):
            yield Sample(draw(rng, *a), (second or draw)(rng, *b))

    return samples


def calls(*arguments: Callable[[np.random.Generator], Sample]) -> Callable[[np.random.Generator], Iterator[Sample]]:
    """Samples from functions that draw one each."""

    def samples(rng: np.random.Generator) -> Iterator[Sample]:
        for draw in arguments:
            yield draw(rng)

    return samples


def on(*shape: int, draw: Draw = normal, **options: object) -> Callable[[np.random.Generator], Sample]:
    """Draws a call on one Tensor of a shape, with options."""
    return lambda rng: Sample(draw(rng, *shape), **options)
