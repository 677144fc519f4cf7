"""The tokenizers of GPT-2 and RoBERTa: byte-level BPE, which spells any text and gives it back unchanged."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from minidl.text.added import AddedToken
from minidl.text.bpe import BYTE_OF, BYTE_SYMBOLS, merge, spelt, to_bytes, word_spans
from minidl.text.characters import WHITE_SPACE
from minidl.text.files import checked_merges, checked_vocab, read_merges, read_vocab_json
from minidl.text.pretrained import load_folder, save_folder
from minidl.text.template import Template
from minidl.text.tokenizer import ROLES, Tokenizer
from minidl.text.training import check_training, counted, train_bpe


class GPT2Tokenizer(Tokenizer):
    """Text to the ids of GPT-2 (A. Radford et al., 2019): byte-level BPE, see `minidl.text.bpe`.

    `decode(encode(text)) == text` for every text. Bytes that are no UTF-8 go through `encode_bytes`, `decode_bytes`.

    Args:
        vocab: a mapping from token to id, the tokens in order, or the path of a vocab.json; with all 256 bytes.
        merges: pairs of symbols, the first learnt first, or the path of a merges.txt.
        add_prefix_space: treat a text as if a space came before it, so that its first word is like any other.
        trim_offsets: leave the space before a word out of its offsets.
        ignore_merges: a word that is in the vocabulary is taken whole, whatever the merges say.
        added_tokens: further tokens that are kept whole, with their ids.
        template: the layout, if it is not the plain `a` and `a b`.
        general: special tokens (`pad_token=...`), model_max_length, padding_side, truncation_side; see Tokenizer.

    Raises:
        ValueError: a vocabulary without some byte, merges of what is not in it; names the file and line, if any.

    Example:
        >>> from minidl.text import GPT2Tokenizer
        >>> tokenizer = GPT2Tokenizer.train(["low lower lowest"] * 9, vocab_size=262)
        >>> tokenizer.tokenize("low, lowest 🙂")
        ['low', ',', 'Ġlowe', 'st', 'Ġ', 'ð', 'Ł', 'Ļ', 'Ĥ']
        >>> tokenizer.decode(tokenizer.encode("low, lowest 🙂"))
        'low, lowest 🙂'
    """

    default_roles: Mapping[str, str] = {
        "unk_token": "<|endoftext|>",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
    }
    trained_specials: tuple[str, ...] = ("<|endoftext|>",)
    default_layout = ("A:0", "A:0 B:1")
    left_stripping: tuple[str, ...] = ()
    default_trim = False

    def __init__(
        self,
        vocab: Mapping[str, int] | Sequence[str] | str | os.PathLike,
        merges: Iterable[tuple[str, str]] | str | os.PathLike,
        *,
        add_prefix_space: bool = False,
        trim_offsets: bool | None = None,
        ignore_merges: bool = False,
        added_tokens: Iterable[tuple[AddedToken, int]] = (),
        template: Template | None = None,
        **general: Any,
    ) -> None:
        where = self._name
        if isinstance(vocab, str | os.PathLike):
            where, vocab = os.fspath(vocab), read_vocab_json(vocab)
        ids = checked_vocab(where, vocab)
        lost = [symbol for symbol in BYTE_SYMBOLS if symbol not in ids]
        if lost:
            raise ValueError(f"{where}: the vocabulary must hold all 256 bytes, but lacks {len(lost)}: {lost[:5]}")
        pairs = (
            read_merges(merges, ids) if isinstance(merges, str | os.PathLike) else checked_merges(where, merges, ids)
        )
        self.ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self.add_prefix_space = add_prefix_space
        self.trim_offsets = self.default_trim if trim_offsets is None else trim_offsets
        self.ignore_merges = ignore_merges
        given = {token.content: (token, index) for token, index in added_tokens}
        known = ids | {content: index for content, (_, index) in given.items()}
        named = {role: general.pop(role) for role in ROLES if role in general}
        roles = {role: token for role, token in self.default_roles.items() if token in known} | named
        special = {
            token: (AddedToken(token, lstrip=token in self.left_stripping), ids[token])
            for token in roles.values()
            if token in ids
        }
        template = template or self._default_template(where, known)
        super().__init__(ids, roles, (special | given).values(), template, **general)

    def _default_template(self, where: str, known: Mapping[str, int]) -> Template:
        try:
            return Template.parse(*self.default_layout, known)
        except KeyError as error:
            raise ValueError(f"{where}: the vocabulary has no {error.args[0]}") from None

    def _cut(self, text: str, start: int, ids: list[int], offsets: list[tuple[int, int]]) -> None:
        for index, first, last in self._in_normalized(text):
            if index is not None:
                ids.append(index)
                offsets.append((start + first, start + last))
                continue
            part = text[first:last]
            origin = start + first
            added = self.add_prefix_space and part[0] != " "
            if added:
                part = " " + part
            for begin, end in word_spans(part):
                word = part[begin:end]
                for index, left, right in self._cache.get(word) or self._remember(word, self._pieces(word)):
                    left, right = begin + left, begin + right
                    if added:  # the space has the place of the character after it
                        left, right = max(left - 1, 0), max(right - 1, 1)
                    ids.append(index)
                    offsets.append((origin + left, origin + right))

    def _pieces(self, word: str) -> tuple[tuple[int, int, int], ...]:
        """(id, start, end) of the pieces of a word, in characters: a part of a character counts as all of it."""
        data = to_bytes(word)
        spelling = spelt(data)
        whole = self.ignore_merges and spelling in self.model_vocab
        symbols = [spelling] if whole else merge(spelling, self.ranks)
        if len(data) == len(word):
            owner: Sequence[int] = range(len(word))
        else:
            owner = [i for i, c in enumerate(word) for _ in range(len(to_bytes(c)))]
        pieces = []
        start = 0
        for symbol in symbols:
            end = start + len(symbol)
            pieces.append((self.model_vocab[symbol], owner[start], owner[end - 1] + 1))
            start = end
        return tuple(pieces)

    def _trimmed(self, text: str, ids: list[int], offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
        if not self.trim_offsets:
            return offsets
        trimmed = []
        for i, (index, (start, end)) in enumerate(zip(ids, offsets, strict=True)):
            token = self.tokens[index]
            blank = [c == "Ġ" or c in WHITE_SPACE for c in (text[start:end] if token in self.added_tokens else token)]
            leading = blank.index(False) if False in blank else len(blank)
            trailing = blank[::-1].index(False) if False in blank else len(blank)
            if self.add_prefix_space and (i == 0 or start == 0):
                leading = 0  # the space was put there, it has no place of its own
            start = min(start + leading, end)
            if end >= trailing:
                end = max(end - trailing, start)
            trimmed.append((start, end))
        return trimmed

    def _joined(self, tokens: list[tuple[int, str]]) -> str:
        return self._bytes(tokens).decode("utf-8", "replace")

    def _bytes(self, tokens: Iterable[tuple[int, str]]) -> bytes:
        return b"".join(
            token.encode() if token in self.added_tokens else bytes(BYTE_OF[symbol] for symbol in token)
            for _, token in tokens
        )

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of any bytes, UTF-8 or not, without special tokens around them."""
        return self.encode(bytes(data).decode("utf-8", "surrogateescape"), add_special_tokens=False)

    def decode_bytes(self, ids: Any) -> bytes:
        """The bytes of ids, where `decode` would write U+FFFD for those that are not UTF-8."""
        return self._bytes(zip(self._id_list(ids), self.convert_ids_to_tokens(ids), strict=True))

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> Self:
        """Read a folder as models are published in: tokenizer.json, or vocab.json and merges.txt.

        Raises:
            FileNotFoundError: none of the files is there.
            ValueError: broken files, or settings that are not understood; names the file and what it is about.
        """
        return cls(**load_folder(folder, "BPE"))

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int = 50257,
        min_frequency: int = 2,
        special_tokens: Sequence[str] | None = None,
        **options: Any,
    ) -> Self:
        """A tokenizer with a vocabulary made of these texts, see `train_bpe`; `options` as for the class.

        `special_tokens` come first, by default those that have a role: `<|endoftext|>` for GPT-2, and `<s>`, `<pad>`,
        `</s>`, `<unk>`, `<mask>` for RoBERTa. They are kept whole wherever the texts have them.
        """
        if special_tokens is None:
            special_tokens = cls.trained_specials
        check_training(f"{cls.__name__}.train", vocab_size, min_frequency, special_tokens)
        given = [(AddedToken(token, lstrip=token in cls.left_stripping), i) for i, token in enumerate(special_tokens)]
        options = {"added_tokens": given, **options}
        draft = cls([*special_tokens, *BYTE_SYMBOLS], (), **options)  # which cuts words as the tokenizer will
        words = counted(texts, draft._words, f"{cls.__name__}.train")
        return cls(*train_bpe(words, vocab_size, min_frequency, special_tokens, BYTE_SYMBOLS), **options)

    def _words(self, text: str) -> Iterator[str]:
        """The words of a text, spelt in bytes, special tokens left out."""
        for index, start, end in self._in_text(text):
            if index is None:
                part = text[start:end]
                part = " " + part if self.add_prefix_space and part[0] != " " else part
                for begin, stop in word_spans(part):
                    yield spelt(to_bytes(part[begin:stop]))

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write vocab.json, merges.txt, tokenizer_config.json, of which `from_pretrained` makes this tokenizer again.

        Raises:
            ValueError: a layout of special tokens that these files cannot say. OSError: the folder cannot be written.
        """
        vocab = {token: self.model_vocab[token] for token in sorted(self.model_vocab, key=self.model_vocab.__getitem__)}
        files = {
            "vocab.json": json.dumps(vocab, ensure_ascii=False) + "\n",
            "merges.txt": "\n".join(["#version: 0.2", *map(" ".join, self.ranks), ""]),
        }
        settings = {
            "tokenizer_class": self._name,
            "add_prefix_space": self.add_prefix_space,
            "trim_offsets": self.trim_offsets,
            "ignore_merges": self.ignore_merges,
        }
        if self.template != self._default_template(self._name, self.vocab):
            raise ValueError(f"{self._name}: save_pretrained cannot write a layout that is not {self._name}'s own")
        save_folder(self, folder, files, settings)


class RobertaTokenizer(GPT2Tokenizer):
    """GPT-2's tokenizer as RoBERTa uses it (Y. Liu et al., "RoBERTa", 2019): `<s> a </s>` and `<s> a </s></s> b </s>`.

    Arguments and errors as for GPT2Tokenizer; `<s>` and `</s>` must be in the vocabulary. `<mask>` takes the space
    before it, and offsets leave out the space before a word.
    """

    default_roles: Mapping[str, str] = {
        "unk_token": "<unk>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
    trained_specials = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    default_layout = ("<s>:0 A:0 </s>:0", "<s>:0 A:0 </s>:0 </s>:0 B:0 </s>:0")
    left_stripping = ("<mask>",)
    default_trim = True
