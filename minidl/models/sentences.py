"""Sentences as vectors: texts that mean alike point the same way.

N. Reimers, I. Gurevych, "Sentence-BERT: sentence embeddings using siamese BERT-networks", EMNLP 2019, figure 2.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidl import nn
from minidl.dtypes import int64
from minidl.factories import made, tensor
from minidl.mode import no_grad
from minidl.models.bert import BertModel
from minidl.models.distilbert import DistilBertModel
from minidl.models.pretrained import read_config
from minidl.models.roberta import RobertaModel
from minidl.nn.module import evaluating
from minidl.ops.table import require_tensor
from minidl.tensor import Tensor
from minidl.text import BertTokenizer

MODELS: dict[str, type[BertModel]] = {
    "bert": BertModel,
    "distilbert": DistilBertModel,
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert"), RobertaModel),
}
POOLINGS = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens"}


def pooled(rows: Tensor, attention_mask: Tensor, pooling: str = "mean") -> Tensor:
    """A row for each text: the mean or the maximum of its tokens' rows, or the first token's; padding does not count.

    Shapes:
        rows (N, T, D), attention_mask (N, T) -> (N, D); zeros for a text without tokens.
    """
    require_tensor("pooled", rows=rows, attention_mask=attention_mask)
    if pooling not in POOLINGS:
        raise ValueError(f"pooled: pooling must be one of {', '.join(POOLINGS)}, but is {pooling!r}")
    if rows.ndim != 3 or attention_mask.shape != rows.shape[:2]:
        raise ValueError(f"pooled: rows {rows.shape} and attention_mask {attention_mask.shape} do not go together")
    if pooling == "cls":
        return rows[:, 0]
    tokens = attention_mask.detach()._array[:, :, None] != 0
    if pooling == "max":
        low = rows.where(made(tokens), float("-inf")).amax(1)
        return low.where(made(tokens.any(1)), 0.0)
    counts = np.maximum(tokens.sum(1), 1).astype(rows.dtype)
    return (rows * made(tokens.astype(rows.dtype))).sum(1) / made(counts)


class SentenceEncoder(nn.Module):
    """A BERT, and how the rows of its tokens become one vector.

    Args:
        model: a BertModel or its kin. tokenizer: called with texts, returns what the model takes.
        pooling: "mean", "cls" or "max", see `pooled`.
        normalize: whether vectors get length 1, so that a dot product is the cosine of an angle.
        max_length: tokens that a text is truncated to; by default as many as there are positions.

    Shapes:
        input_ids, attention_mask (N, T) -> (N, hidden_size).

    Raises:
        ValueError: another pooling; a max_length without a place for a word.

    >>> from minidl.models import BertConfig, BertModel, SentenceEncoder
    >>> from minidl.text import BertTokenizer
    >>> tokenizer = BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "text"])
    >>> encoder = SentenceEncoder(BertModel(BertConfig(len(tokenizer), 16, 2, 4, 32)), tokenizer)
    >>> encoder.encode(["A text", "text text text"]).shape
    (2, 16)
    """

    def __init__(
        self,
        model: BertModel,
        tokenizer: Any,
        pooling: str = "mean",
        normalize: bool = True,
        max_length: int | None = None,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"SentenceEncoder: pooling must be one of {', '.join(POOLINGS)}, but is {pooling!r}")
        most = model.config.max_positions
        self.max_length = most if max_length is None else min(max_length, most)
        if self.max_length < 3:
            raise ValueError(f"SentenceEncoder: max_length must leave a place for a word, but is {max_length}")
        self.model, self.tokenizer, self.pooling, self.normalize = model, tokenizer, pooling, bool(normalize)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike, tokenizer: Any = None) -> SentenceEncoder:
        """The encoder of a folder, with what is said there of pooling, length and normalisation; evaluation mode.

        Raises:
            FileNotFoundError, ValueError: as `BertModel.from_pretrained`; another kind of model; another pooling; a
                tokenizer that must be given, not being BERT's.
        """
        folder = Path(folder)
        values, source = read_config(folder)
        kind = str(values.get("model_type"))
        if kind not in MODELS:
            raise ValueError(f"{source}: model_type must be one of {', '.join(MODELS)}, but is {kind!r}")
        if tokenizer is None and MODELS[kind] is RobertaModel:
            raise ValueError(f"{source}: a {kind} needs its tokenizer: from_pretrained(folder, tokenizer)")
        pooling = read_json(folder / "1_Pooling" / "config.json", {POOLINGS["mean"]: True})
        names = [name for name, option in POOLINGS.items() if pooling.get(option)]
        others = [option for option, on in pooling.items() if option.startswith("pooling_mode") and on is True]
        if len(names) != 1 or others != [POOLINGS[names[0]]]:
            raise ValueError(f"{folder / '1_Pooling' / 'config.json'}: expected one of {', '.join(POOLINGS)}")
        modules = read_json(folder / "modules.json", [{"type": "Normalize"}])
        normalize = any(isinstance(m, dict) and str(m.get("type", "")).endswith("Normalize") for m in modules)
        path = folder / "sentence_bert_config.json"
        length = read_json(path, {}).get("max_seq_length")
        if length is not None and type(length) is not int:
            raise ValueError(f"{path}: max_seq_length must be an integer, but is {length!r}")
        model = MODELS[kind].from_pretrained(folder)
        return cls(model, tokenizer or BertTokenizer.from_pretrained(folder), names[0], normalize, length).eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """(N, T) -> (N, hidden_size)."""
        rows = self.model(input_ids, attention_mask, token_type_ids, skip_padding=True).last_hidden_state
        vectors = pooled(rows, attention_mask, self.pooling)
        if not self.normalize:
            return vectors
        return vectors / (vectors * vectors).sum(1, keepdim=True).sqrt().clip(1e-12, None)

    def encode(self, texts: str | Sequence[str], batch_size: int = 32) -> np.ndarray:
        """Vectors of texts (n, hidden_size), or of one text (hidden_size,), without gradients and dropout.

        Texts of like length share a batch, so that little is computed for padding. TypeError for other than strings;
        ValueError for a batch_size below 1.
        """
        if batch_size < 1:
            raise ValueError(f"encode: batch_size must be at least 1, but is {batch_size}")
        if isinstance(texts, str):
            return self.encode([texts], batch_size)[0]
        rows = self.tokenizer(list(texts), truncation=True, max_length=self.max_length)["input_ids"] if texts else []
        vectors = np.empty((len(rows), self.model.config.hidden_size), self.model.embeddings.LayerNorm.weight.dtype)
        order = np.argsort([-len(row) for row in rows], kind="stable")
        with evaluating(self), no_grad():
            for start in range(0, len(rows), batch_size):
                batch = order[start : start + batch_size]
                ids, mask = padded([rows[i] for i in batch], self.model.config.pad_token_id or 0)
                vectors[batch] = self(ids, mask)._array
        return vectors


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Lists of ids as one array (N, T) with padding at the end, and the mask that says where there is none."""
    longest = max(map(len, rows))
    ids = [[*row, *[pad] * (longest - len(row))] for row in rows]
    mask = np.arange(longest) < np.array([len(row) for row in rows])[:, None]
    return tensor(ids, dtype=int64), made(mask)


def read_json(path: Path, default: Any) -> Any:
    """What a JSON file says, or the default where there is none. ValueError for what is no JSON, or of another kind."""
    if not path.exists():
        return default
    try:
        values = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if type(values) is not type(default):
        raise ValueError(f"{path}: expected a JSON {type(default).__name__}, found a {type(values).__name__}")
    return values
