"""Steps of optimisers: parameter, gradient and averages are read once and written once.

Every value has a step of its own, so threads take blocks of values, of all parameters in one launch: a step takes
`Rows` of arrays, one row a parameter. Options come as an array of the parameters' dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import kernel
from minidl.kernels.many import Rows, block, values
from minidl.kernels.math import choose


def adam_step(
    rows: Rows,
    *,
    rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    root: float,
    decay: float,
    keep: float,
) -> None:
    """One step in place of rows of p, g, m, v, largest (or None), with g + decay · p for g.

        m ← β₁ m + (1 - β₁) g      v ← β₂ v + (1 - β₂) g²      p ← keep · p - rate · m / (√v · root + eps)

    With `largest`, the largest v so far takes the place of v in the last.
    """
    rows.run(adam_task, np.array([rate, beta1, 1 - beta1, beta2, 1 - beta2, eps, root, decay, keep], rows.dtype))


def sgd_step(
    rows: Rows,
    *,
    rate: float,
    momentum: float,
    damped: float,
    decay: float,
    nesterov: bool,
) -> None:
    """One step in place of rows of p, g, v (or None), with g + decay · p for g: p ← p - rate · s

    with s = g, or with a velocity v ← momentum · v + damped · g and s = v, or s = g + momentum · v (nesterov).
    """
    rows.run(sgd_task, np.array([rate, momentum, damped, decay], rows.dtype), nesterov, work=0.5)


def rmsprop_step(
    rows: Rows,
    *,
    rate: float,
    alpha: float,
    eps: float,
    momentum: float,
    decay: float,
) -> None:
    """One step in place of rows of p, g, v, a (or None), b (or None), with g + decay · p for g.

        v ← α v + (1 - α) g²      p ← p - rate · g / (√v + eps)

    With `a`, the mean a ← α a + (1 - α) g, √(v - a²) takes the place of √v. With `b`, the quotient is gathered,
    b ← momentum · b + g / (√v + eps), and p ← p - rate · b.
    """
    rows.run(rmsprop_task, np.array([rate, alpha, 1 - alpha, eps, momentum, decay], rows.dtype))


def adagrad_step(rows: Rows, *, rate: float, eps: float, decay: float) -> None:
    """One step in place of rows of p, g, s, with g + decay · p for g: s ← s + g², p ← p - rate · g / (√s + eps)."""
    rows.run(adagrad_task, np.array([rate, eps, decay], rows.dtype))


def adam_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 0, np.ones(9, dtype), np.ones((7, 1), np.int64)


@kernel(example=adam_example)
def adam_task(task, options, lines):  # type: ignore[no-untyped-def]
    """One block of values."""
    rate, beta1, new1, beta2, new2 = options[0], options[1], options[2], options[3], options[4]
    eps, root, decay, keep = options[5], options[6], options[7], options[8]
    at = block(lines, task)
    p, g, m = values(lines, at, 0, options), values(lines, at, 1, options), values(lines, at, 2, options)
    v, largest = values(lines, at, 3, options), values(lines, at, 4, options)
    if largest.size:
        for i in range(p.size):
            grad = g[i] + decay * p[i]
            m[i] = beta1 * m[i] + new1 * grad
            v[i] = beta2 * v[i] + new2 * grad * grad
            largest[i] = choose((v[i] > largest[i]) | (v[i] != v[i]), v[i], largest[i])
            p[i] = keep * p[i] - rate * m[i] / (np.sqrt(largest[i]) * root + eps)
    else:
        for i in range(p.size):
            grad = g[i] + decay * p[i]
            m[i] = beta1 * m[i] + new1 * grad
            v[i] = beta2 * v[i] + new2 * grad * grad
            p[i] = keep * p[i] - rate * m[i] / (np.sqrt(v[i]) * root + eps)


def sgd_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 0, np.ones(4, dtype), np.ones((5, 1), np.int64), False


@kernel(example=sgd_example)
def sgd_task(task, options, lines, nesterov):  # type: ignore[no-untyped-def]
    """One block of values."""
    rate, momentum, damped, decay = options[0], options[1], options[2], options[3]
    at = block(lines, task)
    p, g, velocity = values(lines, at, 0, options), values(lines, at, 1, options), values(lines, at, 2, options)
    if velocity.size and nesterov:
        for i in range(p.size):
            grad = g[i] + decay * p[i]
            velocity[i] = momentum * velocity[i] + damped * grad
            p[i] -= rate * (grad + momentum * velocity[i])
    elif velocity.size:
        for i in range(p.size):
            velocity[i] = momentum * velocity[i] + damped * (g[i] + decay * p[i])
            p[i] -= rate * velocity[i]
    else:
        for i in range(p.size):
            p[i] -= rate * (g[i] + decay * p[i])


def rmsprop_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 0, np.ones(6, dtype), np.ones((7, 1), np.int64)


@kernel(
    example=rmsprop_example, fastmath=frozenset()
)  # v - a² is 0 where all gradients were equal, not half a bit less
def rmsprop_task(task, options, lines):  # type: ignore[no-untyped-def]
    """One block of values."""
    rate, alpha, new, eps, momentum, decay = options[0], options[1], options[2], options[3], options[4], options[5]
    at = block(lines, task)
    p, g, v = values(lines, at, 0, options), values(lines, at, 1, options), values(lines, at, 2, options)
    a, b = values(lines, at, 3, options), values(lines, at, 4, options)
    if a.size and b.size:
        for i in range(p.size):
            grad = g[i] + decay * p[i]
            v[i] = alpha * v[i] + new * grad * grad
            a[i] = alpha * a[i] + new * grad
            b[i] = momentum * b[i] + grad / (np.sqrt(v[i] - a[i] * a[i]) + eps)
            p[i] -= rate * b[i]
    elif a.size:
        for i in range(p.size):
            grad = g[i] + decay * p[i]
            v[i] = alpha * v[i] + new * grad * grad
            a[i] = alpha * a[i] + new * grad
            p[i] -= rate * grad / (np.sqrt(v[i] - a[i] * a[i]) + eps)
    elif b.size:
        for i in range(p.size):
            grad = g[i] + decay * p[i]
            v[i] = alpha * v[i] + new * grad * grad
            b[i] = momentum * b[i] + grad / (np.sqrt(v[i]) + eps)
            p[i] -= rate * b[i]
    else:
        for i in range(p.size):
            grad = g[i] + decay * p[i]
            v[i] = alpha * v[i] + new * grad * grad
            p[i] -= rate * grad / (np.sqrt(v[i]) + eps)


def adagrad_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 0, np.ones(3, dtype), np.ones((5, 1), np.int64)


@kernel(example=adagrad_example)
def adagrad_task(task, options, lines):  # type: ignore[no-untyped-def]
    """One block of values."""
    rate, eps, decay = options[0], options[1], options[2]
    at = block(lines, task)
    p, g, s = values(lines, at, 0, options), values(lines, at, 1, options), values(lines, at, 2, options)
    for i in range(p.size):
        grad = g[i] + decay * p[i]
        s[i] += grad * grad
        p[i] -= rate * grad / (np.sqrt(s[i]) + eps)
