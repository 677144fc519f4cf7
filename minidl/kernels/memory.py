"""Memory that is freed stays ours: the next step's arrays are laid where the last step's were.

A training step makes and frees the same arrays again and again. By default the C library hands large ones back to the
system at once; getting them again costs a page fault for every 4 KiB, more than the arithmetic of a small layer. GNU's
malloc can be told to keep them (`mallopt`, malloc.h); other libraries of C are left as they are. MINIDL_MALLOC=system
leaves GNU's alone, too.
"""

from __future__ import annotations

import ctypes
import os

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
KEEP = 2**30  # bytes: freed memory up to here is kept, arrays up to here are laid into it


def keep_freed_memory() -> bool:
    """Tell GNU's malloc so; whether that was possible."""
    if os.environ.get("MINIDL_MALLOC", "").lower() == "system" or os.name != "posix":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_THRESHOLD, KEEP) and mallopt(TRIM_THRESHOLD, KEEP))
