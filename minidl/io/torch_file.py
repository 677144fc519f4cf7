"""PyTorch's .pt and .pth files, without PyTorch and without running anything.

Since version 1.6 such a file is a zip archive: `data.pkl`, a pickle that describes the tensors as views of storages,
and one member `data/KEY` for the bytes of each storage. Older files are pickles one after the other: a magic number,
a protocol number, facts about the machine, the object, the keys of the storages; then the storages themselves, each
its number of values in 8 bytes and the values.
"""

from __future__ import annotations

import errno
import os
import reprlib
import zipfile
import zlib
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from minidl.data.limits import file_length
from minidl.factories import made
from minidl.io.unpickler import DTYPES, Named, NumpyArray, StorageRef, StorageType, TensorRef, unpickle

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
REPEATED = 1 << 24
"""Values of a tensor that may be more than its storage has: an expanded one repeats them."""
VIEWS = 16
"""So many tensors may share a storage, on average."""

Bytes = Callable[[StorageRef], bytes]


def load_torch(path: str | os.PathLike) -> Any:
    """Read what `torch.save` wrote: tensors, and dicts, lists, tuples and plain values that hold them.

    A state dict comes back as a dict of Tensors; NumPy's arrays are Tensors too, its numbers plain ones. Half precision
    becomes float32. Nothing of the file is executed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not such a file, truncated or corrupt; or it holds something else than tensors and plain values
            (whole models, functions), which is refused by name.
    """
    file_length(path)
    try:
        with open(path, "rb") as file:
            archive = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return from_zip(file) if archive else from_pickles(file)
    except RecursionError:
        raise ValueError(f"{path}: its contents are nested too deeply") from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ValueError(f"{path}: corrupt: it says that a member begins before the file does") from None
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path}: not a file of PyTorch's, or a truncated or corrupt one: {error}") from None


def from_zip(file: Any) -> Any:
    """The newer format."""
    with zipfile.ZipFile(file) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("its members are compressed, as PyTorch never writes them")  # they may unfold to anything
        names = archive.namelist()
        roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl") or name == "data.pkl"]
        if len(roots) != 1:
            raise ValueError("the archive has no data.pkl")
        root = roots[0]
        if f"{root}constants.pkl" in names:
            raise ValueError("it is a TorchScript program, not saved weights: refused")
        swapped = f"{root}byteorder" in names and archive.read(f"{root}byteorder") == b"big"

        def read(ref: StorageRef) -> bytes:
            size = ref.count * DTYPES[ref.kind].itemsize
            if archive.getinfo(f"{root}data/{ref.key}").file_size != size:
                raise ValueError(f"storage {ref.key} is not {size} bytes long")
            return archive.read(f"{root}data/{ref.key}")

        with archive.open(f"{root}data.pkl") as pickled:
            return resolve(unpickle(pickled), Loading(read, swapped))


def from_pickles(file: Any) -> Any:
    """The older format."""
    if unpickle(file) != MAGIC or unpickle(file) != PROTOCOL:
        raise ValueError("it does not begin as such files do")
    machine = unpickle(file)
    swapped = isinstance(machine, dict) and machine.get("little_endian") is False
    described, keys = unpickle(file), unpickle(file)
    refs: dict[str, StorageRef] = {}
    collect(described, refs)
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in refs for key in keys):
        raise ValueError("its list of storages is broken")
    found: dict[str, bytes] = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "big" if swapped else "little")
        size = count * DTYPES[refs[key].kind].itemsize
        if count != refs[key].count:
            raise ValueError(f"storage {key} has {count} values, not {refs[key].count}")
        if size > os.fstat(file.fileno()).st_size:
            raise ValueError(f"storage {key} is truncated")
        found[key] = file.read(size)
    return resolve(described, Loading(lambda ref: found[ref.key], swapped))


class Loading:
    """What has been made of a file so far: a few bytes can refer to the same thing again and again.

    Attributes:
        read: the bytes of a storage. swapped: whether they are in the other order.
        storages: by key. stored: values in all of them. values: in all tensors.
        made: by the id of what described it.
    """

    def __init__(self, read: Bytes, swapped: bool) -> None:
        self.read, self.swapped = read, swapped
        self.storages: dict[str, np.ndarray] = {}
        self.stored = self.values = 0
        self.made: dict[int, Any] = {}


def collect(value: Any, refs: dict[str, StorageRef], seen: set[int] | None = None) -> None:
    """All storages that are referred to."""
    seen = set() if seen is None else seen
    if isinstance(value, dict | list | tuple):
        if id(value) in seen:
            return
        seen.add(id(value))
    if type(value) is TensorRef and type(value.storage) is StorageRef:
        refs[value.storage.key] = value.storage
    elif isinstance(value, dict):
        for each in dict.values(value):
            collect(each, refs, seen)
    elif type(value) in (list, tuple):
        for each in value:
            collect(each, refs, seen)


def resolve(value: Any, loading: Loading) -> Any:
    """The same with Tensors in the place of their descriptions; what is referred to twice is made once."""
    if id(value) not in loading.made:
        loading.made[id(value)] = resolve_once(value, loading)
    return loading.made[id(value)]


def resolve_once(value: Any, loading: Loading) -> Any:
    """The same with Tensors in the place of their descriptions."""
    if type(value) is TensorRef:
        return tensor(value, loading)
    if isinstance(value, dict):
        return {key: resolve(each, loading) for key, each in dict.items(value)}
    if type(value) in (list, tuple):
        return type(value)(resolve(each, loading) for each in value)
    if type(value) is NumpyArray:
        return made(value.values.astype(np.float32) if value.values.dtype == np.float16 else value.values)
    if type(value) is Named:
        return value.name
    if value is None or type(value) in (bool, int, float, complex, str, bytes, set):
        return value
    if type(value) in (StorageRef, StorageType):
        raise ValueError("it holds a storage without a tensor: refused")
    raise ValueError(f"it holds a {type(value).__name__}: refused")


def tensor(ref: TensorRef, loading: Loading) -> Any:
    """A view of a storage, copied; the view must lie within it."""
    storage, offset, size, stride = ref
    if type(storage) is not StorageRef or not all(is_count(n) for n in (offset, storage.count)):
        raise ValueError("it describes a tensor without a storage")
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
