"""minidl, its definitions, and PyTorch: one API, so one contender."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.contenders import Contender, cotangent, inputs
from benchmarks.kinds import Operation, Step

Function = Callable[[], list[Any]]


class Eager(Contender):
    """A library whose Tensors remember how they were made; `context` is what its functions run in."""

    def __init__(self, lib: Any, context: Callable[[], Any]) -> None:
        self.lib, self.context, self.F = lib, context, lib.nn.functional

    def version(self) -> str:
        return self.lib.__version__

    def operation(self, workload: Operation, backward: bool) -> Function:
        arrays, floats = inputs(workload)
        tensors = [self.lib.tensor(array) for array in arrays]
        leaves = [tensors[i] for i in floats]
        if not backward:
            return self.inside(lambda: [workload.function(self.F, *tensors)])
        with self.context():
            g = self.lib.tensor(cotangent(tuple(workload.function(self.F, *tensors).shape)))
        for leaf in leaves:
            leaf.requires_grad = True

        def both() -> list[Any]:
            for leaf in leaves:
                leaf.grad = None
            y = workload.function(self.F, *tensors)
            y.backward(g)
            return [y, *(leaf.grad for leaf in leaves)]

        return self.inside(both)

    def training(self, workload: Step) -> Function:
        return self.inside(workload.build(self.lib))

    def inside(self, function: Function) -> Function:
        """The function, run in the context."""
        if self.context is contextlib.nullcontext:
            return function

        def run() -> list[Any]:
            with self.context():
                return function()

        return run

    def arrays(self, results: list[Any]) -> list[np.ndarray]:
        return [result.detach().numpy() for result in results]


def make(name: str, threads: int) -> Eager:
    if name == "torch":
        import torch

        torch.set_num_threads(threads)
        return Eager(torch, contextlib.nullcontext)
    import minidl

    minidl.set_num_threads(threads)
    return Eager(minidl, minidl.definitions if name == "definitions" else contextlib.nullcontext)
