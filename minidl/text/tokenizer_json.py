"""tokenizer.json: one file that says all about a tokenizer, of any of many kinds.

It names a normalizer, a pre-tokenizer, a model, a post-processor and a decoder, each with its settings. Two kinds are
understood here, BERT's WordPiece and byte-level BPE; whatever else a file asks for is refused by name, because
tokens that are only nearly right are worse than none.
"""

from __future__ import annotations

import os
from typing import Any

from minidl.text.added import AddedToken
from minidl.text.files import added_token, checked_merges, read_json, vocab_of
from minidl.text.template import Slot, Template


class Section:
    """One object of the file; each setting is taken out with its type checked, and none may be left over."""

    def __init__(self, where: str, content: Any) -> None:
        if not isinstance(content, dict):
            raise ValueError(f"{where}: expected an object, found {content!r:.60}")
        self.where = where
        self.left = dict(content)
        self.type = self.take("type", str, None)

    def take(self, name: str, kind: type, default: Any) -> Any:
        """The setting `name`; `default` if it is not there or null."""
        value = self.left.pop(name, None)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"{self.where}: {name} must be of type {kind.__name__}, found {value!r:.60}")
        return value

    def done(self) -> None:
        """ValueError for settings that nobody took and that say something."""
        for name, value in self.left.items():
            if value not in (None, False, "", [], {}):
                raise ValueError(f"{self.where}: the setting {name}={value!r:.60} is not supported")

    def refuse(self, expected: str) -> ValueError:
        return ValueError(f"{self.where}: the type {self.type!r} is not supported; expected {expected}")


def read_tokenizer_json(path: str | os.PathLike) -> tuple[str, dict[str, Any]]:
    """The kind ("WordPiece" or "BPE") and options of the tokenizer in a tokenizer.json.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: broken JSON, or something that is not understood; names the file and the setting.
    """
    content = read_json(path)
    if "model" not in content:
        raise ValueError(f"{path}: not a tokenizer.json: it has no 'model'")
    model = Section(f"{path}: model", content["model"])
    kind = model.type or ("BPE" if "merges" in model.left else "WordPiece")  # old files do not say
    model.type = kind
    if kind not in ("WordPiece", "BPE"):
        raise model.refuse("WordPiece or BPE")
    options: dict[str, Any] = {"vocab": vocab_of(f"{path}: model.vocab", model.left.pop("vocab", None))}
    read = _wordpiece if kind == "WordPiece" else _byte_level
    read(path, content, model, options)
    model.done()
    options["added_tokens"] = _added(path, content.get("added_tokens") or [], options["vocab"])
    _defaults(path, content, options)
    return kind, options


def _wordpiece(path: Any, content: dict, model: Section, options: dict) -> None:
    options["unk_token"] = model.take("unk_token", str, "[UNK]")
    options["prefix"] = model.take("continuing_subword_prefix", str, "##")
    options["max_input_chars_per_word"] = model.take("max_input_chars_per_word", int, 100)
    steps = {"do_lower_case": False, "strip_accents": False, "clean_text": False, "tokenize_chinese_chars": False}
    if content.get("normalizer") is not None:
        section = Section(f"{path}: normalizer", content["normalizer"])
        if section.type == "BertNormalizer":
            steps["clean_text"] = section.take("clean_text", bool, True)
            steps["tokenize_chinese_chars"] = section.take("handle_chinese_chars", bool, True)
            steps["strip_accents"] = section.take("strip_accents", bool, None)
            steps["do_lower_case"] = section.take("lowercase", bool, True)
        elif section.type == "Lowercase":
            steps["do_lower_case"] = True
        else:
            raise section.refuse("BertNormalizer or Lowercase")
        section.done()
    options.update(steps)
    section = Section(f"{path}: pre_tokenizer", content.get("pre_tokenizer"))
    if section.type != "BertPreTokenizer":
        raise section.refuse("BertPreTokenizer")
    section.done()
    options["template"] = _template(path, content.get("post_processor"), options)
    if content.get("decoder") is not None:
        section = Section(f"{path}: decoder", content["decoder"])
        if section.type != "WordPiece":
            raise section.refuse("WordPiece")
        if section.take("prefix", str, "##") != options["prefix"]:
            raise ValueError(f"{section.where}: its prefix is not the model's {options['prefix']!r}")


