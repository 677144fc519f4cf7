"""The command `minidl`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import minidl
from minidl.cli import compile as compile_command
from minidl.cli import predict as predict_command
from minidl.cli.arguments import Parser, UsageError
from minidl.cli.bert import BertJob
from minidl.cli.charlm import CharLMJob, add_generate
from minidl.cli.lenet import LeNetJob
from minidl.cli.speaker import SpeakerJob


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code: 0, 1 for a failure, 2 for wrong usage or data, 130 when interrupted.

    >>> from minidl.cli import main
    >>> main(["train", "lenet", "--epochs", "-1"])
    2
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal may lack some of the characters
    name = " ".join(["minidl", *(word for word in words[:1] if word in COMMANDS)])
    try:
        arguments = build_parser().parse_args(words)
        code = arguments.run(arguments)
        if sys.stdout is not None:  # as it is where it was closed (`minidl ... >&-`)
            sys.stdout.flush()
        return code
    except UsageError as error:
        return _fail(name, error, 2)
    except KeyboardInterrupt:
        return _fail(name, "interrupted", 130)
    except BrokenPipeError:  # the reader of our output has gone (`minidl ... | head`)
        _close_output()
        return 1
    except OSError as error:
        _close_output()
        where = f"{error.filename}: " if error.filename else ""
        return _fail(name, f"{where}{error.strerror or error}", 1)
    except (FloatingPointError, ImportError) as error:
        return _fail(name, error, 1)
    except MemoryError:
        return _fail(name, "out of memory", 1)


COMMANDS = ("train", "predict", "generate", "compile")
JOBS = (LeNetJob(), SpeakerJob(), CharLMJob(), BertJob())


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets `run`, a function of the parsed arguments that returns the exit code."""
    parser = Parser(
        prog="minidl",
        description="Deep learning from scratch, to be read and to be run.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"minidl {minidl.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    train = commands.add_parser("train", help="train a model", description="Train a model.", allow_abbrev=False)
    models = train.add_subparsers(metavar="MODEL", required=True)
    for job in JOBS:
        job.add_parser(models)
    predict_command.add_parser(commands)
    add_generate(commands)
    compile_command.add_parser(commands)
    return parser


def _close_output() -> None:
    """What is printed and cannot be written goes nowhere: Python would try again at its end, and complain."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(name: str, message: object, code: int) -> int:
    print(f"{name}: {' '.join(str(message).split())}", file=sys.stderr, flush=True)
    return code
