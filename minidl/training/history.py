"""History: what each epoch brought."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import overload

from minidl.data.limits import file_length
from minidl.io import write_atomically


class History:
    """One row an epoch, a dict of numbers: epoch, train_loss, train_accuracy, test_loss, test_accuracy, seconds.

    Example:
        >>> from minidl.training import History
        >>> history = History([{"epoch": 1, "train_loss": 0.7}, {"epoch": 2, "train_loss": 0.4}])
        >>> history["train_loss"], history[-1]["epoch"], len(history)
        ([0.7, 0.4], 2, 2)
    """

    def __init__(self, rows: Iterable[Mapping[str, float]] = ()) -> None:
        self.rows = [dict(row) for row in rows]

    def append(self, row: Mapping[str, float]) -> None:
        """Add an epoch."""
        self.rows.append(dict(row))

    @overload
    def __getitem__(self, key: str) -> list[float]: ...

    @overload
    def __getitem__(self, key: int) -> dict[str, float]: ...

    def __getitem__(self, key: str | int) -> list[float] | dict[str, float]:
        """A column by its name, or a row by its position."""
        return self.rows[key] if isinstance(key, int) else [row[key] for row in self.rows]

    def __iter__(self) -> Iterator[dict[str, float]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"History({len(self)} epochs{f', last {self.rows[-1]}' if self.rows else ''})"

    def save(self, path: str | os.PathLike) -> None:
        """Write the rows as JSON, as a whole or not at all."""
        lines = ",\n".join("  " + json.dumps(row) for row in self.rows)
        write_atomically(path, f"[\n{lines}\n]\n".encode())

    @classmethod
    def load(cls, path: str | os.PathLike) -> History:
        """Read what `save` wrote. Raises FileNotFoundError, or ValueError for anything else in the file."""
        try:
            file_length(path)
            rows = json.loads(Path(path).read_text("utf-8"))
            return cls(rows)
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path}: not a history, or a broken one: {error}") from None
