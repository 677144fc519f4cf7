"""Vocabularies in files: vocab.txt, vocab.json and merges.txt, and the settings beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minidl.data.lines import decoded, read_bytes, read_lines
from minidl.io import write_atomically
from minidl.text.added import AddedToken

UNLIMITED = 10**9
"""Published settings write numbers above this for "no longest length"."""

ROLES = ("unk_token", "cls_token", "sep_token", "pad_token", "mask_token", "bos_token", "eos_token")


def checked_vocab(where: str, vocab: Any) -> dict[str, int]:
    """A vocabulary as a mapping from token to id, from one or from the tokens in order; `where` is for messages."""
    if isinstance(vocab, Mapping):
        pairs = list(vocab.items())
    elif isinstance(vocab, Sequence):
        pairs = [(token, index) for index, token in enumerate(vocab)]
    else:
        raise TypeError(f"{where}: expected a sequence of tokens or a mapping to ids, got {type(vocab).__name__}")
    ids: dict[str, int] = {}
    owner: dict[int, str] = {}
    for token, index in pairs:
        if not isinstance(token, str):
            raise TypeError(f"{where}: tokens must be strings, got {token!r} with id {index}")
        if isinstance(index, bool) or not isinstance(index, int):
            raise TypeError(f"{where}: ids must be integers, got {index!r} for {token!r}")
        if index < 0:
            raise ValueError(f"{where}: ids must not be negative, got {index} for {token!r}")
        if token in ids:
            raise ValueError(f"{where}: the token {token!r} occurs twice, with ids {ids[token]} and {index}")
        if index in owner:
            raise ValueError(f"{where}: {owner[index]!r} and {token!r} have the same id {index}")
        ids[token], owner[index] = index, token
    if not ids:
        raise ValueError(f"{where}: the vocabulary is empty")
    return ids


def read_vocab_txt(path: str | os.PathLike) -> dict[str, int]:
    """The tokens of a vocab.txt, one a line; a token's id is the number of its line, from 0.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not UTF-8, a token twice, an empty line before the end; names the line.
    """
    lines = read_lines(path)
    while lines and not lines[-1]:
        lines.pop()
    ids: dict[str, int] = {}
    for index, token in enumerate(lines):
        if not token:
            raise ValueError(f"{path}, line {index + 1}: empty; expected one token a line")
        if token in ids:
            raise ValueError(f"{path}, line {index + 1}: the token {token!r} is already on line {ids[token] + 1}")
        ids[token] = index
    if not ids:
        raise ValueError(f"{path}: the file is empty; expected one token a line")
    return ids


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """The object in a JSON file. ValueError if it is broken (names the line), has a key twice or is no object."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f"{path}: {key!r} occurs twice in one object")
            found[key] = value
        return found

    try:
        content = json.loads(decoded(path, read_bytes(path)), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: broken JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise ValueError(f"{path}: broken JSON: too deeply nested") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def read_vocab_json(path: str | os.PathLike) -> dict[str, int]:
    """The vocabulary of a vocab.json, one object from token to id. ValueError names the file."""
    return vocab_of(str(path), read_json(path))


def vocab_of(where: str, content: Any) -> dict[str, int]:
    """A vocabulary found in a file: what is wrong with it is always a ValueError."""
    if not isinstance(content, dict):
        raise ValueError(f"{where}: expected an object from token to id, found {type(content).__name__}")
    try:
        return checked_vocab(where, content)
    except TypeError as error:
        raise ValueError(str(error)) from None


def checked_merges(where: str, merges: Iterable[Any], vocab: Mapping[str, int]) -> list[tuple[str, str]]:
    """Merges as pairs of symbols, each of which the vocabulary has, joined too; `where` is for messages."""
    pairs: dict[tuple[str, str], int] = {}
    for i, pair in enumerate(merges):
        place = f"{where}: merges[{i}]"
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(s, str) and s for s in pair):
            raise ValueError(f"{place}: expected two symbols, found {pair!r:.60}")
        _add_merge(place, pairs, (pair[0], pair[1]), i, vocab)
    return list(pairs)


