"""Steps of optimisers: parameter, gradient and averages are read once and written once.

Every value has a step of its own, so threads take blocks of values. Options come as an array of the parameter's dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.jit import contiguous, kernel
from minidl.kernels.math import choose

BLOCK = 8192  # values a task


def fits(*arrays: np.ndarray) -> bool:
    """Whether a kernel can change the arrays in place: contiguous, of one floating dtype."""
    return all(a.flags.carray and a.dtype == arrays[0].dtype for a in arrays) and arrays[0].dtype.char in "fd"


def adam_step(
    p: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    largest: np.ndarray | None,
    *,
    rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    root: float,
    decay: float,
    keep: float,
) -> None:
    """One step in place, of g + decay · p for g.

        m ← β₁ m + (1 - β₁) g      v ← β₂ v + (1 - β₂) g²      p ← keep · p - rate · m / (√v · root + eps)

    With `largest`, the largest v so far takes the place of v in the last.
    """
    options = np.array([rate, beta1, 1 - beta1, beta2, 1 - beta2, eps, root, decay, keep], p.dtype)
    largest = np.empty(0, p.dtype) if largest is None else largest.reshape(-1)
    flat = p.reshape(-1), contiguous(g).reshape(-1), m.reshape(-1), v.reshape(-1)
    adam_task(-(-p.size // BLOCK), *flat, largest, options, work=p.size)


def sgd_step(
    p: np.ndarray,
    g: np.ndarray,
    velocity: np.ndarray | None,
    *,
    rate: float,
    momentum: float,
    damped: float,
    decay: float,
    nesterov: bool,
) -> None:
    """One step in place, of g + decay · p for g: p ← p - rate · s with s = g, or with a velocity v

    v ← momentum · v + damped · g and s = v, or s = g + momentum · v (nesterov).
    """
    options = np.array([rate, momentum, damped, decay], p.dtype)
    velocity = np.empty(0, p.dtype) if velocity is None else velocity.reshape(-1)
    sgd_task(
        -(-p.size // BLOCK), p.reshape(-1), contiguous(g).reshape(-1), velocity, options, nesterov, work=p.size // 2
    )


def rmsprop_step(
    p: np.ndarray,
    g: np.ndarray,
    v: np.ndarray,
    a: np.ndarray | None,
    b: np.ndarray | None,
    *,
    rate: float,
    alpha: float,
    eps: float,
    momentum: float,
    decay: float,
) -> None:
    """One step in place, of g + decay · p for g.

        v ← α v + (1 - α) g²      p ← p - rate · g / (√v + eps)

    With `a`, the mean a ← α a + (1 - α) g, √(v - a²) takes the place of √v. With `b`, the quotient is gathered,
    b ← momentum · b + g / (√v + eps), and p ← p - rate · b.
    """
    options = np.array([rate, alpha, 1 - alpha, eps, momentum, decay], p.dtype)
    none = np.empty(0, p.dtype)
    flat = p.reshape(-1), contiguous(g).reshape(-1), v.reshape(-1)
    kept = none if a is None else a.reshape(-1), none if b is None else b.reshape(-1)
    rmsprop_task(-(-p.size // BLOCK), *flat, *kept, options, work=p.size)


def adagrad_step(p: np.ndarray, g: np.ndarray, s: np.ndarray, *, rate: float, eps: float, decay: float) -> None:
    """One step in place, of g + decay · p for g: s ← s + g², p ← p - rate · g / (√s + eps)."""
    options = np.array([rate, eps, decay], p.dtype)
    flat = p.reshape(-1), contiguous(g).reshape(-1), s.reshape(-1)
    adagrad_task(-(-p.size // BLOCK), *flat, options, work=p.size)


def adam_example(dtype: np.dtype) -> tuple[Any, ...]:
    return 1, *(np.ones(2, dtype) for _ in range(4)), np.empty(0, dtype), np.ones(9, dtype)


@kernel(example=adam_example)
def adam_task(task, p, g, m, v, largest, options):  # type: ignore[no-untyped-def]
    """One block of values."""
    rate, beta1, new1, beta2, new2 = options[0], options[1], options[2], options[3], options[4]
    eps, root, decay, keep = options[5], options[6], options[7], options[8]
    p, g = p[task * BLOCK :][:BLOCK], g[task * BLOCK :][:BLOCK]
    m, v, largest = m[task * BLOCK :][:BLOCK], v[task * BLOCK :][:BLOCK], largest[task * BLOCK :][:BLOCK]
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
    return 1, np.ones(2, dtype), np.ones(2, dtype), np.ones(2, dtype), np.ones(4, dtype), False


@kernel(example=sgd_example)
def sgd_task(task, p, g, velocity, options, nesterov):  # type: ignore[no-untyped-def]
    """One block of values."""
    rate, momentum, damped, decay = options[0], options[1], options[2], options[3]
    p, g, velocity = p[task * BLOCK :][:BLOCK], g[task * BLOCK :][:BLOCK], velocity[task * BLOCK :][:BLOCK]
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
    return 1, *(np.ones(2, dtype) for _ in range(3)), np.empty(0, dtype), np.empty(0, dtype), np.ones(6, dtype)


@kernel(
    example=rmsprop_example, fastmath=frozenset()
)  # v - a² is 0 where all gradients were equal, not half a bit less
def rmsprop_task(task, p, g, v, a, b, options):  # type: ignore[no-untyped-def]
    """One block of values."""
    rate, alpha, new, eps, momentum, decay = options[0], options[1], options[2], options[3], options[4], options[5]
    p, g, v = p[task * BLOCK :][:BLOCK], g[task * BLOCK :][:BLOCK], v[task * BLOCK :][:BLOCK]
    a, b = a[task * BLOCK :][:BLOCK], b[task * BLOCK :][:BLOCK]
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
    return 1, *(np.ones(2, dtype) for _ in range(3)), np.ones(3, dtype)


@kernel(example=adagrad_example)
def adagrad_task(task, p, g, s, options):  # type: ignore[no-untyped-def]
    """One block of values."""
    rate, eps, decay = options[0], options[1], options[2]
    p, g, s = p[task * BLOCK :][:BLOCK], g[task * BLOCK :][:BLOCK], s[task * BLOCK :][:BLOCK]
    for i in range(p.size):
        grad = g[i] + decay * p[i]
        s[i] += grad * grad
        p[i] -= rate * grad / (np.sqrt(s[i]) + eps)
