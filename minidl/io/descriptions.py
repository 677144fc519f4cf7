"""From what a file describes to Tensors: views of storages, which must lie within them, are copied out.

A few bytes can describe very much: the same tensor again and again, or a tensor that repeats its values. So what has
been made of a description is made once, and what tensors hold may be only so much more than their storages.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np

from minidl.factories import made
from minidl.io.records import Named, Record, Unknown
from minidl.io.standins import DTYPES, NumpyArray, NumpyType, Refused, StorageRef, StorageType, TensorRef

REPEATED = 1 << 24
"""Values of a tensor that may be more than its storage has: an expanded one repeats them."""
VIEWS = 16
"""So many tensors may share a storage, on average."""

WIDER = {"f2": np.float32, "u2": np.int32, "u4": np.int64}
"""What holds all values of NumPy's types that minidl has not; its random generator keeps its state in such."""
PLAIN = (bool, int, float, complex, str, bytes, bytearray, set, frozenset)


class Loading:
    """What has been made of a file so far: a few bytes can refer to the same thing again and again.

    Attributes:
        read: the bytes of a storage. swapped: whether they are in the other order.
        storages: by key. stored: values in all of them. values: in all tensors.
        made: by the id of what described it.
    """

    def __init__(self, read: Callable[[StorageRef], bytes], swapped: bool) -> None:
        self.read, self.swapped = read, swapped
        self.storages: dict[str, np.ndarray] = {}
        self.stored = self.values = 0
        self.made: dict[int, Any] = {}


def parts(value: Any) -> list[Any]:
    """What a description of something is made of."""
    if isinstance(value, dict):
        return list(dict.values(value))
    if type(value) in (list, tuple):
        return list(value)
    if type(value) is SimpleNamespace:
        return list(vars(value).values())
    return [value.args, value.attributes, value.items] if type(value) is Record else []


def collect(value: Any, refs: dict[str, StorageRef], seen: set[int] | None = None) -> None:
    """All storages that are referred to."""
    seen = set() if seen is None else seen
    if type(value) is TensorRef and type(value.storage) is StorageRef:
        refs[value.storage.key] = value.storage
    elif id(value) not in seen:
        seen.add(id(value))
        for each in parts(value):
            collect(each, refs, seen)


def resolve(value: Any, loading: Loading) -> Any:
    """The same with Tensors in the place of their descriptions; what is referred to twice is made once."""
    if id(value) not in loading.made:
        if type(value) is Record:
            record(value, loading)
        else:
            loading.made[id(value)] = resolve_once(value, loading)
    return loading.made[id(value)]


def record(value: Record, loading: Loading) -> None:
    """The same of a Record, known before its parts are: a part may refer to the whole."""
    loading.made[id(value)] = new = Record(value.name)
    new.args, new.attributes, new.items = (resolve(part, loading) for part in parts(value))


def resolve_once(value: Any, loading: Loading) -> Any:
    """The same with Tensors in the place of their descriptions."""
    if type(value) is TensorRef:
        return tensor(value, loading)
    if isinstance(value, dict):
        return {key: resolve(each, loading) for key, each in dict.items(value)}
    if type(value) in (list, tuple):
        return type(value)(resolve(each, loading) for each in value)
    if type(value) is SimpleNamespace:
        return SimpleNamespace(**{key: resolve(each, loading) for key, each in vars(value).items()})
    if type(value) is NumpyArray:
        return made(value.values.astype(WIDER.get(value.values.dtype.str[1:], value.values.dtype), copy=False))
    if type(value) is NumpyType:
        return str(value.dtype)
    if type(value) in (Named, Unknown):
        return value.name
    if value is None or type(value) in PLAIN:
        return value
    if type(value) in (StorageRef, StorageType):
        raise Refused("it holds a storage without a tensor: refused")
    raise Refused(f"it holds a {type(value).__name__}: refused")


def tensor(ref: TensorRef, loading: Loading) -> Any:
    """A view of a storage, copied; the view must lie within it."""
    storage, offset, size, stride = ref
    if type(storage) is not StorageRef or not all(is_count(n) for n in (offset, storage.count)):
        raise ValueError("it describes a tensor without a storage")
    if storage.kind not in DTYPES:
        raise Refused(f"it holds a tensor of {storage.kind}: refused")
    if type(size) is not tuple or type(stride) is not tuple or len(size) != len(stride) or len(size) > 32:
        raise ValueError("it describes a tensor whose size and stride do not fit")
    if not all(is_count(n) for n in (*size, *stride)):
        raise ValueError(f"it describes a tensor of size {reprlib.repr(size)} and stride {reprlib.repr(stride)}")
    if storage.key not in loading.storages:
        dtype = DTYPES[storage.kind]
        content = loading.read(storage)
        if len(content) != storage.count * dtype.itemsize:
            raise ValueError(f"storage {storage.key} is truncated")
        values = np.frombuffer(content, dtype.newbyteorder(">") if loading.swapped else dtype)
        loading.storages[storage.key] = plain(values, storage.kind)
        loading.stored += storage.count
    values = loading.storages[storage.key]
    if 0 in size:
        return made(np.empty(size, values.dtype))
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= len(values) or prod(size) > max(len(values), REPEATED):
        raise ValueError(f"a tensor of size {size} and stride {stride} does not fit its {len(values)} values")
    loading.values += prod(size)
    if loading.values > VIEWS * loading.stored + REPEATED:
        raise ValueError(f"its tensors have {loading.values} values, its storages only {loading.stored}: refused")
    steps = [step * values.itemsize for step in stride]
    return made(np.array(np.lib.stride_tricks.as_strided(values[offset:], size, steps)))


def is_count(n: Any) -> bool:
    """A number from 0 on that NumPy can take."""
    return type(n) is int and 0 <= n < 2**48


def plain(values: np.ndarray, kind: str) -> np.ndarray:
    """In this machine's byte order; float16 and bfloat16, which minidl does not compute in, as float32."""
    values = values.astype(values.dtype.newbyteorder("="))
    if kind == "BFloat16Storage":
        return from_bfloat16(values)
    return values.astype(np.float32) if kind == "HalfStorage" else values


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 is the upper half of a float32: sign, exponent and seven digits; the value is the same."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
