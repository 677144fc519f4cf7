"""What kind of thing a character is, by Unicode's categories, as the tokenizers of pretrained models see it.

Two questions must be answered exactly as they were when the vocabularies were made, or tokens differ:

White space is Unicode's property White_Space, 25 characters; `str.isspace` has four more (U+001C ... U+001F).

Categories change: Unicode gains characters each year. The `tokenizers` library, with which nearly all published models
are used, goes by Unicode 8 for marks, punctuation and controls, so a character born later is for it a letter like any
other; for the letters and numbers of byte-level BPE it goes by a later Unicode than Python 3.11 does. The tables below
name these differences, so that tokens are the library's, whatever the version of Python.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache


def ranges(text: str) -> frozenset[str]:
    """The characters of hexadecimal code points and ranges, such as "61D 897-89F"."""
    found = set()
    for part in text.split():
        first, _, last = part.partition("-")
        found.update(map(chr, range(int(first, 16), int(last or first, 16) + 1)))
    return frozenset(found)


WHITE_SPACE = ranges("9-D 20 85 A0 1680 2000-200A 2028-2029 202F 205F 3000")


# Marks, punctuation and format characters that came after Unicode 8, and characters whose decomposition did.
NEWER = ranges("""
    5C8-5C9 61D 7FD 890-891 897-89F 8CA-8E2 9FD-9FE A76 AFA-AFF B53-B55 C04 C3C C77 C84 D00 D3B-D3C D81 EBA ECE 180F
    1885-1886 1ABF-1AF0 1B4E-1B4F 1B7D-1B7F 1DF6-1DFB 2E43-2E4F 2E52-2E5D 2E60-2E63 A82C A8C5 A8FF A9BD 105C9 105E4
    10D24-10D27 10D69-10D6E 10EAB-10EAD 10ECB-10ED0 10EF0-10EFF 10F46-10F50 10F55-10F59 10F82-10F89 11070 11073-11074
    110C2 110CD 111CF 1123E 11241 1133B 11383 11385 1138E 11391 113BB-113C0 113C5 113C7-113C8 113CE 113D0 113D2
    113D4-113D5 113D7-113D8 113E1-113E2 11438-1143F 11442-11444 11446 1144B-1144F 1145A-1145B 1145D-1145E 11660-1166C
    116B9 1182F-11837 11839-1183B 11938 1193B-1193C 1193E 11943-11946 119D4-119D7 119DA-119DB 119E0 119E2 11A01-11A0A
    11A33-11A38 11A3B-11A47 11A51-11A56 11A59-11A5B 11A8A-11A96 11A98-11A9C 11A9E-11AA2 11B00-11B09 11B60 11B62-11B64
    11B66 11BE1 11C30-11C36 11C38-11C3D 11C3F 11C41-11C45 11C70-11C71 11C92-11CA7 11CAA-11CB0 11CB2-11CB3 11CB5-11CB6
    11D31-11D36 11D3A 11D3C-11D3D 11D3F-11D45 11D47 11D90-11D91 11D95 11D97 11DF0 11EF3-11EF4 11EF7-11EF8 11F00-11F01
    11F36-11F3A 11F40 11F42-11F4F 11F5A 11FFF 12FF1-12FF2 13430-13440 13447-13455 1611E-16129 1612D-1612F 16D68-16D6A
    16D6D-16D6F 16E97-16E9A 16F4F 16FE2 16FE4 1CF00-1CF2D 1CF30-1CF46 1D127-1D128 1D25B-1D25C 1E000-1E006 1E008-1E018
    1E01B-1E021 1E023-1E024 1E026-1E02A 1E08F 1E130-1E136 1E2AE 1E2EC-1E2EF 1E4EC-1E4EF 1E5EE-1E5EF 1E5FF 1E6E3 1E6E6
    1E6EE-1E6EF 1E6F5 1E944-1E94A 1E95E-1E95F
""")
ONCE_MARKS = ranges("1734 1171E")
ONCE_PUNCTUATION = ranges("166D 111C9")
"""Nonspacing marks and punctuation in Unicode 8 that are something else since."""

# Letters and numbers that came after Unicode 14, the one of Python 3.11.
LATER_LETTERS = ranges("""
    1C89-1C8A A7CB-A7CD A7DA-A7DC 105C0-105F3 10D4A-10D65 10D6F-10D85 10EC2-10EC4 1123F-11240 11380-11389 1138B 1138E
    11390-113B5 113B7 113D1 113D3 11BC0-11BE0 11F02 11F04-11F10 11F12-11F33 1342F 13441-13446 13460-143FA 16100-1611D
    16D40-16D6C 18CFF 1B132 1B155 1DF25-1DF2A 1E030-1E06D 1E4D0-1E4EB 1E5D0-1E5ED 1E5F0 2B739 2EBF0-2EE5D 31350-323AF
""")
LATER_NUMBERS = ranges("""
    10D40-10D49 116D0-116E3 11BF0-11BF9 11F50-11F59 16130-16139 16D70-16D79 1CCF0-1CCF9 1D2C0-1D2D3 1E4F0-1E4F9
    1E5F1-1E5FA
""")

CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),  # BERT's own code says 2B820; the `tokenizers` library, this
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
"""The blocks of Chinese characters, which are written without spaces. Korean and Japanese letters are not in them."""


def is_control(c: str) -> bool:
    """Controls, format characters, surrogates, private use: Cc, Cf, Cs, Co; not tab, newline, carriage return."""
    return c not in "\t\n\r" and c not in NEWER and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co")


def is_cjk(c: str) -> bool:
    return any(first <= ord(c) <= last for first, last in CJK)


def is_mark(c: str) -> bool:
    """A nonspacing mark (Mn): the accents that NFD splits off."""
    return c in ONCE_MARKS or (unicodedata.category(c) == "Mn" and c not in NEWER and c not in ONCE_PUNCTUATION)


def is_punctuation(c: str) -> bool:
    """Categories P, and all of ASCII that is printed and neither letter, digit nor space: also $ + < = > ^ ` | ~."""
    if c < "\x80":
        return "!" <= c <= "~" and not c.isalnum()
    return c in ONCE_PUNCTUATION or (unicodedata.category(c)[0] == "P" and c not in NEWER)


def decomposed(c: str) -> str:
    """NFD of one character."""
    return c if c in NEWER else unicodedata.normalize("NFD", c)


class Table(dict):
    """A function of a character, remembered, for `str.translate`: from a code point to what stands in for it."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def __missing__(self, code: int) -> str:
        value = self[code] = self.function(chr(code))
        return value


@lru_cache(maxsize=1)
def bert_kinds() -> Table:
    """For cutting into words: a space for white space, "!" for punctuation, "a" for all else."""
    return Table(lambda c: " " if c in WHITE_SPACE else "!" if is_punctuation(c) else "a")


@lru_cache(maxsize=1)
def byte_level_kinds() -> Table:
    r"""For byte-level BPE: ASCII as it is, "a" for other letters, "0" for numbers, "\t" for white space, else "!"."""

    def kind(c: str) -> str:
        if c < "\x80":
            return c
        category = unicodedata.category(c)[0]
        if category == "L" or c in LATER_LETTERS:
            return "a"
        if category == "N" or c in LATER_NUMBERS:
            return "0"
        return "\t" if c in WHITE_SPACE else "!"

    return Table(kind)
