"""Attention, embedding, positions."""

from __future__ import annotations

import numpy as np

from minidl.function import call
from minidl.ops.attention import ScaledDotProductAttention
from minidl.ops.embedding import Embedding
from minidl.ops.heads import SplitHeads
from minidl.ops.positions import RotaryEmbedding
from wrong_backwards.bank import right, with_wrong_sign, wrong

for i in range(4):
    wrong("scaled_dot_product_attention", ScaledDotProductAttention)(with_wrong_sign(ScaledDotProductAttention, i))


@wrong("scaled_dot_product_attention", ScaledDotProductAttention)
def softmax_passes_the_gradient_on(self, g):
    """Without D = g · y."""
    output, self.output = self.output, np.zeros_like(self.output)
    grads = right(ScaledDotProductAttention)(self, g)
    self.output = output
    return grads


@wrong("scaled_dot_product_attention", ScaledDotProductAttention)
def keys_forget_the_scale(self, g):
    gq, gk, gv, gmask = right(ScaledDotProductAttention)(self, g)
    return gq, gk / self.scale, gv, gmask


@wrong("scaled_dot_product_attention", ScaledDotProductAttention)
def causality_is_forgotten(self, g):
    causal, self.options = self.options, {**self.options, "causal": False}
    grads = right(ScaledDotProductAttention)(self, g)
    self.options = causal
    return grads


@wrong("scaled_dot_product_attention", ScaledDotProductAttention)
def dropout_is_drawn_anew(self, g):
    options, self.options = self.options, {**self.options, "seed": self.options["seed"] + 1}
    grads = right(ScaledDotProductAttention)(self, g)
    self.options = options
    return grads


@wrong("scaled_dot_product_attention", ScaledDotProductAttention)
def boolean_mask_is_forgotten(self, g):
    inputs, mask = self.inputs, self.inputs[3]
    if mask is not None and mask.dtype == bool:
        self.inputs = (*inputs[:3], None)
    grads = right(ScaledDotProductAttention)(self, g)
    self.inputs = inputs
    return grads


@wrong("embedding", Embedding)
def rows_looked_up_twice_count_once(self, g):
    gw = np.zeros_like(self.inputs[0])
    gw[self.ids] = g
    return gw


@wrong("embedding", Embedding)
def neighbouring_row(self, g):
    return np.roll(right(Embedding)(self, g), 1, 0)


@wrong("rotary_embedding", RotaryEmbedding)
def turns_on_instead_of_back(self, g):
    return call(RotaryEmbedding, g, cos=self.cos, sin=self.sin, interleaved=self.interleaved)


@wrong("split_heads", SplitHeads)
def parts_stand_in_another_order(self, *gs):
    return right(SplitHeads)(self, *gs[::-1])


@wrong("split_heads", SplitHeads)
def heads_stand_where_rows_should(self, *gs):
    N, H, T, d = gs[0].shape
    return np.concatenate([g.reshape(N, T, H * d) for g in gs], -1)


@wrong("split_heads", SplitHeads)
def only_the_queries_get_a_gradient(self, *gs):
    return right(SplitHeads)(self, gs[0], *(np.zeros_like(g) for g in gs[1:]))
