"""`minidl predict`: what a trained classifier says of texts."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

from minidl.cli.arguments import said_in_a_line
from minidl.cli.bert import ENCODERS, BertJob, check_vocabulary, classifier, in_order
from minidl.cli.folds import runs_of
from minidl.cli.job import load_weights
from minidl.data import read_lines
from minidl.mode import no_grad
from minidl.models import TextClassifier
from minidl.models.pretrained import read_json
from minidl.nn import functional as F
from minidl.text import Tokenizer
from minidl.text import from_pretrained as tokenizer_of
from minidl.training import RunError


def add_parser(commands: Any) -> None:
    """Add `predict` to the commands."""
    parser = commands.add_parser(
        "predict",
        help="let a trained classifier label texts",
        description="Print, for each text, its label, the label's probability and the text, with tabs between.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("run_folder", metavar="RUN", help="the folder of a finished run of `minidl train bert`; of folds, their mean")
    add("texts", metavar="TEXT", nargs="*", help="what to label")
    add("--file", metavar="FILE", help="a file in UTF-8, plain or .gz, with a text in each line")
    parser.set_defaults(run=predict)


def predict(arguments: argparse.Namespace) -> int:
    """Label the texts; the exit code."""
    os.environ["MINIDL_QUIET"] = "1"  # what is printed is the labels alone
    with said_in_a_line():
        texts = wanted(arguments)
        classes, probabilities = ensemble(arguments.run_folder, texts)
    for text, row in zip(texts, probabilities, strict=True):
        print(f"{classes[row.argmax()]}\t{row.max():.4f}\t{' '.join(text.split())}")
    return 0


def wanted(arguments: argparse.Namespace) -> list[str]:
    """The texts of the command line, then those of the file."""
    texts = [(text, "argument TEXT") for text in arguments.texts]
    if arguments.file is not None:
        texts += [(line, f"{arguments.file}, line {i}") for i, line in enumerate(read_lines(arguments.file), 1)]
    if not texts:
        raise ValueError("expected a TEXT, or --file with at least one line")
    for text, where in texts:
        if not text.strip():
            raise ValueError(f"{where}: the text is empty")
    return [text for text, _ in texts]


def ensemble(folder: str, texts: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The classes, and the probability of each for each text (N, classes): the mean of all models in the folder."""
    found = [labelled(*reopen(run), texts) for run in runs_of(folder)]
    return found[0][0], np.mean([probabilities for _, probabilities in found], axis=0)


def labelled(
    model: TextClassifier, tokenizer: Tokenizer, classes: tuple[str, ...], length: int, texts: list[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """The classes, and what one model says (N, classes)."""
    rows = tokenizer(texts, truncation=True, max_length=length)["input_ids"]
    loader = in_order([(np.array(row, np.int64), i) for i, row in enumerate(rows)])
    probabilities = np.empty((len(texts), len(classes)))
    with no_grad():
        for ids, lengths, places in loader:
            probabilities[places._array] = F.softmax(model(ids, lengths), 1)._array
    return classes, probabilities


def reopen(folder: Path) -> tuple[TextClassifier, Tokenizer, tuple[str, ...], int]:
    """The model of a finished run, its tokenizer, its classes, and the longest text in tokens."""
    run = BertJob().open_finished(folder)
    classes = run.config.get("classes")
    if not (isinstance(classes, list) and len(classes) > 1 and all(isinstance(name, str) for name in classes)):
        raise RunError(f"{run.folder / 'config.json'} is broken: classes: {classes!r}")
    path = run.folder / "encoder.json"
    values = read_json(path)
    kind = ENCODERS.get(str(values.get("model_type")))
    if kind is None:
        raise RunError(f"{path} is broken: model_type: {values.get('model_type')!r}")
    encoder = kind(kind.config_class.from_dict(values, path))
    model = classifier(encoder, len(classes), run.config)
    load_weights(model, run)
    try:
        tokenizer = tokenizer_of(run.folder / "tokenizer")
    except ValueError as error:
        raise RunError(f"{run.folder / 'tokenizer'} is broken: {error}") from None
    check_vocabulary(tokenizer, encoder.config, path)
    length = min(run.config["max_length"], encoder.config.max_positions)
    return model.eval(), tokenizer, tuple(classes), length
