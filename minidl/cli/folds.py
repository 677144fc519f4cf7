"""Cross-validation: a job trained several times, each time with another part of the data held out."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minidl.cli.arguments import UsageError, said_in_a_line
from minidl.io import write_atomically
from minidl.training import History, Run, RunError, best_epoch


def cross_validate(job: Any, arguments: argparse.Namespace) -> int:
    """Train all folds, each a run of its own in RUN/fold-1, RUN/fold-2, ...; the exit code.

    Interrupted, it goes on with `--resume RUN`: finished folds stay, the one begun goes on from its checkpoint.
    """
    with said_in_a_line():
        whole = opened(job, arguments)
    asked = {name: value for name, value in whole.config.items() if name in job.options}
    scores = []
    for fold in range(1, whole.config["folds"] + 1):
        folder = whole.folder / f"fold-{fold}"
        begun = (folder / "config.json").exists()
        with said_in_a_line():
            finished = begun and Run.open(folder).finished
        if not finished:
            given = {**vars(arguments), **dict.fromkeys(job.options), **asked, "fold": fold}
            given |= {"out": None, "resume": str(folder)} if begun else {"out": str(folder), "resume": None}
            code, _ = job.run_once(argparse.Namespace(**given))
            if code:
                print(
                    f"minidl train: after that fold, the others: minidl train {job.name} --resume {whole.folder}",
                    file=sys.stderr,
                )
                return code
        scores.append(score(folder / "history.json"))
    mean, spread = statistics.fmean(scores), statistics.stdev(scores)
    report = {"held_out_accuracy": scores, "mean": mean, "standard_deviation": spread}
    write_atomically(whole.folder / "folds.json", (json.dumps(report, indent=2) + "\n").encode())
    print(f"held-out accuracy {mean:.4f} ± {spread:.4f} over {len(scores)} folds: {whole.folder}", flush=True)
    return 0


def opened(job: Any, arguments: argparse.Namespace) -> Run:
    """The folder of all folds, new or begun before."""
    if arguments.resume is not None:
        run = Run.open(arguments.resume or arguments.out)
        if run.config.get("model") != job.name:
            raise RunError(f"{run.folder / 'config.json'} is broken: it is no cross-validation of {job.name}")
        job.check_options(run, needed=())
        job.check_same(run, arguments)
        if (run.folder / "folds.json").exists():
            raise RunError(f"{run.folder} is finished: there is nothing to resume")
        return run
    if arguments.folds < 2:
        raise RunError("--folds must be at least 2")
    job.rehearse(argparse.Namespace(**{**vars(arguments), "fold": 1}))
    return Run.create(arguments.out, {"model": job.name, **job.given(arguments)})


def score(path: Path) -> float:
    """What the history of a finished fold says of its held-out texts."""
    try:
        history = History.load(path)
        return float(history[best_epoch(history)]["held_out_accuracy"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UsageError(f"{path} is broken: {error}") from None


def runs_of(folder: str) -> Iterator[Path]:
    """The folders of the models in a run folder: itself, or its folds."""
    run = Run.open(folder)
    if not is_whole(run):
        yield run.folder
    else:
        yield from (run.folder / f"fold-{fold}" for fold in range(1, run.config["folds"] + 1))


def is_whole(run: Run) -> bool:
    """Whether a run folder is that of all folds."""
    k = run.config.get("folds")
    return type(k) is int and k > 1 and run.config.get("fold") is None
