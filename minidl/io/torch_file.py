"""PyTorch's .pt and .pth files, without PyTorch and without running anything.

Since version 1.6 such a file is a zip archive: `data.pkl`, a pickle that describes the tensors as views of storages,
and one member `data/KEY` for the bytes of each storage. Older files are pickles one after the other: a magic number,
a protocol number, facts about the machine, the object, the keys of the storages; then the storages themselves, each
its number of values in 8 bytes and the values.
"""

from __future__ import annotations

import errno
import io
import os
import reprlib
import zipfile
import zlib
from collections.abc import Callable
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np

from minidl.data.limits import file_length
from minidl.factories import made
from minidl.io.records import Named, Record, Unknown
from minidl.io.standins import DTYPES, NumpyArray, NumpyType, Refused, StorageRef, StorageType, TensorRef
from minidl.io.unpickler import TOLD, unpickle

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
REPEATED = 1 << 24
"""Values of a tensor that may be more than its storage has: an expanded one repeats them."""
VIEWS = 16
"""So many tensors may share a storage, on average."""

OTHERS = {
    b"HDF\r\n": "an HDF5 file, perhaps Keras's weights, not PyTorch's",
    b"version https://": "a pointer of Git LFS: the file itself is still to be fetched",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b'\0\0{"': "a safetensors file (see load_safetensors)",
    b"\x1f\x8b": "compressed by gzip",
}
"""What else is given such names, by bytes near its beginning."""
WIDER = {"f2": np.float32, "u2": np.int32, "u4": np.int64}
"""What holds all values of NumPy's types that minidl has not; its random generator keeps its state in such."""
PLAIN = (bool, int, float, complex, str, bytes, bytearray, set, frozenset)

Bytes = Callable[[StorageRef], bytes]


def load_torch(path: str | os.PathLike, *, records: bool = False) -> Any:
    """Read what `torch.save` wrote: tensors, and dicts, lists, tuples and plain values that hold them.

    A state dict comes back as a dict of Tensors; NumPy's arrays are Tensors too, its numbers plain ones, the arguments
    of a program (argparse.Namespace) a SimpleNamespace, paths their texts. Half precision becomes float32, and NumPy's
    uint16 and uint32 int32 and int64. Nothing of the file is executed.

    Args:
        records: whether to tell, in Records, what the file says of objects of other classes, instead of refusing them:
            whole models, TorchScript programs. `tensors_of` finds the weights in these. They are told of, not made.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not such a file, truncated or corrupt; or it holds something else than tensors and plain values
            (whole models, functions), which is refused by name.
    """
    return guarded(path, "a file of PyTorch's", from_file, records)


def load_pickle(path: str | os.PathLike, *, records: bool = False) -> Any:
    """Read a plain pickle, one that `torch.save` did not write: NumPy's arrays, and what else `load_torch` reads.

    Arguments and errors are those of `load_torch`; here too nothing is executed.

    Example:
        >>> import numpy as np, pathlib, pickle, tempfile
        >>> from minidl.io import load_pickle
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "w.pkl"
        ...     _ = path.write_bytes(pickle.dumps({"w": np.ones(2), "epoch": 3}))
        ...     load_pickle(path)
        {'w': tensor([1., 1.], dtype=float64), 'epoch': 3}
    """
    return guarded(path, "a pickle", from_pickle, records)


def guarded(path: str | os.PathLike, kind: str, read: Callable[[Any, int, bool], Any], records: bool) -> Any:
    """Whatever a file is, what it holds or a clear error."""
    length = file_length(path)
    try:
        with open(path, "rb") as file:
            start = file.read(16)
            file.seek(0)
            return read(file, length, records)
    except RecursionError:
        raise ValueError(f"{path}: its contents are nested too deeply") from None
    except Refused as error:
        raise ValueError(f"{path}: {error}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ValueError(f"{path}: corrupt: it says that a member begins before the file does") from None
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
        other = next((kind for begin, kind in OTHERS.items() if begin in start), None)
        corrupt = f"not {kind}, or a truncated or corrupt one: {error}"
        raise ValueError(f"{path}: {f'it is {other}' if other else corrupt}") from None


def from_file(file: Any, length: int, records: bool) -> Any:
    """Either format."""
    archive = file.read(4) == b"PK\x03\x04"
    file.seek(0)
    return from_zip(file, length, records) if archive else from_pickles(file, length, records)


def from_pickle(file: Any, length: int, records: bool) -> Any:
    """A single pickle."""
    described = unpickle(file, length, records)
    if described == MAGIC or file.read(1):
        raise ValueError("more follows the pickle (load_torch reads PyTorch's files)")

    def nowhere(ref: StorageRef) -> bytes:
        raise ValueError(f"there is no storage {ref.key}")

    return resolve(described, Loading(nowhere, False))


def from_zip(file: Any, length: int, records: bool) -> Any:
    """The newer format; TorchScript's too, where the state of a program is a pickle of objects of its own classes."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl") or name == "data.pkl"]
        if any("/.data/ts_code/" in name or name.endswith("/.data/extern_modules") for name in names):
            raise Refused("it is a package of torch.package, code with its data, not saved weights: refused")
        if len(roots) != 1:
            raise ValueError("the archive has no data.pkl")
        root = roots[0]
        if f"{root}constants.pkl" in names and not records:
            saved = "where PyTorch is, save torch.jit.load(path).state_dict() instead"
            raise Refused(f"it is a TorchScript program, not saved weights: refused; {saved}; {TOLD}")
        unread = length

        def member(name: str) -> bytes:
            nonlocal unread
            found = archive.getinfo(root + name)
            if found.compress_type != zipfile.ZIP_STORED:  # it may unfold to anything
                raise ValueError("its members are compressed, as PyTorch never writes them")
            unread -= found.file_size
            if unread < 0:  # members that lie over each other
                raise ValueError("its members are longer than the file")
            if found.CRC == 0:  # PyTorch may be told to save without checksums, and then writes zeros
                del found.CRC
            return archive.read(found)

        def read(ref: StorageRef) -> bytes:
            size = ref.count * DTYPES[ref.kind].itemsize
            if archive.getinfo(f"{root}data/{ref.key}").file_size != size:
                raise ValueError(f"storage {ref.key} is not {size} bytes long")
            return member(f"data/{ref.key}")

        swapped = f"{root}byteorder" in names and member("byteorder") == b"big"
        described = member("data.pkl")
        return resolve(unpickle(io.BytesIO(described), len(described), records), Loading(read, swapped))


def from_pickles(file: Any, length: int, records: bool) -> Any:
    """The older format."""
    try:
        begins = unpickle(file, length) == MAGIC and unpickle(file, length) == PROTOCOL
    except ValueError:
        begins = False
    if not begins:
        raise ValueError("it does not begin as such files do (load_pickle reads other pickles)")
    machine = unpickle(file, length)
    swapped = isinstance(machine, dict) and machine.get("little_endian") is False
    described, keys = unpickle(file, length, records), unpickle(file, length)
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
        if size > length:
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
