"""BERT's clean-up of a text before it is cut into words, with the way back to the original characters."""

from __future__ import annotations

from dataclasses import dataclass, field

from minidl.text.characters import WHITE_SPACE, Table, decomposed, is_cjk, is_control, is_mark


@dataclass(frozen=True)
class BertNormalizer:
    """Clean up, space out Chinese characters, strip accents, lower-case: J. Devlin et al., "BERT", 2019, its tokenizer.

    Every step looks at one character at a time, so the whole is a table from a character to the characters that replace
    it: none, itself, or several.

    1. `clean_text`: NUL, U+FFFD and controls vanish, white space of any kind becomes a space.
    2. `handle_chinese_chars`: a space before and after each.
    3. `strip_accents`: canonical decomposition (NFD), then nonspacing marks (Mn) vanish. None means: if `lowercase`.
    4. `lowercase`: character by character, so a final Σ is σ.

    >>> from minidl.text import BertNormalizer
    >>> BertNormalizer()("Zoë\\tat 東京\\x97")
    ('zoe at  東  京 ', [0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 8, 8, 8])
    """

    lowercase: bool = True
    strip_accents: bool | None = None
    clean_text: bool = True
    handle_chinese_chars: bool = True
    table: Table = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", Table(self._replacement))

    def __call__(self, text: str) -> tuple[str, list[int] | None]:
        """The normalised text and, for each of its characters, the index of the original one; None: the same index."""
        table = self.table
        replacements = [table[code] for code in map(ord, text)]
        normalized = "".join(replacements)
        if len(normalized) == len(text) and all(replacements):  # one for one
            return normalized, None
        return normalized, [i for i, new in enumerate(replacements) for _ in new]

    def _replacement(self, c: str) -> str:
        if self.clean_text:
            if c in "\0\ufffd" or is_control(c):
                return ""
            if c in WHITE_SPACE:
                c = " "
        new = f" {c} " if self.handle_chinese_chars and is_cjk(c) else c
        if self.lowercase if self.strip_accents is None else self.strip_accents:
            new = "".join(part for c in new for part in decomposed(c) if not is_mark(part))
        return "".join(part.lower() for part in new) if self.lowercase else new
