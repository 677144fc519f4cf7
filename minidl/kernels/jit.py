"""The one door to Numba: what a kernel is, when it is compiled, and who may run it.

`@kernel` marks a function of loops: one *task* of many, which threads take in turn. `@helper` marks a function that
kernels call. Importing them imports no Numba; the first call of a kernel compiles it for the types it meets, once per
machine, and says so. Three rules hold behind the door (a fourth, that no stale kernel is ever used, in `cache.py`):

- **One parallel kernel at a time.** Numba's fallback threading layer aborts the process when two threads enter a
  parallel loop at once, so a lock lets one in after the other. They would only share the same cores anyway.
- **A forked child runs serially.** GNU OpenMP aborts a forked child that enters a parallel loop, so there the tasks
  run one after the other. Results are equal to the bit: tasks never share an output.
- **Whitelisted fast-math.** A kernel names the liberties that it allows; never that NaN and infinity do not exist.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from minidl.kernels import threads
from minidl.kernels.cache import cache_folder
from minidl.kernels.compiler import numba
from minidl.kernels.launch import compiled_start, runner, task_code, with_names
from minidl.kernels.memory import keep_freed_memory

# A sum may be added up in any order and products fused into it. NaN and infinity keep their meaning.
FASTMATH = frozenset({"reassoc", "contract", "nsz"})

KERNELS: dict[str, Kernel] = {}


class Compiled:
    """A function of loops, in plain Python and, made when first asked for, compiled."""

    inline = False

    def __init__(self, function: Callable[..., Any], fastmath: frozenset[str]) -> None:
        self.function, self.fastmath = function, fastmath
        self.name, self.__doc__, self.__wrapped__ = function.__name__, function.__doc__, function
        self.made: Any = None

    def dispatcher(self) -> Any:
        """Numba's form, in which other compiled functions stand in the place of their plain names."""
        if self.made is None:
            names = dict(self.function.__globals__)
            for name in self.function.__code__.co_names:
                if isinstance(names.get(name), Compiled | Intrinsic | Choice):
                    names[name] = names[name].dispatcher()
            function = with_names(self.function, **names)
            function.__defaults__ = self.function.__defaults__
            self.made = numba().njit(
                function, fastmath=set(self.fastmath), nogil=True, error_model="numpy", forceinline=self.inline
            )
        return self.made


class Helper(Compiled):
    """A function that kernels call. Called from elsewhere, it runs in plain Python."""

    def __init__(self, function: Callable[..., Any], fastmath: frozenset[str], inline: bool) -> None:
        super().__init__(function, fastmath)
        self.inline = inline

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


class Kernel(Compiled):
    """One task of a parallel loop: a function of the task's number and of what all tasks share."""

    def __init__(
        self,
        function: Callable[..., Any],
        fastmath: frozenset[str],
        example: Callable[[np.dtype], tuple[Any, ...]],
    ) -> None:
        super().__init__(function, fastmath)
        self.example = example
        self.codes: dict[tuple[Any, ...], Any] = {}  # kinds of arguments -> compiled code
        if self.name in KERNELS:  # by its name the cache finds it
            raise ValueError(f"kernel: {self.name} is defined twice")
        KERNELS[self.name] = self

    def __call__(self, tasks: int, *args: Any, work: float = math.inf) -> None:
        """Run tasks 0 ... tasks - 1, each with `args`: C-contiguous, writable arrays (see `contiguous`) and numbers.

        `work` is about how many nanoseconds that will take one thread: a little is not worth waking others for.
        """
        kinds = tuple([(a.dtype, a.ndim, a.flags.carray) if type(a) is np.ndarray else type(a) for a in args])
        with state.lock:
            code = self.codes.get(kinds)
            if code is None:
                code = self.prepare(kinds, args)
            if code is PLAIN:
                for task in range(tasks):
                    self.function(task, *args)
            elif work < threads.LITTLE or tasks == 1 or state.forked or threads.get_num_threads() == 1:
                state.start(state.serial, code.address, tasks, 1, args)
            else:
                n = threads.get_num_threads()
                threads.use_threads(n)
                state.start(runner(parallel=True), code.address, tasks, n, args)

    def prepare(self, kinds: tuple[Any, ...], args: tuple[Any, ...]) -> Any:
        """Compile for the arguments' types, or load from the cache."""
        for i, kind in enumerate(kinds):
            if type(kind) is tuple and not kind[2]:
                raise ValueError(f"{self.name}: argument {i} must be C-contiguous, aligned and writable")
        if state.cut_short:
            raise RuntimeError(
                f"{self.name}: this process was forked while another thread compiled a kernel; "
                "compile before forking (`minidl compile`), or start processes with 'spawn'"
            )
        state.compiler = threading.get_ident()
        try:
            with interrupts_wait(), no_collection():
                if numba().config.DISABLE_JIT:
                    self.codes[kinds] = PLAIN
                    return PLAIN
                begin = time.perf_counter()
                keep_freed_memory()
                types = numba().typeof(args)
                code = task_code(f"{self.name}_{'_'.join(map(short, kinds))}", self.dispatcher, types)
                state.start, state.serial = compiled_start(), runner(parallel=False)
                state.start.compile((*[numba().types.int64] * 4, types))
                if not state.forked:
                    runner(parallel=True)
                if not code.cache_hits or not cache_folder():
                    say(f"compiled {self.name} for {dtype_of(args)} in {time.perf_counter() - begin:.1f} s")
        finally:
            state.compiler = None
        self.codes[kinds] = code
        return code


