"""Taking a hook off again."""

from __future__ import annotations

from collections.abc import Callable


class RemovableHandle:
    """What registering a hook returns: `handle.remove()`, or the end of a `with` block, takes the hook off."""

    def __init__(self, take_off: Callable[[], object]) -> None:
        self.take_off = take_off

    def remove(self) -> None:
        """Take the hook off; a second time does nothing."""
        self.take_off()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()
