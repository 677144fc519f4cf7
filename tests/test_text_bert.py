"""BERT's tokens, ids, offsets and masks are those of the `tokenizers` library, on texts of every kind."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from text_samples import HARD, later, texts

import minidl
from minidl.data import load_sentences
from minidl.text import AddedToken, BertNormalizer, BertTokenizer

SENTENCES = load_sentences().texts
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "a", "##b", "b", ".", "'", "t", "don"]
small = BertTokenizer(WORDS)


@pytest.fixture(scope="module")
def vocab():
    return list(BertTokenizer.train(SENTENCES, vocab_size=2000, do_lower_case=False).vocab)


@pytest.fixture(scope="module", params=["uncased", "cased", "cased, stripped", "uncased, accents", "raw"])
def both(request, vocab, tmp_path_factory):
    """The library's tokenizer, and ours read from the file that the library wrote."""
    library = pytest.importorskip("tokenizers")
    options = {
        "uncased": {"lowercase": True},
        "cased": {"lowercase": False},
        "cased, stripped": {"lowercase": False, "strip_accents": True},
        "uncased, accents": {"lowercase": True, "strip_accents": False},
        "raw": {"lowercase": False, "clean_text": False, "handle_chinese_chars": False},
    }[request.param]
    theirs = library.Tokenizer(library.models.WordPiece({token: i for i, token in enumerate(vocab)}, unk_token="[UNK]"))
    theirs.normalizer = library.normalizers.BertNormalizer(**options)
    theirs.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    theirs.post_processor = library.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    theirs.decoder = library.decoders.WordPiece()
    theirs.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    theirs.add_tokens([library.AddedToken("Wörd X", normalized=True), library.AddedToken("one", single_word=True)])
    folder = tmp_path_factory.mktemp("bert")
    theirs.save(str(folder / "tokenizer.json"))
    return theirs, BertTokenizer.from_pretrained(folder)


def assert_same(theirs, ours, text, pair=None):
    expected = theirs.encode(text, pair)
    found = ours(text, pair)
    assert found.input_ids == expected.ids, ascii(text)
    assert found.offsets == expected.offsets, ascii(text)
    assert found.token_type_ids == expected.type_ids
    assert found.attention_mask == expected.attention_mask
    assert found.special_tokens_mask == expected.special_tokens_mask


def test_sentences_and_hard_texts_as_the_library(both):
    theirs, ours = both
    for text in (*SENTENCES[::3], *HARD, "a wörd x b WÖRD X", "one none one! twone"):
        assert_same(theirs, ours, text)
    for text, pair in zip(SENTENCES[:50], HARD * 4, strict=False):
        assert_same(theirs, ours, text, pair)


@given(texts, st.none() | texts)
def test_drawn_texts_as_the_library(both, text, pair):
    theirs, ours = both
    assume(not later(text + (pair or ""), theirs.normalizer.normalize_str))
    assert_same(theirs, ours, text, pair)


@given(texts)
def test_decoding_as_the_library(both, text):
    theirs, ours = both
    ids = ours.encode(text)
    for skip in (False, True):
        assert ours.decode(ids, skip, clean_up=False) == plain_decoded(theirs, ids, skip)


def plain_decoded(theirs, ids, skip):
    """The library's text without its clean-up, which goes token by token and misses contractions."""
    cleaning = theirs.decoder
    theirs.decoder = type(cleaning)(cleanup=False)
    try:
        return theirs.decode(ids, skip_special_tokens=skip)
    finally:
        theirs.decoder = cleaning


@given(texts, st.none() | texts, st.integers(3, 20), st.sampled_from(["longest_first", "only_first", "only_second"]))
def test_truncation_as_the_library(both, text, pair, length, strategy):
    theirs, ours = both
    assume(not later(text + (pair or ""), theirs.normalizer.normalize_str))
    theirs.enable_truncation(length, strategy=strategy)
    try:
        try:
            expected = theirs.encode(text, pair)
        except Exception as error:  # the library raises Exception itself
            assert "too short" in str(error) or "Second sequence" in str(error)
            with pytest.raises(ValueError, match=strategy):
                ours(text, pair, truncation=strategy, max_length=length)
            return
        found = ours(text, pair, truncation=strategy, max_length=length)
        assert (found.input_ids, found.token_type_ids) == (expected.ids, expected.type_ids)
        assert found.offsets == expected.offsets
    finally:
        theirs.no_truncation()


@pytest.mark.parametrize("kind", [{}, {"lowercase": False, "strip_accents": False}])
def test_every_character_as_the_library(kind):
    """Of the first three planes; of the others, which hold nothing but Chinese and private use, every 97th."""
    library = pytest.importorskip("tokenizers")
    theirs = library.normalizers.BertNormalizer(**kind)
    cut = library.pre_tokenizers.BertPreTokenizer()
    ours = BertTokenizer(WORDS, do_lower_case=kind.get("lowercase", True))
    codes = [code for code in (*range(0x20000), *range(0x20000, 0x110000, 97)) if not 0xD800 <= code < 0xE000]
    characters = [c for c in map(chr, codes) if not later(c, theirs.normalize_str)]
    assert len(characters) > len(codes) - 100
    for start in range(0, len(characters), 256):
        text = "".join(f"b{c}a " for c in characters[start : start + 256])
        expected = theirs.normalize_str(text)
        assert BertNormalizer(**kind)(text)[0] == expected, f"U+{codes[start]:04X}"
        assert list(ours._words(text)) == [word for word, _ in cut.pre_tokenize_str(expected)], f"U+{codes[start]:04X}"


