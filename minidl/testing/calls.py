"""A call of an operation on arrays that can be replaced: laid out otherwise, rounded, differentiated."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minidl.autograd import grad
from minidl.ops.table import Operation, Sample
from minidl.tensor import Tensor
from minidl.testing.gradcheck import same_random_numbers


@dataclass(frozen=True)
class Call:
    """An operation on arrays that are taken out of a sample, so that they can be replaced."""

    op: Operation
    sample: Sample
    arrays: tuple[np.ndarray, ...]

    @staticmethod
    def of(op: Operation, sample: Sample) -> Call:
        arrays: list[np.ndarray] = []
        map_arrays(sample, lambda a: arrays.append(a) or a)
        return Call(op, sample, tuple(arrays))

    @property
    def name(self) -> str:
        return f"{self.op.name} on {self.sample!r}"

    def with_arrays(self, convert: Callable[[np.ndarray], np.ndarray]) -> Call:
        """The same call on converted arrays."""
        return replace(self, arrays=tuple(convert(a) for a in self.arrays))

    @property
    def differentiable(self) -> list[int]:
        """Which of the arrays get a gradient: the floating-point ones."""
        return [i for i, a in enumerate(self.arrays) if a.dtype.kind == "f"]

    def run_on(self, tensors: Iterable[Tensor]) -> Any:
        """Call the operation with these Tensors in the arrays' places; Tensors of the sample itself are copied."""
        rest = iter(tensors)
        dtype = next((a.dtype for a in self.arrays if a.dtype.kind == "f"), None)

        def convert(x: Any) -> Any:
            if isinstance(x, np.ndarray):
                return next(rest)
            if isinstance(x, Tensor):  # such as running statistics, which a call may update
                return x.detach().clone().to(dtype if dtype is not None and x.dtype.kind == "f" else x.dtype)
            return x

        args, kwargs = map_sample(self.sample, convert)
        with same_random_numbers():
            return self.op.function(*args, **kwargs)

    def run(self, leaves: Iterable[int] | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """(leaves, outputs): run on the arrays; those in `leaves`, by default all that can, require a gradient."""
        asked = self.differentiable if leaves is None else list(leaves)
        tensors = [Tensor(a) for a in self.arrays]
        for i in asked:
            tensors[i].requires_grad_()
        return [tensors[i] for i in asked], flattened(self.run_on(tensors))

    def gradients(
        self, cotangents: list[np.ndarray], leaves: Iterable[int] | None = None
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """(outputs, gradients of the leaves), as arrays."""
        xs, outputs = self.run(leaves)
        return [y.detach().numpy() for y in outputs], pull(outputs, xs, cotangents)


def map_arrays(sample: Sample, convert: Callable[[np.ndarray], Any]) -> None:
    map_sample(sample, lambda x: convert(x) if isinstance(x, np.ndarray) else x)


def map_sample(sample: Sample, convert: Callable[[Any], Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a sample with each array, also those in lists, converted."""

    def value(x: Any) -> Any:
        if isinstance(x, list) and any(isinstance(part, np.ndarray) for part in x):
            return [convert(part) for part in x]
        return convert(x)

    return [value(x) for x in sample.args], {key: value(x) for key, x in sample.kwargs.items()}


def flattened(outputs: Any) -> list[Tensor]:
    """All Tensors among what an operation returned, in order."""
    if isinstance(outputs, Tensor):
        return [outputs]
    if isinstance(outputs, list | tuple):
        return [y for output in outputs for y in flattened(output)]
    return []


def pull(
    outputs: list[Tensor], leaves: list[Tensor], cotangents: list[np.ndarray], retain_graph: bool = False
) -> list[np.ndarray]:
    """The gradients of the leaves for cotangents of the floating-point outputs; zeros where nothing depends on one."""
    pairs = zip((y for y in outputs if y.dtype.kind == "f"), cotangents, strict=True)
    roots = [(y, Tensor(c)) for y, c in pairs if y.requires_grad]
    if not roots or not leaves:
        return [np.zeros_like(x.detach().numpy()) for x in leaves]
    ys, cs = zip(*roots, strict=True)
    found = grad(ys, leaves, cs, retain_graph=retain_graph, materialize_grads=True)
    return [g.detach().numpy() for g in found]


def draw_cotangents(outputs: Iterable[np.ndarray], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed + 1)
    return [rng.standard_normal(y.shape).astype(y.dtype) for y in outputs if y.dtype.kind == "f"]
