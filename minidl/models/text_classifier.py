"""A text's class from the rows that an encoder makes of its tokens.

    INPUT      [CLS] a fine , warm film [SEP]        ids and how many there are of each text
    ENCODER    a row for each token                  BERT, DistilBERT, RoBERTa
    POOLING    the mean of the rows, or that of [CLS]
    OUTPUT     dropout, and a linear layer: one score for each class

BERT's authors take the row of [CLS] (J. Devlin et al., 2019). That row means little before fine-tuning, and of encoders
that were trained to compare sentences it is the mean that was trained (N. Reimers, I. Gurevych, "Sentence-BERT", 2019).
"""

from __future__ import annotations

import numpy as np

from minidl import nn
from minidl.factories import made
from minidl.models.bert import BertModel
from minidl.ops.table import require_tensor
from minidl.tensor import Tensor

POOLINGS = ("mean", "cls")


class TextClassifier(nn.Module):
    """Scores of classes for texts of different lengths.

    Args:
        encoder: a BertModel or its kin. num_classes: how many classes.
        pooling: "mean" of the tokens' rows, or "cls": the encoder's pooler, or without one the first token's row.
        dropout: probability, for the row that goes into the last layer.

    Shapes:
        ids (N, T) int64, lengths (N,) int64 -> logits (N, num_classes). What lies beyond a length does not matter.

    Raises:
        ValueError: no classes, an unknown pooling; at the call, shapes that do not fit, lengths outside 1 .. T.
        TypeError: lengths that are no integers.

    Example:
        >>> import minidl
        >>> from minidl.models import BertConfig, BertModel, TextClassifier
        >>> model = TextClassifier(BertModel(BertConfig(100, 16, 2, 4, 32)), num_classes=3)
        >>> model(minidl.tensor([[2, 7, 9, 3], [2, 5, 3, 0]]), minidl.tensor([4, 3])).shape
        (2, 3)
    """

    def __init__(self, encoder: BertModel, num_classes: int, pooling: str = "mean", dropout: float = 0.1) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"TextClassifier: pooling must be one of {', '.join(POOLINGS)}, not {pooling!r}")
        if num_classes < 1:
            raise ValueError(f"TextClassifier: num_classes must be at least 1, but is {num_classes}")
        self.encoder = encoder
        self.pooling = pooling
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(encoder.config.hidden_size, num_classes))

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Logits (N, num_classes)."""
        return self.head(self.pooled(ids, lengths))

    def pooled(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """A row for each text, (N, hidden_size)."""
        require_tensor("TextClassifier", ids=ids, lengths=lengths)
        counts = lengths._array
        if counts.dtype.kind not in "iu":
            raise TypeError(f"TextClassifier: lengths must be integers, not {counts.dtype}")
        if ids.ndim != 2 or counts.shape != ids.shape[:1]:
            raise ValueError(f"TextClassifier: ids (N, T) has shape {ids.shape}, lengths (N,) has {lengths.shape}")
        if counts.size and not 1 <= counts.min() <= counts.max() <= ids.shape[1]:
            raise ValueError(f"TextClassifier: lengths must be in 1..{ids.shape[1]}, found {counts.tolist()}")
        tokens = np.arange(ids.shape[1]) < counts[:, None]
        output = self.encoder(ids, made(tokens))
        rows = output.last_hidden_state
        if self.pooling == "cls":
            return rows[:, 0] if output.pooler_output is None else output.pooler_output
        share = made((tokens / counts[:, None]).astype(rows.dtype))  # (N, T), adds up to 1
        return (share.unsqueeze(1) @ rows).squeeze(1)
