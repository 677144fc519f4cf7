"""BERT's tokenizer: words and punctuation, each cut by WordPiece into the longest pieces that the vocabulary has."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from minidl.text.added import AddedToken
from minidl.text.characters import bert_kinds
from minidl.text.files import checked_vocab, ordered, read_vocab_txt
from minidl.text.normalizer import BertNormalizer
from minidl.text.pretrained import load_folder, save_folder
from minidl.text.template import Template
from minidl.text.tokenizer import Tokenizer
from minidl.text.training import check_training, counted, train_wordpiece

WORDS = re.compile("a+|!")


class BertTokenizer(Tokenizer):
    """Text to the ids of BERT (J. Devlin et al., "BERT", 2019), token for token as the `tokenizers` library does it.

    1. `BertNormalizer` cleans up, spaces out Chinese characters, strips accents and lower-cases.
    2. Words end at white space; each punctuation character is a word of its own.
    3. WordPiece (M. Schuster, K. Nakajima, "Japanese and Korean voice search", 2012) takes the longest piece of the
       vocabulary that the word begins with, then the longest of the rest, written with `##` before it, and so on. If
       somewhere none fits, or the word is longer than `max_input_chars_per_word`, the whole word is `[UNK]`.
    4. `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`, token type 1 for b and its `[SEP]`.

    Special tokens in a text, such as `[MASK]`, are found first and kept whole.

    Args:
        vocab: the tokens in the order of their ids, or a mapping from token to id, or the path of a vocab.txt.
        do_lower_case: lower-case, and strip accents unless `strip_accents` says otherwise.
        strip_accents: None for: if `do_lower_case`.
        tokenize_chinese_chars: put spaces around them.
        clean_text: remove controls, make all white space spaces.
        unk_token, cls_token, sep_token, pad_token, mask_token: the special tokens; only `unk_token` must be in `vocab`.
        max_input_chars_per_word: longer words are unknown.
        prefix: what marks a piece inside a word.
        added_tokens: further tokens that are kept whole, with their ids.
        template: the layout, if it is not BERT's.
        general: model_max_length, padding_side, truncation_side; see Tokenizer.

    Raises:
        ValueError: a vocabulary with a token or an id twice, or without `unk_token`; names the file and line, if any.
        TypeError: not strings, not integers.

    Example:
        >>> from minidl.text import BertTokenizer
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "!"]
        >>> tokenizer = BertTokenizer(words)
        >>> tokenizer.tokenize("Unaffable, [MASK]!")
        ['un', '##aff', '##able', '[UNK]', '[MASK]', '!']
        >>> tokenizer(["unaffable", "!"], padding=True)["input_ids"]
        [[2, 5, 6, 7, 3], [2, 8, 3, 0, 0]]
    """

    names = ("input_ids", "token_type_ids", "attention_mask")
    cleans_up = True

    def __init__(
        self,
        vocab: Sequence[str] | Mapping[str, int] | str | os.PathLike,
        *,
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        clean_text: bool = True,
        unk_token: str = "[UNK]",
        cls_token: str = "[CLS]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        mask_token: str = "[MASK]",
        max_input_chars_per_word: int = 100,
        prefix: str = "##",
        added_tokens: Iterable[tuple[AddedToken, int]] = (),
        template: Template | None = None,
        **general: Any,
    ) -> None:
        where = "BertTokenizer"
        if isinstance(vocab, str | os.PathLike):
            where, vocab = os.fspath(vocab), read_vocab_txt(vocab)
        ids = checked_vocab(where, vocab)
        if unk_token not in ids:
            raise ValueError(f"{where}: the vocabulary has no {unk_token}, which stands for every word it cannot spell")
        self.normalizer = BertNormalizer(do_lower_case, strip_accents, clean_text, tokenize_chinese_chars)
        self.max_input_chars_per_word = max_input_chars_per_word
        self.prefix = prefix
        self._longest = max(map(len, ids))
        roles = {
            "unk_token": unk_token,
            "cls_token": cls_token,
            "sep_token": sep_token,
            "pad_token": pad_token,
            "mask_token": mask_token,
        }
        given = {token.content: (token, index) for token, index in added_tokens}
        special = {token: (AddedToken(token), ids[token]) for token in roles.values() if token in ids}
        known = ids | {content: index for content, (_, index) in given.items()}
        if template is None:
            missing = [token for token in (cls_token, sep_token) if token not in known]
            if missing:
                raise ValueError(f"{where}: the vocabulary has no {' and no '.join(missing)}")
            template = _layout(cls_token, sep_token, known)
        super().__init__(ids, roles, (special | given).values(), template, **general)

    def _cut(self, text: str, start: int, ids: list[int], offsets: list[tuple[int, int]]) -> None:
        normalized, origin = self.normalizer(text)
        for index, first, last in self._in_normalized(normalized):
            if index is not None:
                ids.append(index)
                offsets.append(_original(first, last, origin, start))
                continue
            part = normalized[first:last]
            for match in WORDS.finditer(part.translate(bert_kinds())):
                begin, end = match.span()
                word = part[begin:end]
                for index, left, right in self._cache.get(word) or self._remember(word, self._pieces(word)):
                    ids.append(index)
                    offsets.append(_original(first + begin + left, first + begin + right, origin, start))

    def _pieces(self, word: str) -> tuple[tuple[int, int, int], ...]:
        """(id, start, end) of the pieces of a word: the longest match first."""
        vocab, length = self.model_vocab, len(word)
        unknown = ((vocab[self.unk_token], 0, length),)
        if length > self.max_input_chars_per_word:
            return unknown
        pieces = []
        start = 0
        while start < length:
            prefix = self.prefix if start else ""
            for end in range(min(length, start + self._longest), start, -1):
                index = vocab.get(prefix + word[start:end])
                if index is not None:
                    break
            else:
                return unknown
            pieces.append((index, start, end))
            start = end
        return tuple(pieces)

    def _look(self, content: str) -> str:
        return self.normalizer(content)[0]

    def _joined(self, tokens: list[tuple[int, str]]) -> str:
        parts = []
        for i, (_, token) in enumerate(tokens):
            inside = self.prefix and token.startswith(self.prefix)
            parts.append(token.removeprefix(self.prefix) if i and inside else f" {token}" if i else token)
        return "".join(parts)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> BertTokenizer:
        """Read a folder as models are published in: tokenizer.json or vocab.txt, perhaps tokenizer_config.json.

        Raises:
            FileNotFoundError: none of the files is there.
            ValueError: broken files, or settings that are not understood; names the file and what it is about.
        """
        return cls(**load_folder(folder, "WordPiece"))

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int = 30522,
        min_frequency: int = 2,
        special_tokens: Sequence[str] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        limit_alphabet: int | None = 1000,
        **options: Any,
    ) -> BertTokenizer:
        """A tokenizer with a vocabulary made of these texts, see `train_wordpiece`; `options` as for the class.

        Words longer than `max_input_chars_per_word`, which will be unknown in any case, are left out.

        >>> from minidl.text import BertTokenizer
        >>> tokenizer = BertTokenizer.train(["low lower lowest", "new newer newest"], vocab_size=26)
        >>> tokenizer.tokenize("Newer, low!")
        ['ne', '##wer', '[UNK]', 'lo', '##w', '[UNK]']
        """
        check_training("BertTokenizer.train", vocab_size, min_frequency, special_tokens, limit_alphabet)
        draft = cls(special_tokens, **options)  # which cuts words as the tokenizer will
        words = counted(texts, draft._words, "BertTokenizer.train")
        words = {word: count for word, count in words.items() if len(word) <= draft.max_input_chars_per_word}
        tokens = train_wordpiece(words, vocab_size, min_frequency, special_tokens, limit_alphabet, draft.prefix)
        further = [(AddedToken(token), i) for i, token in enumerate(special_tokens)]
        return cls(tokens, **{"added_tokens": further, **options})

    def _words(self, text: str) -> Iterator[str]:
        """The words of a text, special tokens left out."""
        for index, start, end in self._in_text(text):
            if index is None:
                normalized = self.normalizer(text[start:end])[0]
                for match in WORDS.finditer(normalized.translate(bert_kinds())):
                    yield normalized[match.start() : match.end()]

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write vocab.txt and tokenizer_config.json, of which `from_pretrained` makes this tokenizer again.

        Raises:
            ValueError: a layout of special tokens that these files cannot say. OSError: the folder cannot be written.
        """
        if self.template != _layout(self.cls_token, self.sep_token, self.vocab):
            raise ValueError("BertTokenizer: save_pretrained cannot write a layout that is not BERT's own")
        normalizer = self.normalizer
        settings = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": normalizer.lowercase,
            "strip_accents": normalizer.strip_accents,
            "tokenize_chinese_chars": normalizer.handle_chinese_chars,
            "clean_text": normalizer.clean_text,
            "max_input_chars_per_word": self.max_input_chars_per_word,
            "continuing_subword_prefix": self.prefix,
        }
        save_folder(self, folder, {"vocab.txt": "\n".join([*ordered(self.model_vocab), ""])}, settings)


def _layout(cls_token: str, sep_token: str, ids: Mapping[str, int]) -> Template | None:
    single = f"{cls_token}:0 A:0 {sep_token}:0"
    return Template.parse(single, f"{single} B:1 {sep_token}:1", ids) if {cls_token, sep_token} <= ids.keys() else None


def _original(first: int, last: int, origin: list[int] | None, start: int) -> tuple[int, int]:
    """Where in the original text the normalised characters first ... last - 1 come from."""
    if origin is None:
        return start + first, start + last
    return start + origin[first], start + origin[last - 1] + 1