def _byte_level(path: Any, content: dict, model: Section, options: dict) -> None:
    model.take("unk_token", str, None)  # there are no unknown tokens on bytes
    options["ignore_merges"] = model.take("ignore_merges", bool, False)
    model.take("fuse_unk", bool, False)
    # A merge is "a b" in older files, ["a", "b"] in newer ones.
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model.take("merges", list, [])]
    options["merges"] = checked_merges(f"{path}: model", merges, options["vocab"])
    if content.get("normalizer") is not None:
        raise Section(f"{path}: normalizer", content["normalizer"]).refuse("none, for byte-level BPE")
    section = Section(f"{path}: pre_tokenizer", content.get("pre_tokenizer"))
    if section.type != "ByteLevel":
        raise section.refuse("ByteLevel")
    options["add_prefix_space"] = section.take("add_prefix_space", bool, True)
    section.take("trim_offsets", bool, True)  # without effect here; the post-processor's counts
    if not section.take("use_regex", bool, True):
        raise ValueError(f"{section.where}: use_regex=false is not supported")
    section.done()
    options["template"] = _template(path, content.get("post_processor"), options)
    if content.get("decoder") is not None:
        section = Section(f"{path}: decoder", content["decoder"])
        if section.type != "ByteLevel":
            raise section.refuse("ByteLevel")


def _template(path: Any, content: Any, options: dict) -> Template | None:
    if content is None:
        return Template.parse("A:0", "A:0 B:1", {})
    section = Section(f"{path}: post_processor", content)
    if section.type == "TemplateProcessing":
        return _template_processing(section)
    if section.type == "ByteLevel" and "merges" in options:
        options["trim_offsets"] = section.take("trim_offsets", bool, True)
        section.take("add_prefix_space", bool, True)
        section.take("use_regex", bool, True)
        section.done()
        return Template.parse("A:0", "A:0 B:1", {})
    roberta = section.type == "RobertaProcessing" and "merges" in options
    if section.type != "BertProcessing" and not roberta:
        raise section.refuse("TemplateProcessing, BertProcessing or (for BPE) ByteLevel, RobertaProcessing")
    ids = {}
    for role in ("cls", "sep"):
        token = section.take(role, list, [])
        if len(token) != 2 or not isinstance(token[0], str) or type(token[1]) is not int:
            raise ValueError(f"{section.where}: {role} must be a token and its id, found {token!r:.60}")
        ids[role] = token[1]
    if roberta:
        options["trim_offsets"] = section.take("trim_offsets", bool, True)
        section.take("add_prefix_space", bool, True)
        section.done()
        return Template.parse("cls:0 A:0 sep:0", "cls:0 A:0 sep:0 sep:0 B:0 sep:0", ids)
    section.done()
    return Template.parse("cls:0 A:0 sep:0", "cls:0 A:0 sep:0 B:1 sep:1", ids)


def _template_processing(section: Section) -> Template:
    special = section.take("special_tokens", dict, {})

    def slots(name: str, sequences: set[str]) -> tuple[Slot, ...]:
        found = []
        for item in section.take(name, list, []):
            try:
                ((kind, entry),) = item.items()
                token, type_id = entry["id"], entry["type_id"]
                if type(type_id) is not int:
                    raise TypeError
                if kind == "Sequence":
                    found.append(Slot({"A": "A", "B": "B"}[token], (), type_id))
                elif kind == "SpecialToken":
                    found.append(Slot(None, tuple(int(index) for index in special[token]["ids"]), type_id))
                else:
                    raise KeyError(kind)
            except (AttributeError, KeyError, TypeError, ValueError):
                raise ValueError(f"{section.where}: {name}: {item!r:.80} is not understood") from None
        if sorted(slot.sequence for slot in found if slot.sequence) != sorted(sequences):
            raise ValueError(f"{section.where}: {name} must hold the sequence {' and '.join(sorted(sequences))} once")
        return tuple(found)

    template = Template(slots("single", {"A"}), slots("pair", {"A", "B"}))
    section.done()
    return template


def _added(path: Any, entries: Any, vocab: dict[str, int]) -> list[tuple[AddedToken, int]]:
    if not isinstance(entries, list):
        raise ValueError(f"{path}: added_tokens: expected a list, found {entries!r:.60}")
    result = []
    for i, entry in enumerate(entries):
        where = f"{path}: added_tokens[{i}]"
        token = added_token(where, entry)
        index = entry.get("id")
        if type(index) is not int or index < 0:
            raise ValueError(f"{where}: id must be an integer, found {index!r}")
        if vocab.get(token.content, index) != index:
            raise ValueError(
                f"{where}: {token.content!r} has the id {vocab[token.content]} in the vocabulary, not {index}"
            )
        result.append((token, index))
    return result


def _defaults(path: Any, content: dict, options: dict) -> None:
    """The length and sides that the file's own truncation and padding would use; they are not switched on by that."""
    sides = {"Right": "right", "Left": "left"}
    if content.get("truncation") is not None:
        section = Section(f"{path}: truncation", content["truncation"])
        options["model_max_length"] = section.take("max_length", int, None)
        options["truncation_side"] = sides.get(section.take("direction", str, "Right"), "right")
    if content.get("padding") is not None:
        section = Section(f"{path}: padding", content["padding"])
        options["padding_side"] = sides.get(section.take("direction", str, "Right"), "right")
        token = section.take("pad_token", str, None)
        if token in options["vocab"]:
            options["pad_token"] = token
