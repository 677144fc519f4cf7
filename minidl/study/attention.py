"""Looking into a Transformer: where attention goes, and which words are neighbours."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from minidl import nn
from minidl.mode import no_grad
from minidl.nn.hooks import RemovableHandle
from minidl.nn.module import evaluating
from minidl.tensor import Tensor


def attention_maps(model: nn.Module, *inputs: Any, **options: Any) -> dict[str, np.ndarray]:
    """The weights of every attention in a model: which row looked at which.

    Works for every module that takes `need_weights` and returns (output, weights, ...): those of the library, and
    yours. The model is called without gradients, in evaluation mode.

    Args:
        model: with attention in it. inputs, options: what it is called with.

    Returns:
        By the path of the module (N, heads, L, S), in the order of the calls; rows sum to 1, or are 0 without keys.

    Raises:
        ValueError: there is no attention in the model.

    >>> import minidl
    >>> from minidl import nn
    >>> from minidl.study import attention_maps
    >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> {path: weights.shape for path, weights in attention_maps(layer, minidl.randn(1, 5, 8)).items()}
    {'self_attn': (1, 2, 5, 5)}
    """
    found: dict[str, np.ndarray] = {}
    handles: list[RemovableHandle] = []
    try:
        for path, module in innermost(model):
            handles.append(module.register_forward_pre_hook(asks_for_weights, with_kwargs=True))
            handles.append(module.register_forward_hook(keeps_weights(found, path)))
        if not handles:
            raise ValueError(f"attention_maps: {type(model).__name__} has no module with need_weights")
        with evaluating(model), no_grad():
            model(*inputs, **options)
    finally:
        for handle in handles:
            handle.remove()
    return found


def innermost(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules that take need_weights and hold no other that does."""
    takes = {
        path: module
        for path, module in model.named_modules()
        if "need_weights" in inspect.signature(module.forward).parameters
    }
    outer = {above for path in takes for above in parents(path)}
    return [(path, module) for path, module in takes.items() if path not in outer]


def parents(path: str) -> list[str]:
    """Paths of the modules that hold this one: of "a.b.c", "a.b", "a" and ""."""
    parts = path.split(".") if path else []
    return [".".join(parts[:n]) for n in range(len(parts))]


def asks_for_weights(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """A hook: call with need_weights=True, for each head."""
    parameters = inspect.signature(module.forward).parameters
    named = inspect.signature(module.forward).bind(*args, **kwargs).arguments
    named["need_weights"] = True
    if "average_attn_weights" in parameters:
        named["average_attn_weights"] = False
    return (), dict(named)


def keeps_weights(found: dict[str, np.ndarray], path: str) -> Any:
    """A hook that keeps what a module returns beside its output."""

    def hook(module: nn.Module, args: Any, output: Any) -> None:
        weights = output[1]._array
        found[path] = weights if weights.ndim == 4 else weights[None]

    return hook


def nearest(
    embedding: nn.Embedding | Tensor | np.ndarray, tokenizer: Any, word: str, k: int = 10
) -> list[tuple[str, float]]:
    """The k words whose rows of an embedding point most nearly the same way as a word's, with the cosine.

    Args:
        embedding: the module, or its table (V, D). tokenizer: with `convert_tokens_to_ids` and `convert_ids_to_tokens`.
        word: one token of the vocabulary. k: how many, itself not counted.

    Raises:
        ValueError: a word that is not one token; a k below 1.

    >>> import numpy as np
    >>> from minidl.study import nearest
    >>> from minidl.text import BertTokenizer
    >>> tokenizer = BertTokenizer(["[UNK]", "[CLS]", "[SEP]", "cat", "dog", "car"])
    >>> table = np.array([[0, 1], [0, 1], [0, 1], [3, 0], [4, 3], [1, 9]])
    >>> nearest(table, tokenizer, "cat", 1)
    [('dog', 0.8)]
    """
    table = embedding.weight if isinstance(embedding, nn.Embedding) else embedding
    table = np.asarray(table.detach() if isinstance(table, Tensor) else table, np.float64)
    if k < 1:
        raise ValueError(f"nearest: k must be at least 1, but is {k}")
    index = tokenizer.convert_tokens_to_ids(word)
    if tokenizer.convert_ids_to_tokens([index])[0] != word:
        raise ValueError(f"nearest: {word!r} is not a token of the vocabulary")
    if not 0 <= index < len(table):
        raise ValueError(f"nearest: {word!r} is token {index}, but the table has only {len(table)} rows")
    lengths = np.linalg.norm(table, axis=1)
    cosines = table @ table[index] / np.maximum(lengths * lengths[index], 1e-30)
    cosines[index] = -np.inf
    best = np.argsort(-cosines, kind="stable")[: min(k, len(table) - 1)]
    words = tokenizer.convert_ids_to_tokens(best.tolist())
    return [(neighbour, float(cosines[i])) for neighbour, i in zip(words, best, strict=True)]
