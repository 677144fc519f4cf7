"""What all commands share: errors in one line, and types of arguments."""

from __future__ import annotations

import argparse
import math
from typing import NoReturn


class UsageError(Exception):
    """Something that was asked for makes no sense: one line on stderr, exit code 2."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line: `minidl train: ...`."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def positive_int(text: str) -> int:
    """1, 2, 3, ..."""
    return _int_from(text, 1, "a positive integer")


def seed(text: str) -> int:
    """0, 1, 2, ..."""
    return _int_from(text, 0, "an integer from 0 on")


def positive_float(text: str) -> float:
    """A positive finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected a positive finite number, got {text!r}")
    return value


def _int_from(text: str, least: int, what: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value < 2**63:
        raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}")
    return value
