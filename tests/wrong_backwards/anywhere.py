"""Mistakes that can be made anywhere: a sign, and gradients of zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import primitives as P
from minidl.ops.conv import Conv2d
from minidl.ops.linear import Linear
from minidl.ops.loss import CrossEntropy
from minidl.ops.norm import BatchNorm, LayerNorm
from minidl.ops.pool import AvgPool2d, MaxPool2d
from wrong_backwards.bank import with_wrong_sign, wrong


def all_zero(self: Any, g: Any) -> Any:
    found = tuple(None if x is None else np.zeros_like(x) for x in self.inputs)
    return found if len(found) > 1 else found[0]


for operation, passes, i in [
    ("conv2d", Conv2d, 0),
    ("conv2d", Conv2d, 1),
    ("conv2d", Conv2d, 2),
    ("max_pool2d", MaxPool2d, 0),
    ("avg_pool2d", AvgPool2d, 0),
    ("linear", Linear, 1),
    ("batch_norm", BatchNorm, 0),
    ("cross_entropy", CrossEntropy, 0),
    ("matmul", P.MatMul, 1),
    ("div", P.Div, 1),
    ("einsum", P.Einsum, 0),
]:
    wrong(operation, passes)(with_wrong_sign(passes, i))
wrong("conv2d", Conv2d)(all_zero)
wrong("linear", Linear)(all_zero)
wrong("layer_norm", LayerNorm)(all_zero)
