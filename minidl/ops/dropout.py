"""Dropout: values forgotten at random, so that no unit can rely on another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.dtypes import require_float
from minidl.function import Primitive, call
from minidl.kernels import dropout as kernels
from minidl.ops.table import Sample, operation, require_tensor, run
from minidl.random import Generator, stream
from minidl.tensor import Tensor


def dropout_definition(x: Tensor, seed: int, p: float, over: int) -> Tensor:
    """x · mask, where the mask is 0 with probability p, else 1 / (1 - p)."""
    shape = x.shape[:over]
    mask = kernels.kept(seed, p, math.prod(shape)).astype(x.dtype) * (1 / (1 - p) if p < 1 else 0)
    return x * Tensor(mask.reshape(shape + (1,) * (x.ndim - over)))


class Dropout(Primitive):
    """y = x · mask, with a mask that follows from a seed; its first `over` dimensions are x's, the others 1.

    Forward multiplied by a constant, so backward multiplies by the same: gx = g · mask, which is dropout of g by the
    same seed. Neither keeps a mask.
    """

    definition = staticmethod(dropout_definition)

    def forward(self, x: np.ndarray) -> np.ndarray:
        return kernels.dropout(x, self.seed, self.p, max(math.prod(x.shape[self.over :]), 1))

    def backward(self, g: Any) -> Any:
        return call(Dropout, g, **self.options)


def masked(name: str, input: Tensor, p: float, training: bool, generator: Generator | None, over: int) -> Tensor:
    """Dropout of whole slices: the mask is drawn for the first `over` dimensions and holds for the others."""
    require_tensor(name, input=input)
    require_float(name, input=input)
    if not (isinstance(p, int | float) and 0 <= p <= 1 and not math.isnan(p)):
        raise ValueError(f"{name}: p must be a probability in 0..1, but is {p}")
    if not training or p == 0:
        return input * 1.0
    seed = int(stream(generator).integers(kernels.SEEDS))
    return run(Dropout(seed=seed, p=float(p), over=over), input)


def dropout_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """In training and not, nothing and everything dropped."""
    x = rng.standard_normal((3, 4, 2, 2))
    for options in ({}, {"p": 0.2}, {"p": 0.0}, {"p": 1.0}, {"training": False}):
        yield Sample(x, **options)


@operation(samples=dropout_samples, passes=Dropout, seeded=True)
def dropout(input: Tensor, p: float = 0.5, training: bool = True, *, generator: Generator | None = None) -> Tensor:
    """In training, set values to 0 with probability p and divide the others by 1 - p: the mean stays as it was.

    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.

    Args:
        input: of any shape.
        p: the probability to drop a value.
        training: without it the input is returned as it is.
        generator: draws the mask; by default minidl's, which `manual_seed` seeds.

    Raises:
        ValueError: p is not in 0..1.

    >>> import minidl, minidl.nn.functional as F
    >>> F.dropout(minidl.ones(3), p=1.0)
    tensor([0., 0., 0.])
    """
    return masked("dropout", input, p, training, generator, over=max(getattr(input, "ndim", 0), 0))


@operation(samples=dropout_samples, passes=Dropout, seeded=True)
def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, *, generator: Generator | None = None) -> Tensor:
    """Dropout of whole channels: of images (N, C, H, W), or of one image (C, H, W).

    J. Tompson et al., "Efficient object localization using convolutional networks", 2015.

    >>> import minidl, minidl.nn.functional as F
    >>> F.dropout2d(minidl.ones(1, 2, 1, 1), p=1.0).flatten()
    tensor([0., 0.])
    """
    require_tensor("dropout2d", input=input)
    if input.ndim not in (3, 4):
        raise ValueError(f"dropout2d: input must be (N, C, H, W) or (C, H, W), not {input.shape}")
    return masked("dropout2d", input, p, training, generator, over=input.ndim - 2)
