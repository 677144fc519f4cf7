"""The contenders: for each library a file that says the common words in its own, and how a call of it is timed.

A contender has `F`, its vocabulary, and two ways to make what is timed, a function without arguments:
`operation(workload, backward)` and `training(workload)`. It is called once before it is compared with others and again
before it is timed, so nothing that a library does only at first is timed. `arrays` turns what it returned into NumPy's.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.kinds import Operation, Step

# name of the contender: the file of this folder, and the package that must be installed
CONTENDERS = {
    "kernels": ("eager", "minidl"),
    "definitions": ("eager", "minidl"),
    "torch": ("eager", "torch"),
    "jax": ("jax", "jax"),
    "tinygrad": ("tinygrad", "tinygrad"),
    "mygrad": ("mygrad", "mygrad"),
    "autograd": ("autograd", "autograd"),
}


class CannotExpress(Exception):
    """The library has no words for this workload."""


class Vocabulary:
    """The functions that workloads use, with PyTorch's names and arguments; a missing one cannot be expressed."""

    def __getattr__(self, name: str) -> Any:
        raise CannotExpress(f"no {name}")


class Contender:
    """What the worker asks of a library."""

    F: Any = Vocabulary()

    def version(self) -> str:
        """The library's version."""
        raise NotImplementedError

    def operation(self, workload: Operation, backward: bool) -> Callable[[], list[Any]]:
        """The function to time: returns the output and, with backward, the gradients of all arrays of floats."""
        raise NotImplementedError

    def training(self, workload: Step) -> Callable[[], list[Any]]:
        """The step to time."""
        raise CannotExpress("no modules and optimisers with PyTorch's names")

    def arrays(self, results: list[Any]) -> list[np.ndarray]:
        """What was returned, as NumPy arrays."""
        return [np.asarray(result) for result in results]


def inputs(workload: Operation) -> tuple[list[np.ndarray], list[int]]:
    """The arrays of a workload and the positions of those that get a gradient."""
    arrays = workload.arrays(np.random.default_rng(0))
    return arrays, [i for i, array in enumerate(arrays) if array.dtype.kind == "f"]


def cotangent(shape: tuple[int, ...]) -> np.ndarray:
    """What backward starts from."""
    return np.asarray(np.random.default_rng(1).standard_normal(shape, np.float32), np.float32)


def installed(name: str) -> bool:
    """Whether the contender's package is there."""
    return importlib.util.find_spec(CONTENDERS[name][1]) is not None


def load(name: str, threads: int) -> Contender:
    """The contender, on so many threads."""
    module = importlib.import_module(f"benchmarks.contenders.{CONTENDERS[name][0]}")
    return module.make(name, threads)
