"""Choosing the next word from the scores of all words."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np


def check_choice(name: str, temperature: float, top_k: int | None = None, top_p: float | None = None) -> None:
    """ValueError for options that leave nothing to choose from."""
    if isinstance(temperature, bool) or not (isinstance(temperature, Real) and 0 <= temperature < math.inf):
        raise ValueError(f"{name}: temperature must be a number from 0 on, but is {temperature!r}")
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, Integral) or top_k < 1):
        raise ValueError(f"{name}: top_k must be a positive integer, but is {top_k!r}")
    if top_p is not None and not (isinstance(top_p, Real) and 0 < top_p <= 1):
        raise ValueError(f"{name}: top_p must be in 0 < top_p <= 1, but is {top_p!r}")


def probabilities(
    logits: np.ndarray, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> np.ndarray:
    """softmax(logits / temperature) of the words that are let through, in float64: (N, V) -> (N, V).

    Args:
        logits: scores. temperature: below 1 the likely become likelier; 0: the likeliest alone.
        top_k: only the k likeliest words (A. Fan et al., 2018).
        top_p: only the likeliest words that together have a probability of p at least (A. Holtzman et al., "The curious
            case of neural text degeneration", 2020).

    Raises:
        FloatingPointError: scores of NaN or infinity, such as weights that have diverged give.
    """
    logits = logits.astype(np.float64)
    if not np.isfinite(logits.max(1)).all():  # -inf is for words that cannot be
        raise FloatingPointError("the scores of the next word are NaN or infinite: the model's weights are broken")
    order = np.argsort(-logits, axis=1, kind="stable")
    ranked = np.take_along_axis(logits, order, 1)
    if temperature == 0:
        p = np.zeros_like(ranked)
        p[:, 0] = 1
    else:
        with np.errstate(over="ignore"):  # to -inf, which has probability 0
            p = np.exp((ranked - ranked[:, :1]) / temperature)
        if top_k is not None:
            p[:, top_k:] = 0
        p /= p.sum(1, keepdims=True)
        if top_p is not None:
            p[np.cumsum(p, 1) - p >= top_p] = 0  # those before have enough
            p /= p.sum(1, keepdims=True)
    found = np.empty_like(p)
    np.put_along_axis(found, order, p, 1)
    return found


def draw(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A word for each row of probabilities (N, V): (N,)."""
    ends = np.cumsum(p, 1)
    u = rng.random((len(p), 1)) * ends[:, -1:]
    return np.minimum((ends <= u).sum(1), p.shape[1] - 1)
