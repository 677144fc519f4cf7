"""Run folders: where a training command leaves what it did."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from minidl.io import write_atomically


class RunError(ValueError):
    """A run folder that cannot be used as asked."""


class Run:
    """A folder with the configuration, the checkpoint, the history, the picture and, once it is finished, the weights.

    Attributes:
        folder: where it is.
        config: what the run was asked for; everything that the weights depend on.
    """

    def __init__(self, folder: str | os.PathLike, config: dict[str, Any]) -> None:
        self.folder = Path(folder)
        self.config = config
        self.checkpoint = self.folder / "checkpoint.safetensors"
        self.history = self.folder / "history.json"
        self.curve = self.folder / "curve.png"
        self.weights = self.folder / "model.safetensors"

    @classmethod
    def create(cls, folder: str | os.PathLike | None, config: dict[str, Any]) -> Run:
        """Make the folder (by default the next free `runs/MODEL-001`, `-002`, ...) and write its `config.json`.

        Raises:
            RunError: there is something in the folder already, or it cannot be written.
        """
        where = Path(folder) if folder is not None else None
        try:
            where = _next_free(Path("runs"), config["model"]) if where is None else where
            where.mkdir(parents=True, exist_ok=True)
            if any(where.iterdir()):
                raise RunError(f"{where} is not empty: choose another --out, or go on with it by --resume {where}")
            run = cls(where, config)
            write_atomically(where / "config.json", (json.dumps(config, indent=2) + "\n").encode())
        except OSError as error:
            raise RunError(f"cannot write the run folder {where or 'runs'}: {error.strerror or error}") from None
        return run

    @classmethod
    def open(cls, folder: str | os.PathLike) -> Run:
        """A run that was begun.

        Raises:
            RunError: not a run folder, or its configuration is broken.
        """
        path = Path(folder) / "config.json"
        if path.exists() and not path.is_file():  # to read from a pipe would be to wait for ever
            raise RunError(f"{folder} is not a run folder: {path.name} is not a file")
        try:
            config = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise RunError(f"{folder} is not a run folder: {path.name}: {error.strerror or error}") from None
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path} is broken: {error}") from None
        if not isinstance(config, dict):
            raise RunError(f"{path} is broken: expected a JSON object")
        return cls(folder, config)

    @property
    def finished(self) -> bool:
        """Whether the last thing that a run writes, its weights, is there."""
        return self.weights.exists()


def _next_free(parent: Path, name: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1_000_000):
        folder = parent / f"{name}-{number:03}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            continue
    raise RunError(f"{parent} has no free name left")
