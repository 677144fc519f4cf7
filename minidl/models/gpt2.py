"""GPT-2: a Transformer's decoder that writes a text, word by word.

A. Radford, J. Wu, R. Child, D. Luan, D. Amodei, I. Sutskever, "Language models are unsupervised multitask learners",
2019. From the bottom up:

    INPUT      the words so far
    wte + wpe  word + position
    h.0        x + attention(norm(x)), each word seeing itself and those before; then x + W₂ gelu(W₁ norm(x))
    ...
    h.11
    ln_f       norm
    OUTPUT     scores of the next word after each: products with wte's rows

All names, and matrices that stand as (in, out), are those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minidl import nn
from minidl.dtypes import int64
from minidl.factories import arange, empty, made, zeros
from minidl.mode import no_grad
from minidl.models.bert import ACTIVATIONS
from minidl.models.bert_heads import TiedLinear
from minidl.models.generation import check_choice, draw, probabilities
from minidl.models.inputs import check_ids
from minidl.models.pretrained import Config, Pretrained, initialise
from minidl.nn import functional as F
from minidl.nn.attention import attention_weights, joined
from minidl.nn.module import evaluating
from minidl.ops.shapes import cat
from minidl.random import Generator, stream
from minidl.tensor import Tensor

Caches = Sequence[nn.KeyValueCache]


@dataclass
class GPT2Config(Config):
    """The sizes of a GPT-2, by default of the small one. ValueError for values that cannot be.

    >>> from minidl.models import GPT2Config
    >>> GPT2Config(n_layer=2).n_embd
    768
    """

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    eos_token_id: int | None = 50256

    model_type: ClassVar[str] = "gpt2"

    def __post_init__(self) -> None:
        self.positive("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
        if self.n_inner is not None:
            self.positive("n_inner")
        self.numbers("layer_norm_epsilon", "initializer_range")
        self.numbers("resid_pdrop", "embd_pdrop", "attn_pdrop", below=1 + 1e-9)
        if self.n_embd % self.n_head:
            raise ValueError(f"n_head={self.n_head} does not divide n_embd={self.n_embd}")
        if self.activation_function not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation_function must be one of {known}, but is {self.activation_function!r}")
        if self.other.get("add_cross_attention"):
            raise ValueError("add_cross_attention is not supported")

    @property
    def max_position_embeddings(self) -> int:
        """Words that a text can have."""
        return self.n_positions

    max_positions = max_position_embeddings
    type_vocab_size = 0


class GPT2Output(NamedTuple):
    """What a GPT2Model returns.

    Attributes:
        last_hidden_state: (N, T, n_embd). caches: of each layer, longer by T, if some were given.
        hidden_states: of the embeddings and of each layer. attentions: (N, heads, T, S) of each layer. If asked for.
    """

    last_hidden_state: Tensor
    caches: tuple[nn.KeyValueCache, ...] | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class Conv1D(nn.Module):
    """y = x W + b, with W (in, out): a linear layer whose matrix stands the other way around."""

    def __init__(self, width: int, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(empty(inputs, width))
        self.bias = nn.Parameter(zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return F.linear(x, self.weight.T, self.bias)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}"


class GPT2Attention(nn.Module):
    """Each word takes a weighted mean of its own value and those of the words before, in several heads."""

    def __init__(self, config: GPT2Config, layer: int) -> None:
        super().__init__()
        self.heads = config.n_head
        self.c_attn = Conv1D(3 * config.n_embd, config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)
        self.attn_dropout, self.resid_dropout = config.attn_pdrop, nn.Dropout(config.resid_pdrop)
        self.scale = (config.n_embd // config.n_head) ** -0.5 if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.scale /= layer + 1

    def forward(
        self, x: Tensor, cache: nn.KeyValueCache | None = None, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None, nn.KeyValueCache | None]:
        """(N, T, n_embd) -> the same; if asked for, weights (N, heads, T, S); if one was given, the longer cache."""
        q, k, v = F.split_heads(self.c_attn(x), 3, self.heads)  # (N, heads, T, d)
        if cache is not None:
            cache = cache.append(k, v)
            k, v = cache.key, cache.value  # (N, heads, S, d)
        T, S = q.shape[2], k.shape[2]
        p = self.attn_dropout if self.training else 0.0
        mask = None if T == 1 or (T == S and not need_weights) else made(np.tri(T, S, S - T, dtype=bool))
        if need_weights:
            weights = F.dropout(attention_weights(q, k, mask, self.scale), p, self.training)
            heads = weights @ v
        else:
            weights = None
            heads = F.scaled_dot_product_attention(q, k, v, mask, p, T == S > 1, self.scale)
        return self.resid_dropout(self.c_proj(joined(heads))), weights, cache


class GPT2MLP(nn.Module):
    """W₂ gelu(W₁ x + b₁) + b₂."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        width = config.n_inner or 4 * config.n_embd
        self.c_fc = Conv1D(width, config.n_embd)
        self.c_proj = Conv1D(config.n_embd, width)
        self.activation = ACTIVATIONS[config.activation_function]
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, n_embd) -> the same."""
        return self.dropout(self.c_proj(self.activation(self.c_fc(x))))


class GPT2Block(nn.Module):
    """x + attention(norm(x)), then x + network(norm(x))."""

    def __init__(self, config: GPT2Config, layer: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.attn = GPT2Attention(config, layer)
        self.ln_2 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = GPT2MLP(config)

    def forward(
        self, x: Tensor, cache: nn.KeyValueCache | None = None, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None, nn.KeyValueCache | None]:
        """(N, T, n_embd) -> the same, the weights, and the longer cache."""
        attended, weights, cache = self.attn(self.ln_1(x), cache, need_weights=need_weights)
        x = x + attended
        return x + self.mlp(self.ln_2(x)), weights, cache


class GPT2Model(Pretrained):
    """Rows for the words of texts, each computed from the words up to it.

    >>> import minidl
    >>> from minidl.models import GPT2Config, GPT2Model
    >>> model = GPT2Model(GPT2Config(100, 32, n_embd=16, n_layer=2, n_head=4))
    >>> model(minidl.tensor([[5, 7, 9]])).last_hidden_state.shape
    (1, 3, 16)

    Raises:
        ValueError: at the call, shapes that do not go together, more words than there are positions.
        IndexError: ids that are not in the vocabulary. TypeError: ids that are no integers.
    """

    config_class = GPT2Config
    prefix = "transformer."
    ignored = (".attn.bias", ".attn.masked_bias")  # masks that old files hold

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(GPT2Block(config, i) for i in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        initialise(self.modules(), config.initializer_range)
        for name, parameter in self.named_parameters():  # section 2.3: what is added up starts smaller
            if parameter.ndim == 2 and not name.startswith("w"):
                fewer = (2 * config.n_layer) ** -0.5 if name.endswith("c_proj.weight") else 1.0
                nn.init.normal_(parameter, std=config.initializer_range * fewer)

    def forward(
        self,
        input_ids: Tensor,
        caches: Caches | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> GPT2Output:
        """See `GPT2Output`.

        Args:
            input_ids: (N, T) integers, the words after those that are in the caches.
            caches: one for each layer, as the last call returned them; at first `model.new_caches()`.
        """
        name = type(self).__name__
        check_ids(name, self.config, input_ids)
        if caches is not None and len(caches) != len(self.h):
            raise ValueError(f"{name}: {len(caches)} caches for {len(self.h)} layers")
        before, T = 0 if caches is None else len(caches[0]), input_ids.shape[1]
        if before + T > self.config.n_positions:
            raise ValueError(f"{name}: {before + T} words, but there are only {self.config.n_positions} positions")
        x = self.drop(self.wte(input_ids) + self.wpe(arange(before, before + T)))
        states, attentions, longer = [x], [], []
        for i, block in enumerate(self.h):
            x, weights, cache = block(x, None if caches is None else caches[i], need_weights=output_attentions)
            states.append(x)
            attentions.append(weights)
            longer.append(cache)
        x = self.ln_f(x)
        states[-1] = x
        return GPT2Output(
            x,
            None if caches is None else tuple(longer),
            tuple(states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
        )

    def new_caches(self) -> tuple[nn.KeyValueCache, ...]:
        """Empty ones, one for each layer."""
        return tuple(nn.KeyValueCache() for _ in self.h)

    @classmethod
    def sizes(cls, config: GPT2Config) -> dict[str, tuple[int, ...]]:
        """Of the embeddings and the last layer."""
        width = config.n_embd
        return {
            "wte.weight": (config.vocab_size, width),
            "wpe.weight": (config.n_positions, width),
            f"h.{config.n_layer - 1}.mlp.c_fc.weight": (width, config.n_inner or 4 * width),
        }


class GPT2LMHeadModel(Pretrained):
    """Scores of the next word, and texts that are written with them.

    >>> import minidl
    >>> from minidl.models import GPT2Config, GPT2LMHeadModel
    >>> model = GPT2LMHeadModel(GPT2Config(100, 32, n_embd=16, n_layer=2, n_head=4))
    >>> model(minidl.tensor([[5, 7, 9]])).shape
    (1, 3, 100)

    Errors as those of `GPT2Model`.
    """

    config_class = GPT2Config
    prefix = "transformer."
    ignored = GPT2Model.ignored

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.lm_head = TiedLinear(self.transformer.wte.weight, bias=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        """(N, T) -> logits (N, T, vocab_size) of the word after each."""
        return self.lm_head(self.transformer(input_ids).last_hidden_state)

    def generate(
        self,
        ids: Tensor,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: Generator | None = None,
        use_cache: bool = True,
        eos_token_id: int | None = None,
    ) -> Tensor:
        """Texts (N, T + up to max_new_tokens) that begin with `ids`, without dropout.

        >>> import minidl
        >>> from minidl.models import GPT2Config, GPT2LMHeadModel
        >>> model = GPT2LMHeadModel(GPT2Config(100, 32, n_embd=16, n_layer=2, n_head=4))
        >>> model.generate(minidl.tensor([[5, 7, 9]]), 4, top_k=10).shape
        (1, 7)

        Args:
            ids: (N, T) integers, at least a word each. The texts are int64, which has room for every word.
            temperature, top_k, top_p: see `minidl.models.generation.probabilities`; temperature 0 draws nothing.
            generator: draws; by default minidl's.
            use_cache: keep keys and values of the words so far, rather than compute them again for each new one; the
                words are the same.
            eos_token_id: ends a text, whose other places are then filled with it.

        Raises:
            ValueError: no words, more words than there are positions, options that cannot be.
        """
        check_choice("generate", temperature, top_k, top_p)
        check_ids("generate", self.config, ids)
        if not isinstance(max_new_tokens, Integral) or max_new_tokens < 0:
            raise ValueError(f"generate: max_new_tokens must be an integer from 0 on, but is {max_new_tokens!r}")
        T, most = ids.shape[1], self.config.n_positions
        if not T or T + max_new_tokens > most:
            raise ValueError(f"generate: {T} words and {max_new_tokens} new ones, but positions are for 1 to {most}")
        choice, rng = (temperature, top_k, top_p), stream(generator)
        with evaluating(self), no_grad():
            return self._write(ids.detach().to(int64), max_new_tokens, choice, rng, use_cache, eos_token_id)

    def _write(
        self, ids: Tensor, count: int, choice: tuple[Any, ...], rng: np.random.Generator, cached: bool, eos: int | None
    ) -> Tensor:
        caches = self.transformer.new_caches() if cached else None
        new, ended = ids, np.zeros(len(ids), bool)
        for _ in range(count):
            state = self.transformer(new if cached else ids, caches)
            caches = state.caches
            logits = self.lm_head(state.last_hidden_state[:, -1])  # (N, vocab_size)
            words = draw(probabilities(logits._array, *choice), rng)
            words = np.where(ended, eos if eos is not None else 0, words)
            new = made(words[:, None].astype(int64))
            ids = cat([ids, new], 1)
            ended |= words == eos if eos is not None else False
            if ended.all():
                break
        return ids

    def may_be_new(self, key: str) -> bool:
        """Nothing: the head is the table of words."""
        return False

    @classmethod
    def sizes(cls, config: GPT2Config) -> Mapping[str, tuple[int, ...]]:
        """As `GPT2Model`."""
        return GPT2Model.sizes(config)
