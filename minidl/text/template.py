"""Where special tokens go: [CLS] a [SEP] b [SEP] and its kin, and how much of a and b there is room for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STRATEGIES = ("longest_first", "only_first", "only_second")


@dataclass(frozen=True)
class Slot:
    """One place of a template: a whole sequence ("A" or "B"), or the special tokens `ids`; and its token type."""

    sequence: str | None
    ids: tuple[int, ...]
    type_id: int


@dataclass(frozen=True)
class Template:
    """How one text, and a pair of texts, is laid out.

    >>> from minidl.text.template import Template
    >>> bert = Template.parse("[CLS]:0 A:0 [SEP]:0", "[CLS]:0 A:0 [SEP]:0 B:1 [SEP]:1", {"[CLS]": 101, "[SEP]": 102})
    >>> bert.lay_out([7, 8], [9])
    ([101, 7, 8, 102, 9, 102], [0, 0, 0, 0, 1, 1], [1, 0, 0, 1, 0, 1], [-1, 0, 1, -1, 2, -1])
    """

    single: tuple[Slot, ...]
    pair: tuple[Slot, ...]

    @classmethod
    def parse(cls, single: str, pair: str, ids: Mapping[str, int]) -> Template:
        """From words such as `[CLS]:0 A:0 [SEP]:0`: a special token, or the sequence A or B, and a token type."""

        def slots(text: str) -> tuple[Slot, ...]:
            parts = [part.rpartition(":") for part in text.split()]
            return tuple(
                Slot(name, (), int(kind)) if name in ("A", "B") else Slot(None, (ids[name],), int(kind))
                for name, _, kind in parts
            )

        return cls(slots(single), slots(pair))

    def slots(self, has_pair: bool, special: bool) -> list[Slot]:
        return [slot for slot in (self.pair if has_pair else self.single) if special or slot.sequence]

    def added(self, has_pair: bool) -> int:
        """How many special tokens a text, or a pair, gets."""
        return sum(len(slot.ids) for slot in self.slots(has_pair, True))

    def lay_out(
        self, first: list[int], second: list[int] | None, special: bool = True
    ) -> tuple[list[int], list[int], list[int], list[int]]:
        """ids, token types, mask of special tokens, and for each where it was in `first + second` (-1: nowhere)."""
        ids: list[int] = []
        types: list[int] = []
        mask: list[int] = []
        origin: list[int] = []
        for slot in self.slots(second is not None, special):
            if slot.sequence == "A":
                new, places = first, range(len(first))
            elif slot.sequence == "B":
                new, places = second or [], range(len(first), len(first) + len(second or []))
            else:
                new, places = slot.ids, [-1] * len(slot.ids)
            ids += new
            types += [slot.type_id] * len(new)
            mask += [int(slot.sequence is None)] * len(new)
            origin += places
        return ids, types, mask, origin


def room(first: int, second: int | None, most: int, strategy: str) -> tuple[int, int]:
    """How many tokens of the first and of the second text stay, so that together there are `most` at most.

    `longest_first` shortens the longer one until both are equally long, then both; `only_first` and `only_second` leave
    the other whole.

    Raises:
        ValueError: the text that is to be shortened is too short for that.

    >>> from minidl.text.template import room
    >>> room(10, 4, 12, "longest_first"), room(10, 4, 7, "longest_first"), room(10, 4, 7, "only_first")
    ((8, 4), (4, 3), (3, 4))
    """
    a, b = first, second or 0
    excess = a + b - most
    if excess <= 0:
        return a, b
    if most == 0:
        return 0, 0
    if strategy == "longest_first":
        if second is None:
            return most, 0
        shorter = min(a, b)
        longer = max(shorter, most - shorter)
        if shorter + longer > most:  # the odd one is the longer text's
            shorter, longer = most // 2, most - most // 2
        return (shorter, longer) if a <= b else (longer, shorter)
    victim = a if strategy == "only_first" else b
    if strategy == "only_second" and second is None:
        raise ValueError("truncation='only_second': there is no second text")
    if victim <= excess:
        raise ValueError(
            f"truncation={strategy!r}: {excess} tokens must go, but that text has only {victim}; "
            "use longest_first or a larger max_length"
        )
    return (a - excess, b) if strategy == "only_first" else (a, b - excess)
