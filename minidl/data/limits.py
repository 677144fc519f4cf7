"""What a data file may cost before it has shown that it is worth it.

A header is a claim. A few bytes can claim terabytes, and a small compressed file can really unpack to them, so every
reader here compares the claim with the file's own length before it allocates anything.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

DEFLATE_RATIO = 1032
"""Deflate, the method of gzip and zip, cannot shrink anything to less than 1/1032 of its length."""

BOMB_BYTES = 1 << 26
BOMB_RATIO = 200
"""Real data shrinks to a tenth, a hundredth at best: what is both large and shrunk further is taken for a bomb."""


def file_length(path: str | os.PathLike) -> int:
    """Length of a regular file in bytes. ValueError for a folder, a pipe or a device, FileNotFoundError for nothing."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file") from None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path}: expected a file, found {'a folder' if Path(path).is_dir() else 'no regular file'}")
    return status.st_size


def check_unpacked(path: str | os.PathLike, packed: int, claimed: int) -> None:
    """ValueError if `packed` compressed bytes cannot, or should not, become the `claimed` number of bytes."""
    if claimed > DEFLATE_RATIO * packed:
        raise ValueError(
            f"{path}: truncated or corrupt: {packed} compressed bytes cannot hold the {claimed} that its header claims"
        )
    if claimed > max(BOMB_BYTES, BOMB_RATIO * packed):
        raise ValueError(
            f"{path}: refused: {packed} compressed bytes unpack to {claimed}, more than {BOMB_RATIO} times as many"
        )
