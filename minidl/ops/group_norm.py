"""Normalisation that needs no batch: over groups of channels, over each channel of one image, by the size alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from minidl.axes import as_int
from minidl.dtypes import require_same_dtype
from minidl.ops.norm import batch_norm, layer_norm, per_channel
from minidl.ops.table import Sample, operation, require_tensor
from minidl.tensor import Tensor


def group_norm_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Images, vectors and sequences; one group, several, and each channel for itself."""
    normal = rng.standard_normal
    yield Sample(normal((2, 4, 3, 2)), 2, normal(4), normal(4))
    yield Sample(normal((3, 6)), 3, None, normal(6), eps=0.1)
    yield Sample(normal((2, 3, 5)), 3, normal(3))
    yield Sample(normal((2, 4, 3)), 1)
    yield Sample(normal((0, 4, 3)), 2)


@operation(samples=group_norm_samples)
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalise each image's channels in groups: y = (x - mean) / √(var + eps) · weight + bias.

    It is `layer_norm` of each group as a whole, then a scale and a shift for each channel (Y. Wu, K. He, "Group
    normalization", 2018).

    Args:
        input: (N, C, ...). num_groups: into how many groups of equal size the channels are cut.
        weight, bias: (C,).

    Raises:
        TypeError: arguments that are no floating-point Tensors of one dtype.
        ValueError: groups that do not divide C, shapes that do not go together, a single value in all.

    >>> import minidl, minidl.nn.functional as F
    >>> F.group_norm(minidl.tensor([[0.0, 2.0, 5.0, 3.0]]), 2, eps=0.0)
    tensor([[-1.,  1.,  1., -1.]])
    """
    require_tensor("group_norm", input=input, weight=weight, bias=bias)
    require_same_dtype("group_norm", input=input, weight=weight, bias=bias)
    groups = as_int("group_norm", "num_groups", num_groups)
    if input.ndim < 2:
        raise ValueError(f"group_norm: input must be (N, C, ...), not {input.shape}")
    N, C, *rest = input.shape
    if groups < 1 or C % groups:
        raise ValueError(f"group_norm: num_groups={groups} must divide the number of channels (input: {input.shape})")
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None and x.shape != (C,):
            raise ValueError(f"group_norm: {name} must have shape ({C},), not {x.shape} (input: {input.shape})")
    size = C // groups * math.prod(rest)
    if N * size == 1:
        raise ValueError(f"group_norm: a group needs more than one value (input: {input.shape}, num_groups={groups})")
    y = layer_norm(input.reshape(N, groups, size), (size,), eps=eps).reshape(input.shape)
    y = y if weight is None else y * per_channel(weight, input.ndim)
    return y if bias is None else y + per_channel(bias, input.ndim)


def instance_norm_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Images and sequences, with their own statistics and with running ones."""
    normal = rng.standard_normal
    yield Sample(normal((2, 3, 4, 2)), None, None, normal(3), normal(3))
    yield Sample(normal((2, 3, 5)), eps=0.1)
    running = Tensor(normal(3)), Tensor(rng.uniform(0.5, 2, 3))
    yield Sample(normal((2, 3, 5)), *running, normal(3), None, use_input_stats=False)
    yield Sample(normal((0, 3, 4)))


@operation(samples=instance_norm_samples)
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each image by itself: y = (x - mean) / √(var + eps) · weight + bias.

    It is `batch_norm` of a single image with N·C channels. With `use_input_stats` running statistics, if given, move
    in place towards the mean over the batch of those of the images; else they are used (D. Ulyanov et al., "Instance
    normalization: the missing ingredient for fast stylization", 2016).

    Args:
        input: (N, C, ...), with at least one dimension behind the channels'.
        running_mean, running_var, weight, bias: (C,), or None.

    Raises:
        TypeError: arguments that are no floating-point Tensors of one dtype.
        ValueError: shapes that do not go together; one value in a channel.

    >>> import minidl, minidl.nn.functional as F
    >>> F.instance_norm(minidl.tensor([[[0.0, 2.0], [5.0, 3.0]]]), eps=0.0)
    tensor([[[-1.,  1.],
             [ 1., -1.]]])
    """
    arguments = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    require_tensor("instance_norm", input=input, **arguments)
    require_same_dtype("instance_norm", input=input, **arguments)
    if input.ndim < 3:
        raise ValueError(f"instance_norm: input must be (N, C, ...) with something behind C, not {input.shape}")
    N, C, *rest = input.shape
    for name, x in arguments.items():
        if x is not None and x.shape != (C,):
            raise ValueError(f"instance_norm: {name} must have shape ({C},), not {x.shape} (input: {input.shape})")
    if not use_input_stats and (running_mean is None or running_var is None):
        raise ValueError("instance_norm: without use_input_stats, running_mean and running_var must be given")
    if use_input_stats and math.prod(rest) == 1:
        raise ValueError(f"instance_norm: a channel needs more than one value (input: {input.shape})")
    if not N:
        return input * 1.0
    whole = {name: None if x is None else x.repeat(N) for name, x in arguments.items()}  # (N·C,)
    one = input.reshape(1, N * C, *rest)
    y = batch_norm(one, **whole, training=use_input_stats, momentum=momentum, eps=eps).reshape(input.shape)
    if use_input_stats:
        for running, moved in ((running_mean, whole["running_mean"]), (running_var, whole["running_var"])):
            if running is not None:
                running._array[...] = moved._array.reshape(N, C).mean(0)
                running._touch()
    return y


def rms_norm_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """One and two normalised dimensions, with and without weight."""
    normal = rng.standard_normal
    yield Sample(normal((3, 4)), (4,), normal(4))
    yield Sample(normal((2, 3, 4)), (3, 4), normal((3, 4)), eps=0.1)
    yield Sample(normal((2, 5)), (5,))
    yield Sample(normal((0, 5)), (5,))


@operation(samples=rms_norm_samples)
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Divide by the root of the mean square over the last dimensions: y = x / √(mean(x²) + eps) · weight.

    `layer_norm` without the mean and the bias, which large language models do without (B. Zhang, R. Sennrich, "Root
    mean square layer normalization", 2019).

    Args:
        input: (..., *normalized_shape).
        normalized_shape: the lengths of the dimensions to normalise over.
        weight: of that shape.
        eps: by default the distance from 1 to the next number of the input's dtype.

    Raises:
        TypeError: arguments that are no floating-point Tensors of one dtype.
        ValueError: shapes that do not go together.

    >>> import minidl, minidl.nn.functional as F
    >>> F.rms_norm(minidl.tensor([3.0, 4.0, 0.0, 0.0]), (4,))
    tensor([1.2, 1.6, 0. , 0. ])
    """
    require_tensor("rms_norm", input=input, weight=weight)
    require_same_dtype("rms_norm", input=input, weight=weight)
    shape = tuple(normalized_shape) if not isinstance(normalized_shape, int) else (normalized_shape,)
    if not shape or input.shape[max(input.ndim - len(shape), 0) :] != shape:
        raise ValueError(f"rms_norm: input of shape {input.shape} does not end in normalized_shape {shape}")
    if weight is not None and weight.shape != shape:
        raise ValueError(f"rms_norm: weight must have shape {shape}, not {weight.shape}")
    axes = tuple(range(input.ndim - len(shape), input.ndim))
    eps = float(np.finfo(input.dtype).eps) if eps is None else eps
    y = input * ((input * input).mean(axes, keepdim=True) + eps).rsqrt()
    return y if weight is None else y * weight
