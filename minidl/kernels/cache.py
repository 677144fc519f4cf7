"""Where compiled kernels are kept, such that a stale one can never be found.

Numba's own cache does not see that a helper in another file changed. Ours lies in a folder whose name is a hash of
everything that shapes the code: all sources of this floor, versions, the processor, the chosen instructions.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minidl.kernels.compiler import llvm, numba, numba_setting

SHAPE_NO_CODE = {"NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY", "NUMBA_CACHE_DIR"}


@cache
def cache_folder() -> Path | None:
    """Where compiled kernels are kept, made if need be; None, with one warning, where it cannot be written."""
    asked = os.environ.get("MINIDL_CACHE_DIR")
    try:
        base = Path(asked or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minidl")
        folder = base / cache_key()
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        warn_not_kept(str(error))
        return None
    return folder


@cache
def warn_not_kept(error: str) -> None:
    """Say once that the next process will compile again."""
    warnings.warn(f"minidl: compiled kernels cannot be kept ({error}); set MINIDL_CACHE_DIR", stacklevel=3)


def cache_key() -> str:
    """A hash of all that shapes the compiled code."""
    shapes = [
        platform.python_version(),
        np.__version__,
        numba().__version__,
        str(llvm().llvm_version_info),
        platform.machine(),
        llvm().get_host_cpu_name(),
        llvm().get_host_cpu_features().flatten(),
        os.environ.get("MINIDL_SIMD", ""),
        *(f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("NUMBA_") and k not in SHAPE_NO_CODE),
    ]
    digest = hashlib.sha256("\n".join(shapes).encode())
    for source in sorted(Path(__file__).parent.glob("**/*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:20]


@contextlib.contextmanager
def cached() -> Iterator[bool]:
    """Numba looks for its cache in our folder within the block; False if there is none."""
    folder = cache_folder()
    with numba_setting("CACHE_DIR", str(folder or "")):
        yield folder is not None


def forgiving(compiled: Any) -> Any:
    """The same dispatcher or callback of Numba's, with a cache that forgives."""
    if hasattr(compiled, "_cache"):  # not with NUMBA_DISABLE_JIT=1
        compiled._cache = ForgivingCache(compiled._cache)
    return compiled


class ForgivingCache:
    """Numba's cache of one kernel, to which a damaged file is as good as none and a full disk no reason to stop."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    def load_overload(self, signature: Any, target: Any) -> Any:
        try:
            return self.cache.load_overload(signature, target)
        except Exception:  # whatever unpickling half a file raises
            with contextlib.suppress(OSError):
                self.cache.flush()
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        try:
            self.cache.save_overload(signature, compiled)
        except OSError as error:
            warn_not_kept(str(error))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cache, name)
