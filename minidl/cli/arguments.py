"""What all commands share: errors in one line, and types of arguments."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn


class UsageError(Exception):
    """Something that was asked for makes no sense: one line on stderr, exit code 2."""


@contextlib.contextmanager
def said_in_a_line() -> Iterator[None]:
    """What is wrong with the user's files and data, a ValueError or OSError, becomes a UsageError."""
    try:
        yield
    except ValueError as error:
        raise UsageError(error) from None
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}" if error.filename else error) from None


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line: `minidl train: ...`."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


@dataclass(frozen=True)
class Option:
    """An option with a value, `--batch-size N`, which a run folder keeps under its name, `batch_size`.

    Attributes:
        help: what it decides on; the default is added.
        default: its value where it is not given; None: it depends on other options, or there is none.
        type: makes the value of a text, or raises ArgumentTypeError.
        metavar: what stands for the value in the help.
        choices: the only values there are.
    """

    help: str
    default: Any
    type: Callable[[str], Any] = str
    metavar: str | None = None
    choices: Collection[str] | None = None

    def add_to(self, parser: argparse.ArgumentParser, name: str) -> None:
        """Let the parser know it; it gives None where the option is not given."""
        shown = self.help if self.default is None else f"{self.help} (default {self.default})"
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=self.type, metavar=self.metavar, choices=self.choices, help=shown.strip())

    def allows(self, value: Any) -> bool:
        """Whether a value, read from a run folder say, could have been given."""
        if type(value) is type(self.default) and value == self.default:
            return True
        try:
            parsed = self.type(str(value))
        except argparse.ArgumentTypeError:
            return False
        return type(parsed) is type(value) and parsed == value and (self.choices is None or value in self.choices)


@dataclass(frozen=True)
class Flag(Option):
    """An option without a value, `--freeze`: False, or True if it is given."""

    default: Any = False

    def add_to(self, parser: argparse.ArgumentParser, name: str) -> None:
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_const", const=True, help=self.help)

    def allows(self, value: Any) -> bool:
        return type(value) is bool


def absolute_path(text: str) -> str:
    """A path that means the same file wherever a run is resumed."""
    return str(Path(text).absolute())


def path_or(name: str) -> Callable[[str], str]:
    """A path, as `absolute_path`; or the name of what comes with the package, unless there is a file of that name."""
    return lambda text: text if text == name and not Path(text).exists() else absolute_path(text)


def positive_int(text: str) -> int:
    """1, 2, 3, ..."""
    return _int_from(text, 1, "a positive integer")


def depth(text: str) -> int:
    """From 1 to 100: layers, one above the other, each of which takes its time to be made."""
    return _int_from(text, 1, "an integer from 1 to 100", most=100)


def seed(text: str) -> int:
    """0, 1, 2, ..."""
    return _int_from(text, 0, "an integer from 0 on")


def natural(text: str) -> int:
    """0, 1, 2, ..."""
    return _int_from(text, 0, "an integer from 0 on")


def positive_float(text: str) -> float:
    """A positive finite number."""
    return _float_where(text, lambda value: 0 < value < math.inf, "a positive finite number")


def temperature(text: str) -> float:
    """A finite number from 0 on."""
    return _float_where(text, lambda value: 0 <= value < math.inf, "a finite number from 0 on")


def probability(text: str) -> float:
    """From 0 to less than 1."""
    return _float_where(text, lambda value: 0 <= value < 1, "a number from 0 to less than 1")


def _float_where(text: str, good: Callable[[float], bool], what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not good(value):
        raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}")
    return value


def _int_from(text: str, least: int, what: str, most: int = 2**63 - 1) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}")
    return value
