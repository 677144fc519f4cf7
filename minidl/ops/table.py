"""The op table: every public operation, its Function, its definition and inputs to try it on.

Tests, benchmarks, graders and `explain` go through `OPERATIONS`, so an operation that is registered is checked; one
without samples cannot be registered.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np

from minidl.function import Function
from minidl.mode import mode
from minidl.tensor import Tensor, apply

F = TypeVar("F", bound=Callable[..., Any])


class Sample:
    """One call to try: float64 ndarrays become Tensors that require a gradient, other ndarrays plain Tensors.

    A list of ndarrays becomes a list of Tensors; everything else is passed on as it is.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs

    def __repr__(self) -> str:
        parts = [describe(x) for x in self.args] + [f"{k}={describe(x)}" for k, x in self.kwargs.items()]
        return f"Sample({', '.join(parts)})"


def describe(x: Any) -> str:
    return f"{x.dtype}{list(x.shape)}" if isinstance(x, np.ndarray) else repr(x)


Samples = Callable[[np.random.Generator], Iterable[Sample]]


@dataclass(frozen=True)
class Operation:
    """A row of the table.

    Attributes:
        name: as users call it, `conv2d`.
        function: the public function, on Tensors.
        samples: from a NumPy generator, calls to try.
        passes: the hand-written Function; None for what is composed of primitives.
        smooth: whether the samples stay clear of kinks, so that finite differences apply.
        seeded: whether it draws random numbers, so that calls are compared under one seed.
    """

    name: str
    function: Callable[..., Any]
    samples: Samples
    passes: type[Function] | None = None
    smooth: bool = True
    seeded: bool = False

    @property
    def definition(self) -> Callable[..., Any] | None:
        """The mathematics, composed of primitives."""
        return None if self.passes is None else self.passes.definition

    def try_on(self, rng: np.random.Generator) -> Iterator[Sample]:
        """The samples, drawn anew."""
        yield from self.samples(rng)


OPERATIONS: dict[str, Operation] = {}


def operation(
    *, samples: Samples, passes: type[Function] | None = None, smooth: bool = True, seeded: bool = False
) -> Callable[[F], F]:
    """Register a public function in the op table, under its own name."""
    if passes is not None and passes.definition is None:
        raise TypeError(f"operation: {passes.__name__} has no definition")

    def register(function: F) -> F:
        name = function.__name__
        if name in OPERATIONS:
            raise ValueError(f"operation: {name} is registered twice")
        OPERATIONS[name] = Operation(name, function, samples, passes, smooth, seeded)
        return function

    return register


def run(node: Function, *inputs: Tensor | np.ndarray | None) -> Any:
    """Run a hand-written Function, or under `minidl.definitions()` its definition."""
    if mode.definitions:
        return type(node).definition(*inputs, **node.options)
    return apply(node, *inputs)


def require_tensor(name: str, **arguments: Any) -> None:
    """TypeError naming the operation and the argument unless all are Tensors, or None where the signature allows it."""
    for argument, x in arguments.items():
        if not isinstance(x, Tensor) and (x is not None or not may_be_none(name, argument)):
            raise TypeError(f"{name}: {argument} must be a Tensor, not {type(x).__name__}")


@cache
def may_be_none(name: str, argument: str) -> bool:
    """Whether an operation takes None for an argument: its annotation says so."""
    if name not in OPERATIONS:
        return True
    parameter = inspect.signature(OPERATIONS[name].function).parameters.get(argument)
    return parameter is not None and (parameter.default is None or "None" in str(parameter.annotation))
