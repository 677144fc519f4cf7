"""Texts that tokenizers stumble over, drawn and fixed, for the tests of minidl.text."""

import unicodedata

from hypothesis import strategies as st

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"

HARD = [
    "",
    " ",
    " \t\n\r ",
    "a\x85b\x97c\x00d\ufffde\tf\ng\r\nh\x1ci\x7fj",
    "Zoë naïve café cafe\u0301 Ångström İstanbul ẞ Σίσυφος ΟΔΟΣ",
    "q\u0323\u0307\u0301 \u0301a a\u0301\u0301",
    "東京タワー 我爱北京。한국어 \u3400\U00020000\ufa0e",
    f"{FAMILY} family 🏳️‍🌈 ok👍🏽!",
    "x" * 100 + " " + "y" * 101 + " " + "z" * 300,
    "[CLS] hi [MASK][SEP] [mask] [PAD]x[UNK] [ MASK ]",
    "<s>hi <mask> there</s> <|endoftext|> z<|endoftext|>  !",
    "don't DON'T we'll 's 'S it’s $5.00 <b>a`b^c</b> ~|=+",
    "\u200bzero\u200dwidth\ufeff \u3000wide\xa0nb\u2028line\u1680",
    "ﬁ ﬂ ① ½ K ² Ⅷ \u0660\u0661 1000,000.5",
    "  two  spaces   \n\n and lines \n",
    "\u1734\u166d\U000111c9 new \u1ac1\u2e5d\U00011f43",
]


def later(text: str, lowered) -> bool:
    """Whether a text has letters that Python's Unicode does not know, but the library's `lowered` does."""
    return any(unicodedata.category(c) == "Cn" and lowered(c) != c for c in text)


PIECES = [
    *HARD,
    *"aAbéÉ\u0301\u0300 \u3000\n\t\x85\x97.,'$東\u200d!0½",
    "it's",
    "the ",
    " good",
    "[MASK]",
    "[SEP]",
    "<mask>",
    "<|endoftext|>",
]
texts = st.one_of(
    st.text(max_size=30),
    st.lists(st.one_of(st.text(max_size=6), st.sampled_from(PIECES)), max_size=8).map("".join),
)
"""Characters of all planes (no surrogates), and mixtures with the above."""