@given(texts)
def test_offsets_lead_back_to_the_text(text):
    encoding = small(text)
    for index, (start, end), added in zip(
        encoding.input_ids, encoding.offsets, encoding.special_tokens_mask, strict=True
    ):
        token = small.tokens[index].removeprefix("##")
        if added:
            assert (start, end) == (0, 0)
        elif token in ("[UNK]", "[MASK]", "[CLS]", "[SEP]", "[PAD]"):
            assert 0 <= start < end <= len(text)
        else:
            assert small.normalizer(text[start:end])[0].strip() == token


def test_the_steps_by_hand():
    assert small.tokenize("Unaffable, ÀB. [MASK] a[SEP]") == [
        *["un", "##aff", "##able", "[UNK]"],
        *["a", "##b", ".", "[MASK]", "a", "[SEP]"],
    ]
    assert small.tokenize("unaffablea unaff") == ["[UNK]", "un", "##aff"]
    assert small.tokenize("a\x85b a\x97b \x00a\ufffdb") == ["a", "##b"] * 3
    assert small.tokenize("a\u3000b a\xa0b") == ["a", "b"] * 2
    assert BertTokenizer(WORDS, do_lower_case=False).tokenize("A a À") == ["[UNK]", "a", "[UNK]"]
    assert BertTokenizer(WORDS, strip_accents=False).tokenize("A à") == ["a", "[UNK]"]
    assert BertTokenizer(WORDS, do_lower_case=False, strip_accents=True).tokenize("à") == ["a"]
    assert BertTokenizer(WORDS, max_input_chars_per_word=2).tokenize("ab abb") == ["a", "##b", "[UNK]"]
    assert small.encode("") == [2, 3]
    assert small("a", "b").token_type_ids == [0, 0, 0, 1, 1]
    assert small("\ud800a").input_ids == [2, 8, 3]  # a lone surrogate is cleaned away


def test_decode():
    ids = small.encode("Don't! a.")
    assert small.decode(ids) == "[CLS] don't [UNK] a. [SEP]"
    assert small.decode(ids, skip_special_tokens=True) == "don't a."
    assert small.decode(ids, skip_special_tokens=True, clean_up=False) == "don ' t a ."
    assert small.decode(np.array([5, 6, 7])) == small.decode(minidl.tensor([5, 6, 7])) == "unaffable"
    assert small.decode([]) == ""
    assert small.batch_decode([[8], [10, 9]]) == ["a", "bb"]
    for wrong in ([99], [-100]):
        with pytest.raises(ValueError, match=f"no token with id {wrong[0]}; the vocabulary has 15"):
            small.decode(wrong)
    for wrong in ([0.5], ["a"], [[1, 2]]):
        with pytest.raises(TypeError, match="one row of integers"):
            small.decode(wrong)


