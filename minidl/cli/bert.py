"""`minidl train bert`: an encoder, pretrained or from scratch, learns to classify texts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from minidl import optim
from minidl.cli.arguments import Flag, Option, absolute_path, path_or, positive_float, positive_int, seed
from minidl.cli.folds import cross_validate, is_whole
from minidl.cli.job import Config, Job
from minidl.data import (
    DataLoader,
    SimilarLengthSampler,
    TensorDataset,
    TextSet,
    collate_sequences,
    folds,
    load_sentences,
    load_tsv,
    stratified,
)
from minidl.io import write_atomically
from minidl.mode import no_grad
from minidl.models import BertConfig, BertModel, DistilBertModel, RobertaModel, TextClassifier
from minidl.models.pretrained import read_config
from minidl.models.text_classifier import POOLINGS
from minidl.nn import Module, Parameter
from minidl.text import BertTokenizer, Tokenizer
from minidl.text import from_pretrained as tokenizer_of
from minidl.training import History, Run, RunError, best_epoch, evaluate, fit, warmup_linear

ENCODERS: dict[str, type[BertModel]] = {"bert": BertModel, "distilbert": DistilBertModel, "roberta": RobertaModel}
SMALL = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "hidden_dropout_prob": 0.3,
}
"""The encoder that is trained from scratch, and how many pieces of words it knows at most."""
PIECES = 4000
VALIDATION = 0.1
"""Of the training texts this part decides when to stop; the held-out ones are not looked at before the end."""

Sample = tuple[np.ndarray, int]


@dataclass(frozen=True)
class Texts:
    """Texts as numbers, in three parts, and what made them so."""

    train: list[Sample]
    validation: list[Sample]
    test: list[Sample]
    classes: tuple[str, ...]
    digest: str
    tokenizer: Tokenizer
    encoder: BertConfig


USUAL = {
    "fine-tuned": {"epochs": 5, "patience": 2, "lr": 2e-5},
    "from scratch": {"epochs": 15, "patience": 5, "lr": 1e-3},
    "frozen": {"epochs": 100, "patience": 10, "lr": 1e-2},
}
"""Defaults for the three ways to train."""


def usual(option: str) -> str:
    """The defaults of an option, for the help."""
    return "default " + ", ".join(f"{values[option]} {way}" for way, values in USUAL.items())


class BertJob(Job):
    """Texts and their classes: the sentences that come with the package, or the user's own."""

    name, title, unit = "bert", "BERT", "texts"
    help = "BERT on labelled texts"
    description = (
        "Fine-tune a pretrained encoder to classify texts, the sentences that come with the package or your own; "
        "without --weights, train a small one from scratch."
    )
    options: ClassVar = {
        "weights": Option("a folder with config.json, model.safetensors and vocab.txt", None, absolute_path, "FOLDER"),
        "data": Option("a file of lines label<TAB>text", "sentences", path_or("sentences"), "FILE"),
        "freeze": Flag("train the last layer only"),
        "pooling": Option("what stands for a text: the mean of its rows or that of [CLS]", "mean", choices=POOLINGS),
        "epochs": Option(f"at most so often through the data ({usual('epochs')})", None, positive_int, "N"),
        "patience": Option(f"epochs that a better one is waited for ({usual('patience')})", None, positive_int, "N"),
        "batch_size": Option("texts a step", 16, positive_int, "N"),
        "lr": Option(f"highest learning rate ({usual('lr')})", None, positive_float, "X"),
        "max_length": Option("longer texts are cut to so many tokens", 128, positive_int, "N"),
        "folds": Option("cross-validation: so many times, each with another part held out", None, positive_int, "K"),
        "fold": Option("of --folds, only the one with this part held out, 1 to K", None, positive_int, "I"),
        "seed": Option("decides on all that is random", 0, seed, "N"),
    }

    def train(self, arguments: argparse.Namespace) -> int:
        return cross_validate(self, arguments) if wants_all_folds(arguments) else super().train(arguments)

    def complete(self, config: Config) -> None:
        if config["freeze"] and "weights" not in config:
            raise ValueError("--freeze needs --weights: an encoder that nobody has trained says nothing")
        if "fold" in config and config["fold"] > config.get("folds", 0):
            raise ValueError(f"--fold {config['fold']} needs --folds with at least as many")
        way = "frozen" if config["freeze"] else "fine-tuned" if "weights" in config else "from scratch"
        for name, value in USUAL[way].items():
            config.setdefault(name, value)

    def load(self, config: Config) -> Texts:
        texts = load_sentences() if config["data"] == "sentences" else load_tsv(config["data"])
        if len(texts.classes) < 2:
            raise ValueError(f"{config['data']}: all labels are {texts.classes[0]!r}; there is nothing to tell apart")
        try:
            train, validation, test = parts(texts, config)
            tokenizer, encoder = encoder_of(config, [texts.texts[i] for i in train])
        except ValueError as error:
            raise ValueError(f"{config['data']}: {error}") from None
        length, special = min(config["max_length"], encoder.max_positions), tokenizer.template.added(False)
        if length <= special:
            raise ValueError(f"max_length {length} leaves no place for a word beside {special} special tokens")
        ids = tokenizer(list(texts.texts), truncation=True, max_length=length)["input_ids"]
        samples = [(np.array(row, np.int64), int(label)) for row, label in zip(ids, texts.y, strict=True)]
        train, validation, test = ([samples[i] for i in part] for part in (train, validation, test))
        return Texts(train, validation, test, texts.classes, texts.digest(), tokenizer, encoder)

    def facts(self, data: Texts) -> Config:
        return {"data_digest": data.digest, "classes": list(data.classes)}

    def furnish(self, run: Run, data: Texts) -> None:
        data.tokenizer.save_pretrained(run.folder / "tokenizer")
        write_atomically(run.folder / "encoder.json", (json.dumps(data.encoder.to_dict(), indent=2) + "\n").encode())

    def build(self, config: Config, data: Texts) -> Module:
        kind = ENCODERS[data.encoder.model_type]
        if "weights" in config:
            encoder = kind.from_pretrained(config["weights"], verbose=False)
        else:
            encoder = kind(data.encoder)
        return classifier(encoder, len(data.classes), config)

    def heading(self, config: Config, data: Texts) -> str:
        counts = f"{len(data.train)} training, {len(data.validation)} validation and {len(data.test)} held-out texts"
        return f"{config['data']}: {counts}, {len(data.classes)} classes"

    def samples(self, data: Texts) -> int:
        return len(data.train)

    def fit(self, model: TextClassifier, config: Config, data: Texts, **options: Any) -> History:
        options |= {"schedule": warmup_linear, "max_norm": 1.0, "patience": config["patience"]}
        if config["freeze"]:
            training, validation = (features(model, part) for part in (data.train, data.validation))
            optimizer = optim.AdamW(model.head.parameters(), lr=config["lr"], weight_decay=0.01)
            loaders = DataLoader(training, config["batch_size"], shuffle=True), DataLoader(validation, 256)
            return fit(model.head, loaders[0], optimizer, config["epochs"], loaders[1], **options)
        optimizer = optim.AdamW(decayed(model.parameters()), lr=config["lr"])
        similar = SimilarLengthSampler([len(ids) for ids, _ in data.train], config["batch_size"])
        training = DataLoader(data.train, batch_sampler=similar, collate_fn=collate_sequences)
        return fit(model, training, optimizer, config["epochs"], in_order(data.validation), **options)

    def judge(self, model: Module, config: Config, data: Texts, history: History) -> Mapping[str, float]:
        found = evaluate(model, in_order(data.test))
        row = history[best_epoch(history)]
        row |= {f"held_out_{name}": value for name, value in found.items()}
        return row

    def scores(self, row: Mapping[str, float]) -> str:
        train, validation = row["train_accuracy"], row["test_accuracy"]
        return f"loss {row['train_loss']:.4f}  accuracy: train {train:.4f}, validation {validation:.4f}"

    def result(self, row: Mapping[str, float]) -> str:
        return f"held-out accuracy {row['held_out_accuracy']:.4f} (weights of epoch {row['epoch']})"


