"""`minidl train lenet`: a convolutional network on images."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minidl import optim
from minidl.cli.arguments import Option, path_or, positive_float, positive_int, seed
from minidl.cli.job import Config, Job
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
from minidl.models import LeNet
from minidl.nn import Module
from minidl.training import History, fit, warmup_cosine

OPTIMIZERS = {
    "sgd": (optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}),
    "adam": (optim.Adam, {"lr": 5e-3}),
    "adamw": (optim.AdamW, {"lr": 5e-3, "weight_decay": 1e-2}),
}
ENLARGED_TO = 16
"""Images with a shorter side are enlarged, pixel by pixel, to that or more: LeNet's windows are 5×5."""
MNIST_OR_NPZ = "a folder with MNIST's four IDX files (plain or .gz), or an .npz with x and y"


class LeNetJob(Job):
    """LeNet-5 on the digits that come with the package, or on the user's images."""

    name, title, unit = "lenet", "LeNet", "images"
    help = "LeNet-5 on images"
    description = "Train LeNet-5 on images: on the handwritten digits that come with the package, or on your own."
    options: ClassVar = {
        "data": Option(MNIST_OR_NPZ, "digits", path_or("digits"), "PATH"),
        "epochs": Option("times through the data", 20, positive_int, "N"),
        "batch_size": Option("images a step", 32, positive_int, "N"),
        "lr": Option("highest learning rate (default 0.005; 0.05 for sgd)", None, positive_float, "X"),
        "optimizer": Option("", "adamw", choices=OPTIMIZERS),
        "seed": Option("decides on all that is random", 0, seed, "N"),
    }

    def complete(self, config: Config) -> None:
        config.setdefault("lr", OPTIMIZERS[config["optimizer"]][1]["lr"])

    def load(self, config: Config) -> ImageSet:
        images = load_digits() if config["data"] == "digits" else load_images(config["data"])
        try:
            return images.split(config["seed"])
        except ValueError as error:
            raise ValueError(f"{config['data']}: {error}") from None

    def facts(self, data: ImageSet) -> Config:
        return {"data_digest": data.digest(), "classes": list(data.classes)}

    def build(self, config: Config, data: ImageSet) -> Module:
        return LeNet(len(data.classes), data.x.shape[1], enlarged_size(data))

    def heading(self, config: Config, data: ImageSet) -> str:
        shape, parts = "x".join(map(str, data.x.shape[1:])), f"{len(data.x)} training and {len(data.test_x)} held-out"
        return f"{config['data']}: {parts} images of {shape}, {len(data.classes)} classes"

    def samples(self, data: ImageSet) -> int:
        return len(data.x)

    def fit(self, model: Module, config: Config, data: ImageSet, **options: Any) -> History:
        make, settings = OPTIMIZERS[config["optimizer"]]
        optimizer = make(model.parameters(), **{**settings, "lr": config["lr"]})
        train_loader, test_loader = loaders(data, config["batch_size"])
        return fit(model, train_loader, optimizer, config["epochs"], test_loader, schedule=warmup_cosine, **options)


def enlargement(images: ImageSet) -> int:
    """By how much small images are enlarged."""
    return -(-ENLARGED_TO // min(*images.x.shape[2:], ENLARGED_TO))


def enlarged_size(images: ImageSet) -> tuple[int, int]:
    """Height and width after that."""
    height, width = images.x.shape[2:]
    return height * enlargement(images), width * enlargement(images)


def loaders(images: ImageSet, batch_size: int) -> tuple[DataLoader, DataLoader]:
    """Batches for training, shifted at random by up to a sixteenth of the image, and for judging."""
    pixels = images.x.astype(np.float64) / images.maximum
    mean, std = pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))
    see = [ToFloat(images.maximum), Normalize(mean, np.where(std > 0, std, 1.0))]
    enlarge = Enlarge(enlargement(images))
    size = enlarged_size(images)
    shift = RandomCrop(size, padding=max(1, round(min(size) / 16)))
    training = TensorDataset(images.x, images.y, transform=Compose([enlarge, shift, *see]))
    held_out = TensorDataset(images.test_x, images.test_y, transform=Compose([enlarge, *see]))
    return DataLoader(training, batch_size, shuffle=True), DataLoader(held_out, batch_size=256)
