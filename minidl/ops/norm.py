"""Normalisation: each channel to mean 0 and variance 1, then scaled and shifted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.dtypes import require_same_dtype
from minidl.function import Function
from minidl.kernels import norm as kernels
from minidl.mode import mode
from minidl.ops.table import Sample, operation, require_tensor, run
from minidl.tensor import Tensor


def channel_axes(ndim: int) -> tuple[int, ...]:
    """All dimensions of (N, C, ...) but the channels'."""
    return (0, *range(2, ndim))


def per_channel(values: Any, ndim: int) -> Any:
    """(C,) so that it goes with (N, C, ...)."""
    return values.reshape((-1,) + (1,) * (ndim - 2))


def batch_norm_definition(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: np.ndarray | None,
    variance: np.ndarray | None,
    eps: float,
) -> Tensor:
    """(x - mean) / √(variance + eps) · weight + bias, with the batch's own statistics unless some are given."""
    axes = channel_axes(x.ndim)
    if mean is None:
        centred = x - x.mean(axes, keepdim=True)
        variance = (centred * centred).mean(axes, keepdim=True)
    else:
        centred, variance = x - Tensor(per_channel(mean, x.ndim)), Tensor(per_channel(variance, x.ndim))
    y = centred / (variance + eps).sqrt()
    y = y if weight is None else y * per_channel(weight, x.ndim)
    return y if bias is None else y + per_channel(bias, x.ndim)