def wants_all_folds(arguments: argparse.Namespace) -> bool:
    """Whether a cross-validation is asked for, or is to be gone on with."""
    if arguments.resume is None:
        return arguments.folds is not None and arguments.fold is None
    try:
        return is_whole(Run.open(arguments.resume or arguments.out or ""))
    except RunError:
        return False  # what is wrong is said when the run is reopened


def parts(texts: TextSet, config: Config) -> tuple[list[int], list[int], list[int]]:
    """Which texts are for training, for validation and held out; each class is in every part, as far as it can."""
    if "fold" in config:
        held_out = folds(texts.y, config["folds"], config["seed"]) == config["fold"] - 1
    else:
        held_out = stratified(texts.y, 0.2, config["seed"])
    rest = np.flatnonzero(~held_out)
    chosen = stratified(texts.y[rest], VALIDATION, config["seed"])
    if not (held_out.any() and chosen.any()) or len(np.unique(texts.y[rest[~chosen]])) < len(texts.classes):
        raise ValueError(f"too few texts, {len(texts.y)} in {len(texts.classes)} classes, for three parts")
    return rest[~chosen].tolist(), rest[chosen].tolist(), np.flatnonzero(held_out).tolist()


def encoder_of(config: Config, texts: Sequence[str]) -> tuple[Tokenizer, BertConfig]:
    """The tokenizer and the encoder's configuration: of the weights, or made for these texts."""
    if "weights" not in config:
        tokenizer = BertTokenizer.train(texts, PIECES)
        return tokenizer, BertConfig(len(tokenizer), max_position_embeddings=config["max_length"], **SMALL)
    values, source = read_config(config["weights"])
    kind = ENCODERS.get(str(values.get("model_type", "bert")))
    if kind is None:
        raise ValueError(f"{source}: model_type {values['model_type']!r} is none of {', '.join(ENCODERS)}")
    encoder, tokenizer = kind.config_class.from_dict(values, source), tokenizer_of(config["weights"])
    check_vocabulary(tokenizer, encoder, source)
    return tokenizer, encoder


