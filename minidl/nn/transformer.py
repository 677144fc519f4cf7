"""The Transformer: stacks of layers that read, and that write.

A. Vaswani et al., "Attention is all you need", 2017. Its figure 1, an encoder of N layers (left) and a decoder (right):

                                  add & norm
                                  feed forward
    add & norm                    add & norm
    feed forward    ----------->  attention to the encoder's output
    add & norm                    add & norm
    attention                     attention to the rows before
    source                        target
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.attention import causal_mask
from minidl.nn.cache import KeyValueCache
from minidl.nn.container import ModuleList
from minidl.nn.linear import at_least
from minidl.nn.module import Module
from minidl.nn.norm import LayerNorm
from minidl.nn.transformer_layers import Activation, TransformerDecoderLayer, TransformerEncoderLayer
from minidl.ops.table import require_tensor
from minidl.tensor import Tensor


class TransformerEncoder(Module):
    """Layers on layers: copies of one, and a norm at the end if one is given.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 3)(minidl.zeros(5, 2, 8)).shape
    (5, 2, 8)

    Args:
        encoder_layer: copied num_layers times, its initial values included. norm: a module, or None.
        enable_nested_tensor, mask_check: hints to PyTorch's inference; taken so that its code runs. Results never
            depend on them.

    Shapes:
        src as the layer takes it -> the same.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = copies("TransformerEncoder", encoder_layer, num_layers)
        self.num_layers = len(self.layers)
        self.add_module("norm", norm)

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Masks as `TransformerEncoderLayer` takes them; is_causal=None looks whether mask is the causal one."""
        causal = says_causal(mask) if is_causal is None else is_causal
        for layer in self.layers:
            src = layer(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=causal)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """Layers on layers: copies of one, and a norm at the end if one is given.

    >>> import minidl
    >>> from minidl import nn
    >>> decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 3)
    >>> decoder(minidl.zeros(5, 2, 8), minidl.zeros(7, 2, 8)).shape
    (5, 2, 8)

    Args:
        decoder_layer: copied num_layers times, its initial values included. norm: a module, or None.

    Shapes:
        tgt, memory as the layer takes them -> as tgt.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = copies("TransformerDecoder", decoder_layer, num_layers)
        self.num_layers = len(self.layers)
        self.add_module("norm", norm)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
        *,
        caches: Sequence[KeyValueCache] | None = None,
    ) -> Any:
        """Masks as `TransformerDecoderLayer` takes them; tgt_is_causal=None looks whether tgt_mask is causal.

        With `caches`, at first `new_caches()`, tgt has only the rows after those of the calls before, and the result is
        a pair: as tgt, and the longer caches. Without a mask it is causal then.

        >>> import minidl
        >>> from minidl import nn
        >>> decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 3).eval()
        >>> tgt, memory, caches = minidl.randn(5, 2, 8), minidl.randn(7, 2, 8), decoder.new_caches()
        >>> for t in range(5):
        ...     row, caches = decoder(tgt[t : t + 1], memory, caches=caches)
        >>> minidl.allclose(row[0], decoder(tgt, memory, tgt_is_causal=True)[4], atol=1e-5)
        True
        """
        if caches is not None and len(caches) != len(self.layers):
            raise ValueError(f"TransformerDecoder: {len(caches)} caches for {len(self.layers)} layers")
        implied = says_causal(tgt_mask) if caches is None else tgt_mask is None
        causal, longer = implied if tgt_is_causal is None else tgt_is_causal, []
        for i, layer in enumerate(self.layers):
            tgt = layer(
                tgt,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=causal,
                memory_is_causal=memory_is_causal,
                **({} if caches is None else {"cache": caches[i]}),
            )
            if caches is not None:
                tgt, cache = tgt
                longer.append(cache)
        tgt = tgt if self.norm is None else self.norm(tgt)
        return tgt if caches is None else (tgt, tuple(longer))

    def new_caches(self) -> tuple[KeyValueCache, ...]:
        """Empty ones, one for each layer."""
        return tuple(KeyValueCache() for _ in self.layers)


def copies(stack: str, layer: Module, count: int) -> ModuleList:
    """Independent layers of the same values."""
    if not isinstance(layer, Module):
        raise TypeError(f"{stack}: expects a layer to copy, not a {type(layer).__name__}")
    (count,) = at_least(stack, 0, num_layers=count)
    return ModuleList(copy.deepcopy(layer) for _ in range(count))


def says_causal(mask: Tensor | None) -> bool:
    """Whether a mask (T, T) forbids exactly what lies above the diagonal, and adds nothing elsewhere."""
    if mask is None or mask.ndim != 2 or mask.shape[0] != mask.shape[1]:
        return False
    array = mask.detach()._array
    above = np.triu(np.ones(array.shape, bool), 1)
    if array.dtype == bool:
        return bool((array == above).all())
    return bool((array[above] == -np.inf).all() and (array[~above] == 0).all())


class Transformer(Module):
    """Encoder and decoder, each with a norm at its end: figure 1 of the paper, between embedding and output layer.

    >>> import minidl
    >>> from minidl import nn
    >>> model = nn.Transformer(16, 4, 2, 2, 32, batch_first=True)
    >>> mask = nn.Transformer.generate_square_subsequent_mask(5)
    >>> model(minidl.zeros(3, 7, 16), minidl.zeros(3, 5, 16), tgt_mask=mask).shape
    (3, 5, 16)

    Args:
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, dtype: as
            `TransformerEncoderLayer` has them.
        num_encoder_layers, num_decoder_layers: how many.
        custom_encoder, custom_decoder: modules to take instead, called as `TransformerEncoder`, `TransformerDecoder`.

    Shapes:
        src (S, N, E), tgt (T, N, E), or with batch_first (N, ., E), or without N -> as tgt.

    Raises:
        ValueError: src and tgt of different batches or widths, and as `TransformerEncoderLayer`.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        layer = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias)
        if custom_encoder is None:
            encoder_layer = TransformerEncoderLayer(*layer, dtype=dtype)
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
            custom_encoder = TransformerEncoder(encoder_layer, num_encoder_layers, norm)
        if custom_decoder is None:
            decoder_layer = TransformerDecoderLayer(*layer, dtype=dtype)
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
            custom_decoder = TransformerDecoder(decoder_layer, num_decoder_layers, norm)
        self.encoder, self.decoder = custom_encoder, custom_decoder
        self.d_model, self.nhead, self.batch_first = d_model, nhead, bool(batch_first)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All matrices xavier_uniform_; what has one dimension stays as its layer has it."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Masks as the layers take them."""
        require_tensor("Transformer", src=src, tgt=tgt)
        batch = 0 if self.batch_first else 1
        if src.ndim != tgt.ndim or (src.ndim == 3 and src.shape[batch] != tgt.shape[batch]):
            raise ValueError(f"Transformer: src {src.shape} and tgt {tgt.shape} differ in their batch")
        if {*src.shape[-1:], *tgt.shape[-1:]} != {self.d_model}:
            raise ValueError(f"Transformer: src {src.shape} and tgt {tgt.shape} must be {self.d_model} wide")
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: Any = None) -> Tensor:
        """The mask under which row i attends to rows 0 .. i only: (sz, sz), -∞ above the diagonal, else 0."""
        return causal_mask(sz, dtype)
