"""Reading pickles without running anything.

A pickle is a program for a stack machine, and two of its instructions are dangerous: GLOBAL fetches any function by
name, and REDUCE calls it. Here GLOBAL finds only the names of a closed list, and what it finds are stand-ins: classes
of this file that keep what they are called with. Whatever else a file asks for is refused by name.

Python's own machine in Python is used, not the one in C: there a broken file that numbers its memo entries in billions
allocates for billions. A pickle can also be small and mean much: a list of the same list twice, thirty times over. It
is kept as it is written, and neither hashed nor spelt out, which would take a billion steps.
"""

from __future__ import annotations

import pickle
import reprlib
from collections import OrderedDict
from math import prod
from typing import Any, ClassVar, NamedTuple

import numpy as np

DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),  # the upper half of a float32
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class StorageType(NamedTuple):
    """A kind of storage: torch.FloatStorage and its like."""

    name: str


class StorageRef(NamedTuple):
    """A storage that a tensor lies in: its kind, the key of its bytes, and how many values it says it has."""

    kind: str
    key: str
    count: int


class TensorRef(NamedTuple):
    """A tensor as the file describes it: a view of a storage."""

    storage: Any
    offset: Any
    size: Any
    stride: Any


class Named(NamedTuple):
    """Something that has only a name for us: a dtype, a device."""

    name: str


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *ignored: Any) -> TensorRef:
    """Stands for torch._utils._rebuild_tensor and _rebuild_tensor_v2; hooks and flags mean nothing to values."""
    return TensorRef(storage, offset, size, stride)


def rebuild_parameter(data: Any, *ignored: Any) -> Any:
    """Stands for torch._utils._rebuild_parameter: a parameter is its tensor."""
    return data


def as_tuple(values: Any = ()) -> tuple[Any, ...]:
    """Stands for torch.Size."""
    return tuple(values)


def as_device(*words: Any) -> Named:
    """Stands for torch.device."""
    if not all(type(word) in (str, int) for word in words):
        raise Refused("it describes a device that cannot be: refused")
    return Named(":".join(map(str, words)))


def as_set(values: Any = ()) -> set[Any]:
    """Stands for set."""
    return {key_of(value) for value in values}


def as_ordered(pairs: Any = ()) -> OrderedDict[Any, Any]:
    """Stands for collections.OrderedDict."""
    return OrderedDict((key_of(key), value) for key, value in pairs)


def key_of(value: Any) -> Any:
    """The value if it is plain, or a tuple of such, which can be hashed in no time."""
    if type(value) in PLAIN or (type(value) is tuple and all(type(each) in PLAIN for each in value)):
        return value
    raise Refused(f"it has a {type(value).__name__} as a key, or in a set: refused")


class NumpyType:
    """Stands for numpy.dtype: of numbers; the byte order comes with BUILD."""

    def __init__(self, code: Any = None, *ignored: Any) -> None:
        if code not in NUMPY_CODES:
            raise Refused(f"it holds a NumPy array of dtype {reprlib.repr(code)}: refused")
        self.dtype = np.dtype(code).newbyteorder("<")

    def build(self, state: Any) -> None:
        """(version, byte order, ...), where "|" says that there is none."""
        if state[1] not in ("<", ">", "|"):
            raise Refused(f"it describes a dtype of byte order {reprlib.repr(state[1])}: refused")
        self.dtype = self.dtype.newbyteorder(state[1])


class NumpyArray:
    """Stands for numpy.core.multiarray._reconstruct; shape and values come with BUILD."""

    def __init__(self, *ignored: Any) -> None:
        self.values = np.empty(0)

    def build(self, state: Any) -> None:
        """(version, shape, dtype, whether the first dimension is the nearest in memory, bytes)."""
        _, shape, kind, fortran, content = state
        values = numpy_values(kind, content)
        if type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape) or prod(shape) != values.size:
            raise Refused(f"it describes an array of shape {reprlib.repr(shape)} with {values.size} values")
        self.values = values.reshape(shape, order="F" if fortran else "C")


def numpy_values(kind: Any, content: Any) -> np.ndarray:
    """The numbers in these bytes, in this machine's byte order."""
    if type(kind) is not NumpyType or type(content) is not bytes:
        raise Refused("it holds a NumPy array of objects: refused")
    return np.frombuffer(content, kind.dtype).astype(kind.dtype.newbyteorder("="))


def numpy_scalar(kind: Any, content: Any) -> Any:
    """Stands for numpy.core.multiarray.scalar: a plain number."""
    (value,) = numpy_values(kind, content).tolist()
    return value


