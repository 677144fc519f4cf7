"""What a tokenizer makes of texts: ids, masks and offsets, with the names that BERT's arguments have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.factories import tensor


@dataclass
class Encoded:
    """One text (or pair): a list for each thing there is to know of its tokens."""

    input_ids: list[int]
    token_type_ids: list[int]
    attention_mask: list[int]
    special_tokens_mask: list[int]
    offsets: list[tuple[int, int]]

    def pad(self, length: int, pad_id: int, side: str) -> None:
        """Lengthen to `length` with padding, which attention does not see."""
        n = length - len(self.input_ids)
        if n > 0:
            for name, filler in (
                ("input_ids", pad_id),
                ("token_type_ids", 0),
                ("attention_mask", 0),
                ("special_tokens_mask", 1),
                ("offsets", (0, 0)),
            ):
                values = getattr(self, name)
                setattr(self, name, values + [filler] * n if side == "right" else [filler] * n + values)


class Encoding(Mapping[str, Any]):
    """Tokens of one text or of a batch; a mapping of what a model takes, so that `model(**encoding)` works.

    Attributes:
        input_ids, attention_mask, and (BERT) token_type_ids: the keys of the mapping. Of one text a list of integers,
            of a batch a list of lists; arrays or Tensors (N, T) of int64 if they were asked for.
        special_tokens_mask: 1 for tokens that were added around the text, and padding.
        offsets: where in its own text each token is, as (start, end) in characters; (0, 0) for added tokens. Lists
            always.
    """

    input_ids: Any
    token_type_ids: Any
    attention_mask: Any
    special_tokens_mask: Any
    offsets: list

    def __init__(
        self, rows: Sequence[Encoded], batched: bool, names: Sequence[str], return_tensors: str | None
    ) -> None:
        self.names = tuple(names)
        for name in ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask"):
            values = [getattr(row, name) for row in rows]
            setattr(self, name, _packed(values, return_tensors) if return_tensors else values if batched else values[0])
        offsets = [row.offsets for row in rows]
        self.offsets = offsets if batched or return_tensors else offsets[0]

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Encoding({', '.join(f'{name}={value!r}' for name, value in self.items())})"


def _packed(values: list[list[int]], return_tensors: str) -> Any:
    lengths = {len(row) for row in values}
    if len(lengths) > 1:
        raise ValueError(
            f"return_tensors: texts have {min(lengths)} to {max(lengths)} tokens; make them one length by padding=True"
        )
    array = np.array(values, np.int64).reshape(len(values), *lengths or (0,))
    return array if return_tensors == "np" else tensor(array)
