"""The IDX format, in which MNIST and its relatives come.

A file holds one array (Y. LeCun, C. Cortes, C. Burges, "The MNIST database", 1998):

    bytes 0-1   zero
    byte  2     type of the values: 0x08 uint8, 0x09 int8, 0x0B int16, 0x0C int32, 0x0D float32, 0x0E float64
    byte  3     number of dimensions d
    4 d bytes   the dimensions, four bytes each, most significant byte first
    the rest    the values in C order, most significant byte first

The files of MNIST are usually compressed with gzip; the reader goes by the file's first bytes, not by its name.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from typing import IO

import numpy as np

from minidl.data.limits import check_unpacked, file_length

TYPES: dict[int, np.dtype] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
GZIP_MAGIC = b"\x1f\x8b"
CHUNK = 1 << 20


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """Read an IDX file, plain or gzip, as an array of the shape and dtype that its header names.

    Args:
        path: the file.

    Returns:
        the array, C order, native byte order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not an IDX file, truncated, corrupt, longer than its header says, or a decompression bomb.

    Example:
        >>> import numpy as np, tempfile
        >>> from minidl.data import read_idx, write_idx
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     write_idx(file.name, np.arange(6, dtype=np.uint8).reshape(2, 3))
        ...     read_idx(file.name)
        array([[0, 1, 2],
               [3, 4, 5]], dtype=uint8)
    """
    length = file_length(path)
    with open(path, "rb") as file:
        packed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        if not packed:
            return _read(path, file, length, packed=False)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read(path, unpacked, length, packed=True)
        except EOFError:
            raise ValueError(f"{path}: truncated: the gzip stream ends before its end marker") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: corrupt gzip stream: {error}") from None


def write_idx(path: str | os.PathLike, array: np.ndarray) -> None:
    """Write an array as an IDX file, compressed if the name ends in `.gz`.

    Raises:
        TypeError: a dtype that IDX does not know (it knows uint8, int8, int16, int32, float32, float64).
        ValueError: no dimensions or more than 255, or one that four bytes cannot hold.
    """
    array = np.asarray(array)
    code = next((code for code, dtype in TYPES.items() if dtype == array.dtype.newbyteorder(">")), None)
    if code is None:
        raise TypeError(f"write_idx: IDX has no type for {array.dtype}; it has {_names()}")
    if not 1 <= array.ndim <= 255 or max(array.shape) >= 1 << 32:
        raise ValueError(f"write_idx: IDX holds 1 to 255 dimensions below 2**32 each, got shape {array.shape}")
    content = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    content += array.astype(TYPES[code]).tobytes()
    opened = gzip.open if os.fspath(path).endswith(".gz") else open
    with opened(path, "wb") as file:
        file.write(content)


def _read(path: str | os.PathLike, file: IO[bytes] | gzip.GzipFile, length: int, packed: bool) -> np.ndarray:
    dtype, shape, header = _read_header(path, file)
    claimed = math.prod(shape) * dtype.itemsize
    if packed:
        check_unpacked(path, length, claimed)
    elif length != header + claimed:
        raise ValueError(
            f"{path}: {'truncated' if length < header + claimed else 'too long'}: the header says {dtype.name} "
            f"{shape}, so {header + claimed} bytes are expected, but the file has {length}"
        )
    # One byte more than expected: gzip compares checksums only when asked to read past the end.
    content = _read_at_most(file, claimed + 1)
    if len(content) != claimed:
        found = f"only {len(content)}" if len(content) < claimed else "more"
        raise ValueError(f"{path}: the header says {dtype.name} {shape}, {claimed} bytes of values; there are {found}")
    try:
        return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except ValueError:  # dimensions such as (0, 2**32 - 1, 2**32 - 1): no values, yet more than an array can index
        raise ValueError(f"{path}: corrupt: there is no array of shape {shape}") from None


def _read_header(path: str | os.PathLike, file: IO[bytes] | gzip.GzipFile) -> tuple[np.dtype, tuple[int, ...], int]:
    start = _read_at_most(file, 4)
    if len(start) < 4:
        raise ValueError(f"{path}: truncated: an IDX header has at least 4 bytes, found {len(start)}")
    if start[:2] != b"\0\0" or start[2] not in TYPES or start[3] == 0:
        raise ValueError(
            f"{path}: not an IDX file: expected two zero bytes, a type ({_names()}) and at least 1 dimension, "
            f"found {start.hex(' ')}"
        )
    dims = _read_at_most(file, 4 * start[3])
    if len(dims) < 4 * start[3]:
        raise ValueError(
            f"{path}: truncated: the header announces {start[3]} dimensions, {4 * start[3]} bytes, "
            f"of which {len(dims)} are there"
        )
    shape = tuple(np.frombuffer(dims, ">u4").tolist())
    if len(shape) > 64:
        raise ValueError(f"{path}: corrupt: {len(shape)} dimensions, an array has at most 64")
    return TYPES[start[2]], shape, 4 + len(dims)


def _read_at_most(file: IO[bytes] | gzip.GzipFile, size: int) -> bytearray:
    """`size` bytes, or fewer at the end of the file; grows with what is there, not with what was claimed."""
    content = bytearray()
    while len(content) < size:
        chunk = file.read(min(CHUNK, size - len(content)))
        if not chunk:
            break
        content += chunk
    return content


def _names() -> str:
    return ", ".join(f"0x{code:02X} {dtype.newbyteorder('=').name}" for code, dtype in TYPES.items())
