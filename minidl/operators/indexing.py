"""Picking values and putting them back: t[...], t[...] = v, gather, masks; values out, and casts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.axes import as_int, norm_axis
from minidl.dtypes import bool_, float32, float64, int32, int64
from minidl.primitives import Gather, GetItem, ScatterAdd, SetItem
from minidl.primitives.index import is_basic

if TYPE_CHECKING:
    from minidl.tensor import Tensor


class Indexing:
    """NumPy's indexing: slices, ints, Ellipsis, None, integer arrays and boolean masks, in any mixture."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Tensor:
        key = plain_key(key)
        try:
            return self._apply(GetItem(key=key), self)
        except IndexError as error:
            raise IndexError(f"index: {error} (shape {self.shape})") from None

    def __setitem__(self, key: Any, value: Any) -> None:
        key = plain_key(key)
        if not isinstance(value, Indexing):
            value = self._operand(value) if not isinstance(value, list | tuple) else self._from_user(value)
        if value.dtype != self.dtype:
            if value.dtype.kind == "f" and self.dtype.kind != "f":
                raise TypeError(f"index: a {value.dtype} value does not fit into {self.dtype}")
            value = value.to(self.dtype)
        try:
            if self._records(value):
                self._assign(self._apply(SetItem(key=key), self._in_place(), value))
            else:
                self._array[key] = value._array
                self._touch()
        except (IndexError, ValueError) as error:
            raise type(error)(f"index: {error} (shape {self.shape}, value {value.shape})") from None

    def __iter__(self) -> Iterator[Tensor]:
        if not self._array.ndim:
            raise TypeError("iter: a 0-dimensional Tensor cannot be iterated over")
        return iter(self.unbind(0))

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    def select(self, dim: int, index: int) -> Tensor:
        """The slice number `index` along a dim, without that dim."""
        axis = norm_axis("select", dim, self.ndim)
        return self[(*(slice(None),) * axis, as_int("select", "index", index))]

    def narrow(self, dim: int, start: int, length: int) -> Tensor:
        """The part from `start` of `length` along a dim."""
        axis = norm_axis("narrow", dim, self.ndim)
        if not self.ndim:
            raise ValueError("narrow: a 0-dimensional Tensor has no dim to cut")
        start, length, n = as_int("narrow", "start", start), as_int("narrow", "length", length), self.size(axis)
        if not -n <= start <= n or length < 0 or (start % (n or 1) + length > n and (start != n or length)):
            raise IndexError(f"narrow: start {start} and length {length} leave the dim of length {n}")
        start = start + n if start < 0 else start
        return self[(*(slice(None),) * axis, slice(start, start + length))]

    def gather(self, dim: int, index: Tensor) -> Tensor:
        """out[i][j] = self[index[i][j]][j] for dim 0, and so on for others."""
        axis, index = self._gather_index("gather", dim, index, self.shape)
        if not self.ndim:
            return self.clone()
        return self._apply(Gather(index=index, axis=axis), self)

    def take_along_dim(self, indices: Tensor, dim: int | None = None) -> Tensor:
        """As `gather`, but index and Tensor broadcast; without a dim, of the flattened Tensor."""
        if dim is None:
            return self.reshape(-1).gather(0, indices.reshape(-1))
        axis = norm_axis("take_along_dim", dim, self.ndim)
        lengths = list(np.broadcast_shapes(self.shape[:axis] + self.shape[axis + 1 :], drop(indices.shape, axis)))
        whole = [*lengths[:axis], self.shape[axis], *lengths[axis:]]
        picks = [*lengths[:axis], indices.shape[axis], *lengths[axis:]]
        indices = np.broadcast_to(np.asarray(indices), picks)
        return self.expand(whole).gather(axis, np.where(indices < 0, indices + self.shape[axis], indices))

    def scatter_add(self, dim: int, index: Tensor, src: Tensor) -> Tensor:
        """self with `src` added: out[index[i][j]][j] += src[i][j] for dim 0, and so on for others."""
        axis, index = self._gather_index("scatter_add", dim, index, self.shape)
        if any(n > m for n, m in zip(index.shape, src.shape, strict=True)):
            raise ValueError(f"scatter_add: index of shape {index.shape} is larger than src of shape {src.shape}")
        if not self.ndim:
            return self + src
        src = src[tuple(slice(n) for n in index.shape)]
        return self + self._apply(ScatterAdd(index=index, axis=axis, shape=self.shape), src)

    def _gather_index(self, name: str, dim: int, index: Any, shape: tuple[int, ...]) -> tuple[int, np.ndarray]:
        axis = norm_axis(name, dim, self.ndim)
        index = np.asarray(index)
        if index.dtype.kind not in "iu":
            raise TypeError(f"{name}: the index must be integer, not {index.dtype}")
        lengths = list(zip(index.shape, shape, strict=False))
        if index.ndim != self.ndim or any(n > m for i, (n, m) in enumerate(lengths) if i != axis):
            raise ValueError(f"{name}: an index of shape {index.shape} does not go with shape {shape} along dim {axis}")
        n = shape[axis] if shape else 1
        if index.size and not (index.min() >= 0 and index.max() < n):
            raise IndexError(f"{name}: an index is out of range 0..{n - 1} along dim {axis}")
        return axis, index

    def index_select(self, dim: int, index: Any) -> Tensor:
        """The slices along a dim that a vector of indices names."""
        axis = norm_axis("index_select", dim, self.ndim)
        index = np.asarray(index)
        if index.ndim > 1 or index.dtype.kind not in "iu":
            raise TypeError(f"index_select: the index must be a vector of integers, not {index.dtype} {index.shape}")
        if index.size and index.min() < 0:
            raise IndexError("index_select: an index is negative")
        if not self.ndim:
            return self.reshape(1)[np.atleast_1d(index)].reshape(())
        return self[(*(slice(None),) * axis, np.atleast_1d(index))]

    def masked_select(self, mask: Any) -> Tensor:
        """The values where the mask is true, in one dimension."""
        shape = np.broadcast_shapes(self.shape, mask.shape)
        return self.expand(shape)[np.broadcast_to(np.asarray(mask), shape)]

    def masked_fill(self, mask: Any, value: Any) -> Tensor:
        """The Tensor with `value`, a number or a 0-dimensional Tensor, where the mask is true."""
        if getattr(value, "ndim", 0):
            raise ValueError(f"masked_fill: value must have no dimensions, not shape {value.shape}")
        return self.where(~mask, value)

    def tril(self, diagonal: int = 0) -> Tensor:
        """The lower triangle of matrices, with the diagonal so far above the main one; 0 above it."""
        return self._triangle("tril", np.tril, diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        """The upper triangle of matrices, from the diagonal so far above the main one; 0 below it."""
        return self._triangle("triu", np.triu, diagonal)

    def _triangle(self, name: str, part: Any, diagonal: int) -> Tensor:
        if self.ndim < 2:
            raise ValueError(f"{name}: input must be a matrix or several, not of shape {self.shape}")
        return self.where(part(np.ones(self.shape[-2:], bool_), as_int(name, "diagonal", diagonal)), 0)

    def nonzero(self, *, as_tuple: bool = False) -> Any:
        """Where the values are not 0: (count, ndim) indices, or with `as_tuple` one vector for each dimension."""
        if as_tuple:
            return tuple(map(self._constant, np.nonzero(np.atleast_1d(self._array))))
        return self._constant(np.argwhere(self._array).astype(int64))

    def repeat_interleave(self, repeats: Any, dim: int | None = None) -> Tensor:
        """Each slice along a dim `repeats` times, all as often or each by its number; without a dim, each value."""
        x = self.reshape(-1) if dim is None or not self.ndim else self
        axis = norm_axis("repeat_interleave", dim or 0, x.ndim)
        counts = np.atleast_1d(np.asarray(repeats))
        if counts.dtype.kind not in "iu":
            raise TypeError(f"repeat_interleave: repeats must be integers, not {counts.dtype}")
        if counts.ndim != 1 or len(counts) not in (1, x.shape[axis]) or counts.min(initial=0) < 0:
            raise ValueError(
                f"repeat_interleave: repeats must be one number from 0 on, or {x.shape[axis]}, not {counts.tolist()}"
            )
        return x[(*(slice(None),) * axis, np.repeat(np.arange(x.shape[axis]), counts))]

    # Values out

    def item(self) -> Any:
        """The one value, as a Python number."""
        if self._array.size != 1:
            raise ValueError(f"item: the Tensor has shape {self.shape}, not one element")
        return self._array.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self._array.tolist()

    def __bool__(self) -> bool:
        if self._array.size != 1:
            raise ValueError(f"bool: the truth of a Tensor of shape {self.shape} is ambiguous; use .any() or .all()")
        return bool(self._array.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __index__(self) -> int:
        if self._array.dtype.kind not in "iub":
            raise TypeError(f"index: only integer Tensors can be an index, not {self.dtype}")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    # Casts

    def float(self) -> Tensor:
        """As float32."""
        return self.to(float32)

    def double(self) -> Tensor:
        """As float64."""
        return self.to(float64)

    def int(self) -> Tensor:
        """As int32, rounding towards 0."""
        return self.to(int32)

    def long(self) -> Tensor:
        """As int64, rounding towards 0."""
        return self.to(int64)

    def bool(self) -> Tensor:
        """As bool: whether not 0."""
        return self.to(bool_)

    def type_as(self, other: Tensor) -> Tensor:
        """As the other's dtype."""
        return self.to(other.dtype)


def plain_key(key: Any) -> Any:
    """A key with ndarrays for Tensors and lists, so that it can neither change nor lead back into a graph."""
    if type(key) is tuple:
        return tuple(plain_key(part) for part in key)
    if isinstance(key, Indexing | np.ndarray | list):
        array = np.array(key._array if isinstance(key, Indexing) else key)
        if not array.size and isinstance(key, list):
            array = array.astype(np.int64)
        if array.dtype.kind not in "iub":
            raise IndexError(f"index: an array used as an index must be integer or boolean, not {array.dtype}")
        return array if array.ndim else array[()]
    if not is_basic(key):
        raise IndexError(f"index: {key!r} cannot be an index; use ints, slices, Ellipsis, None, arrays or masks")
    return key


def drop(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The shape without one dimension."""
    return shape[:axis] + shape[axis + 1 :]
