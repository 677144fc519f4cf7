"""Making a vocabulary out of texts: the pair of neighbours that occurs most often becomes a symbol, again and again.

**Byte-pair encoding** (R. Sennrich, B. Haddow, A. Birch, "Neural machine translation of rare words with subword
units", 2016; P. Gage, "A new algorithm for data compression", 1994) begins with words spelt in single symbols. The most
frequent pair of neighbours, say `e s`, is joined to one new symbol `es` everywhere, and so on, until the vocabulary is
full. A frequent word ends up as one symbol, a rare one as a few, and a new one is still spelt by the alphabet.

**WordPiece** (M. Schuster, K. Nakajima, "Japanese and Korean voice search", 2012) goes the same way with another
choice: the pair whose joining raises the likelihood of the texts most under a model of independent symbols. With n(x)
occurrences of x among N, joining a and b changes the log-likelihood by nearly n(ab) log(N n(ab) / (n(a) n(b))). BERT's
authors (J. Devlin et al., 2019) published a vocabulary but not how it was made; those who train vocabularies for BERT
today, with the `tokenizers` library, choose by n(ab) alone, and so does this trainer. What makes it WordPiece is the
spelling, `##` inside a word, and that encoding takes the longest piece instead of replaying the merges.

**Counting once.** Joining `e s` changes the words that hold it and no others. So the trainer keeps the count of each
pair and the words each is in; a join subtracts the old pairs of those words and adds the new ones. The most frequent
pair comes from a heap whose counts may be too high: a pair popped with an old count goes back with the true one.
Equal counts go to the pair whose symbols are older, so a vocabulary depends on the texts only, not on their order or
the machine.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

Pair = tuple[int, int]


def learn_merges(
    words: Mapping[str, int],
    symbols: list[str],
    spell: Callable[[str], list[str]],
    join: Callable[[str, str], str],
    vocab_size: int,
    min_frequency: int,
) -> list[tuple[str, str]]:
    """Join pairs until there are `vocab_size` symbols, or no pair occurs `min_frequency` times.

    Args:
        words: how often each word occurs.
        symbols: those there are already, special tokens and alphabet; new ones are appended.
        spell: a word as a list of symbols; a word with others is left out by giving [].
        join: how two symbols look as one.
        vocab_size, min_frequency: where to end.

    Returns:
        the pairs in the order in which they were joined.
    """
    ids = {symbol: i for i, symbol in enumerate(symbols)}
    spelt = [([ids[symbol] for symbol in spell(word)], count) for word, count in sorted(words.items())]
    counts: Counter[Pair] = Counter()
    where: dict[Pair, set[int]] = {}
    for i, (word, count) in enumerate(spelt):
        for pair in pairwise(word):
            counts[pair] += count
            where.setdefault(pair, set()).add(i)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    merges: list[tuple[str, str]] = []
    while heap and len(symbols) < vocab_size:
        count, pair = heapq.heappop(heap)
        if counts[pair] != -count:  # too high, it was true once
            if counts[pair] > 0:
                heapq.heappush(heap, (-counts[pair], pair))
            continue
        if -count < max(min_frequency, 1):
            break
        left, right = symbols[pair[0]], symbols[pair[1]]
        new = ids.setdefault(join(left, right), len(symbols))
        if new == len(symbols):
            symbols.append(join(left, right))
        merges.append((left, right))
        grown: set[Pair] = set()
        for i in where.pop(pair):
            word, times = spelt[i]
            for old in pairwise(word):
                counts[old] -= times
            _join(word, pair, new)
            for made in pairwise(word):
                counts[made] += times
                if new in made:
                    grown.add(made)
                    where.setdefault(made, set()).add(i)
        del counts[pair]
        for made in grown:
            heapq.heappush(heap, (-counts[made], made))
    return merges


def _join(word: list[int], pair: Pair, new: int) -> None:
    """Replace each occurrence of a pair in a word, from the left; once through, since a word may be a whole file."""
    joined = []
    i = 0
    while i < len(word):
        found = tuple(word[i : i + 2]) == pair
        joined.append(new if found else word[i])
        i += 1 + found
    word[:] = joined


def counted(texts: Iterable[str], words_of: Callable[[str], Iterable[str]], operation: str) -> Counter[str]:
    """How often each word occurs in the texts. TypeError for one string, or something that is no string."""
    if isinstance(texts, str):
        raise TypeError(f"{operation}: texts must be an iterable of strings, got one string")
    words: Counter[str] = Counter()
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{operation}: texts[{i}] must be a string, got {type(text).__name__}")
        words.update(words_of(text))
    return words


def alphabet_of(words: Mapping[str, int], limit: int | None) -> list[str]:
    """The characters of words, sorted; of more than `limit` the most frequent."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for c in word:
            counts[c] += count
    return sorted(sorted(counts, key=lambda c: (-counts[c], c))[:limit])


