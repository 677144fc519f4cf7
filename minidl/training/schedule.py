"""Learning-rate schedules as functions of progress: 0 at the first step, 1 after the last.

A function without memory needs nothing in a checkpoint: a resumed run finds its place by the number of its step.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    """Always 1."""
    return 1.0


def cosine(progress: float) -> float:
    """Half a cosine, from 1 down to 0 (I. Loshchilov, F. Hutter, "SGDR", 2017).

    >>> from minidl.training import cosine
    >>> [round(cosine(t), 3) for t in (0, 0.5, 1)]
    [1.0, 0.5, 0.0]
    """
    return (1 + math.cos(math.pi * progress)) / 2


def warmup_cosine(progress: float, warmup: float = 0.1) -> float:
    """A straight line from 0 to 1 over the first `warmup` of the steps, then a cosine down to 0.

    >>> from minidl.training import warmup_cosine
    >>> [round(warmup_cosine(t), 3) for t in (0, 0.05, 0.1, 0.55, 1)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return progress / warmup if progress < warmup else cosine((progress - warmup) / (1 - warmup))


def warmup_linear(progress: float, warmup: float = 0.1) -> float:
    """A straight line from 0 to 1 over the first `warmup` of the steps, then one down to 0 (J. Devlin et al., 2019).

    >>> from minidl.training import warmup_linear
    >>> [round(warmup_linear(t), 3) for t in (0, 0.05, 0.1, 0.55, 1)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return progress / warmup if progress < warmup else (1 - progress) / (1 - warmup)
