"""BERT: a Transformer's encoder that reads a text in both directions at once.

J. Devlin, M. Chang, K. Lee, K. Toutanova, "BERT: pre-training of deep bidirectional Transformers for language
understanding", NAACL 2019. Figures 1 and 2, and A. Vaswani et al.'s figure 1 (left) for a layer:

    INPUT         [CLS] my dog is cute [SEP] he likes play ##ing [SEP]
    embeddings    token + position + segment, normed
    layer 1       norm(x + attention(x)), then norm(x + W₂ gelu(W₁ x))
    ...
    layer 12
    OUTPUT        a row for each token; of [CLS], through tanh, one for the text: the pooler

The names of all parts are those of the published checkpoints, so that `from_pretrained` reads them as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from minidl import nn
from minidl.factories import arange, zeros
from minidl.models.inputs import Padding, check_ids, find_padding
from minidl.models.pretrained import Config, Pretrained, initialise
from minidl.nn import functional as F
from minidl.nn.attention import attention_weights, in_heads, joined
from minidl.tensor import Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": F.tanh,
}


@dataclass
class BertConfig(Config):
    """The sizes of a BERT, by default BERT-base. ValueError for values that cannot be.

    >>> from minidl.models import BertConfig
    >>> BertConfig(hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024).vocab_size
    30522
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    classifier_dropout: float | None = None
    num_labels: int = 2

    model_type: ClassVar[str] = "bert"

    @property
    def max_positions(self) -> int:
        """Tokens that a text can have."""
        return self.max_position_embeddings

    def __post_init__(self) -> None:
        self.positive("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        self.positive("max_position_embeddings", "num_labels")
        self.numbers("type_vocab_size", "initializer_range", "layer_norm_eps")
        self.numbers("hidden_dropout_prob", "attention_probs_dropout_prob", below=1 + 1e-9)
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} does not divide hidden_size={self.hidden_size}"
            )
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act must be one of {', '.join(ACTIVATIONS)}, but is {self.hidden_act!r}")
        for option, meant in (("position_embedding_type", "absolute"), ("is_decoder", False)):
            if self.other.get(option, meant) != meant:
                raise ValueError(f"{option}={self.other[option]!r} is not supported")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: Any = "config") -> BertConfig:
        """As `Config.from_dict`; labels may be counted by their names, id2label."""
        if "num_labels" not in values and isinstance(values.get("id2label"), dict):
            values = {**values, "num_labels": len(values["id2label"])}
        return super().from_dict(values, source)

    def to_dict(self) -> dict[str, Any]:
        """As `Config.to_dict`, with as many names of labels as there are labels."""
        values = super().to_dict()
        if len(values.get("id2label", ())) != values.pop("num_labels"):
            names = [f"LABEL_{i}" for i in range(self.num_labels)]
            values["id2label"] = {str(i): name for i, name in enumerate(names)}
            values["label2id"] = {name: i for i, name in enumerate(names)}
        return values


