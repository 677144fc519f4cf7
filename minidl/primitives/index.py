"""Primitives that pick values by index, and their transposes, which add them back.

`GetItem` and `PutItem` are a pair: each one's backward is the other. So are `Gather` and `ScatterAdd`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.function import Primitive, call
from minidl.primitives.elementwise import unbroadcast


class GetItem(Primitive):
    """a[key] for NumPy's full indexing; a value picked twice gets both gradients."""

    def forward(self, a: Any) -> Any:
        self.source = a.shape
        return a[self.key]

    def backward(self, g: Any) -> Any:
        return call(PutItem, g, key=self.key, shape=self.source)


class PutItem(Primitive):
    """Zeros of `shape` with the input added at `key`."""

    def forward(self, values: Any) -> Any:
        a = np.zeros(self.shape, values.dtype)
        if is_basic(self.key):  # slices and ints name every place once
            a[self.key] = values
        else:
            add_at(a, self.key, values)
        return a

    def backward(self, g: Any) -> Any:
        return g[self.key]


def is_basic(key: Any) -> bool:
    """Whether a key has only slices, ints, Ellipsis and newaxis, or one boolean mask: no place is named twice."""
    if type(key) is np.ndarray and key.dtype == bool:
        return True
    parts = key if type(key) is tuple else (key,)
    return all(part is None or part is Ellipsis or isinstance(part, (slice, int, np.integer)) for part in parts)


def add_at(a: np.ndarray, key: Any, values: np.ndarray) -> None:
    """a[key] += values, in which places named several times get every value.

    Rather than by `np.add.at`, by counting: the places as flat numbers, then one weighted `bincount`, in float64.
    """
    places = np.arange(a.size).reshape(a.shape)[key].ravel()
    a += np.bincount(places, np.asarray(values, np.float64).ravel(), minlength=a.size).reshape(a.shape).astype(a.dtype)


class SetItem(Primitive):
    """A copy of `a` with `values` at `key`: the gradient of what was overwritten is 0."""

    def forward(self, a: Any, values: Any) -> Any:
        self.values_shape = values.shape
        a = a.copy()
        a[self.key] = values
        return a

    def backward(self, g: Any) -> Any:
        from_values = np.zeros(g.shape, bool)
        from_values[self.key] = True
        ga = g * (~from_values).astype(g.dtype)
        gv = g[self.key]
        surplus = len(self.values_shape) - gv.ndim  # NumPy lets values have more axes in front, of length 1
        return ga, unbroadcast(gv, self.values_shape[max(surplus, 0) :]).reshape(self.values_shape)


class Gather(Primitive):
    """out[.., i, ..] = a[.., index[.., i, ..], ..] along one axis, as `torch.gather`."""

    def forward(self, a: Any) -> Any:
        self.source = a.shape
        return a[along(self.index, self.axis)]

    def backward(self, g: Any) -> Any:
        return call(ScatterAdd, g, index=self.index, axis=self.axis, shape=self.source)


class ScatterAdd(Primitive):
    """Zeros of `shape` with the input added at `index` along one axis."""

    def forward(self, values: Any) -> Any:
        a = np.zeros(self.shape, values.dtype)
        add_at(a, along(self.index, self.axis), values)
        return a

    def backward(self, g: Any) -> Any:
        return call(Gather, g, index=self.index, axis=self.axis)


def along(index: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """The full index whose part at `axis` is `index` and whose other parts stay where they are."""
    grid = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    grid[axis] = index
    return tuple(grid)
