"""How a compiled task is started, many times, on several threads.

A kernel is compiled as one task, a plain serial function; that takes a third of the time that Numba needs for a
function with a `prange` in it. One parallel loop, below, serves all kernels. It can, because it knows nothing of them:
it gets the *addresses* of the task's machine code and of its arguments, in C's words

    void task(int64_t arguments, int64_t index);

and the tuple of arguments is written to the stack by `start` and read from there by the task.
"""

from __future__ import annotations

import types as python_types
from functools import cache
from typing import Any

import numpy as np

from minidl.kernels.cache import cached, forgiving
from minidl.kernels.compiler import numba

prange = range  # in plain Python; numba.prange once compiled


@cache
def parts() -> Any:
    """The four instructions that plain Numba has no words for."""
    from llvmlite import ir
    from numba.core import cgutils
    from numba.extending import intrinsic

    types = numba().types
    word = ir.IntType(64)

    @intrinsic
    def call(typing, address, words):  # type: ignore[no-untyped-def]
        """Call the machine code at an address with 64-bit integers."""

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values = cgutils.unpack_tuple(builder, args[1])
            function = ir.FunctionType(ir.VoidType(), [word] * len(values)).as_pointer()
            builder.call(builder.inttoptr(args[0], function), values)
            return context.get_dummy_value()

        return types.void(address, words), emit

    @intrinsic
    def address_of(typing, value):  # type: ignore[no-untyped-def]
        """Where a value lies, on the stack of the function that asks."""

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.ptrtoint(cgutils.alloca_once_value(builder, args[0]), word)

        return types.int64(value), emit

    @intrinsic
    def fetch_add(typing, array):  # type: ignore[no-untyped-def]
        """array[0] += 1, at once for all threads; what it was before."""

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            return builder.atomic_rmw("add", data, ir.Constant(word, 1), "monotonic")

        return types.int64(array), emit

    return python_types.SimpleNamespace(call=call, address_of=address_of, fetch_add=fetch_add)


def value_at(kind: Any) -> Any:
    """The intrinsic value_at(address): the value of that type that lies there.

    Arrays are taken without a claim on their memory: whoever called `start` holds it until all tasks are done.
    """
    from numba.extending import intrinsic

    types = numba().types

    @intrinsic
    def load(typing, address):  # type: ignore[no-untyped-def]
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = builder.inttoptr(args[0], context.get_value_type(kind).as_pointer())
            value = builder.load(pointer)
            for i, element in enumerate(kind):
                if isinstance(element, types.Array):
                    array = context.make_array(element)(context, builder, builder.extract_value(value, i))
                    array.meminfo = array.meminfo.type(None)
                    value = builder.insert_value(value, array._getvalue(), i)
            return value

        return kind(types.int64), emit

    return load


def one_after_the_other(task, arguments, tasks, threads):  # type: ignore[no-untyped-def]
    """Run the tasks 0, 1, ... on this thread."""
    for index in range(tasks):
        call(task, (arguments, index))  # noqa: F821 (of `parts`)


LINE = 16  # integers: more than a line of the cache, so that threads do not wait for each other's counters


def on_threads(task, arguments, tasks, threads):  # type: ignore[no-untyped-def]
    """Run the tasks on several threads. Each has a range of its own, the same from call to call, whose memory is in its
    cache; it takes them one by one, and when there are none left it takes those of the others.
    """
    taken = np.zeros(threads * LINE, np.int64)
    for thread in prange(threads):
        for other in range(threads):
            whose = (thread + other) % threads
            first, last = tasks * whose // threads, tasks * (whose + 1) // threads
            index = first + fetch_add(taken[whose * LINE :])  # noqa: F821
            while index < last:
                call(task, (arguments, index))  # noqa: F821
                index = first + fetch_add(taken[whose * LINE :])  # noqa: F821


def start(runner, task, tasks, threads, arguments):  # type: ignore[no-untyped-def]
    """Let a runner (the address of one of the two above) run a task; compiled for each tuple of arguments."""
    call(runner, (task, address_of(arguments), tasks, threads))  # noqa: F821


@cache
def compiled_start() -> Any:
    """`start`, to be called from Python."""
    function = with_names(start, **vars(parts()))
    with cached() as cache:
        dispatcher = numba().njit(function, cache=cache, nogil=True)
    return forgiving(dispatcher)


@cache
def runner(parallel: bool) -> int:
    """The address of a runner."""
    int64, void = numba().types.int64, numba().types.void
    function = on_threads if parallel else one_after_the_other
    names = vars(parts()) | {"prange": numba().prange}
    return native(function.__name__, function, void(*[int64] * 4), {"parallel": parallel}, **names).address


def task_entry(arguments, index):  # type: ignore[no-untyped-def]
    task(index, *arguments_at(arguments))  # noqa: F821


def task_code(name: str, dispatcher: Any, arguments: Any) -> Any:
    """A task as C code, for the type of its arguments; `dispatcher()` gives what Numba makes of it."""
    int64, void = numba().types.int64, numba().types.void
    return native(name, task_entry, void(int64, int64), {}, task=dispatcher(), arguments_at=value_at(arguments))


def native(name: str, function: Any, signature: Any, options: dict[str, Any], **names: Any) -> Any:
    """A function as C code, kept in the cache under a name; `.address` is where its machine code lies."""
    from numba.core.ccallback import CFunc

    shape = numba().core.sigutils.normalize_signature(signature)
    code = CFunc(with_names(function, name, **names), shape, {}, options)
    with cached() as cache:
        if cache:
            code.enable_caching()
    forgiving(code).compile()
    return code


def with_names(function: Any, name: str = "", **names: Any) -> Any:
    """The same code with other globals, and under another name, by which the cache finds it."""
    copy = python_types.FunctionType(function.__code__, {**function.__globals__, **names}, name or function.__name__)
    copy.__module__, copy.__qualname__ = function.__module__, copy.__name__
    return copy
