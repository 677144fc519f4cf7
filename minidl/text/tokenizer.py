"""What all tokenizers share: texts in, ids out, and back; special tokens, truncation, padding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from minidl.tensor import Tensor
from minidl.text.added import AddedToken, Splitter
from minidl.text.encoding import Encoded, Encoding
from minidl.text.template import STRATEGIES, Template, room

ROLES = ("unk_token", "cls_token", "sep_token", "pad_token", "mask_token", "bos_token", "eos_token")
CLEAN_UP = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)
CACHED_WORDS, CACHED_LENGTH = 1 << 17, 64
"""So many different words, if not longer than this, are cut only once."""


def _role_id(role: str) -> property:
    return property(lambda self: self._id_of_role(role), doc=f"The id of `{role}`, or None.")


class Tokenizer:
    """Base of BertTokenizer, GPT2Tokenizer and RobertaTokenizer. The names are those of Hugging Face's tokenizers.

    Attributes:
        vocab: id of every token, added ones included.
        unk_token, cls_token, sep_token, pad_token, mask_token, bos_token, eos_token: tokens with a role, or None; each
            has its `..._id`.
        model_max_length: how many tokens the model has positions for, if that is known.
        padding_side, truncation_side: "right" or "left".
    """

    names: tuple[str, ...] = ("input_ids", "attention_mask")
    cleans_up = False
    unk_token_id = _role_id("unk_token")
    cls_token_id = _role_id("cls_token")
    sep_token_id = _role_id("sep_token")
    pad_token_id = _role_id("pad_token")
    mask_token_id = _role_id("mask_token")
    bos_token_id = _role_id("bos_token")
    eos_token_id = _role_id("eos_token")

    def __init__(
        self,
        vocab: Mapping[str, int],
        roles: Mapping[str, str | None],
        added_tokens: Iterable[tuple[AddedToken, int]] = (),
        template: Template | None = None,
        model_max_length: int | None = None,
        padding_side: str = "right",
        truncation_side: str = "right",
    ) -> None:
        self.model_vocab = dict(vocab)
        self.added_tokens = {token.content: (token, index) for token, index in added_tokens}
        self.vocab = self.model_vocab | {content: index for content, (_, index) in self.added_tokens.items()}
        self.tokens = {index: token for token, index in self.vocab.items()}
        if len(self.tokens) < len(self.vocab):
            twice = next(token for token, index in self.vocab.items() if self.tokens[index] != token)
            raise ValueError(f"{self._name}: {twice!r} and {self.tokens[self.vocab[twice]]!r} have the same id")
        for role in ROLES:
            setattr(self, role, roles.get(role))
        self.model_max_length = model_max_length
        self.padding_side, self.truncation_side = padding_side, truncation_side
        self.template = template or Template.parse("A:0", "A:0 B:1", {})
        lost = [index for slot in self.template.single + self.template.pair for index in slot.ids]
        if not self.tokens.keys() >= set(lost):
            raise ValueError(
                f"{self._name}: special tokens have the ids {sorted(set(lost))}, but not all are in the vocabulary"
            )
        added = [(content, token, index) for content, (token, index) in self.added_tokens.items()]
        self._in_text = Splitter(entry for entry in added if not entry[1].normalized)
        self._in_normalized = Splitter((self._look(text), token, i) for text, token, i in added if token.normalized)
        self._special = {index for _, token, index in added if token.special}
        self._cache: dict[str, Any] = {}

    # What the two kinds of tokenizer do differently.

    def _cut(self, text: str, start: int, ids: list[int], offsets: list[tuple[int, int]]) -> None:
        """Append ids and offsets of a piece of text without added tokens that begins at `start`."""
        raise NotImplementedError

    def _look(self, content: str) -> str:
        """How an added token looks in normalised text."""
        return content

    def _joined(self, tokens: list[tuple[int, str]]) -> str:
        """The text of tokens, each with its id."""
        raise NotImplementedError

    def _trimmed(self, text: str, ids: list[int], offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """A last word on the offsets."""
        return offsets

    # Encoding.

    def __call__(
        self,
        text: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
    ) -> Encoding:
        """Tokens of a text or a batch of texts, each perhaps with a second one.

        Args:
            text: a string, or a sequence of strings for a batch.
            pair: the second text(s), as many.
            add_special_tokens: put [CLS], [SEP] and their like around the text.
            padding: True or "longest": to the longest of the batch; "max_length": to `max_length`.
            truncation: True or "longest_first": shorten the longer of the two; "only_first", "only_second": only that.
            max_length: tokens at most, special ones included; `model_max_length` by default.
            return_tensors: None for lists, "np" for int64 arrays, "minidl" for int64 Tensors, (N, T) also for one text.

        Raises:
            TypeError: not a string, or not a sequence of strings.
            ValueError: lengths or options that do not fit together; `max_length` too short for the special tokens.
        """
        batched = not isinstance(text, str)
        texts = self._texts("text", text)
        pairs = [None] * len(texts) if pair is None else self._texts("pair", pair)
        if pair is not None and (batched == isinstance(pair, str) or len(pairs) != len(texts)):
            raise ValueError(
                f"{self._name}: text and pair must be two strings or two equally long sequences of strings"
            )
        strategy, pads, most = self._options(padding, truncation, max_length, return_tensors)
        rows = [
            self._encoded(first, second, add_special_tokens, strategy, most)
            for first, second in zip(texts, pairs, strict=True)
        ]
        if pads and rows:
            length = most if pads == "max_length" else max(len(row.input_ids) for row in rows)
            pad_id = self._id_of_role("pad_token", "padding")
            for row in rows:
                row.pad(length or 0, pad_id, self.padding_side)
        return Encoding(rows, batched, self.names, return_tensors)

    def encode(self, text: str, pair: str | None = None, **options: Any) -> list[int]:
        """The ids of one text or pair; options as for calling the tokenizer."""
        if not isinstance(text, str):
            raise TypeError(f"{self._name}: encode expects one string, got {type(text).__name__}; call it for a batch")
        if options.get("return_tensors"):
            raise ValueError(f"{self._name}: encode returns a list; call the tokenizer for arrays and Tensors")
        return self(text, pair, **options).input_ids

    def tokenize(self, text: str, pair: str | None = None, add_special_tokens: bool = False) -> list[str]:
        """The tokens of a text as strings, without special ones around it unless asked for."""
        return self.convert_ids_to_tokens(self.encode(text, pair, add_special_tokens=add_special_tokens))

    def _encoded(
        self, first: str, second: str | None, special: bool, strategy: str | None, most: int | None
    ) -> Encoded:
        parts = [self._cut_whole(part) for part in (first, second) if part is not None]
        if strategy and most is not None:
            space = most - (self.template.added(second is not None) if special else 0)
            if space < 0:
                raise ValueError(f"{self._name}: max_length={most} is too short for {most - space} special tokens")
            lengths = [len(ids) for ids, _ in parts]
            kept = room(lengths[0], lengths[1] if second is not None else None, space, strategy)
            for (ids, offsets), length, n in zip(parts, lengths, kept, strict=False):
                gone = slice(n, None) if self.truncation_side == "right" else slice(0, length - n)
                del ids[gone], offsets[gone]
        texts = (first, second)
        origins = [offset for text, part in zip(texts, parts, strict=False) for offset in self._trimmed(text, *part)]
        ids, types, mask, origin = self.template.lay_out(
            parts[0][0], parts[1][0] if second is not None else None, special
        )
        offsets = [origins[i] if i >= 0 else (0, 0) for i in origin]
        return Encoded(ids, types, [1] * len(ids), mask, offsets)

    def _cut_whole(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for index, start, end in self._in_text(text):
            if index is None:
                self._cut(text[start:end], start, ids, offsets)
            else:
                ids.append(index)
                offsets.append((start, end))
        return ids, offsets

    def _remember(self, word: str, pieces: Any) -> Any:
        if len(word) <= CACHED_LENGTH:
            if len(self._cache) >= CACHED_WORDS:
                self._cache.clear()
            self._cache[word] = pieces
        return pieces

    # Decoding.

    def decode(self, ids: Any, skip_special_tokens: bool = False, clean_up: bool | None = None) -> str:
        """The text of ids: a list, array or Tensor.

        `clean_up` takes out spaces before `. ? ! ,` and in English contractions; by default where the tokens do not say
        what spaces there were: for BERT, not for byte-level BPE.
        """
        tokens = zip(self._id_list(ids), self.convert_ids_to_tokens(ids), strict=True)
        text = self._joined([pair for pair in tokens if not (skip_special_tokens and pair[0] in self._special)])
        if self.cleans_up if clean_up is None else clean_up:
            for spaced, tight in CLEAN_UP:
                text = text.replace(spaced, tight)
        return text

    def batch_decode(self, rows: Any, **options: Any) -> list[str]:
        """`decode` of every row."""
        return [self.decode(row, **options) for row in rows]

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """The id of a token, or the list of ids of several; unknown ones become `unk_token`, if there is one."""
        if isinstance(tokens, str):
            index = self.vocab.get(tokens, self.vocab.get(self.unk_token))
            if index is None:
                raise ValueError(f"{self._name}: there is no token {tokens!r} in the vocabulary")
            return index
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any) -> list[str]:
        """The tokens of ids. ValueError for an id that no token has."""
        try:
            return [self.tokens[index] for index in self._id_list(ids)]
        except KeyError as error:
            raise ValueError(
                f"{self._name}: there is no token with id {error.args[0]}; the vocabulary has {len(self)}"
            ) from None

    # Names and checks.

    @property
    def vocab_size(self) -> int:
        """Tokens of the model's own vocabulary; `len(tokenizer)` counts the added ones too."""
        return len(self.model_vocab)

    def __len__(self) -> int:
        return len(self.vocab)

    def __repr__(self) -> str:
        return f"{self._name}(vocab_size={self.vocab_size}, model_max_length={self.model_max_length})"

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _id_of_role(self, role: str, purpose: str | None = None) -> Any:
        token = getattr(self, role)
        if token in self.vocab:
            return self.vocab[token]
        if purpose is None:
            return None
        lacks = f"its {role} {token!r} is not in the vocabulary" if token else f"it has no {role}"
        raise ValueError(f"{self._name}: {purpose} is not possible: {lacks}")

    def _id_list(self, ids: Any) -> list[int]:
        array = np.asarray(ids.numpy() if isinstance(ids, Tensor) else ids)
        if array.size and (array.dtype.kind not in "iu" or array.ndim > 1):
            raise TypeError(f"{self._name}: expected ids as one row of integers, got {array.dtype} {array.shape}")
        return [int(index) for index in array.reshape(-1)]

    def _texts(self, argument: str, value: Any) -> list[str]:
        if isinstance(value, str):
            return [value]
        if isinstance(value, bytes | bytearray | Mapping) or not hasattr(value, "__iter__"):
            raise TypeError(
                f"{self._name}: {argument} must be a string or a sequence of strings, got {type(value).__name__}"
            )
        texts = list(value)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"{self._name}: {argument}[{i}] must be a string, got {type(text).__name__}")
        return texts

    def _options(
        self, padding: bool | str, truncation: bool | str, max_length: int | None, return_tensors: str | None
    ) -> tuple[str | None, str | None, int | None]:
        """(strategy of truncation, kind of padding, most tokens), checked."""
        strategy = {True: "longest_first", False: None, None: None, "do_not_truncate": None}.get(truncation, truncation)
        pads = {True: "longest", False: None, None: None, "do_not_pad": None}.get(padding, padding)
        if strategy not in (None, *STRATEGIES):
            raise ValueError(f"{self._name}: truncation must be True, False or one of {STRATEGIES}, got {truncation!r}")
        if pads not in (None, "longest", "max_length"):
            raise ValueError(f"{self._name}: padding must be True, False, 'longest' or 'max_length', got {padding!r}")
        if return_tensors not in (None, "np", "minidl"):
            raise ValueError(f"{self._name}: return_tensors must be None, 'np' or 'minidl', got {return_tensors!r}")
        for side in ("padding_side", "truncation_side"):
            if getattr(self, side) not in ("left", "right"):
                raise ValueError(f"{self._name}: {side} must be 'left' or 'right', got {getattr(self, side)!r}")
        if max_length is not None:
            if isinstance(max_length, bool) or not isinstance(max_length, int | np.integer) or max_length < 0:
                raise ValueError(f"{self._name}: max_length must be an integer of at least 0, got {max_length!r}")
            if not strategy and pads != "max_length":
                raise ValueError(f"{self._name}: max_length needs truncation=True or padding='max_length'")
        most = self.model_max_length if max_length is None else int(max_length)
        if most is None and (strategy or pads == "max_length"):
            raise ValueError(f"{self._name}: truncation and padding='max_length' need max_length; none is known")
        return strategy, pads, most
