"""PyTorch's functions that rearrange, join, cut and pad Tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from minidl.axes import as_int, broadcast_shapes, norm_axis
from minidl.dtypes import common_dtype
from minidl.ops.samples import calls, normal, on
from minidl.ops.table import Sample, operation, require_tensor
from minidl.primitives import Cat, Pad
from minidl.tensor import Tensor, apply

__all__ = [
    "broadcast_tensors",
    "broadcast_to",
    "cat",
    "chunk",
    "concat",
    "concatenate",
    "flatten",
    "flip",
    "hstack",
    "movedim",
    "pad",
    "permute",
    "ravel",
    "reshape",
    "roll",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "tile",
    "transpose",
    "unbind",
    "unflatten",
    "unsqueeze",
    "vstack",
]

Dims = int | Sequence[int]


# Other shapes


@operation(samples=calls(on(2, 6, shape=(3, -1)), on(0, 3, shape=(3, 0)), on(1, shape=())))
def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """The same values, in row-major order, in another shape; one length may be -1 and is inferred."""
    require_tensor("reshape", input=input)
    return input.reshape(tuple(shape))


@operation(samples=calls(on(2, 3, 4, start_dim=1), on(), on(2, 0, 3, end_dim=1)))
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Join the dimensions from `start_dim` to `end_dim` into one."""
    require_tensor("flatten", input=input)
    return input.flatten(start_dim, end_dim)


@operation(samples=calls(on(2, 3), on()))
def ravel(input: Tensor) -> Tensor:
    """All values in one dimension."""
    require_tensor("ravel", input=input)
    return input.ravel()


@operation(samples=calls(on(2, 12, dim=1, sizes=(3, -1, 2))))
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Split a dimension into several."""
    require_tensor("unflatten", input=input)
    return input.unflatten(dim, sizes)


@operation(samples=calls(on(1, 3, 1), on(1, 3, 1, dim=-1), on(1, 3, 1, dim=(0, 1))))
def squeeze(input: Tensor, dim: Dims | None = None) -> Tensor:
    """Drop dimensions of length 1: all, or those named that have it."""
    require_tensor("squeeze", input=input)
    return input.squeeze(dim)


@operation(samples=calls(on(2, 3, dim=1), on(dim=-1)))
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Put in a dimension of length 1."""
    require_tensor("unsqueeze", input=input)
    return input.unsqueeze(dim)


# Dimensions in another order


@operation(samples=calls(on(2, 3, 4, dims=(2, 0, -2))))
def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Dimensions in another order: dimension i of the result is dimension dims[i] of the input."""
    require_tensor("permute", input=input)
    return input.permute(tuple(dims))


@operation(samples=calls(on(2, 3, 4, dim0=0, dim1=-1)))
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Swap two dimensions."""
    require_tensor("transpose", input=input)
    return input.transpose(dim0, dim1)


swapaxes = transpose


@operation(samples=calls(on(2, 3, 4, source=0, destination=2), on(2, 3, 4, source=(0, 1), destination=(2, 0))))
def movedim(input: Tensor, source: Dims, destination: Dims) -> Tensor:
    """Move dimensions to other places; the others keep their order."""
    require_tensor("movedim", input=input)
    return input.movedim(source, destination)


