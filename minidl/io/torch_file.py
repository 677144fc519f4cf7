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
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from minidl.data.limits import file_length
from minidl.io.descriptions import Loading, collect, resolve
from minidl.io.standins import DTYPES, Refused, StorageRef
from minidl.io.unpickler import TOLD, unpickle

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001

OTHERS = {
    b"HDF\r\n": "an HDF5 file, perhaps Keras's weights, not PyTorch's",
    b"version https://": "a pointer of Git LFS: the file itself is still to be fetched",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b'\0\0{"': "a safetensors file (see load_safetensors)",
    b"\x1f\x8b": "compressed by gzip",
}
"""What else is given such names, by bytes near its beginning."""


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
        other = next((name for begin, name in OTHERS.items() if begin in start), None)
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
