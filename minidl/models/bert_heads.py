"""What BERT is for: classifying texts, and guessing words that are masked.

J. Devlin et al., "BERT", 2019: figure 1 (right) for texts, section 3.1 for masked words.
"""

from __future__ import annotations

from typing import ClassVar

from minidl import nn
from minidl.factories import zeros
from minidl.models.bert import ACTIVATIONS, BertConfig, BertModel
from minidl.models.pretrained import Pretrained, initialise
from minidl.nn import functional as F
from minidl.tensor import Tensor


class WithBody(Pretrained):
    """A model that consists of a body, which a checkpoint must have whole, and a head, which may start at random."""

    body: ClassVar[type[BertModel]] = BertModel
    ignored = BertModel.ignored

    def may_be_new(self, key: str) -> bool:
        """All but the body."""
        return not key.startswith(("embeddings.", "encoder."))

    @classmethod
    def sizes(cls, config: BertConfig) -> dict[str, tuple[int, ...]]:
        """Those of the body."""
        return cls.body.sizes(config)


class BertForSequenceClassification(WithBody):
    """Scores of a text for each label: dropout and a linear layer on the pooler's row.

    >>> import minidl
    >>> from minidl.models import BertConfig, BertForSequenceClassification
    >>> config = BertConfig(100, 16, 2, 4, 32, num_labels=3)
    >>> BertForSequenceClassification(config)(minidl.tensor([[2, 7, 9, 3]])).shape
    (1, 3)

    Args:
        config: a BertConfig; num_labels of it is the number of scores.

    Arguments and errors of a call as those of `BertModel`; returns logits (N, num_labels).
    """

    config_class = BertConfig
    prefix = "bert."

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(head_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        initialise([self.classifier], config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """Logits (N, num_labels)."""
        output = self.bert(input_ids, attention_mask, token_type_ids, position_ids, skip_padding=True)
        return self.classifier(self.dropout(output.pooler_output))


def head_dropout(config: BertConfig) -> float:
    """Of the row that a text is classified by."""
    return config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout


class PredictionTransform(nn.Module):
    """norm(gelu(W x + b))."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Any rows -> the same shape."""
        return self.LayerNorm(self.activation(self.dense(x)))


class PredictionHead(nn.Module):
    """Scores of each word of the vocabulary: the table of embeddings is the last layer's matrix (tied weights)."""

    def __init__(self, config: BertConfig, table: nn.Parameter) -> None:
        super().__init__()
        self.transform = PredictionTransform(config)
        self.decoder = TiedLinear(table)
        self.bias = self.decoder.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., hidden_size) -> (..., vocab_size)."""
        return self.decoder(self.transform(x))


class TiedLinear(nn.Module):
    """y = x Wᵀ + b, with a W that is another module's."""

    def __init__(self, weight: nn.Parameter, bias: bool = True) -> None:
        super().__init__()
        self.weight = weight
        self.register_parameter("bias", nn.Parameter(zeros(weight.shape[0], dtype=weight.dtype)) if bias else None)

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.weight.shape[1]}, out_features={self.weight.shape[0]}"


class BertForMaskedLM(WithBody):
    """Scores of the vocabulary for every token: what stands behind a [MASK]?

    >>> import minidl
    >>> from minidl.models import BertConfig, BertForMaskedLM
    >>> BertForMaskedLM(BertConfig(100, 16, 2, 4, 32))(minidl.tensor([[2, 7, 9, 3]])).shape
    (1, 4, 100)

    Arguments and errors of a call as those of `BertModel`; returns logits (N, T, vocab_size).
    """

    config_class = BertConfig
    prefix = "bert."

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = nn.ModuleDict({"predictions": PredictionHead(config, self.bert.embeddings.word_embeddings.weight)})
        initialise(self.cls.modules(), config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """Logits (N, T, vocab_size)."""
        rows = self.bert(input_ids, attention_mask, token_type_ids, position_ids).last_hidden_state
        return self.cls["predictions"](rows)
