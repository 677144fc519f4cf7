"""Text: the book that comes with the package, the user's own, and batches of characters."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minidl.axes import as_int, as_integers
from minidl.data.limits import file_length
from minidl.factories import made
from minidl.tensor import Tensor

MOBY_DICK = Path(__file__).parent / "files" / "moby_dick.txt.gz"


def load_moby_dick() -> str:
    """The text of "Moby-Dick; or, The Whale" (H. Melville, 1851), 1,190,317 characters: it comes with the package.

    >>> from minidl.data import load_moby_dick
    >>> load_moby_dick()[22:43]
    'Call me Ishmael. Some'
    """
    return gzip.decompress(MOBY_DICK.read_bytes()).decode("utf-8")


def read_text(path: str | os.PathLike) -> str:
    """The text of a file, which is UTF-8 (a byte order mark is left out); line ends become "\\\\n".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no regular file, not UTF-8 (and where), or empty.
    """
    file_length(path)
    try:
        text = Path(path).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from None
    if not text:
        raise ValueError(f"{path}: the text is empty")
    return text


class Alphabet:
    """The characters that a model knows, and their numbers.

    Args:
        characters: all of them, once each, as a str.

    Raises:
        TypeError: no str. ValueError: none, or one comes twice.

    Example:
        >>> from minidl.data import Alphabet
        >>> alphabet = Alphabet.of("hello")
        >>> alphabet.characters, alphabet.encode("hole"), alphabet.decode([1, 0])
        ('ehlo', array([1, 3, 2, 0]), 'he')
    """

    def __init__(self, characters: str) -> None:
        if not isinstance(characters, str):
            raise TypeError(f"Alphabet: expects a str, not {type(characters).__name__}")
        self.characters = characters
        self.numbers = {character: number for number, character in enumerate(characters)}
        if not characters or len(self.numbers) < len(characters):
            raise ValueError(f"Alphabet: expects characters, each once, got {characters!r}")

    @classmethod
    def of(cls, text: str) -> Alphabet:
        """The characters of a text, in the order of their code points."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> np.ndarray:
        """The number of each character: (len(text),) int64. ValueError names the characters that it does not know."""
        unknown = sorted(set(text) - self.numbers.keys())
        if unknown:
            raise ValueError(f"unknown characters: {' '.join(map(repr, unknown[:5]))}{' ...' * (len(unknown) > 5)}")
        return np.array([self.numbers[character] for character in text], np.int64)

    def decode(self, numbers: object) -> str:
        """The text of numbers: integers, one after the other. IndexError for one that stands for no character."""
        found = as_integers("decode", "numbers", numbers)
        if found.min(initial=0) < 0 or found.max(initial=0) >= len(self):
            raise IndexError(f"decode: numbers must be in 0..{len(self) - 1}, not {found.min()}..{found.max()}")
        return "".join(self.characters[number] for number in found.tolist())


class NextCharacter:
    """Batches for truncated backpropagation through time: x, and as y what follows each character of x.

    The text is cut into `batch_size` pieces of one length, which are read side by side, `steps` characters at a time.
    So row n of a batch goes on where row n of the batch before ended, and a state can be carried over. Fewer than
    `batch_size` characters at the end of the text are left out.

        text "abcdefghi", batch_size 2, steps 3        x: abc, efg      y: bcd, fgh
                                                          d, h             e, i

    Args:
        numbers: the text, (n,) integers.
        batch_size: N. steps: T, at most; the last batch may be shorter.

    Iterating gives:
        x, y (N, T) int64.

    Raises:
        TypeError: numbers or sizes that are no integers. ValueError: a size below 1, or a text too short to give every
            row a character and what follows.

    Example:
        >>> import numpy as np
        >>> from minidl.data import NextCharacter
        >>> for x, y in NextCharacter(np.arange(9), batch_size=2, steps=3):
        ...     print(x.tolist(), y.tolist())
        [[0, 1, 2], [4, 5, 6]] [[1, 2, 3], [5, 6, 7]]
        [[3], [7]] [[4], [8]]
    """

    generator = None  # nothing is left to chance

    def __init__(self, numbers: np.ndarray, batch_size: int, steps: int) -> None:
        numbers = as_integers("NextCharacter", "numbers", numbers)
        batch_size, steps = (as_int("NextCharacter", *size) for size in (("batch_size", batch_size), ("steps", steps)))
        if batch_size < 1 or steps < 1:
            raise ValueError(f"NextCharacter: expects sizes of at least 1, got batch_size={batch_size}, steps={steps}")
        length = (len(numbers) - 1) // batch_size
        if length < 1:
            raise ValueError(
                f"{len(numbers)} characters are too few: batches of {batch_size} need at least {batch_size + 1}"
            )
        self.x = numbers[: batch_size * length].reshape(batch_size, length)
        self.y = numbers[1 : batch_size * length + 1].reshape(batch_size, length)
        self.steps = steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for t in range(0, self.x.shape[1], self.steps):
            yield made(self.x[:, t : t + self.steps].copy()), made(self.y[:, t : t + self.steps].copy())

    def __len__(self) -> int:
        """Number of batches."""
        return -(-self.x.shape[1] // self.steps)
