"""Byte-level BPE: what goes in comes out, and its tokens are those of the `tokenizers` library."""

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_samples import HARD, texts

from minidl.data import load_sentences
from minidl.text import GPT2Tokenizer, RobertaTokenizer, from_pretrained
from minidl.text.bpe import BYTE_SYMBOLS, merge, word_spans

SENTENCES = load_sentences().texts
small = GPT2Tokenizer.train(SENTENCES[::10], vocab_size=600)
letters = st.sampled_from("abc")
merge_lists = st.lists(st.tuples(*[st.text(letters, min_size=1, max_size=3)] * 2), unique=True, max_size=12)


@pytest.fixture(scope="module", params=["gpt2", "gpt2, prefix", "roberta", "roberta, prefix", "ignore merges"])
def both(request, tmp_path_factory):
    """The library's tokenizer, and ours read from the file that the library wrote."""
    library = pytest.importorskip("tokenizers")
    prefix, roberta = "prefix" in request.param, "roberta" in request.param
    theirs = library.Tokenizer(library.models.BPE(ignore_merges="ignore" in request.param))
    theirs.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    theirs.decoder = library.decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"] if roberta else ["<|endoftext|>"]
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(
        vocab_size=2000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    theirs.train_from_iterator(SENTENCES, trainer)
    if roberta:
        theirs.add_special_tokens([library.AddedToken("<mask>", lstrip=True, normalized=False)])
        theirs.post_processor = library.processors.RobertaProcessing(
            ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=prefix
        )
    else:
        theirs.post_processor = library.processors.ByteLevel(trim_offsets=False)
    folder = tmp_path_factory.mktemp("bpe")
    theirs.save(str(folder / "tokenizer.json"))
    ours = from_pretrained(folder)
    assert type(ours) is (RobertaTokenizer if roberta else GPT2Tokenizer)
    return theirs, ours


def assert_same(theirs, ours, text, pair=None):
    expected = theirs.encode(text, pair)
    found = ours(text, pair)
    assert found.input_ids == expected.ids, ascii(text)
    assert found.offsets == expected.offsets, ascii(text)
    assert found.token_type_ids == expected.type_ids
    assert found.special_tokens_mask == expected.special_tokens_mask
    assert ours.convert_ids_to_tokens(expected.ids) == [theirs.id_to_token(i) for i in expected.ids]


def test_sentences_and_hard_texts_as_the_library(both):
    theirs, ours = both
    for text in (*SENTENCES[::3], *HARD):
        assert_same(theirs, ours, text)
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text).ids, skip_special_tokens=False)
    for text, pair in zip(SENTENCES[:50], HARD * 4, strict=False):
        assert_same(theirs, ours, text, pair)


@given(texts, st.none() | texts)
def test_drawn_texts_as_the_library(both, text, pair):
    assert_same(*both, text, pair)


def test_every_character_as_the_library():
    """Beside a letter, a number and another: whether it is one, by the words that come of it."""
    library = pytest.importorskip("tokenizers")
    cut = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    codes = [code for code in (*range(0x20000), *range(0x20000, 0x110000, 97)) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(codes), 256):
        text = "".join(f"a{c}0{c}!{c} {c}" for c in map(chr, codes[start : start + 256]))
        assert word_spans(text) == [span for _, span in cut.pre_tokenize_str(text)], f"U+{codes[start]:04X}"


@given(texts)
def test_round_trip(text):
    assert small.decode(small.encode(text)) == text


@given(st.binary(max_size=60))
def test_round_trip_of_bytes(data):
    assert small.decode_bytes(small.encode_bytes(data)) == data
    assert small.decode(small.encode_bytes(data)) == data.decode("utf-8", "replace")


@given(texts)
def test_offsets_cover_the_text(text):
    encoding = small(text)
    ends = 0
    for index, (start, end) in zip(encoding.input_ids, encoding.offsets, strict=True):
        piece = small.decode_bytes([index])
        assert start <= ends <= end and piece in text[start:end].encode()
        ends = end
    assert ends == len(text)


@given(texts)
def test_words_by_the_categories(text):
    """GPT-2's rules, told once more: nothing lost; letters, numbers, white space and others apart."""
    spans = word_spans(text)
    assert [start for start, _ in spans] + [len(text)] == [0] + [end for _, end in spans] if text else spans == []
    for start, end in spans:
        word = text[start:end]
        body = word[1:] if word[0] == " " and len(word) > 1 and not word[1].isspace() else word
        if body in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d"):
            continue
        known = [c for c in body if unicodedata.category(c) != "Cn"]
        kinds = {"white" if re.match(r"[^\S\x1c-\x1f]", c) else unicodedata.category(c)[0] for c in known}
        assert len({kind if kind in ("L", "N", "white") else "other" for kind in kinds}) <= 1, word