@operation(samples=calls(on(2, 3, 4, dims=(0, 2)), on(3, dims=(0,))))
def flip(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Reverse dimensions."""
    require_tensor("flip", input=input)
    return input.flip(tuple(dims) if isinstance(dims, Sequence) else dims)


@operation(samples=calls(on(2, 5, shifts=2), on(3, 5, shifts=(1, -2), dims=(0, 1)), on(4, shifts=9, dims=0)))
def roll(input: Tensor, shifts: Dims, dims: Dims | None = None) -> Tensor:
    """Move values along dimensions, those that leave come in at the other end; without dims, flattened."""
    require_tensor("roll", input=input)
    return input.roll(shifts, dims)


# Copies


@operation(samples=calls(on(2, 3, dims=(2, 1, 2)), on(2, 3, dims=(2,))))
def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Lay copies side by side, dims[i] of them along dimension i; missing counts in front are 1."""
    require_tensor("tile", input=input)
    return input.tile(tuple(dims))


@operation(samples=calls(on(3, 1, shape=(2, 3, 4)), on(shape=(2,))))
def broadcast_to(input: Tensor, shape: Sequence[int]) -> Tensor:
    """Repeat dimensions of length 1, and put new ones in front, without copying."""
    require_tensor("broadcast_to", input=input)
    return input.broadcast_to(tuple(shape))


@operation(samples=calls(lambda rng: Sample(normal(rng, 3, 1), normal(rng, 4))))
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All Tensors, expanded to the shape that they broadcast to."""
    require_tensor("broadcast_tensors", **{f"tensor {i}": t for i, t in enumerate(tensors)})
    shape = broadcast_shapes("broadcast_tensors", *(t.shape for t in tensors))
    return tuple(t.expand(shape) for t in tensors)


# Joining


def joined(name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The Tensors in one dtype; TypeError and ValueError for what cannot be joined."""
    if isinstance(tensors, Tensor) or not isinstance(tensors, Sequence):
        raise TypeError(f"{name}: tensors must be a list or tuple of Tensors, not {type(tensors).__name__}")
    if not tensors:
        raise ValueError(f"{name}: there are no tensors")
    for i, t in enumerate(tensors):
        require_tensor(name, **{f"tensor {i}": t if t is not None else 0})
    return in_one_dtype(name, tensors)


def in_one_dtype(name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The Tensors cast to the dtype that an operation on all of them has; TypeError if floating-point dtypes differ."""
    widest = tensors[0]
    for t in tensors[1:]:
        if common_dtype(name, widest._array, t._array) != widest.dtype:
            widest = t
    return [t.to(widest.dtype) for t in tensors]


def cat_samples(rng: np.random.Generator) -> Iterator[Sample]:
    yield Sample([normal(rng, 2, 3), normal(rng, 1, 3), normal(rng, 0, 3)])
    yield Sample([normal(rng, 2, 3), normal(rng, 2, 1)], dim=-1)
    yield Sample([normal(rng, 4)])


@operation(samples=cat_samples)
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join Tensors along a dim; in the others they have equal lengths.

    >>> import minidl
    >>> minidl.cat([minidl.zeros(1, 2), minidl.ones(2, 2)])
    tensor([[0., 0.],
            [1., 1.],
            [1., 1.]])
    """
    tensors = joined("cat", tensors)
    # PyTorch's exception: a Tensor of shape (0,), the usual start of a loop that joins, goes with every shape.
    tensors = [t for t in tensors if t.shape != (0,)] or tensors[:1]
    shapes = [t.shape for t in tensors]
    if () in shapes:
        raise ValueError("cat: a 0-dimensional Tensor cannot be joined; use stack")
    axis = norm_axis("cat", dim, tensors[0].ndim)
    if len({(*shape[:axis], -1, *shape[axis + 1 :]) for shape in shapes}) > 1:
        raise ValueError(f"cat: shapes {', '.join(map(str, shapes))} differ not only in dim {dim}")
    return apply(Cat(axis=axis), *tensors)


concat = concatenate = cat


@operation(
    samples=calls(
        lambda rng: Sample([normal(rng, 2, 3) for _ in range(3)], dim=1), lambda rng: Sample([normal(rng)] * 2)
    )
)
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join Tensors of one shape along a new dim."""
    tensors = joined("stack", tensors)
    if len({t.shape for t in tensors}) > 1:
        raise ValueError(f"stack: shapes {', '.join(str(t.shape) for t in tensors)} differ")
    axis = norm_axis("stack", dim, tensors[0].ndim + 1)
    return cat([t.unsqueeze(axis) for t in tensors], axis)


@operation(samples=calls(lambda rng: Sample([normal(rng, 2, 1), normal(rng, 2, 2)]), lambda rng: Sample([normal(rng)])))
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join side by side: along dim 1, vectors and numbers along dim 0."""
    tensors = [t if t.ndim else t.reshape(1) for t in joined("hstack", tensors)]
    return cat(tensors, 0 if tensors[0].ndim == 1 else 1)


@operation(samples=calls(lambda rng: Sample([normal(rng, 3), normal(rng, 2, 3)])))
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join one below another: along dim 0, a vector counting as a row."""
    return cat([t if t.ndim > 1 else t.reshape(1, -1) for t in joined("vstack", tensors)], 0)


# Cutting


@operation(
    samples=calls(lambda rng: Sample(normal(rng, 5, 2), 2), lambda rng: Sample(normal(rng, 2, 6), [1, 0, 5], dim=-1))
)
def split(tensor: Tensor, split_size_or_sections: Dims, dim: int = 0) -> tuple[Tensor, ...]:
    """Cut along a dim: into parts of a size (the last may be smaller), or into parts of given sizes."""
    require_tensor("split", tensor=tensor)
    return tensor.split(split_size_or_sections, dim)


@operation(samples=calls(on(7, 2, chunks=3), on(2, 4, chunks=2, dim=1)))
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Cut into at most that many parts, of equal size but for the last."""
    require_tensor("chunk", input=input)
    return input.chunk(chunks, dim)


@operation(samples=calls(on(3, 2), on(3, 2, dim=-1)))
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along a dim."""
    require_tensor("unbind", input=input)
    return input.unbind(dim)


# Padding


def pad_samples(rng: np.random.Generator) -> Iterator[Sample]:
    yield Sample(normal(rng, 2, 3), (1, 2, 0, 1), value=0.5)
    yield Sample(normal(rng, 3, 4), (-1, 2))
    yield Sample(normal(rng, 2, 3, 4), (2, 3, 1, 2), mode="reflect")
    yield Sample(normal(rng, 2, 3, 4), (2, 5, -1, 2), mode="replicate")
    yield Sample(normal(rng, 1, 2, 3, 4), (4, 1, 0, 3), mode="circular")
    yield Sample(normal(rng, 2, 0), (1, 1))


@operation(samples=pad_samples)
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Put a frame around a Tensor.

    Args:
        input: of any shape; except with mode "constant", at least one dimension more than is padded.
        pad: widths before and after, of the last dimension first: (left, right, top, bottom, ...); negative ones crop.
        mode: "constant": `value`; "reflect": mirrored at the edge, which is not repeated; "replicate": the edge's
            value; "circular": the values of the other end.
        value: for "constant", by default 0.

    Raises:
        ValueError: too many widths; a frame that "reflect" or "circular" has no values for.

    >>> import minidl, minidl.nn.functional as F
    >>> x = minidl.tensor([[1.0, 2.0, 3.0]])
    >>> F.pad(x, (1, 2))
    tensor([[0., 1., 2., 3., 0., 0.]])
    >>> F.pad(x, (1, 2), mode="reflect")
    tensor([[2., 1., 2., 3., 2., 1.]])
    """
    require_tensor("pad", input=input)
    pad = [as_int("pad", "pad", n) for n in pad]
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ValueError(f"pad: widths {tuple(pad)} must be pairs, at most one for each dimension of {input.shape}")
    widths = {input.ndim - 1 - i: (pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)}
    for axis, (before, after) in widths.items():
        if input.shape[axis] + min(before, 0) + min(after, 0) < 0 or input.shape[axis] + before + after < 0:
            raise ValueError(f"pad: widths {(before, after)} cut more than dim {axis} of shape {input.shape} has")
    if mode == "constant":
        return constant_pad(input, widths, 0.0 if value is None else value)
    if mode not in PAD_POSITIONS:
        raise ValueError(f"pad: mode must be one of constant, {', '.join(PAD_POSITIONS)}, not {mode!r}")
    if value not in (None, 0):
        raise ValueError(f"pad: mode {mode!r} takes no value, but it is {value}")
    if len(widths) >= input.ndim:
        raise ValueError(f"pad: mode {mode!r} leaves at least one dimension unpadded: {tuple(pad)} for {input.shape}")
    for axis, (before, after) in widths.items():
        n = input.shape[axis]
        limit = {"reflect": n - 1, "circular": n, "replicate": np.inf if n else 0}[mode]
        if max(before, after) > limit:
            raise ValueError(f"pad: mode {mode!r} has no values for widths {(before, after)} of a dim of length {n}")
        start = max(-before, 0) if mode == "circular" else 0  # what is cut off does not come back at the other end
        rest = n - start - max(-after, 0) if mode == "circular" else n
        places = start + PAD_POSITIONS[mode](np.arange(-before, n + after) - start, rest)
        input = input[(*(slice(None),) * axis, places)]
    return input


def constant_pad(x: Tensor, widths: dict[int, tuple[int, int]], value: float) -> Tensor:
    """Cut where a width is negative, then put `value` where one is positive."""
    ends = [widths.get(axis, (0, 0)) for axis in range(x.ndim)]
    if any(n < 0 for pair in ends for n in pair):
        x = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(ends, x.shape, strict=True))]
    frame = tuple((max(a, 0), max(b, 0)) for a, b in ends)
    return apply(Pad(widths=frame, value=value), x)


# Where a value of the frame comes from, for positions counted from the start of the Tensor, which has length n.
PAD_POSITIONS = {
    "reflect": lambda i, n: (n - 1) - np.abs((n - 1) - np.abs(i)),
    "replicate": lambda i, n: np.clip(i, 0, n - 1),
    "circular": lambda i, n: i % n,
}
