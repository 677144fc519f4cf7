"""Trained vocabularies: those of a trainer that counts everything anew each time, and of the `tokenizers` library."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import load_sentences
from minidl.text import BertTokenizer, GPT2Tokenizer
from minidl.text.training import train_bpe, train_wordpiece

SENTENCES = load_sentences().texts
words = st.dictionaries(st.text("abc", min_size=1, max_size=8), st.integers(1, 9), max_size=12)


def by_the_book(counts, symbols, prefix, vocab_size, min_frequency):
    """The most frequent pair, of equals the one of the oldest symbols, by counting all of it each time."""
    symbols = list(symbols)
    cut = {word: [prefix * (i > 0) + c for i, c in enumerate(word)] for word in counts}
    merges = []
    while len(symbols) < vocab_size:
        pairs = Counter()
        for word, parts in cut.items():
            for pair in pairwise(parts):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], symbols.index(pair[0]), symbols.index(pair[1])))
        if pairs[best] < min_frequency:
            break
        new = best[0] + best[1].removeprefix(prefix)
        merges.append(best)
        if new not in symbols:
            symbols.append(new)
        for parts in cut.values():
            for i in range(len(parts)):
                if tuple(parts[i : i + 2]) == best:
                    parts[i : i + 2] = [new]
    return symbols, merges


@given(words, st.integers(0, 20), st.integers(0, 4))
def test_bpe_by_the_book(counts, more, min_frequency):
    alphabet = sorted({c for word in counts for c in word})
    size = max(len(alphabet) + more, 1)
    assert train_bpe(counts, size, min_frequency, ()) == by_the_book(counts, alphabet, "", size, max(min_frequency, 1))


@given(words, st.integers(0, 20), st.integers(0, 4))
def test_wordpiece_by_the_book(counts, more, min_frequency):
    alphabet = sorted({c for word in counts for c in word})
    start = ["[UNK]", *alphabet, *sorted({"##" + c for word in counts for c in word[1:]})]
    size = len(start) + more
    expected = by_the_book(counts, start, "##", size, max(min_frequency, 1))[0]
    assert train_wordpiece(counts, size, min_frequency, ["[UNK]"]) == expected


def test_bpe_as_the_library():
    library = pytest.importorskip("tokenizers")
    theirs = library.Tokenizer(library.models.BPE())
    theirs.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(
        vocab_size=1500,
        min_frequency=2,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    theirs.train_from_iterator(SENTENCES, trainer)
    assert GPT2Tokenizer.train(SENTENCES, vocab_size=1500).vocab == theirs.get_vocab()


def test_wordpiece_nearly_as_the_library():
    """Nearly: among equally frequent pairs the library's choice hangs on the order of a hash table."""
    library = pytest.importorskip("tokenizers")
    theirs = library.Tokenizer(library.models.WordPiece(unk_token="[UNK]"))
    theirs.normalizer = library.normalizers.BertNormalizer()
    theirs.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = library.trainers.WordPieceTrainer(
        vocab_size=1500, min_frequency=2, special_tokens=special, show_progress=False
    )
    theirs.train_from_iterator(SENTENCES, trainer)
    ours = BertTokenizer.train(SENTENCES, vocab_size=1500)
    assert len(ours.vocab) == 1500 and len(ours.vocab.keys() & theirs.get_vocab().keys()) >= 1485


def test_deterministic_and_independent_of_order():
    texts = list(SENTENCES[:300])
    first = BertTokenizer.train(texts, vocab_size=500).vocab
    random.Random(0).shuffle(texts)
    assert BertTokenizer.train(iter(texts), vocab_size=500).vocab == first
    assert list(first)[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_options():
    texts = ["aaaa Éé bbb", "aaaa [MASK] c"]
    vocab = BertTokenizer.train(texts, vocab_size=50).vocab
    assert "e" in vocab and "É" not in vocab and "##aa" in vocab and "##b" in vocab and "m" not in vocab
    assert "É" in BertTokenizer.train(texts, vocab_size=50, do_lower_case=False).vocab
    assert {"a", "b"} == {t for t in BertTokenizer.train(texts, 50, limit_alphabet=2).vocab if len(t) == 1}
    assert "bb" not in vocab and "bb" in BertTokenizer.train(texts, 50, min_frequency=1).vocab
    tokenizer = BertTokenizer.train(texts, 50, special_tokens=["[UNK]", "[CLS]", "[SEP]", "<x>"])
    assert tokenizer.tokenize("<x>") == ["<x>"] and tokenizer.pad_token_id is None
    byte_level = GPT2Tokenizer.train(["<x>ab<x>ab"], 300, special_tokens=["<x>"])
    assert byte_level.tokenize("<x>ab") == ["<x>", "ab"] and len(byte_level) == 258
    assert BertTokenizer.train([], 10).vocab_size == 5
    assert GPT2Tokenizer.train([]).vocab_size == 257


def test_words_without_end():
    """A file without spaces is one word: BERT leaves it out, and byte-level BPE still ends."""
    tokenizer = BertTokenizer.train(["ab ab", "ab" * 51, "z" * 101, "y" * 100], 100, min_frequency=1)
    assert "ab" in tokenizer.vocab and "abab" not in tokenizer.vocab
    assert "##y" in tokenizer.vocab and "z" not in tokenizer.vocab
    assert GPT2Tokenizer.train(["ab" * 200_000], 270).tokenize("ab" * 1024) == ["ab" * 1024]


@pytest.mark.parametrize("kind", [BertTokenizer, GPT2Tokenizer])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"texts": "one text"}, TypeError, "texts must be an iterable of strings, got one string"),
        ({"texts": ["a", None]}, TypeError, r"texts\[1\] must be a string, got NoneType"),
        ({"vocab_size": 6}, ValueError, r"vocab_size=6, but \d+ tokens are needed"),
        ({"vocab_size": 100.0}, ValueError, "vocab_size must be an integer"),
        ({"min_frequency": -1}, ValueError, "min_frequency must be an integer of at least 0, got -1"),
        ({"special_tokens": "[UNK]"}, TypeError, "special_tokens must be a sequence of strings"),
        ({"special_tokens": ["[UNK]", "[CLS]", "[SEP]", "[UNK]"]}, ValueError, "a token twice"),
    ],
)
def test_bad_settings(kind, options, error, message):
    with pytest.raises(error, match=message):
        kind.train(**({"texts": ["some words"], "vocab_size": 300} | options))
