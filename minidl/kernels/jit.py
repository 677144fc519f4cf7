"""The one door to Numba: what a kernel is, when it is compiled, where it is kept, and who may run it.

`@kernel` marks a function of loops. Importing it imports no Numba; the first call compiles it for the dtype it meets,
once per machine, and says so. Four rules hold behind the door:

- **No stale kernel.** Numba's own cache does not see that a helper in another file changed. Ours lies in a folder
  whose name is a hash of everything that shapes the code: all sources of this floor, versions, the processor.
- **One parallel kernel at a time.** Numba's fallback threading layer aborts the process when two threads enter a
  parallel loop at once, so a lock lets one in after the other. They would only share the same cores anyway.
- **A forked child runs serially.** GNU OpenMP aborts a forked child that enters a parallel loop, so there the same
  loops are compiled without threads. Results are equal to the bit: threads never share an output.
- **Whitelisted fast-math.** A kernel names the liberties that it allows; never that NaN and infinity do not exist.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import platform
import signal
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

prange = range  # in plain Python; numba.prange once compiled

# A sum may be added up in any order and products fused into it. NaN and infinity keep their meaning.
FASTMATH = frozenset({"reassoc", "contract", "nsz"})

# Below so many operations (some 200 µs) a second thread gains little, and on a busy machine, where it has to wait for a
# core while the first one waits for it, loses much: training LeNet on 8×8 digits took 20 s instead of 4.
LITTLE = 1.2e7

KERNELS: dict[str, Kernel] = {}


class Kernel:
    """A function of loops that is compiled when it is first called."""

    def __init__(
        self,
        function: Callable[..., Any],
        parallel: bool,
        fastmath: frozenset[str],
        example: Callable[[np.dtype], tuple[Any, ...]] | None,
    ) -> None:
        self.function, self.parallel, self.fastmath, self.example = function, parallel, fastmath, example
        self.name = function.__name__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self.dispatchers: dict[bool, Any] = {}  # serial or not -> Numba's dispatcher
        self.ready: set[tuple[bool, str]] = set()
        if example is not None:
            KERNELS[self.name] = self

    def __call__(self, *args: Any, work: float = math.inf) -> Any:
        """Run on C-contiguous, writable arrays (see `contiguous`) and numbers; compiled for the first array's dtype.

        `work` is about how many operations it will take: a little is not worth waking other threads for.
        """
        with state.lock:
            serial = state.forked
            if (serial, args[0].dtype.char) not in self.ready:
                self.prepare(serial, args)
            if self.parallel and not serial:
                use_threads(1 if work < LITTLE else get_num_threads())
            return self.dispatchers[serial](*args)

    def prepare(self, serial: bool, args: tuple[Any, ...]) -> None:
        """Compile for the arguments' types, or load from the cache."""
        if state.cut_short:
            raise RuntimeError(
                f"{self.name}: this process was forked while another thread compiled a kernel; "
                "compile before forking (`minidl compile`), or start processes with 'spawn'"
            )
        state.compiler = threading.get_ident()
        try:
            with interrupts_wait():
                dispatcher = self.dispatcher(serial)
                if hasattr(dispatcher, "stats"):  # not with NUMBA_DISABLE_JIT=1
                    misses, start = sum(dispatcher.stats.cache_misses.values()), time.perf_counter()
                    dispatcher.compile(tuple(numba().typeof(x) for x in args))
                    if sum(dispatcher.stats.cache_misses.values()) > misses or not cache_folder():
                        say(f"compiled {self.name} for {args[0].dtype} in {time.perf_counter() - start:.1f} s")
        finally:
            state.compiler = None
        self.ready.add((serial, args[0].dtype.char))

    def dispatcher(self, serial: bool) -> Any:
        """Numba's compiled form, with the helpers it calls and `prange` in the place of their plain names."""
        if serial not in self.dispatchers:
            code, names = self.function.__code__, dict(self.function.__globals__, prange=numba().prange)
            for name in code.co_names:
                if isinstance(names.get(name), Kernel | Intrinsic):
                    names[name] = names[name].dispatcher(serial)
            function = types.FunctionType(code, names, self.name, self.function.__defaults__)
            function.__module__, function.__qualname__ = self.function.__module__, self.function.__qualname__
            parallel = self.parallel and not serial
            folder = cache_folder()
            # Numba's index does not tell the serial from the parallel form, so each has a folder.
            with numba_setting("CACHE_DIR", str(folder / ("parallel" if parallel else "serial")) if folder else ""):
                self.dispatchers[serial] = numba().njit(
                    function,
                    parallel=parallel,
                    fastmath=set(self.fastmath),
                    cache=folder is not None,
                    nogil=True,
                    error_model="numpy",
                )
            if folder and hasattr(self.dispatchers[serial], "_cache"):  # not with NUMBA_DISABLE_JIT=1
                self.dispatchers[serial]._cache = ForgivingCache(self.dispatchers[serial]._cache)
        return self.dispatchers[serial]


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """Answer Ctrl-C after the block: Numba, interrupted while it compiles, could not compile that kernel any more."""
    main = threading.current_thread() is threading.main_thread()  # it alone receives signals
    if not main or signal.getsignal(signal.SIGINT) is None:
        yield
        return
    caught = []
    before = signal.signal(signal.SIGINT, lambda *event: caught.append(event))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if caught:
            signal.raise_signal(signal.SIGINT)


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


