"""Folders that pretrained models are published in: config.json beside model.safetensors or pytorch_model.bin."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from minidl import nn
from minidl.data.limits import file_length
from minidl.io import load, save_safetensors, write_atomically
from minidl.mode import nothing_drawn
from minidl.tensor import Tensor

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
LONGEST_CONFIG = 1 << 24
OLD_NAMES = {"gamma": "weight", "beta": "bias"}  # of layer norm, before 2019

C = TypeVar("C", bound="Config")
M = TypeVar("M", bound="Pretrained")


@dataclass
class Config:
    """What a config.json says, under the names that it has there; whatever is not understood is kept in `other`."""

    model_type: ClassVar[str] = ""
    aliases: ClassVar[Mapping[str, str]] = {}  # names in the file that differ from those here

    other: dict[str, Any] = field(default_factory=dict, kw_only=True, repr=False, compare=False)

    @classmethod
    def from_dict(cls: type[C], values: Mapping[str, Any], source: str | os.PathLike = "config") -> C:
        """A config of these values; ValueError naming `source` if one of them cannot be."""
        kind = values.get("model_type", cls.model_type)
        if kind not in cls.kinds():
            raise ValueError(f"{source}: expected model_type {' or '.join(cls.kinds())}, found {kind!r}")
        names = {f.name for f in fields(cls)} - {"other"}
        known, other = {}, {}
        for name, value in values.items():
            own = cls.aliases.get(name, name)
            if own in names:
                known[own] = value
            else:
                other[name] = value
        try:
            return cls(**known, other=other)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{source}: {error}") from None

    @classmethod
    def from_pretrained(cls: type[C], folder: str | os.PathLike) -> C:
        """The config of a folder. FileNotFoundError without one, ValueError for one that cannot be understood."""
        return cls.from_dict(*read_config(folder))

    @classmethod
    def kinds(cls) -> tuple[str, ...]:
        """The model_types that this config can be of."""
        return (cls.model_type,)

    def to_dict(self) -> dict[str, Any]:
        """The values as config.json has them."""
        theirs = {own: name for name, own in self.aliases.items()}
        own = {theirs.get(f.name, f.name): getattr(self, f.name) for f in fields(self) if f.name != "other"}
        return {"model_type": self.model_type} | self.other | own

    def positive(self, *names: str) -> None:
        """ValueError unless these are positive integers."""
        for name in names:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a positive integer, but is {value!r}")

    def numbers(self, *names: str, below: float = float("inf")) -> None:
        """ValueError unless these are numbers from 0 on, below a limit."""
        for name in names:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < below:
                raise ValueError(f"{name} must be a number in 0 <= x < {below}, but is {value!r}")


@dataclass
class LoadingReport:
    """What `from_pretrained` found.

    Attributes:
        source: the file. model: the class that it was read into.
        missing_keys: parameters that the file does not have: they keep their random first values.
        unexpected_keys: arrays of the file that the model has no place for: they are not used.
    """

    source: str
    model: str
    missing_keys: list[str]
    unexpected_keys: list[str]

    def __bool__(self) -> bool:
        """Whether there is anything to say."""
        return bool(self.missing_keys or self.unexpected_keys)

    def __str__(self) -> str:
        lines = [f"{self.model} from {self.source}: {'' if self else 'all keys matched'}".rstrip()]
        if self.missing_keys:
            lines.append(f"  not in the file, so these start at random: {', '.join(self.missing_keys)}")
        if self.unexpected_keys:
            lines.append(f"  in the file, but not of this model: {', '.join(self.unexpected_keys)}")
        return "\n".join(lines)


class Pretrained(nn.Module):
    """A model with a config that can be read from, and written to, such a folder.

    A subclass says how names in files differ from its own:
        config_class: of its config.
        prefix: what keys of the body begin with in models that have a head ("bert."), and may lack in files.
        renames: pairs of a part of a key in files and of the same in the model.
        ignored: ends of keys that files have for no purpose.
    """

    config_class: ClassVar[type[Config]]
    prefix: ClassVar[str] = ""
    renames: ClassVar[tuple[tuple[str, str], ...]] = ()
    ignored: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            expected = self.config_class.__name__
            raise TypeError(f"{type(self).__name__}: expects a {expected}, not a {type(config).__name__}")
        self.config = config

    @classmethod
    def from_pretrained(
        cls: type[M],
        folder: str | os.PathLike,
        *,
        output_loading_info: bool = False,
        verbose: bool = True,
        dtype: Any = None,
        **changes: Any,
    ) -> Any:
        """The model of a folder, in evaluation mode.

        Args:
            folder: with config.json and model.safetensors or pytorch_model.bin (which needs no PyTorch).
            output_loading_info: return a pair, the model and a `LoadingReport`.
            verbose: print the report to stderr if keys are missing or unexpected.
            dtype: of the parameters; float32 by default.
            changes: to the config, such as num_labels=3.

        Raises:
            FileNotFoundError: a file is not there.
            ValueError: broken files, or a config, weights and model that do not fit each other; shapes are named.
        """
        values, source = read_config(folder)
        config = cls.config_class.from_dict({**values, **changes}, source)
        path = weights_file(folder)
        weights = load(path)
        if not isinstance(weights, dict) or not all(isinstance(t, Tensor) for t in weights.values()):
            raise ValueError(f"{path}: expected arrays by name, as a state_dict has them")
        weights = cls.own_names(weights)
        cls.check_sizes(config, weights, path)
        with nothing_drawn():
            model = cls(config) if dtype is None else cls(config).to(dtype)
        report = model.load_weights(weights, path)
        if report.missing_keys:
            model.draw(report.missing_keys)
        if verbose and report:
            print(report, file=sys.stderr)
        model.eval()
        return (model, report) if output_loading_info else model

    @classmethod
    def own_names(cls, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The arrays of a file under the names of the model, without the prefix of its body."""
        named = {}
        for key, array in weights.items():
            if key.endswith(cls.ignored):
                continue
            for theirs, own in cls.renames:
                key = key.replace(theirs, own)
            stem, _, last = key.rpartition(".")
            key = f"{stem}.{OLD_NAMES.get(last, last)}" if stem else key
            named[key.removeprefix(cls.prefix)] = array
        return named

    @classmethod
    def file_name(cls, key: str) -> str:
        """The name in files of a key of the model."""
        for theirs, own in reversed(cls.renames):
            key = key.replace(own, theirs)
        return key

    @classmethod
    def sizes(cls, config: Any) -> dict[str, tuple[int, ...]]:
        """A few keys and their shapes, by which it shows that a config belongs to other weights."""
        return {}

    @classmethod
    def check_sizes(cls, config: Any, weights: Mapping[str, Tensor], path: str | os.PathLike) -> None:
        """ValueError before anything of that size is made if config and weights contradict each other."""
        wrong = [
            f"{key}: config says {shape}, weights have {weights[key].shape}"
            for key, shape in cls.sizes(config).items()
            if key in weights and weights[key].shape != shape
        ]
        lost = [key for key in cls.sizes(config) if key not in weights]
        if lost:
            raise ValueError(f"{path}: not the weights of a {cls.__name__}: there is no {', '.join(lost)}")
        if wrong:
            raise ValueError(f"{path}: config.json does not fit the weights:\n    " + "\n    ".join(wrong))

    def load_weights(self, weights: Mapping[str, Tensor], path: str | os.PathLike) -> LoadingReport:
        """Take all arrays that there is a place for, if they fit and nothing of the body is missing."""
        name = type(self).__name__
        own = self.places()
        found = {id(own[key]) for key in weights if key in own}
        missing = [key for key, t in own.items() if id(t) not in found]  # of tied ones, one is enough
        unexpected = [key for key in weights if key not in own]
        wrong = [
            f"{key}: expected {own[key].shape} {own[key].dtype}, found {w.shape} {w.dtype}"
            for key, w in weights.items()
            if key in own and (w.shape != own[key].shape or w.dtype.kind != own[key].dtype.kind)
        ]
        lost = [key for key in missing if not self.may_be_new(key)]
        if lost:
            wrong.append(f"not in the file: {', '.join(f'{key} {own[key].shape}' for key in lost)}")
            wrong += [f"in the file, but not of this model: {', '.join(unexpected)}"] if unexpected else []
        if wrong:
            raise ValueError(f"{path}: the weights do not fit {name}:\n    " + "\n    ".join(wrong))
        for key, w in weights.items():
            if key in own:
                own[key].data[...] = w.to(own[key].dtype)
        return LoadingReport(os.fspath(path), name, missing, unexpected)

    def places(self) -> dict[str, Tensor]:
        """The model's arrays by their keys without the prefix of the body."""
        return {key.removeprefix(self.prefix): t for key, t in self.state_dict(keep_vars=True).items()}

    def draw(self, keys: Iterable[str]) -> None:
        """Give some arrays the first values that a new model has there."""
        own, new = self.places(), type(self)(self.config).places()
        for key in keys:
            own[key].data[...] = new[key].detach().to(own[key].dtype)

    def may_be_new(self, key: str) -> bool:
        """Whether a model is still the pretrained one without this key: it is of a head, not of the body."""
        return False

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write config.json and model.safetensors, under the names that others know them by; each tied one once.

        Raises:
            OSError: the folder cannot be written; files that were there are as they were.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        seen: set[int] = set()
        arrays = {}
        for key, t in self.state_dict(keep_vars=True).items():
            if id(t) not in seen:
                seen.add(id(t))
                arrays[self.file_name(key)] = t.detach()
        save_safetensors(arrays, folder / WEIGHTS[0], {"format": "pt"})
        config = self.config.to_dict() | {"architectures": [type(self).__name__]}
        text = json.dumps(config, indent=2, sort_keys=True) + "\n"
        write_atomically(folder / "config.json", text.encode())


def read_config(folder: str | os.PathLike) -> tuple[dict[str, Any], Path]:
    """The values of a folder's config.json, and its path. FileNotFoundError; ValueError if it is no JSON object."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    return read_json(folder / "config.json"), folder / "config.json"


def read_json(path: Path) -> dict[str, Any]:
    """The values of a configuration's file. FileNotFoundError; ValueError if it is no JSON object."""
    if file_length(path) > LONGEST_CONFIG:
        raise ValueError(f"{path}: too long for a config")
    try:
        values = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values


def weights_file(folder: str | os.PathLike) -> Path:
    """The folder's file of weights. FileNotFoundError if it has none that can be read."""
    folder = Path(folder)
    for name in WEIGHTS:
        if (folder / name).exists():
            return folder / name
    split = sorted(folder.glob("*.index.json"))
    hint = f"; weights in several files ({split[0].name}) are not supported" if split else ""
    raise FileNotFoundError(f"{folder}: there is no {' and no '.join(WEIGHTS)}{hint}")


def initialise(modules: Iterable[nn.Module], std: float) -> None:
    """First values of a Transformer: weights N(0, std²), biases and padding rows 0; norms as they are."""
    for module in modules:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight.detach()[module.padding_idx])
