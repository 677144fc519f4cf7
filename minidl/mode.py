"""Switches of a thread: is a graph recorded, do operations run as their definitions, are first values drawn?"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Mode(threading.local):
    """Each thread has its own, and starts with these."""

    recording = True
    definitions = False
    drawing = True


mode = Mode()


class Switch:
    """Sets a switch for a `with` block, or for every call of a function that it decorates."""

    def __init__(self, name: str, value: bool) -> None:
        self.name, self.value = name, value
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(getattr(mode, self.name))
        setattr(mode, self.name, self.value)

    def __exit__(self, *exception: object) -> None:
        setattr(mode, self.name, self.before.pop())

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def switched(*args: Any, **kwargs: Any) -> Any:
            with Switch(self.name, self.value):
                return function(*args, **kwargs)

        return switched  # type: ignore[return-value]


def no_grad() -> Switch:
    """Record no graph inside: `with minidl.no_grad(): ...`, or as a decorator `@minidl.no_grad()`."""
    return Switch("recording", False)


def enable_grad() -> Switch:
    """Record a graph inside, even within `no_grad`."""
    return Switch("recording", True)


def nothing_drawn() -> Switch:
    """Let `nn.init` write zeros where it would draw, which takes longer: other values are about to be loaded."""
    return Switch("drawing", False)


class set_grad_enabled(Switch):
    """Record a graph or not, from now on; as a `with` block, until its end."""

    def __init__(self, mode_on: bool) -> None:
        super().__init__("recording", bool(mode_on))
        self.before.append(mode.recording)
        mode.recording = bool(mode_on)

    def __enter__(self) -> None:
        mode.recording = self.value


def is_grad_enabled() -> bool:
    """Whether operations record a graph in this thread."""
    return mode.recording


def definitions() -> Switch:
    """Run every operation as its definition, composed of primitives: for reading along in a debugger.

    >>> import minidl, minidl.nn.functional as F
    >>> x = minidl.tensor([[-1.0, 2.0]])
    >>> with minidl.definitions():
    ...     F.relu(x)
    tensor([[0., 2.]])
    """
    return Switch("definitions", True)
