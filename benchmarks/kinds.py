"""What a workload is, and how far two contenders may be apart in it.

A tolerance is relative to a result's root mean square: float32 has a relative precision of 6e-8, and sums in another
order lose more, the more terms they have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Arrays = list[np.ndarray]
Pair = tuple[float, float]


@dataclass(frozen=True)
class Tolerance:
    """How far two contenders may be apart, and why; in each value, or (`mean`) in the root of the mean square."""

    limit: float
    why: str
    mean: bool = False


SELECTION = Tolerance(1e-5, "values are chosen, scaled, and at most a few of them added")
SMOOTH = Tolerance(1e-5, "approximations of exp, tanh and erf, a few ulp each")
SUMS = Tolerance(1e-4, "sums of up to thousands of float32 terms, in another order")
LONG_SUMS = Tolerance(1e-3, "sums of up to 10⁵ terms, or Winograd: relative errors near 1e-4, the largest of 10⁶")
RECURRENCE = Tolerance(1e-3, "twenty steps, each of which multiplies the error of the gradients before it")
DEEP = Tolerance(1e-3, "some fifty layers without kinks, each of which passes on and adds to the error before it")
# Measured on ResNet-20 in float64: noise of 1e-6 before each ReLU moves gradients by 8e-3, noise of 1e-5 by 3e-2.
NETWORK = Tolerance(
    5e-2, "a few of millions of values are so near to 0 that ReLU takes them for another sign", mean=True
)


@dataclass(frozen=True)
class Operation:
    """A function of arrays.

    Attributes:
        name: the row's.
        arrays: makes the inputs.
        function: of F and the inputs as the contender's tensors; returns one tensor.
        flops, values: at least needed, (forward, forward and backward).
        tolerance: of the comparison.
        nodes: how many nodes the graph has, where their own cost is the point.
    """

    name: str
    arrays: Callable[[np.random.Generator], Arrays]
    function: Callable[..., Any]
    flops: Pair
    values: Pair
    tolerance: Tolerance
    nodes: int = 0
    passes = ("forward", "forward+backward")


@dataclass(frozen=True)
class Step:
    """A step of training.

    Attributes:
        name: the row's.
        build: given a library, returns the step: a function without arguments that returns tensors to compare.
        flops, values: at least needed; 0 where it does not matter.
        tolerance: of the comparison.
    """

    name: str
    build: Callable[[Any], Callable[[], list[Any]]]
    flops: Pair
    values: Pair
    tolerance: Tolerance
    nodes: int = 0
    passes = ("step",)


Workload = Operation | Step
