"""`minidl train speaker`: a recurrent network on utterances of different lengths."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minidl import optim
from minidl.cli.arguments import Option, positive_float, positive_int, seed
from minidl.cli.job import Config, Job
from minidl.data import DataLoader, SequenceSet, SimilarLengthSampler, collate_sequences, load_japanese_vowels
from minidl.factories import made
from minidl.models import SpeakerNet
from minidl.models.speaker import CELLS
from minidl.nn import Module
from minidl.random import default_generator
from minidl.tensor import Tensor
from minidl.training import History, fit, warmup_cosine

NOISE = 0.8
"""Added to each coefficient while training, in its standard deviations: 270 utterances are soon known by heart."""


class SpeakerJob(Job):
    """Who speaks: nine speakers, the test part as it was given held out."""

    name, title, unit = "speaker", "SpeakerNet", "utterances"
    help = "LSTM or GRU on utterances: who speaks"
    description = "Train a recurrent network to tell nine speakers by two vowels; the utterances come with the package."
    options: ClassVar = {
        "cell": Option("of the recurrent layers", "lstm", choices=CELLS),
        "hidden_size": Option("values of the state, for each direction", 64, positive_int, "N"),
        "epochs": Option("times through the data", 40, positive_int, "N"),
        "batch_size": Option("utterances a step", 18, positive_int, "N"),
        "lr": Option("highest learning rate", 0.005, positive_float, "X"),
        "seed": Option("decides on all that is random", 0, seed, "N"),
    }

    def load(self, config: Config) -> SequenceSet:
        return load_japanese_vowels()

    def facts(self, data: SequenceSet) -> Config:
        return {"data_digest": data.digest(), "classes": list(data.classes)}

    def build(self, config: Config, data: SequenceSet) -> Module:
        size, channels = config["hidden_size"], data.x[0].shape[1]
        return SpeakerNet(len(data.classes), channels, size, config["cell"], dropout=0.5)

    def heading(self, config: Config, data: SequenceSet) -> str:
        lengths, channels = [len(x) for x in data.x + data.test_x], data.x[0].shape[1]
        return (
            f"Japanese vowels: {len(data.x)} training and {len(data.test_x)} held-out utterances of {min(lengths)} to "
            f"{max(lengths)} frames of {channels}, {len(data.classes)} speakers"
        )

    def samples(self, data: SequenceSet) -> int:
        return len(data.x)

    def fit(self, model: Module, config: Config, data: SequenceSet, **options: Any) -> History:
        optimizer = optim.AdamW(model.parameters(), lr=config["lr"], weight_decay=0.01)
        train_loader, test_loader = loaders(data, config["batch_size"])
        return fit(
            model,
            train_loader,
            optimizer,
            config["epochs"],
            test_loader,
            schedule=warmup_cosine,
            max_norm=1.0,
            **options,
        )


def loaders(data: SequenceSet, batch_size: int) -> tuple[DataLoader, DataLoader]:
    """Batches of like length, with noise, for training, and without for judging; coefficients as the training part's
    mean 0 and variance 1.
    """
    frames = np.concatenate(data.x)
    mean, std = frames.mean(0), frames.std(0)
    training, held_out = (
        [((x - mean) / std, label) for x, label in zip(xs, y, strict=True)]
        for xs, y in ((data.x, data.y), (data.test_x, data.test_y))
    )
    similar = SimilarLengthSampler([len(x) for x in data.x], batch_size)
    in_order = SimilarLengthSampler([len(x) for x in data.test_x], 128, shuffle=False)
    return (
        DataLoader(training, batch_sampler=similar, collate_fn=noisy),
        DataLoader(held_out, batch_sampler=in_order, collate_fn=collate_sequences),
    )


def noisy(batch: list[Any]) -> tuple[Tensor, Tensor, Tensor]:
    """A batch whose frames are a little off, by chance."""
    x, lengths, y = collate_sequences(batch)
    noise = default_generator.numpy.standard_normal(x.shape, np.float32)
    return made(x._array + np.float32(NOISE) * noise), lengths, y