class BatchNorm(Function):
    """y = x̂ · w + b with x̂ = (x - μ) / σ and σ = √(variance + eps), per channel; n values a channel.

    The parameters: y is linear in both, so gw = Σ g · x̂ and gb = Σ g, over all of a channel's values.

    With given statistics x̂ is linear in x, so gx = g · w / σ. With the batch's own, x moves them too. Let ĝ = g · w be
    the gradient of x̂. Then from x̂ = (x - μ) / σ, μ = Σ x / n and σ² = Σ (x - μ)² / n + eps

        gσ = -Σ ĝ · (x - μ) / σ²  = -Σ ĝ · x̂ / σ        ∂σ/∂x = (x - μ) / (n σ) = x̂ / n
        gμ = -Σ ĝ / σ             (through σ nothing: Σ (x - μ) = 0)
        gx = ĝ / σ + gσ · x̂ / n + gμ / n = (ĝ - x̂ · mean(ĝ · x̂) - mean(ĝ)) / σ
    """

    definition = staticmethod(batch_norm_definition)

    def forward(self, x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
        if self.mean is None:
            y, self.batch_mean, self.batch_variance = kernels.batch_norm_forward(x, weight, bias, self.eps)
            self.inverse = 1 / np.sqrt(self.batch_variance + x.dtype.type(self.eps))
        else:
            self.batch_mean, self.inverse = self.mean, 1 / np.sqrt(self.variance + x.dtype.type(self.eps))
            scale = self.inverse if weight is None else self.inverse * weight
            shift = -self.batch_mean * scale
            y = kernels.channel_affine(x, scale, shift if bias is None else shift + bias)
        return y

    def backward(self, g: np.ndarray) -> tuple[np.ndarray | None, ...]:
        x, weight, _ = self.inputs
        statistics = self.batch_mean, self.inverse
        gx, gw, gb = kernels.batch_norm_backward(g, x, weight, *statistics, training=self.mean is None)
        return gx, gw if self.needs[1] else None, gb if self.needs[2] else None


def batch_norm_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Training and evaluation; images, vectors, sequences; with and without weight, bias and running statistics."""
    for shape in ((4, 3), (3, 2, 5), (2, 3, 4, 5)):
        x, C = rng.standard_normal(shape), shape[1]
        weight, bias = rng.standard_normal(C), rng.standard_normal(C)
        statistics = rng.standard_normal(C).astype(np.float64), rng.uniform(0.5, 2, C)
        yield Sample(x, None, None, weight, bias, training=True)
        yield Sample(x, None, None, training=True, eps=0.1)
        yield Sample(x, Constant(statistics[0]), Constant(statistics[1]), weight, bias)


def Constant(array: np.ndarray) -> Tensor:
    """A Tensor that a sample gives as it is: statistics have no gradient."""
    return Tensor(array)


@operation(samples=batch_norm_samples, passes=BatchNorm)
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel: y = (x - mean) / √(var + eps) · weight + bias.

    In training with the mean and the (biased) variance of the batch; the running ones then move towards them in place,
    running ← (1 - momentum) · running + momentum · batch, with the unbiased variance. Else with the running ones.

    S. Ioffe, C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate
    shift", 2015.

    Args:
        input: (N, C, ...).
        running_mean, running_var, weight, bias: (C,), or None; without training the running ones must be given.

    Raises:
        TypeError: arguments that are no floating-point Tensors of one dtype.
        ValueError: shapes that do not go together; in training a channel with a single value.

    >>> import minidl, minidl.nn.functional as F
    >>> F.batch_norm(minidl.tensor([[0.0], [2.0]]), None, None, training=True, eps=0.0)
    tensor([[-1.],
            [ 1.]])
    """
    arguments = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    require_tensor("batch_norm", input=input, **arguments)
    require_same_dtype("batch_norm", input=input, **arguments)
    if input.shape == (0,):  # PyTorch takes no values at all for no channels
        return input * 1.0
    if input.ndim < 2:
        raise ValueError(f"batch_norm: input must be (N, C, ...), not {input.shape}")
    N, C, *rest = input.shape
    for name, x in arguments.items():
        if x is not None and x.shape != (C,):
            raise ValueError(f"batch_norm: {name} must have shape ({C},), not {x.shape} (input: {input.shape})")
    if not training and (running_mean is None or running_var is None):
        raise ValueError("batch_norm: without training, running_mean and running_var must be given")
    n = N * math.prod(rest)
    if training and n == 1:
        raise ValueError(f"batch_norm: in training a channel needs more than one value (input: {input.shape})")
    if eps < 0:
        raise ValueError(f"batch_norm: eps must not be negative, but is {eps}")
    if not training:
        mean, variance = running_mean.detach().clone()._array, running_var.detach().clone()._array
        return run(BatchNorm(mean=mean, variance=variance, eps=eps), input, weight, bias)
    node = BatchNorm(mean=None, variance=None, eps=eps)
    y = run(node, input, weight, bias)
    if n and (running_mean is not None or running_var is not None):
        x, axes = input._array, channel_axes(input.ndim)
        mean, variance = (x.mean(axes), x.var(axes)) if mode.definitions else (node.batch_mean, node.batch_variance)
        for running, batch in ((running_mean, mean), (running_var, variance * (n / (n - 1)))):
            if running is not None:
                running._array[...] = (1 - momentum) * running._array + momentum * batch
                running._touch()
    return y


def layer_norm_definition(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, count: int) -> Tensor:
    """(x - mean) / √(variance + eps) · weight + bias, over the last `count` dimensions."""
    axes = tuple(range(x.ndim - count, x.ndim))
    centred = x - x.mean(axes, keepdim=True)
    y = centred / ((centred * centred).mean(axes, keepdim=True) + eps).sqrt()
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


class LayerNorm(Function):
    """y = x̂ · w + b, x̂ = (x - μ) / σ over the last dimensions: as `BatchNorm`, row by row, but w and b vary in a row.

    With ĝ = g · w:  gx = (ĝ - x̂ · mean(ĝ · x̂) - mean(ĝ)) / σ;  gw = Σ g · x̂ and gb = Σ g over all rows.
    """

    definition = staticmethod(layer_norm_definition)

    def forward(self, x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
        y, self.mean, self.inverse = kernels.layer_norm_forward(x, weight, bias, self.eps, self.count)
        return y

    def backward(self, g: np.ndarray) -> tuple[np.ndarray | None, ...]:
        x, weight, _ = self.inputs
        gx, gw, gb = kernels.layer_norm_backward(g, x, weight, self.mean, self.inverse, self.count)
        return gx, gw if self.needs[1] else None, gb if self.needs[2] else None


def layer_norm_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """One and two normalised dimensions, with and without weight and bias."""
    normal = rng.standard_normal
    yield Sample(normal((3, 4)), (4,), normal(4), normal(4))
    yield Sample(normal((2, 3, 4)), (3, 4), normal((3, 4)), None, eps=0.1)
    yield Sample(normal((2, 5)), (5,))


@operation(samples=layer_norm_samples, passes=LayerNorm)
def layer_norm(
    input: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise over the last dimensions: y = (x - mean) / √(var + eps) · weight + bias.

    J. Ba, J. Kiros, G. Hinton, "Layer normalization", 2016.

    Args:
        input: (..., *normalized_shape).
        normalized_shape: the lengths of the dimensions to normalise over.
        weight, bias: of that shape.

    Raises:
        TypeError: arguments that are no floating-point Tensors of one dtype.
        ValueError: shapes that do not go together.

    >>> import minidl, minidl.nn.functional as F
    >>> F.layer_norm(minidl.tensor([0.0, 2.0]), (2,), eps=0.0)
    tensor([-1.,  1.])
    """
    require_tensor("layer_norm", input=input, weight=weight, bias=bias)
    require_same_dtype("layer_norm", input=input, weight=weight, bias=bias)
    shape = tuple(normalized_shape) if not isinstance(normalized_shape, int) else (normalized_shape,)
    if not shape or input.shape[max(input.ndim - len(shape), 0) :] != shape:
        raise ValueError(f"layer_norm: input of shape {input.shape} does not end in normalized_shape {shape}")
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None and x.shape != shape:
            raise ValueError(f"layer_norm: {name} must have shape {shape}, not {x.shape}")
    return run(LayerNorm(eps=eps, count=len(shape)), input, weight, bias)