def _add_merge(
    place: str, pairs: dict[tuple[str, str], int], pair: tuple[str, str], number: int, vocab: Mapping[str, int]
) -> None:
    if pair in pairs:
        raise ValueError(f"{place}: the merge {' '.join(pair)!r} occurs twice, first as number {pairs[pair]}")
    for symbol in (*pair, "".join(pair)):
        if symbol not in vocab:
            raise ValueError(f"{place}: the merge {' '.join(pair)!r} needs {symbol!r}, which is not in the vocabulary")
    pairs[pair] = number


def read_merges(path: str | os.PathLike, vocab: Mapping[str, int]) -> list[tuple[str, str]]:
    """The merges of a merges.txt: two symbols a line, the first learnt first; a line `#version: ...` may come before.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not UTF-8, a line that is not two symbols of the vocabulary, a merge twice; names the line.
    """
    merges: dict[tuple[str, str], int] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        parts = line.split(" ")
        if len(parts) != 2 or not all(parts):
            raise ValueError(f"{path}, line {number}: truncated or corrupt: expected two symbols, found {line!r}")
        _add_merge(f"{path}, line {number}", merges, (parts[0], parts[1]), number, vocab)
    return list(merges)


def ordered(vocab: Mapping[str, int]) -> list[str]:
    """The tokens in the order of their ids. ValueError if the ids are not 0, 1, 2 ..., or a token cannot be a line."""
    tokens = sorted(vocab, key=vocab.__getitem__)
    gap = next((i for i, token in enumerate(tokens) if vocab[token] != i), None)
    if gap is not None:
        raise ValueError(f"save: no token has the id {gap}, but vocab.txt numbers its lines without a gap")
    wrong = next((token for token in tokens if not token or "\n" in token or token.endswith("\r")), None)
    if wrong is not None:
        raise ValueError(f"save: the token {wrong!r} cannot be a line of vocab.txt")
    return tokens


def read_settings(folder: Path) -> dict[str, Any]:
    """What special_tokens_map.json, tokenizer_config.json and added_tokens.json say, as a tokenizer's options.

    A role's token is a string, or an object with `content` and how it is found in texts.
    """
    settings: dict[str, Any] = {}
    added: dict[str, tuple[AddedToken, int | None]] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = folder / name
        if not path.exists():
            continue
        for key, value in read_json(path).items():
            if key in ROLES and isinstance(value, dict):
                token = added_token(f"{path}: {key}", value, special=True)
                added[token.content] = (token, None)
                settings[key] = token.content
            elif key == "added_tokens_decoder":
                if not isinstance(value, dict) or not all(index.isdecimal() for index in value):
                    raise ValueError(f"{path}: {key}: expected an object from ids to tokens")
                for index, entry in value.items():
                    token = added_token(f"{path}: {key}: {index}", entry)
                    added[token.content] = (token, int(index))
            else:
                settings[key] = value
            if key in ROLES and not isinstance(settings[key], str | None):
                raise ValueError(f"{path}: {key}: expected a string, found {value!r}")
    path = folder / "added_tokens.json"
    if path.exists():
        for content, index in read_vocab_json(path).items():
            token = added[content][0] if content in added else AddedToken(content, special=False)
            added[content] = (token, index)
    settings["added_tokens"] = list(added.values())
    longest = settings.get("model_max_length")
    if longest is not None:
        if isinstance(longest, bool) or not isinstance(longest, int | float) or not longest >= 1:
            raise ValueError(
                f"{folder / 'tokenizer_config.json'}: model_max_length must be a length, found {longest!r}"
            )
        settings["model_max_length"] = int(longest) if longest < UNLIMITED else None
    return settings


def added_token(where: str, entry: Any, special: bool = False) -> AddedToken:
    """An added token as the files write it; `where` names the place in messages."""
    if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
        raise ValueError(f"{where}: expected an object with a string 'content', found {entry!r}")
    flags = {}
    for flag in ("special", "single_word", "lstrip", "rstrip", "normalized"):
        flags[flag] = entry.get(flag, special if flag == "special" else False)
        if not isinstance(flags[flag], bool):
            raise ValueError(f"{where}: {flag} must be true or false, found {flags[flag]!r}")
    return AddedToken(entry["content"], **flags)


def save_files(folder: str | os.PathLike, files: Mapping[str, str]) -> None:
    """Write text files into a folder, each as a whole or not at all; the folder is made if it is not there."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomically(folder / name, content.encode("utf-8"))
