"""Numba and LLVM, imported when the first kernel runs: that takes longer than all of minidl."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def numba() -> Any:
    """Numba, which compiles loops."""
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
