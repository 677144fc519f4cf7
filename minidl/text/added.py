"""Added tokens: pieces of text such as [MASK] that are found before anything else is done, and kept whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from minidl.text.characters import WHITE_SPACE


@dataclass(frozen=True)
class AddedToken:
    """A token that is not cut.

    Attributes:
        content: what it looks like in a text.
        special: left out by `decode(..., skip_special_tokens=True)`.
        single_word: found only where no word character touches it.
        lstrip, rstrip: takes the white space to its left, right with it.
        normalized: looked for in the normalised text, its content normalised too, instead of in the original.
    """

    content: str
    special: bool = True
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False


class Splitter:
    """Finds added tokens in a text: the leftmost first, of several at one place the longest."""

    def __init__(self, tokens: Iterable[tuple[str, AddedToken, int]]) -> None:
        """`tokens`: what to look for, the token, its id. Of two with the same look the first counts."""
        self.tokens: dict[str, tuple[AddedToken, int]] = {}
        for look, token, index in tokens:
            if look:
                self.tokens.setdefault(look, (token, index))
        longest_first = sorted(self.tokens, key=lambda look: (-len(look), look))
        self.pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> Iterator[tuple[int | None, int, int]]:
        """(id or None, start, end) of the parts of a text, in order; None for what is between the added tokens."""
        done = 0
        if self.pattern:
            for match in self.pattern.finditer(text):
                token, index = self.tokens[match[0]]
                start, end = match.span()
                if start < done:  # begins with white space that the last one took
                    continue
                if token.single_word and (re.match(r"\w", text[start - 1 : start]) or re.match(r"\w", text[end:])):
                    continue
                if token.lstrip:
                    while start > done and text[start - 1] in WHITE_SPACE:
                        start -= 1
                if token.rstrip:
                    while end < len(text) and text[end] in WHITE_SPACE:
                        end += 1
                if start > done:
                    yield None, done, start
                yield index, start, end
                done = end
        if done < len(text):
            yield None, done, len(text)
