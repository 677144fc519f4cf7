"""Attention with several heads as a layer, and the masks that go with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.dtypes import float32
from minidl.factories import empty, made
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.cache import KeyValueCache
from minidl.nn.dropout import probability
from minidl.nn.linear import Linear, at_least
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.ops.shapes import cat
from minidl.ops.table import require_tensor
from minidl.tensor import Tensor


class MultiheadAttention(Module):
    """Attention in several heads, each on its own part of the width.

    Q, K, V = query W_qᵀ + b_q, key W_kᵀ + b_k, value W_vᵀ + b_v, each cut into H heads of width d = E / H;
    head_h = softmax(Q_h K_hᵀ / √d + mask) V_h; output = [head_1 ... head_H] W_oᵀ + b_o.

    A query whose keys are all masked gets 0 from every head. A. Vaswani et al., "Attention is all you need", 2017.

    >>> import minidl
    >>> from minidl import nn
    >>> x = minidl.randn(2, 5, 8)
    >>> output, weights = nn.MultiheadAttention(8, 4, batch_first=True)(x, x, x)
    >>> output.shape, weights.shape
    ((2, 5, 8), (2, 5, 5))

    Args:
        embed_dim: E, width of query and output. num_heads: H, which divides it.
        dropout: probability that a weight is dropped, in training.
        bias: whether there are b_q, b_k, b_v and b_o.
        add_bias_kv: append to keys and values one row that is learnt. add_zero_attn: append one of zeros.
        kdim, vdim: widths of key and value; E by default.
        batch_first: whether batches are (N, L, E) instead of (L, N, E).
        dtype: of the parameters; float32 by default.

    Shapes:
        query (L, N, E), key (S, N, kdim), value (S, N, vdim), or without N -> output as query, and weights (N, L, S).
        in_proj_weight (3 E, E), rows for q, k, v, or where widths differ q_proj_weight (E, E), k_proj_weight (E, kdim),
        v_proj_weight (E, vdim); in_proj_bias (3 E,); bias_k, bias_v (1, 1, E); out_proj.weight (E, E), out_proj.bias.

    Initial values:
        in_proj_weight xavier_uniform_, biases 0, bias_k and bias_v xavier_normal_, out_proj.weight as Linear.

    Raises:
        ValueError: heads that do not divide the width; at the call, shapes that do not go together.
        TypeError: a mask that is neither boolean nor of query's dtype.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = "MultiheadAttention"
        self.embed_dim, self.num_heads = at_least(name, 1, embed_dim=embed_dim, num_heads=num_heads)
        E = self.embed_dim
        self.kdim, self.vdim = at_least(name, 1, kdim=E if kdim is None else kdim, vdim=E if vdim is None else vdim)
        if E % self.num_heads:
            raise ValueError(f"{name}: num_heads={num_heads} does not divide embed_dim={embed_dim}")
        self.head_dim = E // self.num_heads
        self.dropout = probability(name, dropout, "dropout")
        self.batch_first, self.add_zero_attn = bool(batch_first), bool(add_zero_attn)
        packed = self.kdim == E == self.vdim
        shapes = {
            "in_proj_weight": (3 * E, E) if packed else None,
            "q_proj_weight": None if packed else (E, E),
            "k_proj_weight": None if packed else (E, self.kdim),
            "v_proj_weight": None if packed else (E, self.vdim),
            "in_proj_bias": (3 * E,) if bias else None,
            "bias_k": (1, 1, E) if add_bias_kv else None,
            "bias_v": (1, 1, E) if add_bias_kv else None,
        }
        for parameter, shape in shapes.items():
            self.register_parameter(parameter, None if shape is None else Parameter(empty(shape, dtype=dtype)))
        self.out_proj = Linear(E, E, bias, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values anew."""
        self.out_proj.reset_parameters()
        for parameter, value in self.named_parameters(recurse=False):
            if parameter.endswith("weight"):
                init.xavier_uniform_(value)
            elif parameter == "in_proj_bias":
                init.zeros_(value)
            else:
                init.xavier_normal_(value)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        cache: KeyValueCache | None = None,
    ) -> tuple[Any, ...]:
        """The output; unless need_weights is False (which is faster), the weights; the longer cache, if one came.

        Args:
            query, key, value: as the class says.
            key_padding_mask: (N, S), or (S,) without a batch: keys that nobody attends to, where boolean and True;
                floating-point, it is added to the scores.
            need_weights: whether the weights, after dropout, are returned.
            attn_mask: (L, S) or (N · H, L, S): likewise, for pairs of query and key.
            average_attn_weights: return the mean over heads, (N, L, S), rather than each head's, (N, H, L, S).
            is_causal: query i attends to keys 0 .. i only; an attn_mask that is also given must say the same.
            cache: keys and values of the rows before, which need not be given again, at first an empty one. S then
                counts them too, and query i is the one after them and i more. The next call takes the one returned.
        """
        past = 0 if cache is None else len(cache)
        self._check(query, key, value, key_padding_mask, attn_mask, past)
        inputs = [query] if query is key is value else [query, key, value]
        if query.ndim == 2:  # without a batch
            inputs = [x.unsqueeze(0) for x in inputs]
        elif not self.batch_first:
            inputs = [x.transpose(0, 1) for x in inputs]
        q, k, v = self._project(*inputs)  # (N, H, L or S, d)
        if cache is not None:
            cache = cache.append(k, v)
            k, v = cache.key, cache.value
            is_causal = is_causal and (not past or q.shape[2] > 1)  # a last row alone attends to all
        k, v, added = self._longer(k, v)
        fused_causal = is_causal and key_padding_mask is None and not (added or past or need_weights)
        mask = None if fused_causal else self._mask(q, k, key_padding_mask, attn_mask, is_causal, added, past)
        p = self.dropout if self.training else 0.0
        if need_weights:
            weights = F.dropout(attention_weights(q, k, mask), p, self.training)
            heads = weights @ v
        else:
            heads, weights = F.scaled_dot_product_attention(q, k, v, mask, p, fused_causal), None
        output = self.out_proj(joined(heads))  # (N, L, E)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if query.ndim == 2:
            output, weights = output.squeeze(0), None if weights is None else weights.squeeze(0)
        elif not self.batch_first:
            output = output.transpose(0, 1)
        return (output, weights) if cache is None else (output, weights, cache)

    def _project(self, *inputs: Tensor) -> list[Tensor]:
        """q, k and v in heads, of one input that is all three or of three."""
        E, H = self.embed_dim, self.num_heads
        if len(inputs) == 1 and self.in_proj_weight is not None:  # one product
            rows = F.linear(*inputs, self.in_proj_weight, self.in_proj_bias)  # (N, L, 3 E)
            return list(F.split_heads(rows, 3, H))
        if self.in_proj_weight is not None:
            weights = [self.in_proj_weight[i * E : (i + 1) * E] for i in range(3)]
        else:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        bias = self.in_proj_bias
        biases = [None if bias is None else bias[i * E : (i + 1) * E] for i in range(3)]
        inputs = inputs * 3 if len(inputs) == 1 else inputs
        return [in_heads(F.linear(*each), H) for each in zip(inputs, weights, biases, strict=True)]

    def _longer(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, int]:
        """Keys and values with the rows that are learnt, and of zeros, and how many these are."""
        N, H, d = k.shape[0], self.num_heads, self.head_dim
        added = 0
        if self.bias_k is not None:
            k, v = (
                cat([x, b.reshape(1, H, 1, d).expand(N, H, 1, d)], 2) for x, b in ((k, self.bias_k), (v, self.bias_v))
            )
            added += 1
        if self.add_zero_attn:
            k, v = (cat([x, made(np.zeros((N, H, 1, d), x.dtype))], 2) for x in (k, v))
            added += 1
        return k, v, added

    def _mask(
        self, q: Tensor, k: Tensor, padding: Tensor | None, mask: Tensor | None, causal: bool, added: int, past: int
    ) -> Tensor | None:
        """Both masks as one for scores (N, H, L, S): boolean (True: attend), or floating-point (added)."""
        N, H, L, S = *q.shape[:3], k.shape[2]
        if mask is None and causal:
            mask = made(np.triu(np.ones((L, S - added), bool), 1 + past))
        masks = []
        if mask is not None:
            masks.append(mask if mask.ndim == 2 else mask.reshape(N, H, L, S - added))
        if padding is not None:
            masks.append(padding.reshape(N, 1, 1, S - added))
        if added:
            masks = [cat([m, made(np.zeros((*m.shape[:-1], added), m.dtype))], -1) for m in masks]
        if not masks:
            return None
        if all(m.dtype == bool for m in masks):
            forbidden = masks[0] if len(masks) == 1 else masks[0] | masks[1]
            return ~forbidden
        masks = [additive(m, q.dtype) if m.dtype == bool else m for m in masks]
        return masks[0] if len(masks) == 1 else masks[0] + masks[1]

    def _check(
        self, query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None, past: int
    ) -> None:
        name, E = "MultiheadAttention", self.embed_dim
        require_tensor(name, query=query, key=key, value=value, key_padding_mask=padding, attn_mask=mask)
        shapes = f"(query {query.shape}, key {key.shape}, value {value.shape})"
        if query.ndim not in (2, 3) or {key.ndim, value.ndim} != {query.ndim}:
            raise ValueError(f"{name}: query, key and value must all have 3 dimensions, or without a batch 2 {shapes}")
        if (query.shape[-1], key.shape[-1], value.shape[-1]) != (E, self.kdim, self.vdim):
            raise ValueError(f"{name}: expects widths {E}, {self.kdim} and {self.vdim} {shapes}")
        if key.shape[:-1] != value.shape[:-1]:
            raise ValueError(f"{name}: key and value differ in length or batch {shapes}")
        time, batch = (1, 0) if query.ndim == 3 and self.batch_first else (0, 1)
        L, S = query.shape[time], past + key.shape[time]
        N, other = (x.shape[batch] if x.ndim == 3 else 1 for x in (query, key))
        if N != other:
            raise ValueError(f"{name}: query and key differ in their batch {shapes}")
        allowed = {
            "key_padding_mask": (padding, [(N, S)] if query.ndim == 3 else [(S,)]),
            "attn_mask": (mask, [(L, S), (N * self.num_heads, L, S)]),
        }
        for argument, (x, fitting) in allowed.items():
            if x is None:
                continue
            if x.dtype != bool and x.dtype != query.dtype:
                raise TypeError(f"{name}: {argument} must be boolean or {query.dtype} as query, not {x.dtype}")
            if x.shape not in fitting:
                expected = " or ".join(map(str, fitting))
                raise ValueError(f"{name}: {argument} must have shape {expected}, not {x.shape} {shapes}")


def in_heads(x: Tensor, heads: int) -> Tensor:
    """(N, T, heads · d) as (N, heads, T, d), without a copy."""
    N, T, width = x.shape
    return x.reshape(N, T, heads, width // heads).transpose(1, 2)


def joined(x: Tensor) -> Tensor:
    """The opposite: (N, heads, T, d) as (N, T, heads · d)."""
    N, heads, T, d = x.shape
    return x.transpose(1, 2).reshape(N, T, heads * d)


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None = None, scale: float | None = None) -> Tensor:
    """softmax(scale · q kᵀ + mask) (..., L, S): the weights that F.scaled_dot_product_attention never writes down.

    Args as there: a boolean mask is True where a query may attend to a key. Rows without any such key are 0.
    """
    scores = (q * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)) @ k.mT
    if mask is None:
        return F.softmax(scores, -1)
    closed = ~np.asarray(mask) if mask.dtype == bool else np.asarray(mask.detach()) == -math.inf
    alive = ~closed.all(-1, keepdims=True)  # a softmax over nothing would be NaN, and so would its gradient
    if mask.dtype == bool:
        scores = scores.masked_fill(made(closed & alive), -math.inf)
    else:
        scores = scores + (mask if alive.all() else mask.where(made(alive), 0.0))
    weights = F.softmax(scores, -1)
    return weights if alive.all() else weights * made(alive.astype(weights.dtype))


def additive(forbidden: Tensor, dtype: Any) -> Tensor:
    """A boolean mask as one that is added to scores: -∞ where it is True, else 0."""
    return made(np.where(forbidden._array, -math.inf, 0.0).astype(dtype))


def causal_mask(size: int, dtype: Any = None) -> Tensor:
    """(size, size), -∞ above the diagonal, else 0: row i may attend to rows 0 .. i."""
    (size,) = at_least("causal_mask", 0, size=size)
    return additive(made(np.triu(np.ones((size, size), bool), 1)), dtype or float32)