def check_vocabulary(tokenizer: Tokenizer, encoder: BertConfig, source: Path) -> None:
    """ValueError if the tokenizer has tokens that the encoder has no rows for."""
    last = max(tokenizer.tokens)
    if last >= encoder.vocab_size:
        raise ValueError(f"{source}: vocab_size is {encoder.vocab_size}, but the tokenizer has a token {last}")


def classifier(encoder: BertModel, classes: int, config: Config) -> TextClassifier:
    """The encoder with a head; without its pooler where that would not be used."""
    if config["pooling"] == "mean":
        encoder.pooler = None
    return TextClassifier(encoder, classes, config["pooling"])


def in_order(samples: list[Sample]) -> DataLoader:
    """Batches for judging, sorted by length."""
    sampler = SimilarLengthSampler([len(ids) for ids, _ in samples], 64, shuffle=False)
    return DataLoader(samples, batch_sampler=sampler, collate_fn=collate_sequences)


def features(model: TextClassifier, samples: list[Sample]) -> TensorDataset:
    """What a frozen encoder makes of texts, once and for all."""
    model.eval()
    with no_grad():
        rows = [(model.pooled(ids, lengths)._array, y._array) for ids, lengths, y in in_order(samples)]
    return TensorDataset(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def decayed(parameters: Any) -> list[dict[str, Any]]:
    """Weight decay for matrices, none for biases and norms."""
    matrices: list[Parameter] = []
    vectors: list[Parameter] = []
    for parameter in parameters:
        (matrices if parameter.ndim > 1 else vectors).append(parameter)
    return [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
