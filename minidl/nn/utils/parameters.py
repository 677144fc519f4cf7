"""What is done with the parameters of a module as a whole: clipping gradients, parameters as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from minidl.function import Version
from minidl.kernels.clip import scale, square_sum
from minidl.kernels.many import gather
from minidl.primitives import Cat
from minidl.tensor import Tensor, apply, from_result


def with_gradients(name: str, parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """Those that have a gradient; one Tensor stands for a list of one."""
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for p in parameters:
        if not isinstance(p, Tensor):
            raise TypeError(f"{name}: expected Tensors, got a {type(p).__name__}")
    return [p for p in parameters if p.grad is not None]


def vector_norm(x: np.ndarray, order: float) -> np.floating:
    """(Σ |x|^order)^(1/order); for an infinite order the largest |x|."""
    x = np.abs(x)
    if math.isinf(order):
        if not x.size:
            return x.dtype.type(0)
        return x.max() if order > 0 else x.min()
    return (x**order).sum() ** (1 / order)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients, in place, by min(1, max_norm / (norm + 1e-6)), norm being that of all of them as one vector.

    R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", 2013.

    >>> import minidl
    >>> from minidl import nn
    >>> x = minidl.tensor([3.0, 4.0], requires_grad=True)
    >>> (x * x / 2).sum().backward()
    >>> nn.utils.clip_grad_norm_(x, 1.0)
    tensor(5.)
    >>> x.grad
    tensor([0.5999999 , 0.79999983])

    Args:
        parameters: Tensors; those without a gradient are skipped.
        max_norm: the largest norm allowed.
        norm_type: order of the norm, float("inf") for the largest absolute value.
        error_if_nonfinite: raise if the norm is NaN or infinite; else the gradients become NaN or 0.

    Returns:
        The norm before clipping.

    Raises:
        ValueError: a norm_type of 0. RuntimeError: the norm is not finite, and `error_if_nonfinite`.
    """
    norm_type, max_norm = float(norm_type), float(max_norm)
    if norm_type == 0 or math.isnan(norm_type):
        raise ValueError(f"clip_grad_norm_: norm_type must not be {norm_type}")
    found = with_gradients("clip_grad_norm_", parameters)
    if not found:
        return from_result(np.zeros((), np.float32), None, Version())
    arrays = [p.grad._array for p in found]  # type: ignore[union-attr]
    tables, others = gather(arrays)
    with np.errstate(all="ignore"):
        if norm_type == 2:
            squares = [square_sum(table) for table in tables] + [np.square(x, dtype=float).sum() for x in others]
            total = np.result_type(*arrays).type(np.sqrt(sum(squares)))
        else:
            total = vector_norm(np.stack([vector_norm(x, norm_type) for x in arrays]), norm_type)
    if error_if_nonfinite and not np.isfinite(total):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {total}, so they cannot be clipped")
    factor = np.minimum(max_norm / (total + 1e-6), 1)
    if factor != 1:
        for table in tables:
            scale(table, factor)
        for x in others:
            np.multiply(x, factor.astype(x.dtype), out=x)
        for p in found:
            p.grad._touch()  # type: ignore[union-attr]
    return from_result(np.asarray(total), None, Version())


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clip every value of every gradient to ±clip_value, in place. ValueError for a negative one.

    >>> import minidl
    >>> from minidl import nn
    >>> x = minidl.tensor([3.0, -4.0], requires_grad=True)
    >>> (x * x / 2).sum().backward()
    >>> nn.utils.clip_grad_value_(x, 1.0)
    >>> x.grad
    tensor([ 1., -1.])
    """
    clip_value = float(clip_value)
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value must not be negative, but is {clip_value}")
    for p in with_gradients("clip_grad_value_", parameters):
        np.clip(p.grad._array, -clip_value, clip_value, out=p.grad._array)
        p.grad._touch()


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters one after the other, as one vector: (Σ sizes,). A gradient flows through it.

    >>> from minidl import nn
    >>> nn.utils.parameters_to_vector(nn.Linear(3, 2).parameters()).shape
    (8,)

    Raises:
        ValueError: no parameters. TypeError: they differ in dtype.
    """
    parameters = list(parameters)
    if not parameters:
        raise ValueError("parameters_to_vector: there are no parameters")
    dtypes = sorted({str(p.dtype) for p in parameters})
    if len(dtypes) > 1:
        raise TypeError(f"parameters_to_vector: the parameters' dtypes differ: {', '.join(dtypes)}")
    return apply(Cat(axis=0), *[p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Overwrite the parameters with the parts of a vector, as `parameters_to_vector` put them there.

    Raises:
        ValueError: a vector of another length, or no vector. TypeError: not a Tensor, or another dtype.
    """
    parameters = list(parameters)
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: expected a Tensor, got a {type(vec).__name__}")
    size = sum(p.numel() for p in parameters)
    if vec.shape != (size,):
        raise ValueError(f"vector_to_parameters: the parameters have {size} values, the vector has shape {vec.shape}")
    for p in parameters:
        if p.dtype != vec.dtype:
            raise TypeError(f"vector_to_parameters: the vector is {vec.dtype}, but a parameter is {p.dtype}")
    start = 0
    for p in parameters:
        p._array[...] = vec._array[start : start + p.numel()].reshape(p.shape)
        p._touch()
        start += p.numel()
