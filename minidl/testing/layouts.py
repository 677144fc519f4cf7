"""The same values in other memory layouts: an operation must not care."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def contiguous(a: np.ndarray) -> np.ndarray:
    """Row by row, without gaps."""
    return np.array(a, order="C")


def fortran(a: np.ndarray) -> np.ndarray:
    """Column by column: the transpose of a contiguous array."""
    return np.array(a, order="F")


def strided(a: np.ndarray) -> np.ndarray:
    """Every second element of an array twice as long in each direction, the others NaN (for integers, the largest)."""
    filler = np.nan if a.dtype.kind == "f" else np.iinfo(a.dtype).max if a.dtype.kind in "iu" else True
    wide = np.full([2 * n for n in a.shape], filler, a.dtype)
    view = wide[(..., *(slice(None, None, 2) for _ in a.shape))]
    view[...] = a
    return view


def reversed_(a: np.ndarray) -> np.ndarray:
    """Backwards in memory: all strides are negative."""
    back = (..., *(slice(None, None, -1) for _ in a.shape))
    return np.array(a[back], order="C")[back]


def read_only(a: np.ndarray) -> np.ndarray:
    """Contiguous, but writing raises."""
    a = contiguous(a)
    a.flags.writeable = False
    return a


def broadcast(a: np.ndarray) -> np.ndarray:
    """The first slice along each dimension, repeated with stride 0 (other values than `a`, and read-only)."""
    return np.broadcast_to(a[(..., *(slice(0, 1) for _ in a.shape))], a.shape)


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": contiguous,
    "fortran": fortran,
    "strided": strided,
    "reversed": reversed_,
    "read-only": read_only,
}
