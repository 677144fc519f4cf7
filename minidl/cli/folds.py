"""Cross-validation: a job trained several times, each time with another part of the data held out."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from minidl.cli.arguments import UsageError
from minidl.io import write_atomically
from minidl.training import History, Run, RunError, best_epoch


def cross_validate(job: Any, arguments: argparse.Namespace) -> int:
    """Train all folds, each a run of its own in RUN/fold-1, RUN/fold-2, ...; the exit code.

    Interrupted, it goes on with `--resume RUN`: finished folds stay, the one begun goes on from its checkpoint.
    """
    try:
        whole = opened(job, arguments)
    except ValueError as error:
        raise UsageError(error) from None
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}" if error.filename else error) from None
    asked = {name: value for name, value in whole.config.items() if name in job.options}
    scores = []
    for fold in range(1, whole.config["folds"] + 1):
        folder = whole.folder / f"fold-{fold}"
        begun = (folder / "config.json").exists()
        if not (begun and Run.open(folder).finished):
            given = {**vars(arguments), **dict.fromkeys(job.options), **asked, "fold": fold}
            given |= {"out": None, "resume": str(folder)} if begun else {"out": str(folder), "resume": None}
            code, _ = job.run_once(argparse.Namespace(**given))
            if code:
                print(
                    f"minidl train: after that fold, the others: minidl train {job.name} --resume {whole.folder}",
                    file=sys.stderr,
                )
                return code
        history = History.load(folder / "history.json")
        scores.append(history[best_epoch(history)]["held_out_accuracy"])
    mean, spread = statistics.fmean(scores), statistics.stdev(scores)
    report = {"held_out_accuracy": scores, "mean": mean, "standard_deviation": spread}
    write_atomically(whole.folder / "folds.json", (json.dumps(report, indent=2) + "\n").encode())
    print(f"held-out accuracy {mean:.4f} ± {spread:.4f} over {len(scores)} folds: {whole.folder}", flush=True)
    return 0


def opened(job: Any, arguments: argparse.Namespace) -> Run:
    """The folder of all folds, new or begun before."""
    if arguments.resume is not None:
        run = Run.open(arguments.resume or arguments.out)
        if run.config.get("model") != job.name or not is_whole(run) or run.config["folds"] < 2:
            raise RunError(f"{run.folder / 'config.json'} is broken: it is no cross-validation of {job.name}")
        job.check_same(run, arguments)
        if (run.folder / "folds.json").exists():
            raise RunError(f"{run.folder} is finished: there is nothing to resume")
        return run
    if arguments.folds < 2:
        raise RunError("--folds must be at least 2")
    job.rehearse(argparse.Namespace(**{**vars(arguments), "fold": 1}))
    return Run.create(arguments.out, {"model": job.name, **job.given(arguments)})


def runs_of(folder: str) -> list[Path]:
    """The folders of the models in a run folder: itself, or its folds."""
    run = Run.open(folder)
    return (
        [run.folder / f"fold-{fold}" for fold in range(1, run.config["folds"] + 1)] if is_whole(run) else [run.folder]
    )


def is_whole(run: Run) -> bool:
    """Whether a run folder is that of all folds."""
    return type(run.config.get("folds")) is int and run.config.get("fold") is None