def check_training(
    operation: str, vocab_size: int, min_frequency: int, special_tokens: Sequence[str], limit: int | None = None
) -> None:
    """ValueError or TypeError for settings that no vocabulary can be made with."""
    if isinstance(special_tokens, str) or not all(isinstance(token, str) and token for token in special_tokens):
        raise TypeError(f"{operation}: special_tokens must be a sequence of strings, got {special_tokens!r}")
    if len(set(special_tokens)) < len(special_tokens):
        raise ValueError(f"{operation}: special_tokens has a token twice: {list(special_tokens)}")
    for name, value, least in (
        ("vocab_size", vocab_size, 1),
        ("min_frequency", min_frequency, 0),
        ("limit_alphabet", limit, 1),
    ):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise ValueError(f"{operation}: {name} must be an integer of at least {least}, got {value!r}")


def train_wordpiece(
    words: Mapping[str, int],
    vocab_size: int = 30522,
    min_frequency: int = 2,
    special_tokens: Sequence[str] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    limit_alphabet: int | None = 1000,
    prefix: str = "##",
) -> list[str]:
    """The tokens of a WordPiece vocabulary: special ones, the alphabet, the alphabet inside words, what was learnt.

    Args:
        words: how often each word occurs.
        vocab_size: tokens at most; fewer if the words have no more to give.
        min_frequency: a pair must occur as often as that to be joined.
        limit_alphabet: characters at most; words with rarer ones are left out.
        prefix: what marks a piece inside a word.

    Raises:
        ValueError: `vocab_size` is less than special tokens and alphabet need, or another setting is out of range.

    >>> from minidl.text.training import train_wordpiece
    >>> train_wordpiece({"low": 5, "lower": 2}, vocab_size=10, special_tokens=["[UNK]"])
    ['[UNK]', 'e', 'l', 'o', 'r', 'w', '##e', '##o', '##r', '##w']
    """
    check_training("train_wordpiece", vocab_size, min_frequency, special_tokens, limit_alphabet)
    alphabet = alphabet_of(words, limit_alphabet)
    known = set(alphabet)

    def spell(word: str) -> list[str]:
        return [prefix * (i > 0) + c for i, c in enumerate(word)] if known.issuperset(word) else []

    inside = sorted({symbol for word in words for symbol in spell(word)[1:]})
    symbols = list(dict.fromkeys([*special_tokens, *alphabet, *inside]))
    _check_room("train_wordpiece", vocab_size, len(symbols), f"{len(alphabet)} characters; limit_alphabet lowers that")
    learn_merges(
        words, symbols, spell, lambda left, right: left + right.removeprefix(prefix), vocab_size, min_frequency
    )
    return symbols


def train_bpe(
    words: Mapping[str, int],
    vocab_size: int = 50257,
    min_frequency: int = 2,
    special_tokens: Sequence[str] = ("<|endoftext|>",),
    alphabet: Sequence[str] = (),
) -> tuple[list[str], list[tuple[str, str]]]:
    """The tokens and the merges of a BPE vocabulary: special ones, the alphabet, what was learnt.

    Args:
        words: how often each word occurs, already spelt in the symbols of `alphabet`.
        vocab_size, min_frequency: as for `train_wordpiece`.
        alphabet: symbols that are there in any case; those of the words are added.

    Raises:
        ValueError: as for `train_wordpiece`.

    >>> from minidl.text.training import train_bpe
    >>> train_bpe({"low": 5, "lower": 2, "newest": 6, "widest": 3}, vocab_size=13, special_tokens=())[1]
    [('e', 's'), ('es', 't'), ('l', 'o')]
    """
    check_training("train_bpe", vocab_size, min_frequency, special_tokens)
    symbols = list(dict.fromkeys([*special_tokens, *sorted({*alphabet, *alphabet_of(words, None)})]))
    _check_room("train_bpe", vocab_size, len(symbols), "the alphabet")
    merges = learn_merges(words, symbols, list, str.__add__, vocab_size, min_frequency)
    return symbols, merges


def _check_room(operation: str, vocab_size: int, needed: int, why: str) -> None:
    if vocab_size < needed:
        raise ValueError(
            f"{operation}: vocab_size={vocab_size}, but {needed} tokens are needed for special tokens and {why}"
        )
