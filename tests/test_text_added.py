"""Added tokens are found as the `tokenizers` library finds them, whatever their flags and however they overlap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.text import AddedToken, BertTokenizer, GPT2Tokenizer
from minidl.text.added import Splitter

WORDS = ["[UNK]", "[CLS]", "[SEP]", "a", "b", "<", ">", "##a", "##b"]
looks = st.text("<a> ", min_size=1, max_size=4).filter(lambda look: look == look.strip())
flags = st.fixed_dictionaries({name: st.booleans() for name in ("single_word", "lstrip", "rstrip", "normalized")})


@given(st.dictionaries(looks, flags, max_size=4), st.text("<aA> b\t", max_size=20))
def test_as_the_library(tokens, text):
    library = pytest.importorskip("tokenizers")
    tokens = {look: options for look, options in tokens.items() if look not in WORDS}
    theirs = library.Tokenizer(library.models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    theirs.normalizer = library.normalizers.BertNormalizer()
    theirs.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    theirs.add_tokens([library.AddedToken(look, **options) for look, options in tokens.items()])
    added = [
        (AddedToken(look, special=False, **options), len(WORDS) + i) for i, (look, options) in enumerate(tokens.items())
    ]
    ours = BertTokenizer(WORDS, added_tokens=added)
    expected, found = theirs.encode(text), ours(text, add_special_tokens=False)
    assert found.input_ids == expected.ids
    assert found.offsets == expected.offsets


def split(text, *tokens):
    splitter = Splitter((token.content, token, i) for i, token in enumerate(tokens))
    return [(index, text[start:end]) for index, start, end in splitter(text)]


def test_by_hand():
    assert split("x<a>y<a", AddedToken("<a"), AddedToken("<a>")) == [(None, "x"), (1, "<a>"), (None, "y"), (0, "<a")]
    assert split("a ba a", AddedToken("a", single_word=True)) == [(0, "a"), (None, " ba "), (0, "a")]
    assert split("x  <m>\u3000y", AddedToken("<m>", lstrip=True, rstrip=True)) == [
        (None, "x"),
        (0, "  <m>\u3000"),
        (None, "y"),
    ]
    assert split("<m> <m>", AddedToken("<m>", lstrip=True, rstrip=True)) == [(0, "<m> "), (0, "<m>")]
    assert split("", AddedToken("<m>")) == [] and split("x") == [(None, "x")]


def test_round_trip_with_added_tokens():
    special = ["<|endoftext|>", "<x>", "<x> y"]
    tokenizer = GPT2Tokenizer.train(["some text"], 300, special_tokens=special)
    text = "a<x> yb<x>  <|endoftext|> é"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.tokenize(text)[1] == "<x> y"
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == "ab   é"