@given(st.text(letters, max_size=12), merge_lists)
def test_merge_by_the_book(word, merges):
    """Look for the best pair from scratch each time."""
    ranks = {pair: i for i, pair in enumerate(merges)}
    parts = list(word)
    while True:
        pairs = [(ranks[pair], i) for i, pair in enumerate(pairwise(parts)) if pair in ranks]
        if not pairs:
            break
        _, i = min(pairs)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    assert merge(word, ranks) == parts


def test_the_steps_by_hand():
    symbols = [*BYTE_SYMBOLS, "lo", "low", "Ġlow", "er"]
    tokenizer = GPT2Tokenizer(symbols, [("l", "o"), ("lo", "w"), ("Ġ", "low"), ("e", "r")])
    assert tokenizer.tokenize("low lower  low") == ["low", "Ġlow", "er", "Ġ", "Ġlow"]
    assert tokenizer("low é").offsets == [(0, 3), (3, 4), (4, 5), (4, 5)]
    assert tokenizer.decode(tokenizer.encode("é")[:1]) == "\ufffd"
    assert list(tokenizer("a")) == ["input_ids", "attention_mask"]
    assert tokenizer("")["input_ids"] == [] and tokenizer("a", "b").token_type_ids == [0, 1]
    prefixed = GPT2Tokenizer(symbols, [("l", "o"), ("lo", "w"), ("Ġ", "low")], add_prefix_space=True)
    assert prefixed.tokenize("low") == prefixed.tokenize(" low") == ["Ġlow"]
    assert BYTE_SYMBOLS[ord(" ")] == "Ġ" and BYTE_SYMBOLS[0] == "Ā" and BYTE_SYMBOLS[ord("!")] == "!"
    assert len(set(BYTE_SYMBOLS)) == 256
    with pytest.raises(ValueError, match="lone surrogate U\\+D800"):
        tokenizer("a\ud800")
    with pytest.raises(ValueError, match="it has no pad_token"):
        tokenizer(["a", "bb"], padding=True)
    tokenizer.pad_token = "!"
    assert tokenizer(["a", "bb"], padding=True).attention_mask == [[1, 0], [1, 1]]


def test_roberta_by_hand():
    tokenizer = RobertaTokenizer.train(["a b"], vocab_size=300)
    assert (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.mask_token_id) == (
        0,
        1,
        2,
        4,
    )
    assert tokenizer.tokenize("a", "b", add_special_tokens=True) == ["<s>", "a", "</s>", "</s>", "b", "</s>"]
    found = tokenizer("a <mask> b")
    assert tokenizer.convert_ids_to_tokens(found.input_ids) == ["<s>", "a", "<mask>", "Ġ", "b", "</s>"]
    assert found.offsets == [(0, 0), (0, 1), (2, 8), (9, 9), (9, 10), (0, 0)]
    assert tokenizer.decode(found.input_ids, skip_special_tokens=True) == "a b"


def test_bad_vocabularies():
    with pytest.raises(ValueError, match="must hold all 256 bytes, but lacks 1: \\['Ġ'\\]"):
        GPT2Tokenizer([symbol for symbol in BYTE_SYMBOLS if symbol != "Ġ"], [])
    with pytest.raises(ValueError, match=r"merges\[0\]: the merge 'a b' needs 'ab', which is not in the vocabulary"):
        GPT2Tokenizer(BYTE_SYMBOLS, [("a", "b")])
    with pytest.raises(ValueError, match=r"merges\[1\]: the merge 'a b' occurs twice"):
        GPT2Tokenizer([*BYTE_SYMBOLS, "ab"], [("a", "b"), ("a", "b")])
    with pytest.raises(ValueError, match="expected two symbols, found 'ab'"):
        GPT2Tokenizer(BYTE_SYMBOLS, ["ab"])
    with pytest.raises(ValueError, match="the vocabulary has no <s>"):
        RobertaTokenizer(BYTE_SYMBOLS, [])
    with pytest.raises(TypeError, match="unexpected keyword argument 'dropout'"):
        GPT2Tokenizer(BYTE_SYMBOLS, [], dropout=0.1)


def test_a_long_word_does_not_hang():
    """A hundred thousand characters without a space: quadratic merging would take hours."""
    text = "ab" * 50_000
    assert small.decode(small.encode(text)) == text
