"""Which dtype comes out: float32 by default, float64 wherever asked, and nothing promotes silently.

A dtype is NumPy's: `minidl.float32 is np.dtype("float32")`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

float32 = np.dtype("float32")
float64 = np.dtype("float64")
int8 = np.dtype("int8")
int16 = np.dtype("int16")
int32 = np.dtype("int32")
int64 = np.dtype("int64")
uint8 = np.dtype("uint8")
bool_ = np.dtype("bool")

SUPPORTED = (float32, float64, int8, int16, int32, int64, uint8, bool_)
RANK = {"b": 0, "u": 1, "i": 1, "f": 2}  # by NumPy's kinds of dtype


def as_dtype(dtype: Any) -> np.dtype:
    """A supported dtype from whatever NumPy takes for one."""
    found = np.dtype(dtype)
    if found not in SUPPORTED:
        raise TypeError(f"dtype {found} is not supported; minidl has {', '.join(map(str, SUPPORTED))}")
    return found


def as_array(data: Any, dtype: Any = None) -> np.ndarray:
    """An ndarray of a supported dtype: ndarrays keep theirs, Python floats become float32, ints int64."""
    if isinstance(data, np.ndarray | np.generic):
        array = np.asarray(data)
    else:
        try:
            array = np.asarray(data)
        except ValueError as error:
            raise ValueError(f"tensor: the nested sequence has rows of different lengths ({error})") from None
        if array.dtype == float64 and dtype is None and not hasattr(data, "__array__"):
            array = array.astype(float32)
    if dtype is not None:
        return array.astype(as_dtype(dtype), copy=False)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype not in SUPPORTED:
        raise TypeError(f"tensor: dtype {array.dtype} is not supported; minidl has {', '.join(map(str, SUPPORTED))}")
    return array


def common_dtype(name: str, a: np.ndarray, b: np.ndarray) -> np.dtype:
    """The dtype of an operation on both: floats win over ints, ints over bools, then shaped over 0-dimensional.

    Raises:
        TypeError: float32 and float64 operands of one dimension or more: cast one of them.
    """
    if a.dtype == b.dtype:
        return a.dtype
    a_rank, b_rank = RANK[a.dtype.kind], RANK[b.dtype.kind]
    if a_rank != b_rank:
        return a.dtype if a_rank > b_rank else b.dtype
    if a.ndim and not b.ndim:
        return a.dtype
    if b.ndim and not a.ndim:
        return b.dtype
    if a.dtype.kind == "f":
        raise TypeError(f"{name}: {a.dtype} and {b.dtype} do not mix; cast one of them with .to(dtype)")
    return np.result_type(a.dtype, b.dtype)


def require_float(name: str, **arrays: Any) -> None:
    """TypeError naming the operation and the argument unless all are floating-point (None is let through)."""
    for argument, x in arrays.items():
        if x is not None and x.dtype.kind != "f":
            raise TypeError(f"{name}: {argument} must be floating-point, but is {x.dtype}; cast it with .float()")


def require_same_dtype(name: str, **arrays: Any) -> None:
    """TypeError naming the operation and the arguments unless all have one floating-point dtype."""
    require_float(name, **arrays)
    dtypes = {argument: x.dtype for argument, x in arrays.items() if x is not None}
    if len(set(dtypes.values())) > 1:
        listed = ", ".join(f"{argument} is {dtype}" for argument, dtype in dtypes.items())
        raise TypeError(f"{name}: the arguments' dtypes differ: {listed}; cast with .to(dtype)")
