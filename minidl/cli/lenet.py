"""`minidl train lenet`: a convolutional network on images."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import minidl
from minidl import optim
from minidl.cli.arguments import UsageError, positive_float, positive_int, seed
from minidl.cli.interruption import Interruptible
from minidl.data import (
    Compose,
    DataLoader,
    Enlarge,
    ImageSet,
    Normalize,
    RandomCrop,
    TensorDataset,
    ToFloat,
    load_digits,
    load_images,
)
from minidl.io import save_safetensors
from minidl.models import LeNet
from minidl.nn import Module
from minidl.study.plots import learning_curve
from minidl.training import Diverged, History, Run, RunError, fit, warmup_cosine

Say = Callable[[str], None]

DEFAULTS = {"data": "digits", "epochs": 20, "batch_size": 32, "optimizer": "adamw", "seed": 0}
OPTIMIZERS = {
    "sgd": (optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}),
    "adam": (optim.Adam, {"lr": 5e-3}),
    "adamw": (optim.AdamW, {"lr": 5e-3, "weight_decay": 1e-2}),
}
ENLARGED_TO = 16
"""Images with a shorter side are enlarged, pixel by pixel, to that or more: LeNet's windows are 5×5."""


def add_parser(models: Any) -> None:
    """Add `lenet` to the models of `minidl train`."""
    parser = models.add_parser(
        "lenet",
        prog="minidl train lenet",
        help="LeNet-5 on images",
        description="Train LeNet-5 on images: on the handwritten digits that come with the package, or on your own.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", metavar="PATH", help="a folder with MNIST's four IDX files (plain or .gz), or an .npz with x and y")
    add("--epochs", type=positive_int, metavar="N", help=f"times through the data (default {DEFAULTS['epochs']})")
    add("--batch-size", type=positive_int, metavar="N", help=f"images a step (default {DEFAULTS['batch_size']})")
    add("--lr", type=positive_float, metavar="X", help="highest learning rate (default 0.005; 0.05 for sgd)")
    add("--optimizer", choices=OPTIMIZERS, help=f"(default {DEFAULTS['optimizer']})")
    add("--seed", type=seed, metavar="N", help=f"decides on all that is random (default {DEFAULTS['seed']})")
    add("--out", metavar="RUN", help="the run folder (default: the next of runs/lenet-001, runs/lenet-002, ...)")
    add("--resume", metavar="RUN", nargs="?", const="", help="go on with an interrupted run (by default that of --out)")
    add("--quiet", action="store_true", help="print nothing but the last line")
    parser.set_defaults(run=train)


def train(arguments: argparse.Namespace) -> int:
    """Train, or go on; the exit code."""
    try:
        run, images = prepare(arguments)
    except (RunError, ValueError) as error:
        raise UsageError(error) from None
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}" if error.filename else error) from None
    if arguments.quiet:
        os.environ["MINIDL_QUIET"] = "1"  # nor do kernels speak when they are compiled
    say = (lambda line: None) if arguments.quiet else (lambda line: print(line, flush=True))
    try:
        with Interruptible() as interruptible:
            model, history = learn(run, images, say, interruptible.check, progress=not arguments.quiet)
            finish(run, model, history, say)
    except KeyboardInterrupt as interruption:
        command = f"minidl train lenet --resume {shlex.quote(str(run.folder))}"
        print(f"minidl train: interrupted; to go on: {command}", file=sys.stderr, flush=True)
        return 128 + getattr(interruption, "number", signal.SIGINT)
    except Diverged as error:
        raise Diverged(f"{error}; a smaller --lr may help (the epochs before are in {run.checkpoint})") from None
    last, seconds = history[-1], sum(history["seconds"])
    # The median, because the first epoch may have compiled kernels.
    speed = len(images.x) / max(statistics.median(history["seconds"]), 1e-3)
    print(
        f"held-out accuracy {last['test_accuracy']:.4f} after {len(history)} epochs in {seconds:.1f} s "
        f"({speed:.0f} images/s): {run.folder}",
        flush=True,
    )
    return 0


def prepare(arguments: argparse.Namespace) -> tuple[Run, ImageSet]:
    """The run folder, new or reopened, and the data; all that can be wrong is said here, before training starts.

    Raises:
        RunError, ValueError, OSError: with a message for the user.
    """
    given = {name: getattr(arguments, name) for name in (*DEFAULTS, "lr") if getattr(arguments, name) is not None}
    if "data" in given:
        given["data"] = str(Path(given["data"]).absolute())
    if arguments.resume is None:
        config = {"model": "lenet", **DEFAULTS, **given}
        config.setdefault("lr", OPTIMIZERS[config["optimizer"]][1]["lr"])
        images = load(config)
        LeNet(*model_arguments(images))
        config |= {"data_digest": images.digest(), "classes": list(images.classes), "minidl": minidl.__version__}
        return Run.create(arguments.out, config), images
    run = reopen(arguments.resume, arguments.out)
    for name, value in given.items():
        if value != run.config[name]:
            option = name.replace("_", "-")
            raise RunError(f"{run.folder} was begun with --{option} {run.config[name]}, it cannot go on with {value}")
    images = load(run.config)
    if images.digest() != run.config["data_digest"]:
        raise RunError(f"{run.config['data']} is not the data that {run.folder} was begun with")
    return run, images


