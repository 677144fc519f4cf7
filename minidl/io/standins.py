"""What may stand in a pickle, and what stands for it here: the closed list.

A pickle names functions and calls them. Here a name finds a function of this file, which keeps or copies what it is
called with, and does nothing else.
"""

from __future__ import annotations

import reprlib
from collections import OrderedDict
from math import prod
from pathlib import PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from minidl.io.records import Named, Unknown

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


class Refused(ValueError):
    """The file asks for something that is not on the list."""


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


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *ignored: Any) -> TensorRef:
    """Stands for torch._utils._rebuild_tensor and _rebuild_tensor_v2; hooks and flags mean nothing to values."""
    return TensorRef(storage, offset, size, stride)


def same(value: Any, *ignored: Any) -> Any:
    """Stands for torch._utils._rebuild_parameter, and for what TorchScript says of types: the value is all there is."""
    return value


def rebuild_from_type(function: Any, kind: Any, args: Any, state: Any) -> Any:
    """Stands for torch._tensor._rebuild_from_type_v2: a tensor with attributes of its own is its tensor."""
    if function not in (rebuild_tensor, same) or type(args) is not tuple:
        raise Refused("it describes a tensor that cannot be: refused")
    return function(*args)


def rebuild_untyped(*args: Any) -> Any:
    """Stands for torch._utils._rebuild_tensor_v3, which makes the dtypes that minidl has not."""
    dtype = named(args[6]) if len(args) > 6 else "no dtype"
    raise Refused(f"it holds a tensor of {dtype}, which minidl has not: refused")


def as_device(*words: Any) -> Named:
    """Stands for torch.device."""
    if not all(type(word) in (str, int) for word in words):
        raise Refused("it describes a device that cannot be: refused")
    return Named(":".join(map(str, words)))


def as_set(values: Any = ()) -> set[Any]:
    """Stands for set."""
    return {key_of(value) for value in values}


def as_frozenset(values: Any = ()) -> frozenset[Any]:
    """Stands for frozenset."""
    return frozenset(map(key_of, values))


def as_ordered(pairs: Any = ()) -> OrderedDict[Any, Any]:
    """Stands for collections.OrderedDict."""
    return OrderedDict((key_of(key), value) for key, value in pairs)


def as_counter(counts: Any = None) -> dict[Any, Any]:
    """Stands for collections.Counter."""
    if not isinstance(counts, dict | None):
        raise Refused(f"it counts what is in {named(counts)}: refused")
    return dict(counts or {})


def as_default(factory: Any = None) -> dict[Any, Any]:
    """Stands for collections.defaultdict, whose items come later; it forgets what missing ones would be."""
    return {}


def as_namespace() -> SimpleNamespace:
    """Stands for argparse.Namespace and types.SimpleNamespace; the attributes come with BUILD."""
    return SimpleNamespace()


def as_path(*parts: str) -> str:
    """Stands for the paths of pathlib."""
    return str(PurePosixPath(*parts))


def as_windows_path(*parts: str) -> str:
    """Stands for those of Windows."""
    return str(PureWindowsPath(*parts))


def reconstruct(kind: Any, *ignored: Any) -> Any:
    """Stands for copyreg._reconstructor, by which older pickles make objects before they set their attributes."""
    if kind is not as_namespace and type(kind) is not Unknown:
        raise Refused(f"it makes an object of {named(kind)}: refused")
    return kind()


def key_of(value: Any) -> Any:
    """The value if it is plain, or a tuple of such, which can be hashed in no time."""
    if type(value) in PLAIN or (type(value) is tuple and all(type(each) in PLAIN for each in value)):
        return value
    raise Refused(f"it has a {type(value).__name__} as a key, or in a set: refused")


def named(value: Any) -> str:
    """For messages."""
    return value.name if type(value) in (Named, Unknown, StorageType) else f"a {type(value).__name__}"


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
        if type(shape) is not tuple or len(shape) > 32 or not all(type(n) is int and 0 <= n < 2**48 for n in shape):
            raise Refused(f"it describes an array of shape {reprlib.repr(shape)}")
        if prod(shape) != values.size:
            raise Refused(f"it describes an array of shape {shape} with {values.size} values")
        self.values = values.reshape(shape, order="F" if fortran else "C")


def numpy_values(kind: Any, content: Any) -> np.ndarray:
    """The numbers in these bytes, in this machine's byte order."""
    if type(kind) is not NumpyType or type(content) not in (bytes, str):
        raise Refused("it holds a NumPy array of objects: refused")
    content = content.encode() if type(content) is str else content  # as Python 2 wrote it
    return np.frombuffer(content, kind.dtype).astype(kind.dtype.newbyteorder("="))


