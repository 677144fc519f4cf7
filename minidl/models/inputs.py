"""What a Transformer is given: numbers of words, and which of them are padding."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minidl.factories import made
from minidl.ops.table import require_tensor
from minidl.primitives import PutItem
from minidl.tensor import Tensor, apply


def check_ids(
    name: str, config: Any, ids: Tensor, types: Tensor | None = None, positions: Tensor | None = None
) -> None:
    """ValueError, IndexError or TypeError for ids (N, T) that the model has no rows for."""
    require_tensor(name, input_ids=ids, token_type_ids=types, position_ids=positions)
    if ids.ndim != 2:
        raise ValueError(f"{name}: input_ids must be (N, T), not {ids.shape}")
    known = {
        "input_ids": (ids, [ids.shape], config.vocab_size, "vocab_size"),
        "token_type_ids": (types, [ids.shape], config.type_vocab_size, "type_vocab_size"),
        "position_ids": (
            positions,
            [ids.shape, ids.shape[1:], (1, ids.shape[1])],
            config.max_position_embeddings,
            "max_position_embeddings",
        ),
    }
    for argument, (x, shapes, limit, option) in known.items():
        if x is None:
            continue
        if x.dtype.kind not in "iu":
            raise TypeError(f"{name}: {argument} must be integers, not {x.dtype}")
        if x.shape not in shapes:
            raise ValueError(f"{name}: {argument} must have shape {shapes[0]} as input_ids, not {x.shape}")
        array = x._array
        if array.size and not (array.min() >= 0 and array.max() < max(limit, 1)):
            bad = array[(array < 0) | (array >= max(limit, 1))][0]
            raise IndexError(f"{name}: {argument} has {bad}, but must be in 0..{max(limit, 1) - 1} ({option}={limit})")
    if positions is None and ids.shape[1] > config.max_positions:
        raise ValueError(
            f"{name}: {ids.shape[1]} tokens a text, but there are only {config.max_positions} positions; truncate them"
        )


class Padding(NamedTuple):
    """Which of the places (N, T) are tokens.

    Attributes:
        mask: as attention takes it, (N, 1, 1, T). tokens: (N, T).
        skipped: whether rows of padding are left out, of everything but attention itself.
    """

    mask: Tensor
    tokens: np.ndarray
    skipped: bool

    def without(self, x: Tensor) -> Tensor:
        """(N, T, width) -> (tokens, width)."""
        return x[self.tokens]

    def with_zeros(self, x: Tensor) -> Tensor:
        """(tokens, width) -> (N, T, width), 0 for padding."""
        return apply(PutItem(key=self.tokens, shape=(*self.tokens.shape, x.shape[-1])), x)


def find_padding(name: str, mask: Tensor | None, ids: Tensor, skip: bool) -> Padding | None:
    """What attention_mask (N, T) says; None if all are tokens."""
    if mask is None:
        return None
    require_tensor(name, attention_mask=mask)
    if mask.shape != ids.shape:
        raise ValueError(f"{name}: attention_mask must have shape {ids.shape} as input_ids, not {mask.shape}")
    tokens = mask.detach()._array != 0
    return None if tokens.all() else Padding(made(tokens.reshape(len(tokens), 1, 1, -1)), tokens, bool(skip))
