"""Methods that rearrange: reshape, permute, expand, squeeze, flip, roll, repeat, split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.axes import as_int, as_shape, infer_shape, norm_axes, norm_axis, split_sizes
from minidl.primitives import Expand, Flip, Permute, Reshape, Roll

if TYPE_CHECKING:
    from minidl.tensor import Tensor


class Shapes:
    """Where NumPy can, the result is a view: it shares memory with this Tensor."""

    __slots__ = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the dimensions."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype:
        """The NumPy dtype of the values."""
        return self._array.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of one dimension."""
        return self.shape if dim is None else self.shape[norm_axis("size", dim, self.ndim)]

    def dim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    def numel(self) -> int:
        """The number of elements."""
        return self._array.size

    def is_floating_point(self) -> bool:
        """Whether the dtype is float32 or float64."""
        return self._array.dtype.kind == "f"

    def is_contiguous(self) -> bool:
        """Whether the values lie in memory in row-major order without gaps."""
        return self._array.flags.c_contiguous

    def new_zeros(self, *size: Any) -> Tensor:
        """Zeros of our dtype, in another shape."""
        return self.new_full(as_shape("new_zeros", size), 0)

    def new_ones(self, *size: Any) -> Tensor:
        """Ones of our dtype, in another shape."""
        return self.new_full(as_shape("new_ones", size), 1)

    def new_full(self, size: Sequence[int], fill_value: Any) -> Tensor:
        """One value in our dtype, in another shape."""
        size = as_shape("new_full", (size,))
        if min(size, default=0) < 0:
            raise ValueError(f"new_full: a length in {size} is negative")
        return self._constant(np.full(size, fill_value, self.dtype))

    def __len__(self) -> int:
        if not self._array.ndim:
            raise TypeError("len: a 0-dimensional Tensor has no length")
        return self._array.shape[0]

    def reshape(self, *shape: Any) -> Tensor:
        """The same values, in row-major order, in another shape; one length may be -1 and is inferred."""
        wanted = infer_shape("reshape", as_shape("reshape", shape), self._array.shape)
        return self._apply(Reshape(shape=wanted), self)

    def view(self, *shape: Any) -> Tensor:
        """As `reshape`, but RuntimeError where that would need a copy."""
        wanted = infer_shape("view", as_shape("view", shape), self._array.shape)
        try:
            np.reshape(self._array, wanted, copy=False)
        except ValueError:
            raise RuntimeError(f"view: shape {self.shape} of this layout cannot be seen as {wanted}; reshape") from None
        return self._apply(Reshape(shape=wanted), self)

    def view_as(self, other: Tensor) -> Tensor:
        """As `view` with the other's shape."""
        return self.view(other.shape)

    def reshape_as(self, other: Tensor) -> Tensor:
        """As `reshape` with the other's shape."""
        return self.reshape(other.shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Join the dimensions from `start_dim` to `end_dim` into one."""
        start, end = norm_axis("flatten", start_dim, self.ndim), norm_axis("flatten", end_dim, self.ndim)
        if start > end:
            raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
        shape = self.shape
        return self.reshape((*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))

    def ravel(self) -> Tensor:
        """All values in one dimension."""
        return self.reshape(-1)

    def unflatten(self, dim: int, sizes: Sequence[int]) -> Tensor:
        """Split a dimension into several."""
        axis = norm_axis("unflatten", dim, self.ndim)
        sizes = infer_shape("unflatten", as_shape("unflatten", tuple(sizes)), self.shape[axis : axis + 1])
        return self.reshape((*self.shape[:axis], *sizes, *self.shape[axis + 1 :]))

    def squeeze(self, dim: int | Sequence[int] | None = None) -> Tensor:
        """Drop dimensions of length 1: all, or those named that have it."""
        axes = norm_axes("squeeze", dim, self.ndim) if dim != () else ()
        return self.reshape([n for i, n in enumerate(self.shape) if not (i in axes and n == 1)])

    def unsqueeze(self, dim: int) -> Tensor:
        """Put in a dimension of length 1."""
        axis = norm_axis("unsqueeze", dim, self.ndim + 1)
        return self.reshape((*self.shape[:axis], 1, *self.shape[axis:]))

    def permute(self, *dims: Any) -> Tensor:
        """Dimensions in another order: dimension i of the result is dimension dims[i] of this."""
        dims = as_shape("permute", dims)
        axes = tuple(norm_axis("permute", axis, self.ndim) for axis in dims)
        if sorted(axes) != list(range(self.ndim)):
            raise ValueError(f"permute: {dims} does not name each of the {self.ndim} dimensions once")
        return self._apply(Permute(axes=axes), self)

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Swap two dimensions (PyTorch's meaning; NumPy's is `permute`)."""
        a, b = norm_axis("transpose", dim0, self.ndim), norm_axis("transpose", dim1, self.ndim)
        axes = list(range(self.ndim))
        if axes:
            axes[a], axes[b] = b, a
        return self._apply(Permute(axes=tuple(axes)), self)

    swapaxes = transpose

    def movedim(self, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
        """Move dimensions to other places; the others keep their order."""
        sources = norm_axes_in_order("movedim", source, self.ndim)
        places = norm_axes_in_order("movedim", destination, self.ndim)
        if len(sources) != len(places):
            raise ValueError(f"movedim: {source} and {destination} differ in number")
        order = [axis for axis in range(self.ndim) if axis not in sources]
        for place, axis in sorted(zip(places, sources, strict=True)):
            order.insert(place, axis)
        return self.permute(order)

    def t(self) -> Tensor:
        """The transpose of a matrix (a vector stays as it is)."""
        if self.ndim > 2:
            raise ValueError(f"t: at most two dimensions, not shape {self.shape}")
        return self.permute(tuple(range(self.ndim))[::-1])

    @property
    def T(self) -> Tensor:
        """All dimensions in reverse order."""
        return self.permute(tuple(range(self.ndim))[::-1])

    @property
    def mT(self) -> Tensor:
        """The last two dimensions swapped."""
        return self.transpose(-2, -1)

    def expand(self, *shape: Any) -> Tensor:
        """Repeat dimensions of length 1 without copying; -1 keeps a length, new dimensions may come in front."""
        wanted = as_shape("expand", shape)
        new = len(wanted) - self.ndim
        lengths = tuple(self.shape[i - new] if n == -1 and i >= new else n for i, n in enumerate(wanted))
        fits = new >= 0 and all(a in (1, b) for a, b in zip(self.shape, lengths[new:], strict=True))
        if not fits or min(lengths, default=0) < 0:
            raise ValueError(f"expand: shape {self.shape} cannot be expanded to {wanted}")
        return self._apply(Expand(shape=lengths), self)

    broadcast_to = expand

    def expand_as(self, other: Tensor) -> Tensor:
        """As `expand` with the other's shape."""
        return self.expand(other.shape)

    def repeat(self, *repeats: Any) -> Tensor:
        """Lay copies side by side, repeats[i] of them along dimension i (NumPy's tile), in memory of their own."""
        repeats = as_shape("repeat", repeats)
        if len(repeats) < self.ndim or min(repeats, default=0) < 0:
            raise ValueError(f"repeat: {repeats} must give a count of at least 0 for each of {self.ndim} dimensions")
        lengths = (1,) * (len(repeats) - self.ndim) + self.shape
        pairs = self.reshape([n for length in lengths for n in (1, length)])
        pairs = pairs.expand([n for pair in zip(repeats, lengths, strict=True) for n in pair])
        tiled = pairs.reshape([a * b for a, b in zip(repeats, lengths, strict=True)])
        return tiled if tiled._array.flags.writeable else tiled.clone()  # what is still a view of us may not be changed

    def tile(self, *repeats: Any) -> Tensor:
        """As `repeat`; missing counts in front are 1."""
        repeats = as_shape("tile", repeats)
        return self.repeat((1,) * (self.ndim - len(repeats)) + repeats)

    def flip(self, *dims: Any) -> Tensor:
        """Reverse dimensions."""
        dims = as_shape("flip", dims)
        axes = norm_axes("flip", dims, self.ndim) if dims else ()
        return self._apply(Flip(axes=axes), self)

    def roll(self, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
        """Move values along dimensions, those that leave come in at the other end; without dims, flattened."""
        shifts = as_shape("roll", (shifts,) if not isinstance(shifts, Sequence) else tuple(shifts))
        if dims is None:
            if len(shifts) != 1:
                raise ValueError("roll: several shifts need as many dims")
            return self.reshape(-1).roll(shifts, 0).reshape(self.shape)
        axes = norm_axes_in_order("roll", dims, self.ndim)
        if len(shifts) != len(axes) or not shifts:
            raise ValueError(f"roll: {len(shifts)} shifts for {len(axes)} dims")
        return self._apply(Roll(shifts=shifts, axes=axes), self) if self.ndim else self.clone()

    def contiguous(self) -> Tensor:
        """This Tensor, or a copy in row-major order if it is not."""
        return self if self.is_contiguous() else self.clone()

    def split(self, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """Cut along a dim: into parts of a size (the last may be smaller), or into parts of given sizes."""
        axis = norm_axis("split", dim, self.ndim)
        if not self.ndim:
            raise ValueError("split: a 0-dimensional Tensor has no dim to cut")
        parts, start = [], 0
        for n in split_sizes("split", split_size, self.shape[axis]):
            parts.append(self.narrow(axis, start, n))
            start += n
        return tuple(parts)

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """Cut into at most that many parts, of equal size but for the last."""
        chunks = as_int("chunk", "chunks", chunks)
        if chunks < 1:
            raise ValueError(f"chunk: the number of chunks must be positive, not {chunks}")
        n = self.size(dim)
        return self.split(max(-(-n // chunks), 1), dim) if n else (self,) * chunks

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        """The slices along a dim."""
        axis = norm_axis("unbind", dim, self.ndim)
        if not self.ndim:
            raise ValueError("unbind: a 0-dimensional Tensor has no dim to unbind")
        return tuple(self.select(axis, i) for i in range(self.shape[axis]))


def norm_axes_in_order(name: str, dims: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """Dimensions as a tuple, in the order given; ValueError if one is named twice."""
    axes = tuple(norm_axis(name, d, ndim) for d in (dims if isinstance(dims, Sequence) else (dims,)))
    if len(set(axes)) < len(axes) and name != "roll":
        raise ValueError(f"{name}: a dim appears twice in {dims}")
    return axes