def reopen(resume: str, out: str | None) -> Run:
    """The unfinished run that `--resume` and `--out` speak of."""
    folder = resume or out
    if not folder:
        raise RunError("--resume needs the folder of a run: --resume RUN")
    if out and Path(out) != Path(folder):
        raise RunError(f"--resume {folder} and --out {out} are two folders: a run goes on where it is")
    run = Run.open(folder)
    if run.config.get("model") != "lenet":
        raise RunError(f"{folder} is a run of another model: {run.config.get('model')}")
    kinds = {"data": str, "epochs": int, "batch_size": int, "lr": float, "optimizer": str, "seed": int}
    for name, kind in {**kinds, "data_digest": str}.items():
        if type(run.config.get(name)) is not kind:
            raise RunError(f"{run.folder / 'config.json'} is broken: {name}: {run.config.get(name)!r}")
    if run.config["optimizer"] not in OPTIMIZERS or min(run.config[n] for n in ("epochs", "batch_size", "lr")) <= 0:
        raise RunError(f"{run.folder / 'config.json'} is broken: its values make no sense")
    if run.finished:
        raise RunError(f"{folder} is finished: there is nothing to resume")
    return run


def load(config: dict[str, Any]) -> ImageSet:
    """The images, with a held-out part."""
    images = load_digits() if config["data"] == "digits" else load_images(config["data"])
    try:
        return images.split(config["seed"])
    except ValueError as error:
        raise ValueError(f"{config['data']}: {error}") from None


def model_arguments(images: ImageSet) -> tuple[int, int, tuple[int, int]]:
    """Classes, channels and size, after enlarging."""
    channels, height, width = images.x.shape[1:]
    factor = enlargement(images)
    return len(images.classes), channels, (height * factor, width * factor)


def enlargement(images: ImageSet) -> int:
    """By how much small images are enlarged."""
    return -(-ENLARGED_TO // min(*images.x.shape[2:], ENLARGED_TO))


def loaders(images: ImageSet, batch_size: int) -> tuple[DataLoader, DataLoader]:
    """Batches for training, shifted at random by up to a sixteenth of the image, and for judging."""
    pixels = images.x.astype(np.float64) / images.maximum
    mean, std = pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))
    see = [ToFloat(images.maximum), Normalize(mean, np.where(std > 0, std, 1.0))]
    enlarge = Enlarge(enlargement(images))
    size = model_arguments(images)[2]
    shift = RandomCrop(size, padding=max(1, round(min(size) / 16)))
    training = TensorDataset(images.x, images.y, transform=Compose([enlarge, shift, *see]))
    held_out = TensorDataset(images.test_x, images.test_y, transform=Compose([enlarge, *see]))
    return DataLoader(training, batch_size, shuffle=True), DataLoader(held_out, batch_size=256)


def learn(run: Run, images: ImageSet, say: Say, on_step: Callable[[], None], progress: bool) -> tuple[Module, History]:
    """Train from the start or from the checkpoint, as the run's configuration says."""
    config = run.config
    minidl.manual_seed(config["seed"])
    model = LeNet(*model_arguments(images))
    make, options = OPTIMIZERS[config["optimizer"]]
    optimizer = make(model.parameters(), **{**options, "lr": config["lr"]})
    train_loader, test_loader = loaders(images, config["batch_size"])
    size = sum(parameter._array.size for parameter in model.parameters())
    shape, classes = "x".join(map(str, images.x.shape[1:])), len(images.classes)
    say(
        f"LeNet, {size:,} parameters, on {config['data']}: {len(train_loader.dataset)} training and "
        f"{len(test_loader.dataset)} held-out images of {shape}, {classes} classes"
    )
    width = len(str(config["epochs"]))

    def report(row: dict[str, float]) -> None:
        say(
            f"epoch {row['epoch']:{width}}/{config['epochs']}  loss {row['train_loss']:.4f}  "
            f"accuracy: train {row['train_accuracy']:.4f}, held-out {row['test_accuracy']:.4f}  {row['seconds']:.2f} s"
        )

    resume = run.checkpoint.exists()
    try:
        history = fit(
            model,
            train_loader,
            optimizer,
            config["epochs"],
            test_loader,
            schedule=warmup_cosine,
            checkpoint=run.checkpoint,
            resume=resume,
            on_epoch=report,
            on_step=on_step,
            progress=progress,
        )
    except ValueError as error:
        if not resume:
            raise
        raise UsageError(error) from None
    return model, history


def finish(run: Run, model: Module, history: History, say: Say) -> None:
    """Write what a finished run leaves; the weights last, since they are the sign that it is finished."""
    history.save(run.history)
    try:
        learning_curve(history, run.curve, f"LeNet, held-out accuracy {history[-1]['test_accuracy']:.4f}")
    except ImportError:
        say("no learning curve: matplotlib is not installed (pip install 'minidl[plot]')")
    save_safetensors(model.state_dict(), run.weights, {"model": "lenet"})
