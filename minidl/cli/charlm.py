"""`minidl train charlm`: a language model of characters; `minidl generate`: what it writes."""

from __future__ import annotations

import argparse
import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from minidl import optim
from minidl.cli.arguments import (
    Option,
    UsageError,
    depth,
    natural,
    path_or,
    positive_float,
    positive_int,
    probability,
    said_in_a_line,
    seed,
    temperature,
)
from minidl.cli.job import Config, Job, load_weights
from minidl.data import Alphabet, NextCharacter, load_moby_dick, read_text
from minidl.models import CharLM
from minidl.models.speaker import CELLS
from minidl.nn import Module
from minidl.nn import functional as F
from minidl.random import Generator
from minidl.tensor import Tensor
from minidl.training import History, RunError, accuracy, fit, warmup_cosine

HELD_OUT = 10
"""The last tenth of a text is held out."""

PLACES = 16
"""Where a long held-out part is begun to be read, side by side: its rows' first characters have little before them."""


@dataclass(frozen=True)
class Text:
    """A text as numbers, in two parts, and the batches that they make."""

    alphabet: Alphabet
    digest: str
    train: NextCharacter
    test: NextCharacter


class CharLMJob(Job):
    """A text, read a character at a time."""

    name, title, unit = "charlm", "CharLM", "characters"
    help = "LSTM or GRU on text: which character comes next"
    description = "Train a language model of characters, on the book that comes with the package or on your own text."
    options: ClassVar = {
        "text": Option("a file in UTF-8; its last tenth is held out", "moby-dick", path_or("moby-dick"), "FILE"),
        "cell": Option("of the recurrent layers", "lstm", choices=CELLS),
        "hidden_size": Option("values of the state", 320, positive_int, "N"),
        "layers": Option("recurrent layers, one above the other", 1, depth, "N"),
        "dropout": Option("probability, for what leaves a recurrent layer", 0.0, probability, "P"),
        "epochs": Option("times through the text", 6, positive_int, "N"),
        "batch_size": Option("places of the text that are read side by side", 32, positive_int, "N"),
        "steps": Option("characters that a gradient goes back", 32, positive_int, "N"),
        "lr": Option("highest learning rate", 0.005, positive_float, "X"),
        "seed": Option("decides on all that is random", 0, seed, "N"),
    }

    def source(self, config: Config) -> str:
        return config["text"]

    def load(self, config: Config) -> Text:
        text = load_moby_dick() if config["text"] == "moby-dick" else read_text(config["text"])
        alphabet = Alphabet.of(text)
        numbers = alphabet.encode(text)
        cut = len(numbers) - -(-len(numbers) // HELD_OUT)
        try:
            train = NextCharacter(numbers[:cut], config["batch_size"], config["steps"])
        except ValueError as error:
            raise ValueError(f"{config['text']}: too short: without its last tenth, {error}") from None
        test = numbers[cut - 1 :]  # the first held-out character is foretold from the last one before it
        test = NextCharacter(test, PLACES if len(test) > 100 * PLACES else 1, steps=256)
        return Text(alphabet, hashlib.sha256(text.encode()).hexdigest()[:16], train, test)

    def facts(self, data: Text) -> Config:
        return {"data_digest": data.digest, "alphabet": data.alphabet.characters}

    def build(self, config: Config, data: Text) -> Module:
        return model_of(config, data.alphabet)

    def heading(self, config: Config, data: Text) -> str:
        train, test = self.samples(data), data.test.x.size
        return f"{config['text']}: {train:,} training and {test:,} held-out characters, {len(data.alphabet)} distinct"

    def samples(self, data: Text) -> int:
        return data.train.x.size

    def fit(self, model: Module, config: Config, data: Text, **options: Any) -> History:
        optimizer = optim.AdamW(model.parameters(), lr=config["lr"], weight_decay=0.01)
        options |= {"loss": next_loss, "metric": next_accuracy, "schedule": warmup_cosine}
        options |= {"stateful": True, "max_norm": 1.0}
        return fit(model, data.train, optimizer, config["epochs"], data.test, **options)

    def scores(self, row: Mapping[str, float]) -> str:
        return f"bits a character: train {bits(row['train_loss']):.3f}, held-out {bits(row['test_loss']):.3f}"

    def result(self, row: Mapping[str, float]) -> str:
        return f"held-out {bits(row['test_loss']):.3f} bits a character"


def model_of(config: Config, alphabet: Alphabet) -> CharLM:
    """The model that a run's configuration describes."""
    sizes = len(alphabet), config["hidden_size"], config["layers"]
    return CharLM(*sizes, config["cell"], config["dropout"])


def next_loss(scores: Tensor, y: Tensor) -> Tensor:
    """Cross entropy, a character."""
    return F.cross_entropy(scores.flatten(0, 1), y.flatten())


def next_accuracy(scores: Tensor, y: Tensor) -> float:
    """How often the likeliest character comes."""
    return accuracy(scores.flatten(0, 1), y.flatten())


def bits(loss: float) -> float:
    """From natural logarithms to logarithms of base 2."""
    return loss / math.log(2)


# Writing on


def add_generate(commands: Any) -> None:
    """Add `generate` to the commands."""
    parser = commands.add_parser(
        "generate",
        help="let a trained language model write",
        description="Print a prompt, and how a run of `minidl train charlm` writes on.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("run_folder", metavar="RUN", help="the folder of a finished run of `minidl train charlm`")
    add("--prompt", metavar="TEXT", help="what it goes on from (default: a line's end, if the model knows it)")
    add("--length", type=natural, default=500, metavar="N", help="characters to write (default 500)")
    spread = "below 1 keeps to what is likely, 0 takes the likeliest character each time (default 0.7)"
    add("--temperature", type=temperature, default=0.7, metavar="X", help=spread)
    add("--seed", type=seed, default=0, metavar="N", help="another seed, another text (default 0)")
    parser.set_defaults(run=generate)


def generate(arguments: argparse.Namespace) -> int:
    """Write on; the exit code."""
    with said_in_a_line():
        model, alphabet = reopen(arguments.run_folder)
    prompt = arguments.prompt
    if prompt is None:
        prompt = "\n" if "\n" in alphabet.numbers else alphabet.characters[0]
    try:
        numbers = alphabet.encode(prompt)
    except ValueError as error:
        raise UsageError(f"argument --prompt: {error}; the model knows the characters of its text") from None
    if not prompt:
        raise UsageError("argument --prompt: expected at least one character")
    os.environ["MINIDL_QUIET"] = "1"  # what is printed is the text alone
    chance = Generator().manual_seed(arguments.seed)
    written = alphabet.decode(model.write(numbers, arguments.length, arguments.temperature, chance))
    print(prompt + written)
    return 0


def reopen(folder: str) -> tuple[CharLM, Alphabet]:
    """The model of a finished run, and its characters."""
    run = CharLMJob().open_finished(folder)
    try:
        alphabet = Alphabet(run.config["alphabet"])
    except (KeyError, TypeError, ValueError):
        raise RunError(f"{run.folder / 'config.json'} is broken: alphabet") from None
    model = model_of(run.config, alphabet)
    load_weights(model, run)
    return model, alphabet
