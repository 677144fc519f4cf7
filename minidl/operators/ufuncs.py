"""NumPy's functions called on Tensors: `ndarray * t` and `np.exp(t)` give Tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

# NumPy's ufunc -> the Tensor's method, where the names differ
METHODS = {
    "add": "__add__",
    "subtract": "__sub__",
    "multiply": "__mul__",
    "divide": "__truediv__",
    "floor_divide": "__floordiv__",
    "remainder": "__mod__",
    "power": "__pow__",
    "matmul": "__matmul__",
    "negative": "__neg__",
    "absolute": "__abs__",
    "equal": "__eq__",
    "not_equal": "__ne__",
    "less": "__lt__",
    "less_equal": "__le__",
    "greater": "__gt__",
    "greater_equal": "__ge__",
    "bitwise_and": "__and__",
    "bitwise_or": "__or__",
    "bitwise_xor": "__xor__",
    "invert": "__invert__",
}
SAME_NAME = (
    *("maximum", "minimum", "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "square", "reciprocal"),
    *("sin", "cos", "tanh", "sign", "floor", "ceil", "isnan", "isinf", "isfinite", "logical_not"),
)


class Ufuncs:
    """NumPy asks this method before it treats a Tensor as an array."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        name = METHODS.get(ufunc.__name__, ufunc.__name__ if ufunc.__name__ in SAME_NAME else None)
        if method != "__call__" or options or name is None:
            raise TypeError(f"numpy.{ufunc.__name__} is not defined on Tensors; use t.detach().numpy()")
        first, *rest = (x if isinstance(x, Ufuncs) else self._from_user(x) for x in inputs)
        return getattr(first, name)(*rest)
