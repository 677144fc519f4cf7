"""Embedding: a table whose rows are learnt, one for each word of a vocabulary."""

from __future__ import annotations

from typing import Any

from minidl.axes import as_int
from minidl.factories import empty
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.linear import at_least
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.ops.table import require_tensor
from minidl.tensor import Tensor


class Embedding(Module):
    """y = weight[x]: each number is replaced by its row of the table.

    >>> import minidl
    >>> from minidl import nn
    >>> layer = nn.Embedding(10, 3, padding_idx=0)
    >>> layer(minidl.tensor([[1, 2, 0], [4, 5, 9]])).shape
    (2, 3, 3)

    Args:
        num_embeddings: V, rows of the table. embedding_dim: D, values of a row.
        padding_idx: a row that starts as zeros and gets no gradient.
        max_norm: rows that are looked up and are longer than this are shortened to it, in place.
        norm_type: p of the norm that `max_norm` is about.
        scale_grad_by_freq: divide the gradient of a row by how often the batch has it.
        sparse: must be False: gradients are arrays of the table's shape.
        dtype: of the table; float32 by default.

    Shapes:
        x (...), integers in 0..V-1 -> y (..., D); weight (V, D).

    Initial values:
        weight N(0, 1), as PyTorch has it.

    Raises:
        ValueError: sizes below 0 (V: below 1), a padding_idx outside of the table, sparse=True.
        IndexError: at the call, a number that is no row. TypeError: numbers that are no integers.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.num_embeddings,) = at_least("Embedding", 1, num_embeddings=num_embeddings)
        (self.embedding_dim,) = at_least("Embedding", 0, embedding_dim=embedding_dim)
        self.padding_idx = padding_row(padding_idx, self.num_embeddings)
        self.max_norm, self.norm_type, self.scale_grad_by_freq = max_norm, norm_type, bool(scale_grad_by_freq)
        if sparse:
            raise ValueError("Embedding: sparse=True asks for sparse gradients, which minidl does not have")
        self.weight = Parameter(empty(self.num_embeddings, self.embedding_dim, dtype=dtype))
        self.reset_parameters()

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """An Embedding on a table (V, D) that exists, whose memory it shares; frozen, it is not learnt.

        >>> import minidl
        >>> from minidl import nn
        >>> nn.Embedding.from_pretrained(minidl.tensor([[1.0, 2.0], [3.0, 4.0]]))(minidl.tensor([1]))
        tensor([[3., 4.]])
        """
        require_tensor("Embedding.from_pretrained", embeddings=embeddings)
        if embeddings.ndim != 2:
            raise ValueError(f"Embedding.from_pretrained: embeddings must be (V, D), not {embeddings.shape}")
        layer = cls.__new__(cls)
        Module.__init__(layer)
        layer.num_embeddings, layer.embedding_dim = embeddings.shape
        layer.padding_idx = padding_row(padding_idx, layer.num_embeddings)
        layer.max_norm, layer.norm_type, layer.scale_grad_by_freq = max_norm, norm_type, bool(scale_grad_by_freq)
        if sparse:
            raise ValueError("Embedding: sparse=True asks for sparse gradients, which minidl does not have")
        layer.weight = Parameter(embeddings, requires_grad=not freeze)
        return layer

    def reset_parameters(self) -> None:
        """Draw the table anew; the row of padding is zeros."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            init.zeros_(self.weight.detach()[self.padding_idx])

    def forward(self, input: Tensor) -> Tensor:
        """x (...) -> y (..., D)."""
        return F.embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        for option, default in (
            ("padding_idx", None),
            ("max_norm", None),
            ("norm_type", 2),
            ("scale_grad_by_freq", False),
        ):
            if getattr(self, option) != default:
                text += f", {option}={getattr(self, option)}"
        return text


def padding_row(padding_idx: int | None, rows: int) -> int | None:
    """As 0 <= padding_idx < rows; negative ones count from the end."""
    if padding_idx is None:
        return None
    index = as_int("Embedding", "padding_idx", padding_idx)
    if not -rows <= index < rows:
        raise ValueError(f"Embedding: padding_idx must be one of {rows} rows, but is {index}")
    return index % rows