def as_bytes(text: Any, encoding: Any) -> bytes:
    """Stands for _codecs.encode, by which older pickles write bytes."""
    if type(text) is not str or encoding != "latin1":
        raise Refused(f"it asks for a text in {reprlib.repr(encoding)}: refused")
    return text.encode("latin1")


def no_bytes() -> bytes:
    """Stands for bytes, by which older pickles write b""."""
    return b""


PLAIN = (str, bytes, int, float, complex, bool, type(None), Named)
NUMPY_CODES = ("b1", "i1", "i2", "i4", "i8", "u1", "f2", "f4", "f8")
FUNCTIONS = {
    ("collections", "OrderedDict"): as_ordered,
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): rebuild_parameter,
    ("torch", "Size"): as_tuple,
    ("torch", "device"): as_device,
    ("builtins", "set"): as_set,
    ("__builtin__", "set"): as_set,
    ("_codecs", "encode"): as_bytes,
    ("builtins", "bytes"): no_bytes,
    ("__builtin__", "bytes"): no_bytes,
    ("numpy", "dtype"): NumpyType,
    ("numpy", "ndarray"): NumpyArray,
    ("numpy.core.multiarray", "scalar"): numpy_scalar,
    ("numpy._core.multiarray", "scalar"): numpy_scalar,
    ("numpy.core.multiarray", "_reconstruct"): NumpyArray,
    ("numpy._core.multiarray", "_reconstruct"): NumpyArray,
}
NAMES = {"float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"}


class Refused(ValueError):
    """The file asks for something that is not on the list."""


class Unpickler(pickle._Unpickler):  # type: ignore[name-defined]
    """The stack machine, with a closed list."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in FUNCTIONS:
            return FUNCTIONS[module, name]
        if module == "torch" and name in DTYPES:
            return StorageType(name)
        if module == "torch" and name in NAMES:
            return Named(name)
        raise Refused(f"it asks for {module}.{name}, which may do anything: refused")

    def load_build(self) -> None:
        """BUILD sets attributes. State dicts have one that means nothing here; NumPy's arrays are built so."""
        state = self.stack.pop()
        if type(self.stack[-1]) in (NumpyType, NumpyArray):
            self.stack[-1].build(state)
        elif type(self.stack[-1]) is not OrderedDict:
            raise Refused(f"it changes attributes of a {type(self.stack[-1]).__name__}: refused")

    dispatch[pickle.BUILD[0]] = load_build

    def load_setitem(self) -> None:
        value = self.stack.pop()
        self.fill([self.stack.pop(), value])

    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self.fill(items)

    dispatch[pickle.SETITEMS[0]] = load_setitems

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self.fill(items)

    dispatch[pickle.DICT[0]] = load_dict

    def fill(self, items: list[Any]) -> None:
        """Keys and values in turn, into what is on top of the stack."""
        top = self.stack[-1]
        if not isinstance(top, dict):
            raise Refused(f"it gives items to a {type(top).__name__}: refused")
        top.update(zip(map(key_of, items[::2]), items[1::2], strict=True))

    def load_additems(self) -> None:
        items = self.pop_mark()
        if type(self.stack[-1]) is not set:
            raise Refused(f"it adds to a {type(self.stack[-1]).__name__}: refused")
        self.stack[-1].update(map(key_of, items))

    dispatch[pickle.ADDITEMS[0]] = load_additems

    def load_frozenset(self) -> None:
        self.append(frozenset(map(key_of, self.pop_mark())))

    dispatch[pickle.FROZENSET[0]] = load_frozenset

    def persistent_load(self, pid: Any) -> StorageRef:
        if not (isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage"):
            raise Refused(f"it refers to something unknown outside of the pickle: {reprlib.repr(pid)}")
        _, kind, key, _, count, *view = pid
        whole = view in ([], [None])
        if not (isinstance(kind, StorageType) and isinstance(key, str) and type(count) is int and whole):
            raise Refused(f"it describes a storage that cannot be: {reprlib.repr(pid)}")
        return StorageRef(kind.name, key, count)


def unpickle(file: Any) -> Any:
    """The next object of a file.

    Raises:
        ValueError: something that is not on the list, or a broken pickle.
    """
    try:
        return Unpickler(file, encoding="utf-8").load()
    except Refused:
        raise
    except Exception as error:  # a broken pickle can make the stack machine raise anything
        raise ValueError(f"broken pickle: {type(error).__name__}: {error!s:.200}") from None
