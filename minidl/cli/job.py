"""What the jobs of `minidl train` share: run folders, resuming, reporting, interruption."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import statistics
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import minidl
from minidl.cli.arguments import Option, UsageError, said_in_a_line
from minidl.cli.interruption import Interruptible
from minidl.io import load, save_safetensors
from minidl.nn import Module
from minidl.study.plots import learning_curve
from minidl.training import Diverged, History, Run, RunError

Say = Callable[[str], None]
Config = dict[str, Any]


class Job:
    """`minidl train NAME`: one model on its data. A subclass says what is its own, in the methods of the first half.

    Attributes:
        name: of the model, in the command and of the run folders.
        title: of the model, for people.
        help, description: of the command.
        options: what can be asked for, by names as in `config.json`; among them must be `epochs`, `seed` and `lr`.
        unit: what the speed counts.
    """

    name: str
    title: str
    help: str
    description: str
    options: Mapping[str, Option]
    unit = "samples"

    def complete(self, config: Config) -> None:
        """Put in the defaults that depend on other options."""

    def source(self, config: Config) -> str:
        """Where the data come from, for messages."""
        return config.get("data", "what comes with the package")

    def load(self, config: Config) -> Any:
        """The data, with a held-out part. What is wrong with them is a ValueError or OSError for the user."""
        raise NotImplementedError

    def facts(self, data: Any) -> Config:
        """What the run folder keeps of the data; at least a `data_digest`, by which a resumed run knows them again."""
        raise NotImplementedError

    def build(self, config: Config, data: Any) -> Module:
        """The model, freshly drawn."""
        raise NotImplementedError

    def heading(self, config: Config, data: Any) -> str:
        """The data, in a few words."""
        raise NotImplementedError

    def samples(self, data: Any) -> int:
        """How many `unit` an epoch goes through."""
        raise NotImplementedError

    def fit(self, model: Module, config: Config, data: Any, **options: Any) -> History:
        """Call `minidl.training.fit` with the loaders, the optimiser and these options."""
        raise NotImplementedError

    def furnish(self, run: Run, data: Any) -> None:
        """Put into a new run folder what else it needs, so that it can be used without the data."""

    def judge(self, model: Module, config: Config, data: Any, history: History) -> Mapping[str, float]:
        """The row that the finished model is judged by."""
        return history[-1]

    def scores(self, row: Mapping[str, float]) -> str:
        """What an epoch brought, in a few words."""
        train, held_out = row["train_accuracy"], row["test_accuracy"]
        return f"loss {row['train_loss']:.4f}  accuracy: train {train:.4f}, held-out {held_out:.4f}"

    def result(self, row: Mapping[str, float]) -> str:
        """What is said of the row that the finished model is judged by."""
        return f"held-out accuracy {row['test_accuracy']:.4f}"

    # The second half is the same for all.

    def add_parser(self, models: Any) -> None:
        """Add the job to the models of `minidl train`."""
        parser = models.add_parser(
            self.name,
            prog=f"minidl train {self.name}",
            help=self.help,
            description=self.description,
            allow_abbrev=False,
        )
        for name, option in self.options.items():
            option.add_to(parser, name)
        add = parser.add_argument
        first = f"runs/{self.name}-001, runs/{self.name}-002, ..."
        add("--out", metavar="RUN", help=f"the run folder (default: the next of {first})")
        resumed = "go on with an interrupted run (by default that of --out)"
        add("--resume", metavar="RUN", nargs="?", const="", help=resumed)
        add("--quiet", action="store_true", help="print nothing but the last line")
        parser.set_defaults(run=self.train)

    def train(self, arguments: argparse.Namespace) -> int:
        """Train, or go on; the exit code."""
        return self.run_once(arguments)[0]

    def run_once(self, arguments: argparse.Namespace) -> tuple[int, Run]:
        """Train one model, or go on; the exit code, and the run."""
        with said_in_a_line():
            run, data = self.prepare(arguments)
        if arguments.quiet:
            os.environ["MINIDL_QUIET"] = "1"  # nor do kernels speak when they are compiled
        say = (lambda line: None) if arguments.quiet else (lambda line: print(line, flush=True))
        try:
            # What diverges is said in one line below, not in NumPy's warnings.
            with Interruptible() as interruptible, np.errstate(over="ignore", invalid="ignore"):
                model, history = self.learn(run, data, say, interruptible.check, progress=not arguments.quiet)
                row = self.judge(model, run.config, data, history)
                self.finish(run, model, history, row, say)
        except KeyboardInterrupt as interruption:
            command = f"minidl train {self.name} --resume {shlex.quote(str(run.folder))}"
            print(f"minidl train: interrupted; to go on: {command}", file=sys.stderr, flush=True)
            return 128 + getattr(interruption, "number", signal.SIGINT), run
        except Diverged as error:
            advice = f"a smaller --lr may help (the epochs before are in {run.checkpoint})"
            raise Diverged(f"{error}; {advice}") from None
        # The median, because the first epoch may have compiled kernels.
        speed = self.samples(data) / max(statistics.median(history["seconds"]), 1e-3)
        print(
            f"{self.result(row)} after {len(history)} epochs in {sum(history['seconds']):.1f} s "
            f"({speed:.0f} {self.unit}/s): {run.folder}",
            flush=True,
        )
        return 0, run

    def prepare(self, arguments: argparse.Namespace) -> tuple[Run, Any]:
        """The run folder, new or reopened, and the data; all that can be wrong is said here, before training starts.

        Raises:
            RunError, ValueError, OSError: with a message for the user.
        """
        if arguments.resume is None:
            config, data = self.rehearse(arguments)
            run = Run.create(arguments.out, {**config, **self.facts(data), "minidl": minidl.__version__})
            self.furnish(run, data)
            return run, data
        run = self.reopen(arguments.resume, arguments.out)
        self.check_same(run, arguments)
        data = self.load(run.config)
        if any(run.config.get(name) != fact for name, fact in self.facts(data).items()):
            raise RunError(f"{self.source(run.config)} is not the data that {run.folder} was begun with")
        self.furnish(run, data)  # again: the run may have been interrupted before it was done
        return run, data

    def configuration(self, given: Config) -> Config:
        """What was asked for, and the defaults."""
        defaults = {name: option.default for name, option in self.options.items() if option.default is not None}
        config = {"model": self.name, **defaults, **given}
        self.complete(config)
        return config

    def given(self, arguments: argparse.Namespace) -> Config:
        """The options that were given."""
        return {name: getattr(arguments, name) for name in self.options if getattr(arguments, name) is not None}

    def rehearse(self, arguments: argparse.Namespace) -> tuple[Config, Any]:
        """The configuration of a new run and its data; a model has been made of them, nothing has been written."""
        config = self.configuration(self.given(arguments))
        data = self.load(config)
        self.build(config, data)
        return config, data

    def check_same(self, run: Run, arguments: argparse.Namespace) -> None:
        """RunError if an option is given now that a run was begun without, or with another value."""
        for name, value in self.given(arguments).items():
            before = run.config.get(name)
            if value != before:
                flag = f"--{name.replace('_', '-')}"
                begun = f"without {flag}" if before is None else f"with {flag} {before}"
                raise RunError(f"{run.folder} was begun {begun}, it cannot go on with {value}")

    def reopen(self, resume: str, out: str | None) -> Run:
        """The unfinished run that `--resume` and `--out` speak of."""
        folder = resume or out
        if not folder:
            raise RunError("--resume needs the folder of a run: --resume RUN")
        if out and Path(out) != Path(folder):
            raise RunError(f"--resume {folder} and --out {out} are two folders: a run goes on where it is")
        run = self.open(folder)
        if run.finished:
            raise RunError(f"{folder} is finished: there is nothing to resume")
        return run

    def open(self, folder: str | os.PathLike) -> Run:
        """A run of this job, whose configuration makes sense."""
        run = Run.open(folder)
        if run.config.get("model") != self.name:
            raise RunError(f"{folder} is a run of another model: {run.config.get('model')}")
        self.check_options(run, self.configuration({}))
        return run

    def open_finished(self, folder: str | os.PathLike) -> Run:
        """A run of this job that has its weights."""
        run = self.open(folder)
        if not run.finished:
            raise RunError(f"{folder} is not finished; to go on: minidl train {self.name} --resume {folder}")
        return run

    def check_options(self, run: Run, needed: Collection[str]) -> None:
        """RunError if an option in a run's configuration is none that could have been given, or if one is missing."""
        for name, option in self.options.items():
            value = run.config.get(name)
            if not (option.allows(value) if value is not None else name not in needed):
                raise RunError(f"{run.folder / 'config.json'} is broken: {name}: {value!r}")

    def learn(
        self, run: Run, data: Any, say: Say, on_step: Callable[[], None], progress: bool
    ) -> tuple[Module, History]:
        """Train from the start or from the checkpoint, as the run's configuration says."""
        config = run.config
        minidl.manual_seed(config["seed"])
        model = self.build(config, data)
        size = sum(parameter._array.size for parameter in model.parameters())
        say(f"{self.title}, {size:,} parameters, on {self.heading(config, data)}")
        width = len(str(config["epochs"]))

        def report(row: Mapping[str, float]) -> None:
            epoch = f"epoch {row['epoch']:{width}}/{config['epochs']}"
            say(f"{epoch}  {self.scores(row)}  {row['seconds']:.2f} s")

        resume = run.checkpoint.exists()
        places = {"checkpoint": run.checkpoint, "resume": resume}
        try:
            history = self.fit(model, config, data, on_epoch=report, on_step=on_step, progress=progress, **places)
        except ValueError as error:
            if not resume:
                raise
            raise UsageError(error) from None
        return model, history

    def finish(self, run: Run, model: Module, history: History, row: Mapping[str, float], say: Say) -> None:
        """Write what a finished run leaves; the weights last, since they are the sign that it is finished."""
        history.save(run.history)
        try:
            learning_curve(history, run.curve, f"{self.title}, {self.result(row)}")
        except ImportError:
            say("no learning curve: matplotlib is not installed (pip install 'minidl[plot]')")
        save_safetensors(model.state_dict(), run.weights, {"model": self.name})


def load_weights(model: Module, run: Run) -> None:
    """Give a model the weights of a finished run. RunError if they are broken, or another model's."""
    try:
        model.load_state_dict(load(run.weights))
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise RunError(f"{run.weights} is broken, or of another run: {error}") from None
