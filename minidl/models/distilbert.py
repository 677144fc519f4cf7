"""DistilBERT: a BERT of half the layers that learnt from a whole one, without segments and pooler.

V. Sanh, L. Debut, J. Chaumond, T. Wolf, "DistilBERT, a distilled version of BERT", 2019.

It is computed as BERT is; only its files use other names, which are translated on the way in and out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from minidl import nn
from minidl.models.bert import BertConfig, BertModel
from minidl.models.bert_heads import PredictionTransform, TiedLinear, WithBody
from minidl.models.pretrained import initialise
from minidl.nn import functional as F
from minidl.tensor import Tensor

NAMES = (  # theirs and ours; a name that is a part of another one comes first
    ("transformer.layer.", "encoder.layer."),
    ("output_layer_norm.", "output.LayerNorm."),
    ("ffn.lin2.", "output.dense."),
    ("ffn.lin1.", "intermediate.dense."),
    ("sa_layer_norm.", "attention.output.LayerNorm."),
    ("attention.out_lin.", "attention.output.dense."),
    ("attention.q_lin.", "attention.self.query."),
    ("attention.k_lin.", "attention.self.key."),
    ("attention.v_lin.", "attention.self.value."),
)


@dataclass
class DistilBertConfig(BertConfig):
    """The sizes of a DistilBERT, by default distilbert-base. ValueError for values that cannot be."""

    num_hidden_layers: int = 6
    type_vocab_size: int = 0
    seq_classif_dropout: float = 0.2

    model_type: ClassVar[str] = "distilbert"
    aliases: ClassVar[Mapping[str, str]] = {
        "dim": "hidden_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "hidden_dim": "intermediate_size",
        "activation": "hidden_act",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.other.get("sinusoidal_pos_embds"):  # the published ones hold their waves as weights
            self.other = {**self.other, "sinusoidal_pos_embds": False}


class DistilBertModel(BertModel):
    """As `BertModel`, for checkpoints of DistilBERT."""

    config_class = DistilBertConfig
    prefix = "distilbert."
    renames = NAMES
    pooled = False


class DistilBertForSequenceClassification(WithBody):
    """Logits (N, num_labels) from the first token's row: linear, ReLU, linear."""

    config_class = DistilBertConfig
    prefix = "distilbert."
    renames = NAMES
    body = DistilBertModel

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.pre_classifier = nn.Linear(config.hidden_size, config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.dropout = nn.Dropout(config.seq_classif_dropout)
        initialise([self.pre_classifier, self.classifier], config.initializer_range)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **options: Any) -> Tensor:
        """Logits (N, num_labels)."""
        x = self.distilbert(input_ids, attention_mask, skip_padding=True, **options).last_hidden_state[:, 0]
        return self.classifier(self.dropout(F.relu(self.pre_classifier(x))))


class DistilBertForMaskedLM(WithBody):
    """Logits (N, T, vocab_size), with the table of embeddings as last matrix."""

    config_class = DistilBertConfig
    prefix = "distilbert."
    renames = (
        *NAMES,
        ("vocab_transform.", "predictions.dense."),
        ("vocab_layer_norm.", "predictions.LayerNorm."),
    )
    body = DistilBertModel

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.predictions = PredictionTransform(config)
        self.vocab_projector = TiedLinear(self.distilbert.embeddings.word_embeddings.weight)
        initialise(self.predictions.modules(), config.initializer_range)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **options: Any) -> Tensor:
        """Logits (N, T, vocab_size)."""
        x = self.distilbert(input_ids, attention_mask, **options).last_hidden_state
        return self.vocab_projector(self.predictions(x))