class BertOutput(NamedTuple):
    """What a BertModel returns.

    Attributes:
        last_hidden_state: (N, T, hidden_size). pooler_output: (N, hidden_size), None without a pooler.
        hidden_states: of the embeddings and of each layer. attentions: of each layer (N, heads, T, T). If asked for.
    """

    last_hidden_state: Tensor
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class BertEmbeddings(nn.Module):
    """norm(token + position + segment): a row for each token."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.pad = config.pad_token_id
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=self.pad)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        if config.type_vocab_size:
            self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def positions(self, ids: Tensor) -> Tensor:
        """0, 1, 2, ... (T,) or another number for each token (N, T)."""
        return arange(ids.shape[1])

    def forward(self, ids: Tensor, types: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        """(N, T) -> (N, T, hidden_size)."""
        positions = self.positions(ids) if positions is None else positions
        x = self.word_embeddings(ids) + self.position_embeddings(positions)
        if "token_type_embeddings" in self._modules:
            x = x + self.token_type_embeddings(zeros(1, ids.shape[1], dtype=ids.dtype) if types is None else types)
        return self.dropout(self.LayerNorm(x))


class BertSelfAttention(nn.Module):
    """Each token takes a weighted mean of all tokens' values, in several heads."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = config.attention_probs_dropout_prob

    def forward(self, x: Tensor, padding: Padding | None, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """(N, T, hidden_size) -> the same, and if asked for the weights (N, heads, T, T)."""
        skipped = padding is not None and padding.skipped
        rows = [project(x) for project in (self.query, self.key, self.value)]
        q, k, v = (in_heads(padding.with_zeros(r) if skipped else r, self.heads) for r in rows)
        mask, weights = None if padding is None else padding.mask, None
        p = self.dropout if self.training else 0.0
        if need_weights:
            weights = F.dropout(attention_weights(q, k, mask), p, self.training)
            y = joined(weights @ v)
        else:
            y = joined(F.scaled_dot_product_attention(q, k, v, mask, p))
        return padding.without(y) if skipped else y, weights


class BertAddNorm(nn.Module):
    """norm(x + W h + b): what a layer ends with, beside its shortcut."""

    def __init__(self, width: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        """h (N, T, width), x (N, T, hidden_size) -> as x."""
        return self.LayerNorm(x + self.dropout(self.dense(h)))


class BertAttention(nn.Module):
    """norm(x + attention(x))."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = BertSelfAttention(config)
        self.output = BertAddNorm(config.hidden_size, config)

    def forward(self, x: Tensor, padding: Padding | None, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """(N, T, hidden_size) -> the same, and the weights."""
        attended, weights = self.self(x, padding, need_weights=need_weights)
        return self.output(attended, x), weights


class BertIntermediate(nn.Module):
    """gelu(W x + b), of greater width."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, hidden_size) -> (N, T, intermediate_size)."""
        return self.activation(self.dense(x))


class BertLayer(nn.Module):
    """Attention, then a network on each token alone."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = BertAttention(config)
        self.intermediate = BertIntermediate(config)
        self.output = BertAddNorm(config.intermediate_size, config)

    def forward(self, x: Tensor, padding: Padding | None, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """(N, T, hidden_size) -> the same, and the weights of attention."""
        x, weights = self.attention(x, padding, need_weights=need_weights)
        return self.output(self.intermediate(x), x), weights


class BertEncoder(nn.Module):
    """The layers, one on the other."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(config) for _ in range(config.num_hidden_layers))

    def forward(
        self, x: Tensor, padding: Padding | None, need_weights: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor | None, ...]]:
        """The last layer's rows, those of all layers, and the weights of each."""
        states, attentions = [x], []
        for layer in self.layer:
            x, weights = layer(x, padding, need_weights=need_weights)
            states.append(x)
            attentions.append(weights)
        return x, tuple(states), tuple(attentions)


class BertPooler(nn.Module):
    """tanh(W x + b) of the first token, [CLS]: a row for the text."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, hidden_size) -> (N, hidden_size)."""
        return F.tanh(self.dense(x[:, 0]))


class BertModel(Pretrained):
    """Rows for the tokens of texts, and one for each text.

    >>> import minidl
    >>> from minidl.models import BertConfig, BertModel
    >>> config = BertConfig(100, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32)
    >>> output = BertModel(config)(minidl.tensor([[2, 7, 9, 3]]))
    >>> output.last_hidden_state.shape, output.pooler_output.shape
    ((1, 4, 16), (1, 16))

    Args:
        config: a BertConfig.
        add_pooling_layer: whether there is a pooler.

    Initial values:
        weights N(0, initializer_range²), biases 0; see `from_pretrained` for those of a checkpoint.

    Raises:
        ValueError: at the call, shapes that do not go together, more tokens than there are positions.
        IndexError: ids that are not in the vocabulary. TypeError: ids that are no integers.
    """

    config_class = BertConfig
    prefix = "bert."
    ignored = ("embeddings.position_ids", "embeddings.token_type_ids")
    embeddings_class: ClassVar[type[BertEmbeddings]] = BertEmbeddings
    pooled: ClassVar[bool] = True

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = self.embeddings_class(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer and self.pooled else None
        initialise(self.modules(), config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        skip_padding: bool = False,
    ) -> BertOutput:
        """See `BertOutput`.

        Args:
            input_ids: (N, T) integers. token_type_ids: (N, T), 0 and 1 for a first and a second text; by default 0.
            attention_mask: (N, T), 0 or False for padding, 1 or True for tokens; by default all are tokens.
            position_ids: (N, T) or (T,), by default 0 .. T - 1.
            skip_padding: compute nothing for padding, whose rows are then 0; those of tokens are the same.
        """
        check_ids(type(self).__name__, self.config, input_ids, token_type_ids, position_ids)
        if self.pooler is not None and not input_ids.shape[1]:
            raise ValueError(
                f"{type(self).__name__}: nothing to pool in texts without tokens: input_ids {input_ids.shape}"
            )
        padding = find_padding(type(self).__name__, attention_mask, input_ids, skip_padding)
        x = self.embeddings(input_ids, token_type_ids, position_ids)
        skipped = padding is not None and padding.skipped
        x, states, attentions = self.encoder(
            padding.without(x) if skipped else x, padding, need_weights=output_attentions
        )
        if skipped:
            x = padding.with_zeros(x)
            states = tuple(padding.with_zeros(state) for state in states) if output_hidden_states else None
        return BertOutput(
            x,
            None if self.pooler is None else self.pooler(x),
            states if output_hidden_states else None,
            attentions if output_attentions else None,
        )

    def may_be_new(self, key: str) -> bool:
        """The pooler is not of the encoder: models that were trained without one have none."""
        return key.startswith("pooler.")

    @classmethod
    def sizes(cls, config: BertConfig) -> dict[str, tuple[int, ...]]:
        """Of the embeddings and the last layer."""
        width, last = config.hidden_size, f"encoder.layer.{config.num_hidden_layers - 1}"
        return {
            "embeddings.word_embeddings.weight": (config.vocab_size, width),
            "embeddings.position_embeddings.weight": (config.max_position_embeddings, width),
            f"{last}.intermediate.dense.weight": (config.intermediate_size, width),
        }