def numpy_frombuffer(content: Any, kind: Any, shape: Any, order: Any) -> NumpyArray:
    """Stands for numpy.core.numeric._frombuffer, by which newer pickles make arrays."""
    if type(content) not in (bytes, bytearray) or order not in ("C", "F"):
        raise Refused(f"it describes an array in the order {reprlib.repr(order)}: refused")
    array = NumpyArray()
    array.build((1, shape, kind, order == "F", bytes(content)))
    return array


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


def as_bytearray(content: Any = b"", encoding: Any = "latin-1") -> bytearray:
    """Stands for bytearray, of bytes or of a text, by which older pickles write it."""
    if type(content) not in (bytes, str) or encoding != "latin-1":
        raise Refused(f"it describes a bytearray of {reprlib.repr(content)}: refused")
    return bytearray(content if type(content) is bytes else content.encode("latin-1"))


def as_complex(real: Any, imaginary: Any) -> complex:
    """Stands for complex."""
    if {type(real), type(imaginary)} - {float, int}:
        raise Refused("it describes a complex number that cannot be: refused")
    return complex(real, imaginary)


PLAIN = (str, bytes, int, float, complex, bool, type(None), Named)
NUMPY_CODES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "f2", "f4", "f8")
FUNCTIONS = {
    ("collections", "OrderedDict"): as_ordered,
    ("collections", "Counter"): as_counter,
    ("collections", "defaultdict"): as_default,
    ("argparse", "Namespace"): as_namespace,
    ("types", "SimpleNamespace"): as_namespace,
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): rebuild_untyped,
    ("torch._utils", "_rebuild_parameter"): same,
    ("torch._utils", "_rebuild_parameter_with_state"): same,
    ("torch._tensor", "_rebuild_from_type_v2"): rebuild_from_type,
    ("torch", "Size"): tuple,
    ("torch", "device"): as_device,
    ("copyreg", "_reconstructor"): reconstruct,
    ("copy_reg", "_reconstructor"): reconstruct,
    ("_codecs", "encode"): as_bytes,
    ("numpy", "dtype"): NumpyType,
    ("numpy", "ndarray"): NumpyArray,
}
for _module in ("builtins", "__builtin__"):  # of Python 3 and 2
    FUNCTIONS |= {(_module, "set"): as_set, (_module, "frozenset"): as_frozenset, (_module, "bytes"): no_bytes}
    FUNCTIONS |= {(_module, "bytearray"): as_bytearray, (_module, "complex"): as_complex}
for _module in ("numpy.core", "numpy._core"):  # of NumPy 1 and 2
    FUNCTIONS[f"{_module}.multiarray", "scalar"] = numpy_scalar
    FUNCTIONS[f"{_module}.multiarray", "_reconstruct"] = NumpyArray
    FUNCTIONS[f"{_module}.numeric", "_frombuffer"] = numpy_frombuffer
for _module in ("pathlib", "pathlib._local"):  # up to Python 3.12, and from 3.13 on
    FUNCTIONS |= {(_module, name): as_path for name in ("Path", "PosixPath", "PurePath", "PurePosixPath")}
    FUNCTIONS |= {(_module, name): as_windows_path for name in ("WindowsPath", "PureWindowsPath")}
for _name in ("restore_type_tag", "build_intlist", "build_doublelist", "build_boollist", "build_tensorlist"):
    FUNCTIONS["torch.jit._pickle", _name] = same

NAMES = {"float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"}
NAMES |= {"uint16", "uint32", "uint64", "complex32", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2"}
NAMES |= {"Tensor", "strided", "contiguous_format", "channels_last"}
BUILTINS = {"object", "dict", "list", "tuple", "int", "float", "str"}
NAMED = {("torch", name) for name in NAMES} | {("torch.nn.parameter", name) for name in ("Parameter", "Buffer")}
NAMED |= {(module, name) for module in ("builtins", "__builtin__") for name in BUILTINS}


def found(module: str, name: str) -> Any:
    """What stands for `module.name`, or None."""
    if (module, name) in FUNCTIONS:
        return FUNCTIONS[module, name]
    if module == "torch" and name in DTYPES:
        return StorageType(name)
    if module in ("torch", "torch.storage") and name.endswith("Storage"):
        if name != "UntypedStorage":
            raise Refused(f"it holds a {module}.{name}, a dtype that minidl has not: refused")
        return StorageType(name)
    return Named(name) if (module, name) in NAMED else None
