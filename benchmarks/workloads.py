"""What is timed: each workload is written once, against the API that minidl and PyTorch share.

A workload is given `lib` (minidl or torch) and `F` (its nn.functional), and returns Tensors and a function of them.
Arrays come from one seed, so that all contenders compute the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Built = tuple[list[Any], Callable[..., Any]]


@dataclass(frozen=True)
class Workload:
    """A row of the table: a name, and how to build its inputs and its function."""

    name: str
    build: Callable[[Any, Any], Built]


def leaves(lib: Any, *shapes: tuple[int, ...]) -> list[Any]:
    """Standard normal float32 Tensors that require a gradient."""
    rng = np.random.default_rng(0)
    return [lib.tensor(rng.standard_normal(shape, np.float32), requires_grad=True) for shape in shapes]


def conv2d(N: int, C: int, H: int, K: int, R: int, stride: int, groups: int) -> Workload:
    def build(lib: Any, F: Any) -> Built:
        inputs = leaves(lib, (N, C, H, H), (K, C // groups, R, R), (K,))
        return inputs, lambda x, w, b: F.conv2d(x, w, b, stride=stride, padding=R // 2, groups=groups)

    return Workload(f"conv2d ({N},{C},{H},{K},{R},{stride},{groups})", build)


def pool(name: str, size: int, stride: int, shape: tuple[int, ...] = (32, 64, 32, 32)) -> Workload:
    def build(lib: Any, F: Any) -> Built:
        return leaves(lib, shape), lambda x: getattr(F, name)(x, size, stride)

    return Workload(f"{name} {size}/{stride} {shape}".replace(" ", "", 0), build)


WORKLOADS = [
    conv2d(64, 1, 28, 8, 5, 1, 1),
    conv2d(64, 8, 14, 16, 5, 1, 1),
    conv2d(64, 3, 32, 32, 3, 1, 1),
    conv2d(32, 64, 32, 64, 3, 1, 1),
    conv2d(32, 128, 16, 128, 3, 1, 1),
    conv2d(32, 256, 8, 256, 3, 1, 1),
    conv2d(32, 64, 32, 128, 3, 2, 1),
    conv2d(32, 64, 32, 64, 1, 1, 1),
    conv2d(32, 64, 32, 64, 3, 1, 64),
    conv2d(8, 3, 224, 64, 7, 2, 1),
    pool("max_pool2d", 2, 2),
    pool("max_pool2d", 3, 2),
    pool("avg_pool2d", 2, 2),
]
