"""The right tokenizer for a folder."""

from __future__ import annotations

import os
from pathlib import Path

from minidl.text.bert import BertTokenizer
from minidl.text.files import read_settings
from minidl.text.gpt2 import GPT2Tokenizer, RobertaTokenizer
from minidl.text.pretrained import kind_of, load_folder
from minidl.text.tokenizer import Tokenizer


def from_pretrained(folder: str | os.PathLike) -> Tokenizer:
    """The tokenizer of a folder as models are published in, of the class that its files ask for.

    tokenizer.json, or vocab.txt (BERT), or vocab.json and merges.txt (RoBERTa if tokenizer_config.json says so, or if
    the vocabulary has `<s>` and `</s>`; else GPT-2).

    Raises:
        FileNotFoundError: none of the files is there.
        ValueError: broken files, or settings that are not understood; names the file and what it is about.

    >>> import tempfile
    >>> from minidl.text import BertTokenizer, from_pretrained
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     BertTokenizer(["[UNK]", "[CLS]", "[SEP]", "a", "text"]).save_pretrained(folder)
    ...     from_pretrained(folder).tokenize("A text!")
    ['a', 'text', '[UNK]']
    """
    kind = kind_of(folder)
    if kind == "WordPiece":
        return BertTokenizer.from_pretrained(folder)
    named = str(read_settings(Path(folder)).get("tokenizer_class", ""))
    options = load_folder(folder, kind)
    known = {*options["vocab"], *(token.content for token, _ in options["added_tokens"])}
    roberta = named.startswith("Roberta") or (not named.startswith("GPT2") and {"<s>", "</s>"} <= known)
    return (RobertaTokenizer if roberta else GPT2Tokenizer)(**options)
