"""The two layers of a Transformer: attention, and a network on each row, each beside a shortcut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minidl.nn import functional as F
from minidl.nn.attention import MultiheadAttention
from minidl.nn.cache import KeyValueCache
from minidl.nn.dropout import Dropout
from minidl.nn.linear import Linear
from minidl.nn.module import Module
from minidl.nn.norm import LayerNorm
from minidl.tensor import Tensor

Activation = Callable[[Tensor], Tensor]


def activation_of(layer: str, activation: str | Activation) -> Activation:
    """The function of that name, or the function."""
    if callable(activation):
        return activation
    if activation not in ("relu", "gelu"):
        raise ValueError(f"{layer}: activation must be 'relu', 'gelu' or a function, not {activation!r}")
    return F.relu if activation == "relu" else F.gelu


class TransformerEncoderLayer(Module):
    """x = norm1(x + attention(x)), then y = norm2(x + linear2(activation(linear1(x)))).

    With `norm_first`: x = x + attention(norm1(x)), then y = x + linear2(activation(linear1(norm2(x)))).

    >>> import minidl
    >>> from minidl import nn
    >>> nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)(minidl.zeros(3, 5, 8)).shape
    (3, 5, 8)

    Args:
        d_model: E, width of the rows. nhead: heads. dim_feedforward: width between linear1 and linear2.
        dropout: probability, of attention's weights and before each sum. activation: "relu", "gelu" or a function.
        layer_norm_eps, bias: of the norms; of all parts. batch_first: (N, T, E) instead of (T, N, E).
        norm_first: where the norms are. dtype: of the parameters.

    Shapes:
        src (T, N, E) or (T, E) -> the same.

    Raises:
        ValueError: heads that do not divide the width, another name of an activation; shapes that do not fit.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype)
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype)
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.norm_first = bool(norm_first)
        self.activation = activation_of("TransformerEncoderLayer", activation)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Masks as `MultiheadAttention` takes them: src_mask its attn_mask, and its key_padding_mask."""
        x, masks = src, (src_mask, src_key_padding_mask, is_causal)
        if self.norm_first:
            x = x + self._attention(self.norm1(x), *masks)
            return x + self._feed_forward(self.norm2(x))
        x = self.norm1(x + self._attention(x, *masks))
        return self.norm2(x + self._feed_forward(x))

    def _attention(self, x: Tensor, mask: Tensor | None, padding: Tensor | None, causal: bool) -> Tensor:
        return self.dropout1(self.self_attn(x, x, x, padding, need_weights=False, attn_mask=mask, is_causal=causal)[0])

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerDecoderLayer(Module):
    """As `TransformerEncoderLayer`, with attention to the encoder's output `memory`, and norm2, in between.

    >>> import minidl
    >>> from minidl import nn
    >>> layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    >>> layer(minidl.zeros(3, 5, 8), minidl.zeros(3, 7, 8), tgt_is_causal=True).shape
    (3, 5, 8)

    Arguments and errors as those of `TransformerEncoderLayer`.

    Shapes:
        tgt (T, N, E), memory (S, N, E), or without N -> as tgt.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype)
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype)
        self.norm_first = bool(norm_first)
        for n in (1, 2, 3):
            self.add_module(f"norm{n}", LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
        for n in (1, 2, 3):
            self.add_module(f"dropout{n}", Dropout(dropout))
        self.activation = activation_of("TransformerDecoderLayer", activation)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
        *,
        cache: KeyValueCache | None = None,
    ) -> Any:
        """Masks as `MultiheadAttention` takes them: of tgt to itself, and of tgt to memory.

        With a `cache` of the rows before, as it takes one too, tgt has only new rows, and the result is a pair: as tgt,
        and the longer cache.
        """
        x, caches = tgt, [] if cache is None else [cache]
        own = tgt_mask, tgt_key_padding_mask, tgt_is_causal, caches
        other = memory, memory_mask, memory_key_padding_mask, memory_is_causal
        if self.norm_first:
            x = x + self._attention(self.norm1(x), *own)
            x = x + self._attention_to(self.norm2(x), *other)
            x = x + self._feed_forward(self.norm3(x))
        else:
            x = self.norm1(x + self._attention(x, *own))
            x = self.norm2(x + self._attention_to(x, *other))
            x = self.norm3(x + self._feed_forward(x))
        return (x, *caches) if caches else x

    def _attention(
        self, x: Tensor, mask: Tensor | None, padding: Tensor | None, causal: bool, caches: list[KeyValueCache]
    ) -> Tensor:
        """The cache, if there is one, is replaced by the longer one."""
        options = {"attn_mask": mask, "is_causal": causal, "cache": caches[0] if caches else None}
        attended, _, *caches[:] = self.self_attn(x, x, x, padding, need_weights=False, **options)
        return self.dropout1(attended)

    def _attention_to(
        self, x: Tensor, memory: Tensor, mask: Tensor | None, padding: Tensor | None, causal: bool
    ) -> Tensor:
        attended, _ = self.multihead_attn(
            x, memory, memory, padding, need_weights=False, attn_mask=mask, is_causal=causal
        )
        return self.dropout2(attended)

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.dropout3(self.linear2(self.dropout(self.activation(self.linear1(x)))))
