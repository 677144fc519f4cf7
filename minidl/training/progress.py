"""A progress bar where there is someone to see it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any


class Progress:
    """A tqdm bar on stderr; nothing at all if `shown` is false, stderr is no terminal or tqdm is not installed."""

    def __init__(self, total: int, initial: int = 0, unit: str = "it", shown: bool = True) -> None:
        self.bar: Any = None
        if not shown or not sys.stderr.isatty():
            return
        try:
            import tqdm
        except ImportError:
            return
        self.bar = tqdm.tqdm(total=total, initial=initial, unit=unit, leave=False, dynamic_ncols=True, file=sys.stderr)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def advance(self, note: str = "") -> None:
        """One step further, with a word on where we are."""
        if self.bar is not None:
            self.bar.set_description(note, refresh=False)
            self.bar.update()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bar away while something else is printed."""
        if self.bar is not None:
            self.bar.clear()
        yield
        if self.bar is not None:
            self.bar.refresh()
