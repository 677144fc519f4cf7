"""A folder as models are published in, read into a tokenizer's options."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minidl.text.added import AddedToken
from minidl.text.files import (
    ROLES,
    UNLIMITED,
    read_merges,
    read_settings,
    read_vocab_json,
    read_vocab_txt,
    save_files,
)
from minidl.text.tokenizer import Tokenizer
from minidl.text.tokenizer_json import read_tokenizer_json

OPTIONS: dict[str, tuple[str, ...]] = {
    "WordPiece": (
        "do_lower_case",
        "strip_accents",
        "tokenize_chinese_chars",
        "clean_text",
        "max_input_chars_per_word",
        "continuing_subword_prefix",
    ),
    "BPE": ("add_prefix_space", "trim_offsets", "ignore_merges"),
}
"""Settings of tokenizer_config.json that are a tokenizer's options by the same name."""
SIDES = ("padding_side", "truncation_side")
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "do_lower_case": (lambda value: isinstance(value, bool), "true or false"),
    "strip_accents": (lambda value: value is None or isinstance(value, bool), "true, false or null"),
    "tokenize_chinese_chars": (lambda value: isinstance(value, bool), "true or false"),
    "clean_text": (lambda value: isinstance(value, bool), "true or false"),
    "add_prefix_space": (lambda value: isinstance(value, bool), "true or false"),
    "trim_offsets": (lambda value: isinstance(value, bool), "true or false"),
    "ignore_merges": (lambda value: isinstance(value, bool), "true or false"),
    "max_input_chars_per_word": (lambda value: type(value) is int and value > 0, "a positive integer"),
    "continuing_subword_prefix": (lambda value: isinstance(value, str), "a string"),
    "padding_side": (lambda value: value in ("left", "right"), '"left" or "right"'),
    "truncation_side": (lambda value: value in ("left", "right"), '"left" or "right"'),
}
REFUSED = {"do_basic_tokenize": (True, None), "never_split": (None, [])}
"""Settings that only mean something here at these values."""


def kind_of(folder: str | os.PathLike) -> str:
    """The kind of tokenizer in a folder: "WordPiece" or "BPE".

    Raises:
        FileNotFoundError: there is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    if (folder / "tokenizer.json").exists():
        return read_tokenizer_json(folder / "tokenizer.json")[0]
    if (folder / "vocab.txt").exists():
        return "WordPiece"
    if (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        return "BPE"
    raise FileNotFoundError(f"{folder}: expected tokenizer.json, or vocab.txt, or vocab.json and merges.txt")


def load_folder(folder: str | os.PathLike, kind: str) -> dict[str, Any]:
    """The options of a tokenizer of this kind that the files of a folder ask for.

    tokenizer.json comes first, being complete; what tokenizer_config.json says beside it wins, as it does for
    the `transformers` library.
    """
    folder = Path(folder)
    found = kind_of(folder)
    if found != kind:
        raise ValueError(f"{folder}: holds a {found} tokenizer, expected {kind}")
    settings = read_settings(folder)
    config = folder / "tokenizer_config.json"
    for name, meaningless in REFUSED.items():
        if kind == "WordPiece" and settings.get(name) not in meaningless:
            raise ValueError(f"{config}: {name}={settings[name]!r} is not supported")
    whole = folder / "tokenizer.json"
    if whole.exists():
        options = read_tokenizer_json(whole)[1]
    elif kind == "WordPiece":
        options = {"vocab": read_vocab_txt(folder / "vocab.txt")}
    else:
        vocab = read_vocab_json(folder / "vocab.json")
        options = {"vocab": vocab, "merges": read_merges(folder / "merges.txt", vocab)}
    for name in (*OPTIONS[kind], *SIDES):
        value = settings.get(name)
        if value is not None:
            suits, expected = KINDS[name]
            if not suits(value):
                raise ValueError(f"{config}: {name} must be {expected}, found {value!r}")
            options["prefix" if name == "continuing_subword_prefix" else name] = value
    for role in ROLES:
        if role in settings:
            options[role] = settings[role]
    if settings.get("model_max_length"):
        options["model_max_length"] = settings["model_max_length"]
    if not whole.exists():
        options["added_tokens"] = _with_ids(folder, settings["added_tokens"], options["vocab"])
    return options


def save_folder(tokenizer: Tokenizer, folder: str | os.PathLike, files: Mapping[str, str], settings: dict) -> None:
    """Write vocabulary files, and tokenizer_config.json with settings, roles and added tokens.

    Raises:
        ValueError: a layout that these files cannot say. OSError: the folder cannot be written.
    """
    folder = Path(folder)
    if (folder / "tokenizer.json").exists():
        raise ValueError(f"{folder}: a tokenizer.json is already there, which would be read instead; remove it first")
    added = {
        str(index): {
            "content": token.content,
            "lstrip": token.lstrip,
            "normalized": token.normalized,
            "rstrip": token.rstrip,
            "single_word": token.single_word,
            "special": token.special,
        }
        for token, index in tokenizer.added_tokens.values()
    }
    config = {
        **settings,
        **{role: getattr(tokenizer, role) for role in ROLES if getattr(tokenizer, role) is not None},
        "model_max_length": tokenizer.model_max_length or UNLIMITED,
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        "added_tokens_decoder": added,
    }
    save_files(folder, {**files, "tokenizer_config.json": json.dumps(config, indent=2, ensure_ascii=False) + "\n"})


def _with_ids(
    folder: Path, added: list[tuple[AddedToken, int | None]], vocab: dict[str, int]
) -> list[tuple[AddedToken, int]]:
    """Added tokens with their ids: their own, the vocabulary's, or else the next that are free."""
    result: list[tuple[AddedToken, int]] = []
    free = max([*vocab.values(), *(index for _, index in added if index is not None)]) + 1
    for token, index in added:
        known = vocab.get(token.content)
        if index is None:
            index, free = (known, free) if known is not None else (free, free + 1)
        if known is not None and known != index:
            raise ValueError(
                f"{folder}: {token.content!r} has the id {known} in the vocabulary, {index} as added token"
            )
        result.append((token, index))
    return result
