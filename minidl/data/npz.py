"""NumPy's .npz, read with suspicion.

An .npz is a zip archive of .npy files. `np.load` trusts what they say: it allocates what a header claims and, asked to,
runs the pickles inside. This reader takes plain numbers and strings only, and checks each claim first.
"""

from __future__ import annotations

import math
import os
import reprlib
import struct
import zipfile
import zlib
from collections.abc import Collection
from typing import IO

import numpy as np

from minidl.data.limits import check_unpacked, file_length

PLAIN_KINDS = "biufcUS"
"""Kinds of dtype that are nothing but values: no objects (pickles), no structures, no dates."""


def read_npz(path: str | os.PathLike, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file, all of them or those of `names` that it has.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not an .npz file, truncated, corrupt, a pickled array, or a decompression bomb.

    Example:
        >>> import numpy as np, tempfile
        >>> from minidl.data import read_npz
        >>> with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        ...     np.savez(file, x=np.arange(3))
        ...     _ = file.flush()
        ...     read_npz(file.name)
        {'x': array([0, 1, 2])}
    """
    length = file_length(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            wanted = members if names is None else [name for name in names if name in members]
            if sum(members[name].compress_size for name in wanted) > length:
                raise _Refused(f"{path}: corrupt: its arrays lie over each other, longer than the file")
            return {name: _read_member(path, length, archive, members[name]) for name in wanted}
    except _Refused as error:
        others = f"; `names` asks for some of {reprlib.repr(sorted(members))}" if names is None else ""
        raise ValueError(f"{error}{others}") from None
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: not an .npz file, or a truncated or corrupt one: {error}") from None
    except (zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError, OverflowError, IndexError) as error:
        raise ValueError(f"{path}: truncated or corrupt .npz file: {error or type(error).__name__}") from None


class _Refused(Exception):
    """A finding that is already a clear message."""


def _read_member(path: str | os.PathLike, length: int, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    what = f"{path}: array {info.filename.removesuffix('.npy')!r}"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
        raise _Refused(f"{what}: only plain and deflated entries are read, as NumPy writes them")
    if info.compress_size > length:
        raise _Refused(f"{what}: corrupt: claims {info.compress_size} bytes in a file of {length}")
    try:
        check_unpacked(path, info.compress_size, info.file_size)
    except ValueError as error:
        raise _Refused(str(error)) from None
    with archive.open(info) as file:
        shape, fortran, dtype = _read_header(what, file)
        claimed = math.prod(shape) * dtype.itemsize
        if claimed != info.file_size - file.tell():
            there = info.file_size - file.tell()
            raise _Refused(f"{what}: the header says {dtype} {shape}, {claimed} bytes, but {there} are there")
        values = np.frombuffer(bytearray(file.read()), dtype)
    return values.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="), copy=False)


def _read_header(what: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise _Refused(f"{what}: .npy version {version} is not read here")
    try:
        shape, fortran, dtype = readers[version](file)
    except Exception as error:  # NumPy hands a header to Python's own parser, which can raise anything
        raise _Refused(f"{what}: truncated or corrupt header: {error}") from None
    if dtype.hasobject:
        raise _Refused(f"{what}: holds pickled Python objects; they are refused, since loading them can run any code")
    if dtype.kind not in PLAIN_KINDS or dtype.itemsize == 0:
        raise _Refused(f"{what}: dtype {dtype} is refused: expected numbers or strings")
    if any(n < 0 for n in shape):
        raise _Refused(f"{what}: corrupt: shape {shape}")
    return shape, fortran, dtype
