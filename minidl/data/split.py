"""Parts of a data set in which every class has its share."""

from __future__ import annotations

import numpy as np


def stratified(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """A boolean mask (N,) that chooses the rounded `fraction` of every class at random.

    >>> import numpy as np
    >>> from minidl.data import stratified
    >>> labels = np.repeat([0, 1], [10, 20])
    >>> np.bincount(labels[stratified(labels, 0.2, seed=0)])
    array([2, 4])
    """
    chosen = np.zeros(len(labels), bool)
    chance = np.random.default_rng(seed)
    for label in np.unique(labels):
        members = chance.permutation(np.flatnonzero(labels == label))
        chosen[members[: round(fraction * len(members))]] = True
    return chosen


def folds(labels: np.ndarray, k: int, seed: int) -> np.ndarray:
    """For each of N samples the fold, 0 ... k - 1, that it falls into at random; every class is spread over all folds.

    Raises:
        ValueError: `k` is below 2, or there are fewer samples.

    Example:
        >>> import numpy as np
        >>> from minidl.data import folds
        >>> labels = np.repeat([0, 1], [10, 20])
        >>> [np.bincount(labels[folds(labels, 5, seed=0) == fold]).tolist() for fold in range(5)]
        [[2, 4], [2, 4], [2, 4], [2, 4], [2, 4]]
    """
    if not 2 <= k <= len(labels):
        raise ValueError(f"folds: expected 2 to {len(labels)} folds for {len(labels)} samples, got {k}")
    chance = np.random.default_rng(seed)
    order = np.concatenate([chance.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)])
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % k  # classes one after the other, dealt out as cards are
    return fold
