"""Ctrl-C and SIGTERM, which both stop a command in good order."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A signal arrived; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Interruptible:
    """Inside `with Interruptible() as interruptible:`, SIGINT and SIGTERM raise Interrupted.

    Python drops an exception that a signal raises while a destructor or the callback of a weak reference runs, so
    `check()`, called at every step, raises it again. Outside the main thread Python allows no handlers: there, none
    are set.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Interruptible:
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self.handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def handle(self, number: int, frame: Any) -> None:
        self.number = number
        raise Interrupted(number)

    def check(self) -> None:
        """Raise Interrupted if a signal has arrived."""
        if self.number is not None:
            raise Interrupted(self.number)
