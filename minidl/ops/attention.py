"""Attention: every query takes a weighted mean of values, weighted by how well the values' keys fit it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.axes import broadcast_shapes, broadcasts_to
from minidl.dtypes import require_same_dtype
from minidl.function import Function
from minidl.kernels import attention as kernels
from minidl.kernels import attention_backward as kernels_backward
from minidl.kernels import dropout as dropout_kernels
from minidl.ops.table import Sample, operation, require_tensor, run
from minidl.primitives.elementwise import unbroadcast
from minidl.random import Generator, stream
from minidl.tensor import Tensor


def scaled_dot_product_attention_definition(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, causal: bool, dropout: float, seed: int
) -> Tensor:
    """softmax(scale · q kᵀ + mask) v, where a row without any key to attend to has weights of 0."""
    s = (q @ k.mT) * scale  # (..., L, S)
    if causal:
        s = s.where(np.tri(*s.shape[-2:], dtype=bool), -math.inf)
    if mask is not None:
        s = s.where(mask, -math.inf) if mask.dtype == bool else s + mask
    if not s.shape[-1]:
        return s @ v
    top = s.detach().amax(-1, keepdim=True)
    e = (s - top.where(top != -math.inf, 0.0)).exp()
    total = e.sum(-1, keepdim=True)
    p = e / total.where(total != 0, 1.0)
    if dropout:
        factor = 1 / (1 - dropout) if dropout < 1 else 0
        kept = dropout_kernels.kept(seed, dropout, math.prod(p.shape)).reshape(p.shape)  # by their places, as F.dropout
        p = p * Tensor(kept.astype(p.dtype) * p.dtype.type(factor))
    return p @ v


class ScaledDotProductAttention(Function):
    """y_i = Σ_j p_ij v_j with p_i = softmax(s_i), s_ij = scale · q_i · k_j + mask_ij, for each query i.

    Forward keeps no weights, only y and log Σ_j exp(s_ij): L numbers instead of L · S, from which backward has the
    weights again as p_ij = exp(s_ij - log Σ). y was a sum over j, so each of its factors gets

        gv_j  = Σ_i p_ij g_i                gp_ij = g_i · v_j

    and softmax hands gp on as gs_ij = p_ij (gp_ij - Σ_j p_ij gp_ij). That sum needs no weights either, because
    Σ_j p_ij (g_i · v_j) = g_i · Σ_j p_ij v_j = g_i · y_i. Last, s was a product plus the mask:

        gq_i  = scale · Σ_j gs_ij k_j       gk_j = scale · Σ_i gs_ij q_i       gmask_ij = gs_ij

    Dropout multiplied p_ij by m_ij, 0 or 1 / (1 - dropout), before the values: gv_j = Σ_i p_ij m_ij g_i and
    gp_ij = m_ij (g_i · v_j), and still Σ_j p_ij gp_ij = g_i · y_i. Where inputs were broadcast, their gradients are
    summed. A row without keys has p = 0, so all it sends back is 0.

    How both go through the scores block by block: `kernels/attention.py`, `kernels/attention_backward.py`.
    """

    keeps_output = True
    definition = staticmethod(scaled_dot_product_attention_definition)

    def forward(self, q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        self.batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
        y, self.sums = kernels.forward(q, k, v, mask, self.batch, **self.options)
        return y

    def backward(self, g: np.ndarray) -> tuple[np.ndarray | None, ...]:
        q, k, v, mask = self.inputs
        gq, gk, gv, gmask = kernels_backward.backward(
            g, self.output, self.sums, q, k, v, mask, self.batch, **self.options, mask_wanted=self.needs[3]
        )
        return unbroadcast(gq, q.shape), unbroadcast(gk, k.shape), unbroadcast(gv, v.shape), gmask


def checked(
    name: str, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, dropout: float
) -> tuple[int, ...]:
    """The leading dimensions that q, k and v broadcast to; exceptions for what does not go together."""
    shapes = f"(query {q.shape}, key {k.shape}, value {v.shape}{'' if mask is None else f', attn_mask {mask.shape}'})"
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise ValueError(f"{name}: query, key and value need at least 2 dimensions {shapes}")
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(f"{name}: query and key differ in their last dimension {shapes}")
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(f"{name}: key and value differ in length, their dimension -2 {shapes}")
    if not (isinstance(dropout, int | float) and 0 <= dropout <= 1):
        raise ValueError(f"{name}: dropout_p must be a probability in 0..1, but is {dropout}")
    batch = broadcast_shapes(name, q.shape[:-2], k.shape[:-2], v.shape[:-2])
    if mask is not None:
        if causal:
            raise ValueError(f"{name}: give attn_mask or is_causal=True, not both")
        if mask.dtype != bool and mask.dtype != q.dtype:
            raise TypeError(f"{name}: attn_mask must be bool or {q.dtype} as query, not {mask.dtype}")
        scores = (*batch, q.shape[-2], k.shape[-2])
        if mask.ndim < 2 or not broadcasts_to(mask.shape, scores):
            raise ValueError(f"{name}: attn_mask does not broadcast to the scores {scores} {shapes}")
    return batch


def grouped(
    name: str, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Heads (..., Hq, L, E) as (..., H, Hq / H, L, E), so that those of key and value (..., H, 1, S, E) broadcast."""
    shapes = f"(query {q.shape}, key {k.shape}, value {v.shape})"
    if min(q.ndim, k.ndim, v.ndim) < 3:
        raise ValueError(f"{name}: enable_gqa needs heads, a dimension -3 {shapes}")
    heads, fewer = q.shape[-3], {k.shape[-3], v.shape[-3]}
    if any(n == 0 or heads % n for n in fewer):
        raise ValueError(f"{name}: the heads of key and value must divide those of query {shapes}")
    if len(fewer) > 1:  # they do not share groups, so each gets all heads
        k, v = repeated(k, heads), repeated(v, heads)
    split = (k.shape[-3], heads // k.shape[-3])
    q = q.reshape(*q.shape[:-3], *split, *q.shape[-2:])
    if mask is not None and mask.ndim > 2:
        mask = mask.reshape(*mask.shape[:-3], *(split if mask.shape[-3] == heads else (1, 1)), *mask.shape[-2:])
    return q, k.unsqueeze(-3), v.unsqueeze(-3), mask


def repeated(x: Tensor, heads: int) -> Tensor:
    """(..., H, S, E) as (..., heads, S, E): every head several times in a row."""
    *batch, H, S, E = x.shape
    return x.unsqueeze(-3).expand(*batch, H, heads // H, S, E).reshape(*batch, heads, S, E)


def samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Masks of both kinds, causal, longer and shorter keys, leading dimensions that broadcast, groups, no keys."""
    normal = rng.standard_normal

    def qkv(
        batch: tuple[int, ...], L: int, S: int, E: int, V: int, kv_batch: tuple[int, ...] | None = None
    ) -> list[Any]:
        kv_batch = batch if kv_batch is None else kv_batch
        return [normal((*batch, L, E)), normal((*kv_batch, S, E)), normal((*kv_batch, S, V))]

    yield Sample(*qkv((2, 3), 4, 5, 2, 3))
    yield Sample(*qkv((2,), 5, 3, 3, 3), is_causal=True)
    yield Sample(*qkv((), 2, 6, 2, 1), is_causal=True, scale=0.5)
    mask = rng.random((3, 1, 4, 5)) < 0.6
    mask[0, 0, 1] = False  # a query without keys
    yield Sample(*qkv((3, 2), 4, 5, 3, 2), mask)
    yield Sample(*qkv((2, 2), 3, 4, 2, 2), rng.random((2, 1, 1, 4)) < 0.7)
    yield Sample(*qkv((2, 2), 3, 4, 2, 2), normal((2, 3, 4)))
    yield Sample(*qkv((2, 2), 3, 4, 2, 2), normal((2, 1, 1, 4)), scale=-1.5)
    yield Sample(normal((2, 1, 3, 2)), normal((3, 4, 2)), normal((1, 3, 4, 5)))
    yield Sample(*qkv((2, 6), 3, 4, 2, 3, (2, 2)), enable_gqa=True)
    yield Sample(*qkv((4,), 3, 3, 2, 3, (1,)), normal((4, 1, 3)), enable_gqa=True)
    yield Sample(normal((6, 3, 2)), normal((2, 4, 2)), normal((3, 4, 2)), enable_gqa=True)
    yield Sample(*qkv((2,), 14, 35, 3, 2), is_causal=True)
    yield Sample(*qkv((2,), 3, 4, 2, 2), dropout_p=0.4)
    yield Sample(*qkv((2,), 3, 4, 2, 2), dropout_p=1.0)
    yield Sample(*qkv((2,), 3, 0, 2, 2))
    yield Sample(*qkv((0, 2), 3, 2, 2, 2))
    yield Sample(*qkv((2,), 3, 2, 0, 2))


@operation(samples=samples, passes=ScaledDotProductAttention, seeded=True)
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Attention (A. Vaswani et al., "Attention is all you need", 2017): softmax(scale · query keyᵀ + mask) value.

    A query whose keys are all masked gets zeros, and sends none but zeros back. Keys that are masked must be finite all
    the same.

    Args:
        query: (..., L, E). key: (..., S, E). value: (..., S, V). Leading dimensions broadcast.
        attn_mask: at least 2-dimensional, broadcasts to (..., L, S). Boolean: True where a query may attend to a key.
            Floating-point, of query's dtype: added to the scores.
        dropout_p: the probability to drop a weight; the others are divided by 1 - dropout_p. Always applied: give 0.0
            in evaluation.
        is_causal: query i attends to keys 0 .. i only (for L != S too); not together with attn_mask.
        scale: by default 1 / √E.
        enable_gqa: key and value may have fewer heads (dimension -3) than query, of which as many neighbours share one
            (J. Ainslie et al., "GQA", 2023).
        generator: draws what is dropped; by default minidl's, which `manual_seed` seeds.

    Returns:
        (..., L, V).

    Raises:
        TypeError: arguments that are no floating-point Tensors of one dtype; a mask that is neither that nor boolean.
        ValueError: shapes that do not go together, dropout_p not in 0..1, both attn_mask and is_causal.

    >>> import minidl, minidl.nn.functional as F
    >>> x = minidl.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> F.scaled_dot_product_attention(x, x, x, is_causal=True, scale=1000.0)
    tensor([[1., 0.],
            [0., 1.]])
    """
    name = "scaled_dot_product_attention"
    require_tensor(name, query=query, key=key, value=value, attn_mask=attn_mask)
    require_same_dtype(name, query=query, key=key, value=value)
    heads = query.shape[:-2]
    q, k, v, mask = query, key, value, attn_mask
    if enable_gqa:
        q, k, v, mask = grouped(name, q, k, v, mask)
    checked(name, q, k, v, mask, is_causal, dropout_p)
    E = query.shape[-1]
    scale = (1 / math.sqrt(E) if E else 1.0) if scale is None else float(scale)
    seed = int(stream(generator).integers(2**63)) if 0 < dropout_p < 1 else 0
    node = ScaledDotProductAttention(scale=scale, causal=bool(is_causal), dropout=float(dropout_p), seed=seed)
    y = run(node, q, k, v, mask)
    return y.reshape(*y.shape[:-4], *heads[-1:], *y.shape[-2:]) if enable_gqa else y
