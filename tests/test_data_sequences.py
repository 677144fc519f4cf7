"""Sequences and text: what comes with the package, batches of like length, and consecutive pieces of a text."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.data import (
    Alphabet,
    DataLoader,
    NextCharacter,
    SimilarLengthSampler,
    collate_sequences,
    load_japanese_vowels,
    load_moby_dick,
    read_text,
)


def test_japanese_vowels():
    vowels = load_japanese_vowels()
    assert np.bincount(vowels.y).tolist() == [30] * 9 and len(vowels.classes) == 9
    assert np.bincount(vowels.test_y).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    lengths = [len(x) for x in vowels.x + vowels.test_x]
    assert (min(lengths), max(lengths), sum(lengths)) == (7, 29, 4274 + 5687)
    assert all(x.dtype == np.float32 and x.shape[1] == 12 for x in vowels.x + vowels.test_x)
    assert vowels.x[0][0, 0] == 3811 / 2048 and vowels.test_x[0][1, 0] == 3170 / 2048
    assert vowels.digest() == load_japanese_vowels().digest() and len(vowels.digest()) == 16
    vowels.test_x[5][0, 0] += 1
    assert vowels.digest() != load_japanese_vowels().digest()


def test_moby_dick():
    book = load_moby_dick()
    assert len(book) == 1_190_317 and len(set(book)) == 83
    assert book.startswith("CHAPTER 1. Loomings.\n\nCall me Ishmael.") and "\r" not in book


# Batches of like length


@given(st.lists(st.integers(1, 30), max_size=60), st.integers(1, 9), st.integers(1, 4), st.booleans(), st.booleans())
def test_every_sequence_comes_once(lengths, batch_size, pool, shuffle, drop_last):
    sampler = SimilarLengthSampler(lengths, batch_size, shuffle, pool, drop_last)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    together = sorted(i for batch in batches for i in batch)
    assert len(set(together)) == len(together)
    assert together == list(range(len(lengths))) or drop_last
    assert sum(len(batch) != batch_size for batch in batches) <= (not drop_last)


def test_lengths_of_a_batch_are_alike():
    lengths = np.random.default_rng(0).integers(1, 100, 640)

    def padding(sampler):
        return sum(int((max(lengths[b]) - lengths[b]).sum()) for b in sampler)

    alike = padding(SimilarLengthSampler(lengths, 16, pool=10))
    assert alike < padding(SimilarLengthSampler(lengths, 16, pool=1)) / 4
    assert padding(SimilarLengthSampler(lengths, 16, shuffle=False)) <= alike


def test_the_order_is_repeatable_and_new_every_epoch():
    g = minidl.Generator().manual_seed(3)
    sampler = SimilarLengthSampler([5, 1, 9, 9, 2, 7], 2, generator=g)
    state = g.get_state()
    epochs = [list(sampler) for _ in range(5)]
    assert any(epoch != epochs[0] for epoch in epochs)
    g.set_state(state)
    assert [list(sampler) for _ in range(5)] == epochs


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (True, 1), (2.0, 1)])
def test_sampler_refuses(sizes):
    with pytest.raises(ValueError, match="must be a positive integer"):
        SimilarLengthSampler([1, 2], sizes[0], pool=sizes[1])


def test_collate_pads_with_zeros():
    samples = [(np.full((n, 2), n, np.float32), n) for n in (2, 4, 1)]
    loader = DataLoader(samples, batch_sampler=[[0, 1], [2]], collate_fn=collate_sequences)
    (x, lengths, y), (last, _, _) = loader
    assert x.shape == (2, 4, 2) and x.dtype == np.float32 and last.shape == (1, 1, 2)
    assert x[0, 2:].abs().sum().item() == 0 and (x[0, :2] == 2).all() and (x[1] == 4).all()
    assert lengths.tolist() == [2, 4] and y.tolist() == [2, 4] and lengths.dtype == y.dtype == np.int64
    assert collate_sequences([(minidl.arange(3), 1)])[0].tolist() == [[0, 1, 2]]
    for bad in ([], [(np.ones((0, 2)), 0)], [(np.ones((2, 2)), 0), (np.ones((2, 3)), 0)], [(np.float64(1), 0)]):
        with pytest.raises(ValueError, match="collate_sequences"):
            collate_sequences(bad)
    x = np.ones((2, 3))
    for bad in ([x, x], [(x, 0), (x.astype(np.float32), 0)], [(x, 1.5)], [(x, "a")], [(x, None)]):
        with pytest.raises(TypeError, match=r"collate_sequences: (expects samples|dtypes differ|labels must be)"):
            collate_sequences(bad)


# Text


def test_alphabet():
    alphabet = Alphabet.of("Ahoy, Ahab—ahoy")
    assert alphabet.characters == " ,Aabhoy—" and len(alphabet) == 9
    assert alphabet.decode(alphabet.encode("hay")) == "hay"
    with pytest.raises(ValueError, match=r"unknown characters: 'B' 'z'$"):
        alphabet.encode("zaB")
    for bad in ("", "aba"):
        with pytest.raises(ValueError, match="Alphabet"):
            Alphabet(bad)


@given(st.integers(2, 80), st.integers(1, 9), st.integers(1, 9))
def test_rows_go_on_where_they_ended(n, batch_size, steps):
    if n <= batch_size:
        with pytest.raises(ValueError, match=f"{n} characters are too few"):
            NextCharacter(np.arange(n), batch_size, steps)
        return
    loader = NextCharacter(np.arange(n), batch_size, steps)
    batches = list(loader)
    assert len(batches) == len(loader)
    x, y = (np.concatenate([batch[k].numpy() for batch in batches], axis=1) for k in (0, 1))
    assert (y == x + 1).all() and (np.diff(x, axis=1) == 1).all()
    assert x.ravel().tolist() == list(range(x.size)) and n - 1 - batch_size < x.size <= n - 1
    assert all(b[0].shape == (batch_size, steps) for b in batches[:-1]) and batches[-1][0].shape[1] <= steps


def test_batches_do_not_share_memory_with_the_text():
    numbers = np.arange(9)
    for x, y in NextCharacter(numbers, 2, 3):
        x.fill_(0), y.fill_(0)
    assert numbers.tolist() == list(range(9))


def test_read_text(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("\ufeffAhab\r\nquick —".encode())
    assert read_text(path) == "Ahab\nquick —"
    for content, message in [
        (b"", "the text is empty"),
        (b"abc\xff", "not UTF-8: byte 3 is 0xff"),
        (b"\xe2\x80", "not UTF-8: byte 0 is 0xe2"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_text(path)
    with pytest.raises(ValueError, match="a folder"):
        read_text(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_text(tmp_path / "nothing")


def test_numbers_are_integers():
    """Nothing is cut to an integer, and no number stands for the character counted from the end."""
    alphabet, numbers = Alphabet("ab"), np.arange(9)
    for call, error, message in (
        (lambda: alphabet.decode([0, 2]), IndexError, r"decode: numbers must be in 0\.\.1, not 0\.\.2"),
        (lambda: alphabet.decode([-1]), IndexError, r"decode: numbers must be in 0\.\.1"),
        (lambda: alphabet.decode([0.5]), TypeError, "decode: numbers must be integers, not float64"),
        (lambda: alphabet.decode([[0, 1]]), ValueError, "decode: numbers must have one dimension"),
        (lambda: Alphabet(["a", "b"]), TypeError, "Alphabet: expects a str, not list"),
        (lambda: NextCharacter(numbers * 1.5, 2, 2), TypeError, "NextCharacter: numbers must be integers"),
        (lambda: NextCharacter("abcdefgh", 2, 2), TypeError, "NextCharacter: numbers must be integers"),
        (lambda: NextCharacter(numbers, 1.5, 2), TypeError, "NextCharacter: batch_size must be an int, not 1.5"),
        (lambda: NextCharacter(numbers, 2, None), TypeError, "NextCharacter: steps must be an int, not None"),
        (
            lambda: SimilarLengthSampler([[1, 2]], 1),
            ValueError,
            "SimilarLengthSampler: lengths must have one dimension",
        ),
        (lambda: SimilarLengthSampler([[1], [1, 2]], 1), ValueError, "SimilarLengthSampler: lengths must have one"),
        (lambda: SimilarLengthSampler([1, math.nan], 1), TypeError, "SimilarLengthSampler: lengths must be integers"),
        (lambda: SimilarLengthSampler(None, 1), TypeError, "SimilarLengthSampler: lengths must be integers"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert alphabet.decode(minidl.tensor([1, 0])) == "ba" and alphabet.decode([]) == ""
