"""Byte-level BPE: any bytes at all as a sequence of learnt pieces.

**Byte-pair encoding** (R. Sennrich, B. Haddow, A. Birch, "Neural machine translation of rare words with subword
units", 2016) begins with single symbols and joins neighbours, always the pair that was learnt first, until no pair is
known.

**On bytes** (A. Radford et al., "Language models are unsupervised multitask learners", 2019, GPT-2): the single symbols
are the 256 bytes of UTF-8, so there is no text that cannot be spelt, and no unknown token. Vocabularies are text files,
so each byte is written as a character that can be seen: itself if it is printed in Latin-1, else one from U+0100 on.
The space is Ġ, the newline Ċ.

**Words** are cut first, and no piece reaches across: a space belongs to the word after it.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from minidl.text.characters import byte_level_kinds

WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", re.ASCII)
r"""GPT-2's pattern with [A-Za-z] for \p{L} and [0-9] for \p{N}: it goes over the kinds of characters, not over them."""


def _byte_symbols() -> list[str]:
    printed = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    unseen = [byte for byte in range(256) if byte not in printed]
    return [chr(byte) if byte in printed else chr(256 + unseen.index(byte)) for byte in range(256)]


BYTE_SYMBOLS = _byte_symbols()
"""The character that each byte is written as."""
BYTE_OF = {symbol: byte for byte, symbol in enumerate(BYTE_SYMBOLS)}
_FROM_LATIN = dict(enumerate(BYTE_SYMBOLS))


def spelt(data: bytes) -> str:
    """Bytes as visible characters.

    >>> from minidl.text.bpe import spelt
    >>> spelt(" naïve\\n".encode())
    'ĠnaÃ¯veĊ'
    """
    return data.decode("latin-1").translate(_FROM_LATIN)


def to_bytes(text: str) -> bytes:
    """UTF-8; a surrogate U+DC80 ... U+DCFF is the byte 0x80 ... 0xFF, as Python writes bytes that are no UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"byte-level BPE: {text!r:.60} holds the lone surrogate U+{ord(text[error.start]):04X}, "
            "which is no character and cannot be written in UTF-8"
        ) from None


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where the words of a text are: nothing is left out.

    >>> from minidl.text.bpe import word_spans
    >>> text = "It's  42 €!"
    >>> [text[start:end] for start, end in word_spans(text)]
    ['It', "'s", ' ', ' 42', ' €!']
    """
    return [match.span() for match in WORDS.finditer(text.translate(byte_level_kinds()))]


def merge(symbols: Sequence[str], ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """Join neighbours, the pair of the lowest rank first, of equal ones the leftmost, until no pair has a rank.

    The symbols form a linked list; a heap holds the pairs that may be joined, some of them out of date because one side
    has been joined with another in the meantime. A word of n symbols takes O(n log n).

    >>> from minidl.text.bpe import merge
    >>> merge("lowest", {("e", "s"): 0, ("es", "t"): 1, ("l", "o"): 2})
    ['lo', 'w', 'est']
    """
    parts: list[str | None] = list(symbols)
    n = len(parts)
    before = list(range(-1, n - 1))
    after = list(range(1, n + 1))
    heap = [(ranks[pair], i, pair) for i, pair in enumerate(pairwise(symbols)) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        _, i, (left, right) = heapq.heappop(heap)
        j = after[i]
        if parts[i] != left or j >= n or parts[j] != right:
            continue  # out of date
        parts[i], parts[j] = left + right, None
        after[i] = k = after[j]
        if k < n:
            before[k] = i
        for a, b in ((before[i], i), (i, k)):
            if a >= 0 and b < n and (parts[a], parts[b]) in ranks:
                pair = (parts[a], parts[b])
                heapq.heappush(heap, (ranks[pair], a, pair))
    return [part for part in parts if part is not None]
