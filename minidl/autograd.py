"""Gradients as values: `grad` returns what `backward` would leave in `.grad`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.factories import made
from minidl.function import Function
from minidl.mode import enable_grad, no_grad, set_grad_enabled
from minidl.tensor import Tensor, differentiate

__all__ = ["Function", "backward", "enable_grad", "grad", "no_grad", "set_grad_enabled"]

Tensors = Tensor | Sequence[Tensor]


def listed(tensors: Any) -> list[Any]:
    return [tensors] if tensors is None or isinstance(tensors, Tensor) else list(tensors)


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of (the sum of) outputs for each input, as new Tensors; `.grad` is left alone.

    Args:
        grad_outputs: a gradient to start from for each output; may be left out for outputs with one element.
        retain_graph: keep the graph for another walk; by default as `create_graph`.
        create_graph: make the gradients differentiable: gradients of any order.
        allow_unused: return None for inputs that outputs do not depend on, rather than raise.
        materialize_grads: return zeros for those.

    Raises:
        RuntimeError: an input or output that requires no gradient, an unused input, a graph freed before.

    >>> import minidl
    >>> x = minidl.tensor(2.0, requires_grad=True)
    >>> (first,) = minidl.autograd.grad(x**3, x, create_graph=True)
    >>> (second,) = minidl.autograd.grad(first, x)
    >>> first.item(), second.item()
    (12.0, 12.0)
    """
    outputs, inputs = listed(outputs), listed(inputs)
    grad_outputs = [None] * len(outputs) if grad_outputs is None else listed(grad_outputs)
    if len(grad_outputs) != len(outputs):
        raise ValueError(f"grad: {len(outputs)} outputs but {len(grad_outputs)} grad_outputs")
    for i, x in enumerate(inputs):
        if x._node is None:
            raise RuntimeError(f"grad: input {i} (shape {x.shape}) does not require a gradient")
    found = differentiate("grad", outputs, grad_outputs, retain_graph, create_graph, targets=[x._node for x in inputs])
    gradients = []
    for i, x in enumerate(inputs):
        g = found.get(x._node)
        if g is None and materialize_grads:
            g = np.zeros_like(x._array)
        if g is None and not allow_unused:
            raise RuntimeError(f"grad: the outputs do not depend on input {i} (shape {x.shape}); see allow_unused")
        gradients.append(g if g is None or isinstance(g, Tensor) else made(np.asarray(g)))
    return tuple(gradients)


def backward(
    tensors: Tensors,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """As `Tensor.backward`, for several Tensors in one walk."""
    tensors = listed(tensors)
    gradients = [None] * len(tensors) if grad_tensors is None else listed(grad_tensors)
    Tensor._accumulate(differentiate("backward", tensors, gradients, retain_graph, create_graph), create_graph)
