"""Labelled texts: the bundled sentences, and files of the user's own with everything that can be wrong with them."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import load_sentences, load_tsv


def written(folder, content, name="texts.tsv"):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_sentences():
    sentences = load_sentences()
    assert len(sentences.texts) == len(sentences.y) == 3000
    assert sentences.y.dtype == np.int64 and np.bincount(sentences.y).tolist() == [1500, 1500]
    assert sentences.classes == ("negative", "positive")
    assert any("\x85" in text for text in sentences.texts) or any("\x97" in text for text in sentences.texts)
    assert all(text.strip() for text in sentences.texts) and len(set(sentences.texts)) == 2982


def test_split():
    whole = load_sentences()
    split = whole.split(seed=1)
    assert len(split.texts) == 2400 and len(split.test_texts) == 600
    assert np.bincount(split.y).tolist() == [1200, 1200] and np.bincount(split.test_y).tolist() == [300, 300]
    pairs = lambda texts, y: sorted(zip(texts, y.tolist(), strict=True))  # noqa: E731
    assert sorted(pairs(split.texts, split.y) + pairs(split.test_texts, split.test_y)) == pairs(whole.texts, whole.y)
    assert split.test_texts == whole.split(seed=1).test_texts != whole.split(seed=2).test_texts
    assert split.split(seed=5) is split
    assert len({whole.digest(), split.digest(), whole.split(seed=2).digest()}) == 3
    assert split.digest() == whole.split(seed=1).digest()


def test_load_tsv(tmp_path):
    data = load_tsv(written(tmp_path, "\ufeffspam\tBuy\tnow\r\n\r\nham\t Hello\x85there \nspam\tlabel\n"))
    assert data.texts == ("Buy\tnow", "Hello\x85there", "label") and data.classes == ("ham", "spam")
    assert data.y.tolist() == [1, 0, 1] and data.y.dtype == np.int64
    numbers = load_tsv(written(tmp_path, "10\ta\n9\tb\n-1\tc"))
    assert numbers.classes == ("-1", "9", "10") and numbers.y.tolist() == [2, 1, 0]
    one = load_tsv(written(tmp_path, "x\ta\nx\tb\n"))
    assert one.classes == ("x",)
    with pytest.raises(ValueError, match="too few texts to hold some out: 2 in 1 classes"):
        one.split()
    packed = load_tsv(written(tmp_path, gzip.compress(b"x\ta\ny\tb\n"), "packed.tsv.gz"))
    assert packed.texts == ("a", "b")


def test_headers(tmp_path):
    for header in ("label\ttext", "Sentiment\tReview", "class\tsentence"):
        assert load_tsv(written(tmp_path, f"{header}\n1\ta\n")).texts == ("a",)
        assert len(load_tsv(tmp_path / "texts.tsv", header=False).texts) == 2
    assert len(load_tsv(written(tmp_path, "label\tGreat phone\n1\ta\n")).texts) == 2
    assert load_tsv(written(tmp_path, "étiquette\ttexte\n1\ta\n"), header=True).texts == ("a",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1\tfine\n0\tcaf\xe9\n", "line 2: not UTF-8: byte 0xe9"),
        ("1\tfine\nno tab here\n", "line 2: expected label<TAB>text, found no tab: 'no tab here'"),
        ("1\tfine\n\n1\t  \n", "line 3: the text is empty"),
        ("1\tfine\n\tno label\n", "line 2: the label is empty"),
        ("", "there are no rows"),
        ("\n\n", "there are no rows"),
        ("label\ttext\n", "there are no rows"),
        (b"\xff\xfe1\x00\t\x00", "line 1: not UTF-8"),
        (gzip.compress(b"1\tfine\n", mtime=0)[:-3], "truncated: the gzip stream"),
        (gzip.compress(b"1\tfine\n", mtime=0)[:12] + b"\xff" * 20, "gzip stream"),
        (gzip.compress(bytes(1 << 27), 9, mtime=0), "refused: "),
    ],
)
def test_broken_files(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(ValueError, match=message) as error:
        load_tsv(path)
    assert str(path) in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_tsv(tmp_path / "nothing.tsv")
    with pytest.raises(ValueError, match="a folder"):
        load_tsv(tmp_path)


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r"), min_size=1).map(str.strip)


@given(st.lists(st.tuples(cells.filter(bool), cells.filter(bool)), min_size=1, max_size=8))
def test_any_rows(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tsv") / "rows.tsv"
    path.write_bytes("".join(f"{label}\t{text}\n" for label, text in rows).encode())
    if rows[0][0][0] == "\ufeff":
        rows[0] = (rows[0][0].removeprefix("\ufeff").strip() or "?", rows[0][1])
    data = load_tsv(path, header=False) if rows[0][0] != "?" else None
    if data is not None:
        assert data.texts == tuple(text for _, text in rows)
        assert [data.classes[i] for i in data.y] == [label for label, _ in rows]