class Intrinsic:
    """An operation written in LLVM's own instructions, for kernels to call, and the same in plain Python."""

    def __init__(self, build: Callable[[Any], Any], plain: Callable[..., Any]) -> None:
        self.build, self.plain = build, plain
        self.built: Any = None

    def dispatcher(self, serial: bool) -> Any:
        """What stands in a kernel for this: Numba's intrinsic, or with NUMBA_DISABLE_JIT=1 the plain form."""
        if numba().config.DISABLE_JIT:
            return self.plain
        if self.built is None:
            from llvmlite import ir
            from numba.extending import intrinsic

            self.built = self.build(types.SimpleNamespace(ir=ir, types=numba().types, intrinsic=intrinsic))
        return self.built


def kernel(
    *,
    parallel: bool = False,
    fastmath: frozenset[str] = FASTMATH,
    example: Callable[[np.dtype], tuple[Any, ...]] | None = None,
) -> Callable[[Callable[..., Any]], Kernel]:
    """Mark a function of loops as a kernel.

    Args:
        parallel: run `prange` loops on all threads; each iteration must write to places of its own.
        fastmath: LLVM's liberties, of `FASTMATH` at most.
        example: from a dtype, small arguments to compile it with ahead; helpers that kernels call have none.
    """
    if not fastmath <= FASTMATH:
        raise ValueError(f"kernel: fast-math flags {sorted(fastmath - FASTMATH)} are not on the whitelist")
    return lambda function: Kernel(function, parallel, fastmath, example)


def contiguous(array: np.ndarray) -> np.ndarray:
    """The array as kernels take it: C-contiguous, aligned and writable; itself if it is, else a copy."""
    return array if array.flags.carray else np.array(array, order="C")


def compile_ahead(dtypes: tuple[np.dtype, ...]) -> Iterator[tuple[str, np.dtype, float]]:
    """Compile every kernel for the dtypes by running its example; yields name, dtype and seconds as it goes."""
    for name, one in KERNELS.items():
        for dtype in dtypes:
            start = time.perf_counter()
            one(*one.example(dtype))
            yield name, dtype, time.perf_counter() - start


class State:
    """What the process shares: the lock, whether it is a forked child, how many threads to use."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.forked = False
        self.compiler: int | None = None  # the thread that compiles
        self.cut_short = False  # forked while another thread compiled: Numba would wait for that thread for ever
        self.threads: int | None = None
        self.applied = threading.local()  # Numba's number of threads belongs to a Python thread


state = State()


def after_fork() -> None:
    """In a forked child: another thread of the parent may have held our lock, or Numba's own, which we cannot renew."""
    state.lock = threading.RLock()
    state.forked = state.forked or "numba" in sys.modules
    state.cut_short = state.cut_short or state.compiler not in (None, threading.get_ident())


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=after_fork)


def get_num_threads() -> int:
    """How many threads kernels run on: what `set_num_threads` or MINIDL_NUM_THREADS said, else one per core."""
    if state.threads is None:
        asked = os.environ.get("MINIDL_NUM_THREADS") or str(most_threads())
        if not asked.isdecimal() or int(asked) < 1:
            raise ValueError(f"MINIDL_NUM_THREADS must be a positive integer, but is {asked!r}")
        state.threads = min(int(asked), most_threads())
    return state.threads


def set_num_threads(n: int) -> None:
    """Run kernels on n threads; results are the same to the bit for any n.

    Raises:
        ValueError: n is not from 1 to the number of cores.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise TypeError(f"set_num_threads: n must be an int, not {n!r}")
    if not 1 <= n <= most_threads():
        raise ValueError(f"set_num_threads: n must be from 1 to {most_threads()}, but is {n}")
    state.threads = int(n)


def most_threads() -> int:
    """The size of Numba's pool: NUMBA_NUM_THREADS, or one per core."""
    asked = os.environ.get("NUMBA_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else available_cores()


def available_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(n: int) -> None:
    """Tell Numba how many threads this Python thread's kernels run on."""
    if getattr(state.applied, "n", None) != n:
        state.applied.n = n
        numba().set_num_threads(n)


@cache
def numba() -> Any:
    """Numba, imported when the first kernel runs: it takes longer than all of minidl."""
    import numba

    return numba


@cache
def llvm() -> Any:
    """LLVM's binding, which knows the processor."""
    from llvmlite import binding

    return binding


class numba_setting:
    """One of Numba's settings changed inside a `with` block and set back: the user's own kernels keep theirs."""

    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, value

    def __enter__(self) -> None:
        self.before = getattr(numba().config, self.name)
        setattr(numba().config, self.name, self.value)

    def __exit__(self, *exception: object) -> None:
        setattr(numba().config, self.name, self.before)


@cache
def cache_folder() -> Path | None:
    """Where compiled kernels are kept, made if need be; None, with one warning, where it cannot be written."""
    asked = os.environ.get("MINIDL_CACHE_DIR")
    try:
        base = Path(asked or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minidl")
        folder = base / cache_key()
        for form in ("parallel", "serial"):
            (folder / form).mkdir(parents=True, exist_ok=True)
            probe = folder / form / f".probe-{os.getpid()}"
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


SHAPE_NO_CODE = {"NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY", "NUMBA_CACHE_DIR"}


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


def say(line: str) -> None:
    """One line on stderr, unless MINIDL_QUIET is set."""
    if not os.environ.get("MINIDL_QUIET"):
        print(f"minidl: {line}", file=sys.stderr, flush=True)
