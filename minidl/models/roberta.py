"""RoBERTa: BERT, trained longer on more text. Y. Liu et al., "RoBERTa: a robustly optimized BERT pretraining approach",
2019.

Two things differ from BERT when it is used: positions are counted from pad_token_id + 1, padding staying at
pad_token_id; and the heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minidl import nn
from minidl.factories import made
from minidl.models.bert import ACTIVATIONS, BertConfig, BertEmbeddings, BertModel
from minidl.models.bert_heads import TiedLinear, WithBody, head_dropout
from minidl.models.pretrained import initialise
from minidl.nn import functional as F
from minidl.tensor import Tensor


@dataclass
class RobertaConfig(BertConfig):
    """The sizes of a RoBERTa, by default roberta-base. ValueError for values that cannot be."""

    vocab_size: int = 50265
    max_position_embeddings: int = 514
    type_vocab_size: int = 1
    layer_norm_eps: float = 1e-5
    pad_token_id: int = 1

    model_type: ClassVar[str] = "roberta"

    @classmethod
    def kinds(cls) -> tuple[str, ...]:
        """Those that differ in vocabulary and training alone."""
        return ("roberta", "xlm-roberta", "camembert")

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.pad_token_id) is not int or not 0 <= self.pad_token_id < self.max_position_embeddings - 1:
            raise ValueError(f"pad_token_id must be an id that leaves positions after it, but is {self.pad_token_id!r}")

    @property
    def max_positions(self) -> int:
        """Tokens that a text can have."""
        return self.max_position_embeddings - self.pad_token_id - 1


class RobertaEmbeddings(BertEmbeddings):
    """As BERT's, with positions that padding does not count in."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.position_embeddings.padding_idx = self.pad

    def positions(self, ids: Tensor) -> Tensor:
        """pad + 1, pad + 2, ... for tokens, pad for padding."""
        tokens = ids._array != self.pad
        return made(np.cumsum(tokens, 1) * tokens + self.pad)


class RobertaModel(BertModel):
    """As `BertModel`, for checkpoints of RoBERTa."""

    config_class = RobertaConfig
    prefix = "roberta."
    embeddings_class = RobertaEmbeddings


class RobertaForSequenceClassification(WithBody):
    """Logits (N, num_labels) from the first token's row: linear, tanh, linear."""

    config_class = RobertaConfig
    prefix = "roberta."
    body = RobertaModel

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(head_dropout(config))
        width = config.hidden_size
        self.classifier = nn.ModuleDict(
            {"dense": nn.Linear(width, width), "out_proj": nn.Linear(width, config.num_labels)}
        )
        initialise(self.classifier.modules(), config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """Logits (N, num_labels)."""
        output = self.roberta(input_ids, attention_mask, token_type_ids, position_ids, skip_padding=True)
        x = output.last_hidden_state[:, 0]
        x = F.tanh(self.classifier["dense"](self.dropout(x)))
        return self.classifier["out_proj"](self.dropout(x))


class RobertaForMaskedLM(WithBody):
    """Logits (N, T, vocab_size), with the table of embeddings as last matrix."""

    config_class = RobertaConfig
    prefix = "roberta."
    body = RobertaModel

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.lm_head = nn.ModuleDict(
            {
                "dense": nn.Linear(config.hidden_size, config.hidden_size),
                "layer_norm": nn.LayerNorm(config.hidden_size, config.layer_norm_eps),
                "decoder": TiedLinear(self.roberta.embeddings.word_embeddings.weight),
            }
        )
        self.lm_head.bias = self.lm_head["decoder"].bias
        initialise(self.lm_head.modules(), config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """Logits (N, T, vocab_size)."""
        x = self.roberta(input_ids, attention_mask, token_type_ids, position_ids).last_hidden_state
        x = ACTIVATIONS["gelu"](self.lm_head["dense"](x))
        return self.lm_head["decoder"](self.lm_head["layer_norm"](x))
