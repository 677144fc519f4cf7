"""Where a word stands: attention does not see the order of its rows, so the order is put into them.

Three ways: waves added to the rows, learnt rows added to them, or queries and keys turned by an angle that grows with
the position.
"""

from __future__ import annotations

from typing import Any

from minidl.axes import as_int
from minidl.factories import arange, empty
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.linear import at_least
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.ops.table import require_tensor
from minidl.tensor import Tensor


def rows(layer: str, x: Tensor, width: int, offset: int) -> int:
    """T of x (..., T, width), for an offset of at least 0."""
    require_tensor(layer, x=x)
    if x.ndim < 2 or x.shape[-1] != width:
        raise ValueError(f"{layer}: expects x (..., T, {width}), not {x.shape}")
    if as_int(layer, "offset", offset) < 0:
        raise ValueError(f"{layer}: offset must not be negative, but is {offset}")
    return x.shape[-2]


class SinusoidalPositions(Module):
    """y = x + PE, with PE[t, 2i] = sin(t / base^(2i/D)) and PE[t, 2i+1] = cos(t / base^(2i/D)).

    Wave lengths go from 2π to 2π · base, so that a shift by k is the same linear map at every t. Nothing is learnt, and
    no sequence is too long. A. Vaswani et al., "Attention is all you need", 2017, section 3.5.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.SinusoidalPositions(4)(minidl.zeros(2, 4))
    tensor([[0.        , 1.        , 0.        , 1.        ],
            [0.84147096, 0.5403023 , 0.00999983, 0.99995   ]])

    Args:
        embedding_dim: D. base: as above.

    Shapes:
        x (..., T, D), with the position `offset` of its first row -> y, the same.

    Raises:
        ValueError: another width; a negative offset.
    """

    def __init__(self, embedding_dim: int, base: float = 10000.0) -> None:
        super().__init__()
        (self.embedding_dim,) = at_least("SinusoidalPositions", 1, embedding_dim=embedding_dim)
        self.base = float(base)
        self._table = F.sinusoidal_positions(0, self.embedding_dim, base=self.base)

    def table(self, length: int, dtype: Any) -> Tensor:
        """PE (length, D); made once for the longest sequence so far, and some longer ones."""
        if length > len(self._table) or self._table.dtype != dtype:
            self._table = F.sinusoidal_positions(2 * length, self.embedding_dim, base=self.base, dtype=dtype)
        return self._table[:length]

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        """x (..., T, D) -> y, the same shape."""
        T = rows("SinusoidalPositions", x, self.embedding_dim, offset)
        return x + self.table(offset + T, x.dtype)[offset:]

    def extra_repr(self) -> str:
        return f"{self.embedding_dim}, base={self.base}"


class LearnedPositions(Module):
    """y = x + weight[offset : offset + T], one learnt row a position.

    J. Gehring et al., "Convolutional sequence to sequence learning", 2017; J. Devlin et al., "BERT", 2018.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.LearnedPositions(512, 8)(minidl.zeros(2, 5, 8)).shape
    (2, 5, 8)

    Args:
        num_positions: how many there are. embedding_dim: D. dtype: of the rows.

    Shapes:
        x (..., T, D) -> y, the same; weight (num_positions, D), N(0, 0.02²) at first.

    Raises:
        ValueError: a sequence that is longer than there are positions; another width; a negative offset.
    """

    def __init__(self, num_positions: int, embedding_dim: int, *, dtype: Any = None) -> None:
        super().__init__()
        self.num_positions, self.embedding_dim = at_least(
            "LearnedPositions", 1, num_positions=num_positions, embedding_dim=embedding_dim
        )
        self.weight = Parameter(empty(self.num_positions, self.embedding_dim, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the rows anew."""
        init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        """x (..., T, D) -> y, the same shape."""
        T = rows("LearnedPositions", x, self.embedding_dim, offset)
        if offset + T > self.num_positions:
            raise ValueError(
                f"LearnedPositions: x has rows up to position {offset + T}, but there are only {self.num_positions}"
            )
        return x + self.weight[offset : offset + T]

    def extra_repr(self) -> str:
        return f"{self.num_positions}, {self.embedding_dim}"


class RotaryPositions(Module):
    """Turns each pair of values of a query or key by the angle t · base^(-2i/D): rotary position embedding.

        (a, b) -> (a cos θ - b sin θ, a sin θ + b cos θ)

    A dot product of a query at s and a key at t then depends on the rows and on t - s alone. Nothing is learnt. Pairs
    are neighbours, or without `interleaved` values i and i + D/2 (as GPT-NeoX and Llama have them).
    J. Su et al., "RoFormer: enhanced transformer with rotary position embedding", 2021.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.RotaryPositions(2)(minidl.tensor([[1.0, 0.0], [1.0, 0.0]]))
    tensor([[1.        , 0.        ],
            [0.5403023 , 0.84147096]])

    Args:
        dim: D, values of a head, an even number. base: as above. interleaved: which values are pairs.

    Shapes:
        x (..., T, D), queries or keys of any heads, with the position `offset` of the first row -> y, the same.

    Raises:
        ValueError: an odd D; another width; a negative offset.
    """

    def __init__(self, dim: int, base: float = 10000.0, interleaved: bool = True) -> None:
        super().__init__()
        (self.dim,) = at_least("RotaryPositions", 2, dim=dim)
        if self.dim % 2:
            raise ValueError(f"RotaryPositions: dim must be even, values being turned in pairs, but is {dim}")
        self.base, self.interleaved = float(base), bool(interleaved)

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        """x (..., T, D) -> y, the same shape."""
        T = rows("RotaryPositions", x, self.dim, offset)
        return F.rotary_embedding(x, arange(offset, offset + T), base=self.base, interleaved=self.interleaved)

    def extra_repr(self) -> str:
        return f"{self.dim}, base={self.base}, interleaved={self.interleaved}"
