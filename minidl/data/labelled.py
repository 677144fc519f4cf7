"""Texts with labels: the sentences that come with the package, and a reader for the user's own."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minidl.data.lines import read_lines
from minidl.data.split import stratified

SENTENCES = Path(__file__).parent / "files" / "uci_sentences.tsv.gz"

LABEL_NAMES = frozenset({"label", "labels", "class", "category", "target", "sentiment", "y"})
TEXT_NAMES = frozenset({"text", "texts", "sentence", "sentences", "review", "content", "x"})
"""A first line made of one of each is a header."""


@dataclass(frozen=True)
class TextSet:
    """Texts, their classes, and the part held out for judging, once there is one.

    Attributes:
        texts: N strings.
        y: (N,) int64, the index of each text's class.
        classes: the names of the classes; there may be only one, which nothing can be learnt from.
        test_texts, test_y: the held-out part, or None.
    """

    texts: tuple[str, ...]
    y: np.ndarray
    classes: tuple[str, ...]
    test_texts: tuple[str, ...] | None = None
    test_y: np.ndarray | None = None

    def split(self, seed: int = 0, fraction: float = 0.2) -> TextSet:
        """The same texts with a held-out part: the one given, or else a random `fraction` of each class.

        Raises:
            ValueError: too few texts to hold any out.
        """
        if self.test_texts is not None:
            return self
        held_out = stratified(self.y, fraction, seed)
        if not held_out.any():
            raise ValueError(f"too few texts to hold some out: {len(self.y)} in {len(self.classes)} classes")
        part = {
            held: tuple(text for text, out in zip(self.texts, held_out, strict=True) if out == held)
            for held in (False, True)
        }
        return TextSet(part[False], self.y[~held_out], self.classes, part[True], self.y[held_out])

    def digest(self) -> str:
        """A fingerprint of all texts and labels, by which a resumed run knows its data again."""
        sha = hashlib.sha256(repr(self.classes).encode())
        for texts, y in ((self.texts, self.y), (self.test_texts, self.test_y)):
            if texts is not None:
                sha.update(repr((texts, y.tolist())).encode())
        return sha.hexdigest()[:16]


def load_sentences() -> TextSet:
    """3000 sentences from reviews of products, films, restaurants, half of them positive: they come with the package.

    D. Kotzias, M. Denil, N. de Freitas, P. Smyth, "Sentiment Labelled Sentences", UCI Machine Learning Repository,
    2015, https://doi.org/10.24432/C57604, CC BY 4.0.

    >>> from minidl.data import load_sentences
    >>> sentences = load_sentences()
    >>> len(sentences.texts), sentences.texts[1], sentences.classes[sentences.y[1]]
    (3000, 'Good case, Excellent value.', 'positive')
    """
    rows = [line.split("\t") for line in read_lines(SENTENCES)]
    y = np.array([int(label) for label, _, _ in rows], np.int64)
    return TextSet(tuple(text for _, _, text in rows), y, ("negative", "positive"))


def load_tsv(path: str | os.PathLike, header: bool | None = None) -> TextSet:
    """Read labelled texts from a file of lines `label<TAB>text`, UTF-8, plain or gzip.

    A label is any string; classes are sorted, by value if all are integers. A text begins behind the first tab, so it
    may hold further tabs. Empty lines are passed over.

    Args:
        path: the file.
        header: whether the first line only names the columns. By default it does if it is a usual pair of names,
            such as `label<TAB>text` or `sentiment<TAB>review`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not UTF-8, a line without tab, label or text, or no rows at all; names file and line.

    Example:
        >>> import pathlib, tempfile
        >>> from minidl.data import load_tsv
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "pets.tsv"
        ...     _ = path.write_text("label\\ttext\\ndog\\tIt barks.\\ncat\\tIt purrs.\\n")
        ...     load_tsv(path)
        TextSet(texts=('It barks.', 'It purrs.'), y=array([1, 0]), classes=('cat', 'dog'), test_texts=None, test_y=None)
    """
    texts, labels = [], []
    first = True
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        label, tab, text = line.partition("\t")
        label, text = label.strip(), text.strip()
        if first:
            first = False
            if header or (header is None and label.lower() in LABEL_NAMES and text.lower() in TEXT_NAMES):
                continue
        if not tab:
            raise ValueError(f"{path}, line {number}: expected label<TAB>text, found no tab: {_short(line)}")
        if not label:
            raise ValueError(f"{path}, line {number}: the label is empty: {_short(line)}")
        if not text:
            raise ValueError(f"{path}, line {number}: the text is empty: {_short(line)}")
        texts.append(text)
        labels.append(label)
    if not texts:
        raise ValueError(f"{path}: there are no rows; expected lines of label<TAB>text")
    classes = sorted(set(labels))
    if all(re.fullmatch(r"[+-]?[0-9]{1,18}", label) for label in classes):
        classes.sort(key=int)
    index = {label: i for i, label in enumerate(classes)}
    return TextSet(tuple(texts), np.array([index[label] for label in labels], np.int64), tuple(classes))


def _short(line: str) -> str:
    return repr(line if len(line) <= 40 else line[:37] + "...")