PLAIN = object()  # stands for a kernel's code under NUMBA_DISABLE_JIT=1


def short(kind: Any) -> str:
    """A kind of argument as part of a file's name."""
    return f"{kind[0].char}{kind[1]}" if type(kind) is tuple else kind.__name__


def dtype_of(args: tuple[Any, ...]) -> Any:
    """The dtype of the first array: what a kernel is compiled for, in a word."""
    return next((a.dtype for a in args if isinstance(a, np.ndarray)), "numbers")


class Intrinsic:
    """An operation written in LLVM's own instructions, for kernels to call, and the same in plain Python."""

    def __init__(self, build: Callable[[Any], Any], plain: Callable[..., Any]) -> None:
        self.build, self.plain = build, plain
        self.built: Any = None

    def __call__(self, *args: Any) -> Any:
        return self.plain(*args)

    def dispatcher(self) -> Any:
        """What stands in a compiled kernel for this: Numba's intrinsic."""
        if self.built is None:
            from llvmlite import ir
            from numba.core import cgutils
            from numba.extending import intrinsic

            parts = SimpleNamespace(ir=ir, types=numba().types, intrinsic=intrinsic, cgutils=cgutils)
            self.built = self.build(parts)
        return self.built


class Choice:
    """One thing for float32 and another for float64: choice(x) is the array, or the result of the helper, for x's type.

    Python's numbers in a kernel are float64, and one of them makes a loop of float32 twice as slow.
    """

    def __init__(self, single: Any, double: Any) -> None:
        self.single, self.double = single, double
        self.stub: Any = None

    def __call__(self, x: Any) -> Any:
        chosen = self.single if np.asarray(x).dtype == np.float32 else self.double
        return chosen(x) if isinstance(chosen, Helper) else chosen

    def dispatcher(self) -> Any:
        """What stands in a compiled kernel for this: a function that Numba resolves by its argument's type."""
        if self.stub is None:
            from numba.extending import overload

            def stub(x: Any) -> Any: ...

            def of(chosen: Any) -> Any:
                if isinstance(chosen, Helper):
                    compiled = chosen.dispatcher()
                    return lambda x: compiled(x)
                return lambda x: chosen

            forms = of(self.single), of(self.double)
            overload(stub)(lambda x: forms[0] if x == numba().types.float32 else forms[1])
            self.stub = stub
        return self.stub


def kernel(
    *, example: Callable[[np.dtype], tuple[Any, ...]], fastmath: frozenset[str] = FASTMATH
) -> Callable[[Callable[..., Any]], Kernel]:
    """Mark a function of loops as a kernel: one task, whose number is its first parameter.

    Args:
        example: from a dtype, a small call to compile it with ahead: the number of tasks and the other arguments.
        fastmath: LLVM's liberties, of `FASTMATH` at most.
    """
    checked(fastmath)
    return lambda function: Kernel(function, fastmath, example)


def helper(*, fastmath: frozenset[str] = FASTMATH, inline: bool = True) -> Callable[[Callable[..., Any]], Helper]:
    """Mark a function that kernels call. It keeps its own `fastmath` wherever it is called from.

    Args:
        inline: copy it to where it is called: a call in a loop would keep that from being vectorised. What has loops
            of its own may as well be compiled once and called.
    """
    checked(fastmath)
    return lambda function: Helper(function, fastmath, inline)


def checked(fastmath: frozenset[str]) -> None:
    if not fastmath <= FASTMATH:
        raise ValueError(f"kernel: fast-math flags {sorted(fastmath - FASTMATH)} are not on the whitelist")


def contiguous(array: np.ndarray) -> np.ndarray:
    """The array as kernels take it: C-contiguous, aligned and writable; itself if it is, else a copy."""
    return array if array.flags.carray else np.array(array, order="C")


def compile_ahead(dtypes: tuple[np.dtype, ...]) -> Iterator[tuple[str, np.dtype, float]]:
    """Compile every kernel for the dtypes by running its example; yields name, dtype and seconds as it goes."""
    for name in KERNELS:
        for dtype in dtypes:
            yield name, dtype, compile_one(name, dtype)


def compile_one(name: str, dtype: np.dtype) -> float:
    """Compile one kernel, or load it from the cache; the seconds that it took."""
    begin = time.perf_counter()
    KERNELS[name](*KERNELS[name].example(dtype))
    return time.perf_counter() - begin


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


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Let the garbage collector rest in the block: Numba makes millions of objects, and it would search all of them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class State:
    """What the process shares: the lock, and whether it is a forked child."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.forked = False
        self.start: Any = None  # the compiled `start`, and the address of the runner for one thread
        self.serial = 0
        self.compiler: int | None = None  # the thread that compiles
        self.cut_short = False  # forked while another thread compiled: Numba would wait for that thread for ever


state = State()


def after_fork() -> None:
    """In a forked child: another thread of the parent may have held our lock, or Numba's own, which we cannot renew."""
    state.lock = threading.RLock()
    state.forked = state.forked or "numba" in sys.modules
    state.cut_short = state.cut_short or state.compiler not in (None, threading.get_ident())


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=after_fork)


def say(line: str) -> None:
    """One line on stderr, unless MINIDL_QUIET is set."""
    if not os.environ.get("MINIDL_QUIET"):
        print(f"minidl: {line}", file=sys.stderr, flush=True)
