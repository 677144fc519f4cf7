"""Text files, read line by line with the line's number in every complaint.

A line ends at "\\n" or "\\r\\n" and nowhere else: `str.splitlines` also breaks at U+0085 and U+2028, which real texts
and real vocabularies contain.
"""

from __future__ import annotations

import gzip
import os
import zlib

from minidl.data.limits import BOMB_BYTES, BOMB_RATIO, file_length

GZIP_MAGIC = b"\x1f\x8b"


def read_lines(path: str | os.PathLike) -> list[str]:
    """The lines of a UTF-8 file, plain or gzip, without their ends; a byte-order mark at the start is dropped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not UTF-8 (names the line), a corrupt or truncated gzip stream, a decompression bomb.
    """
    lines = decoded(path, read_bytes(path)).split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def decoded(path: str | os.PathLike, content: bytes) -> str:
    """The content of a file as text; ValueError names the first line that is not UTF-8."""
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: not UTF-8: byte 0x{content[error.start]:02x} ({error.reason})"
        ) from None


def read_bytes(path: str | os.PathLike) -> bytes:
    """The content of a file, unpacked if it is gzip. Goes by the first bytes, not by the name."""
    length = file_length(path)
    with open(path, "rb") as file:
        packed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        if not packed:
            return file.read()
        limit = max(BOMB_BYTES, BOMB_RATIO * length)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                content = unpacked.read(limit + 1)
        except EOFError:
            raise ValueError(f"{path}: truncated: the gzip stream ends before its end marker") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: corrupt gzip stream: {error}") from None
    if len(content) > limit:
        raise ValueError(f"{path}: refused: {length} compressed bytes unpack to more than {limit}")
    return content
