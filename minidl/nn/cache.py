"""What a Transformer need not compute again when a sequence grows: the keys and values of the rows before."""

from __future__ import annotations

import numpy as np

from minidl.factories import made
from minidl.ops.shapes import cat
from minidl.tensor import Tensor


class KeyValueCache:
    """Keys and values of one layer for all positions so far: a value, given to the layer and returned by it, longer.

    A cache is never changed: `append` returns another one. Both may lie in the same memory, which has room for more,
    since the older one sees only its own first rows; where two grow from the same one, the second moves out.

    >>> import minidl
    >>> from minidl import nn
    >>> cache = nn.KeyValueCache()
    >>> longer = cache.append(minidl.zeros(1, 2, 3, 4), minidl.zeros(1, 2, 3, 4))
    >>> longer = longer.append(minidl.ones(1, 2, 1, 4), minidl.ones(1, 2, 1, 4))
    >>> len(cache), len(longer), longer.key.shape
    (0, 4, (1, 2, 4, 4))

    Attributes:
        key, value: (..., T, d); None in an empty cache.
    """

    def __init__(self) -> None:
        self.key: Tensor | None = None
        self.value: Tensor | None = None
        self._room: Room | None = None

    def __len__(self) -> int:
        return 0 if self.key is None else self.key.shape[-2]

    def append(self, key: Tensor, value: Tensor) -> KeyValueCache:
        """A cache with more rows (..., t, d). ValueError for shapes that do not continue what is there."""
        if self.key is not None and (follows(self.key, key), follows(self.value, value)) != (True, True):
            raise ValueError(
                f"KeyValueCache: key {key.shape} and value {value.shape} do not continue {self.key.shape} "
                f"and {self.value.shape}"
            )
        longer = KeyValueCache()
        if key.requires_grad or value.requires_grad or (self.key is not None and self._room is None):
            longer.key, longer.value = key, value
            if self.key is not None:
                longer.key, longer.value = cat([self.key, key], -2), cat([self.value, value], -2)
            return longer
        start, end = len(self), len(self) + key.shape[-2]
        room = self._room
        if room is None or room.used != start or room.key.shape[-2] < end:
            room = Room(key._array, value._array, 2 * end)
            if start:
                room.write(0, self.key._array, self.value._array)
        room.write(start, key._array, value._array)
        longer._room = room
        longer.key, longer.value = made(room.key[..., :end, :]), made(room.value[..., :end, :])
        return longer


class Room:
    """Memory for keys and values, of which the first `used` rows are taken."""

    def __init__(self, key: np.ndarray, value: np.ndarray, rows: int) -> None:
        self.key, self.value = (np.empty((*x.shape[:-2], rows, x.shape[-1]), x.dtype) for x in (key, value))
        self.used = 0

    def write(self, start: int, key: np.ndarray, value: np.ndarray) -> None:
        """Take the next rows."""
        self.used = start + key.shape[-2]
        self.key[..., start : self.used, :] = key
        self.value[..., start : self.used, :] = value


def follows(before: Tensor, more: Tensor) -> bool:
    """Whether shapes differ in nothing but the number of rows."""
    return (
        before.ndim == more.ndim
        and before.dtype == more.dtype
        and before.shape[:-2] == more.shape[:-2]
        and before.shape[-1] == more.shape[-1]
    )