def test_batches():
    batch = small(["a b", "", "unaffable"], padding=True)
    assert batch.input_ids == [[2, 8, 10, 3, 0], [2, 3, 0, 0, 0], [2, 5, 6, 7, 3]]
    assert batch.attention_mask == [[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]
    assert batch.special_tokens_mask[0] == [1, 0, 0, 1, 1]
    assert batch.offsets[0] == [(0, 0), (0, 1), (2, 3), (0, 0), (0, 0)]
    assert small(["a b", "unaffable"]).input_ids == [[2, 8, 10, 3], [2, 5, 6, 7, 3]]
    assert small(("a",), ["b"]).input_ids == [[2, 8, 3, 10, 3]]
    assert small("a", padding="max_length", max_length=5).input_ids == [2, 8, 3, 0, 0]
    assert small([]).input_ids == [] and small([], padding=True, return_tensors="np").input_ids.shape == (0, 0)
    left = BertTokenizer(WORDS, padding_side="left", truncation_side="left")
    assert left(["a", "a b a b a"], padding=True, truncation=True, max_length=5).input_ids == [
        [0, 0, 2, 8, 3],
        [2, 8, 10, 8, 3],
    ]
    assert left("a b ab", truncation=True, max_length=4).offsets == [(0, 0), (4, 5), (5, 6), (0, 0)]


def test_what_a_model_takes():
    encoding = small(["a", "a b"], padding=True, return_tensors="minidl")
    assert list(encoding) == ["input_ids", "token_type_ids", "attention_mask"]
    assert dict(**encoding)["input_ids"].dtype == minidl.int64
    assert encoding.input_ids.shape == (2, 4)
    array = small("a", return_tensors="np")["attention_mask"]
    assert array.shape == (1, 3) and array.dtype == np.int64
    with pytest.raises(KeyError):
        encoding["offsets"]
    with pytest.raises(ValueError, match="3 to 4 tokens; make them one length by padding=True"):
        small(["a", "a b"], return_tensors="np")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((None,), {}, TypeError, "text must be a string or a sequence of strings, got NoneType"),
        ((b"a",), {}, TypeError, "got bytes"),
        ((5,), {}, TypeError, "got int"),
        ((["a", 3],), {}, TypeError, r"text\[1\] must be a string, got int"),
        (([("a", "b")],), {}, TypeError, r"text\[0\] must be a string, got tuple"),
        (("a", ["b"]), {}, ValueError, "two strings or two equally long"),
        ((["a"], "b"), {}, ValueError, "two strings or two equally long"),
        ((["a"], ["b", "c"]), {}, ValueError, "two strings or two equally long"),
        (("a",), {"truncation": True, "max_length": 1}, ValueError, "max_length=1 is too short for 2 special tokens"),
        (("a", "b"), {"truncation": True, "max_length": 2}, ValueError, "too short for 3"),
        (("a",), {"truncation": True}, ValueError, "need max_length; none is known"),
        (("a",), {"padding": "max_length"}, ValueError, "need max_length; none is known"),
        (("a",), {"max_length": 5}, ValueError, "max_length needs truncation=True or padding"),
        (("a",), {"max_length": -1, "truncation": True}, ValueError, "integer of at least 0, got -1"),
        (("a",), {"max_length": 2.0, "truncation": True}, ValueError, "integer of at least 0, got 2.0"),
        (("a",), {"truncation": "first"}, ValueError, "truncation must be"),
        (("a",), {"padding": "left"}, ValueError, "padding must be"),
        (("a",), {"return_tensors": "pt"}, ValueError, "return_tensors must be"),
        (("a b",), {"truncation": "only_second", "max_length": 3}, ValueError, "there is no second text"),
        (("a", "b"), {"truncation": "only_first", "max_length": 4}, ValueError, "that text has only 1"),
    ],
)
def test_bad_calls(arguments, options, error, message):
    with pytest.raises(error, match=message):
        small(*arguments, **options)


def test_bad_vocabularies():
    with pytest.raises(ValueError, match=r"has no \[UNK\]"):
        BertTokenizer(["[CLS]", "[SEP]", "a"])
    with pytest.raises(ValueError, match=r"has no \[CLS\] and no \[SEP\]"):
        BertTokenizer(["[UNK]", "a"])
    with pytest.raises(ValueError, match="'a' occurs twice, with ids 1 and 2"):
        BertTokenizer(["[UNK]", "a", "a"])
    with pytest.raises(ValueError, match="have the same id 1"):
        BertTokenizer({"[UNK]": 0, "a": 1, "b": 1})
    with pytest.raises(ValueError, match="empty"):
        BertTokenizer([])
    with pytest.raises(TypeError, match="tokens must be strings"):
        BertTokenizer(["[UNK]", 3])
    with pytest.raises(TypeError, match="ids must be integers"):
        BertTokenizer({"[UNK]": 0.0})
    with pytest.raises(ValueError, match="same id"):
        BertTokenizer(WORDS, added_tokens=[(AddedToken("new"), 3)])
    with pytest.raises(ValueError, match="padding is not possible: its pad_token '<p>' is not in the vocabulary"):
        BertTokenizer(WORDS, pad_token="<p>")(["a", "a b"], padding=True)
    with pytest.raises(TypeError, match="encode expects one string"):
        small.encode(["a"])


def test_names_and_ids():
    assert (small.cls_token_id, small.sep_token_id, small.pad_token_id, small.mask_token_id) == (2, 3, 0, 4)
    assert small.bos_token_id is None and len(small) == small.vocab_size == 15
    assert small.convert_tokens_to_ids(["a", "zebra"]) == [8, 1]
    more = BertTokenizer(WORDS, added_tokens=[(AddedToken("<x>", special=False), 15)])
    assert more.tokenize("a<X><x>b") == ["a", "[UNK]", "[UNK]", "[UNK]", "<x>", "b"]
    assert len(more) == 16 and more.vocab_size == 15
    assert more.decode([15, 3], skip_special_tokens=True) == "<x>"


def test_a_published_vocabulary():
    """With MINIDL_TEST_WEIGHTS naming a folder that has a BERT model's tokenizer.json."""
    library = pytest.importorskip("tokenizers")
    folder = os.environ.get("MINIDL_TEST_WEIGHTS")
    if not folder:
        pytest.skip("MINIDL_TEST_WEIGHTS names no folder")
    found = sorted(Path(folder).rglob("tokenizer.json"))
    assert found, f"{folder} holds no tokenizer.json"
    theirs = library.Tokenizer.from_file(str(found[0]))
    theirs.no_truncation()
    theirs.no_padding()
    ours = BertTokenizer.from_pretrained(found[0].parent)
    for text in (*SENTENCES, *HARD):
        assert_same(theirs, ours, text)
        assert_same(theirs, ours, text, text[::-1])
