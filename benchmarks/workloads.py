"""What is timed: the rows of the table, each written once, in the words that all contenders share.

An `Operation` is arrays and a function of them; `F` is a contender's vocabulary, with PyTorch's names and meanings, and
a contender that lacks a word that the function says has no such row. It is timed forward, and forward with backward
from a random cotangent to every array of floats. A `Step` works on a library's own modules and optimisers, so only
libraries with PyTorch's whole API have it. Arrays come from one seed, so that all contenders compute the same.

Each says what it takes at least, which is what the machine's limits are held against: floating point operations, and
values that must pass through memory if nothing stays in a cache. A multiply-add is two operations.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from benchmarks.kinds import (
    LONG_SUMS,
    RECURRENCE,
    SELECTION,
    SMOOTH,
    SUMS,
    Arrays,
    Operation,
    Shape,
    Step,
    Tolerance,
    Workload,
)
from benchmarks.models import lenet, resnet
from benchmarks.steps import LENET, RESNET20, adam, bert_training, character, initial_state, sentences, training


def normals(*shapes: Shape) -> Callable[[np.random.Generator], Arrays]:
    """Standard normal float32 arrays."""
    return lambda rng: [rng.standard_normal(shape, np.float32) for shape in shapes]


def distinct(shape: Shape) -> Callable[[np.random.Generator], Arrays]:
    """Evenly spread values of which no two are equal, since contenders need not agree on ties."""
    return lambda rng: [(rng.permutation(prod(shape)).reshape(shape) / prod(shape) - 0.5).astype(np.float32)]


# Convolution and pooling


def conv2d(N: int, C: int, H: int, K: int, R: int, stride: int, groups: int) -> Operation:
    P = (H + 2 * (R // 2) - R) // stride + 1
    x, w, b, y = (N, C, H, H), (K, C // groups, R, R), (K,), (N, K, P, P)
    flops = 2 * prod(y) * (C // groups) * R * R
    inputs = prod(x) + prod(w)

    def function(F: Any, x: Any, w: Any, b: Any) -> Any:
        return F.conv2d(x, w, b, stride=stride, padding=R // 2, groups=groups)

    return Operation(
        f"conv2d ({N},{C},{H},{K},{R},{stride},{groups})",
        normals(x, w, b),
        function,
        flops=(flops, 3 * flops),
        values=(inputs + prod(y), 3 * inputs + 2 * prod(y)),  # backward reads g, x, w and writes gx, gw
        tolerance=LONG_SUMS,
    )


IMAGES = (32, 64, 32, 32)


def max_pool2d(size: int, stride: int) -> Operation:
    n, m = prod(IMAGES), prod(IMAGES[:2]) * ((32 - size) // stride + 1) ** 2
    return Operation(
        f"max_pool2d {size}/{stride}",
        distinct(IMAGES),
        lambda F, x: F.max_pool2d(x, size, stride),
        flops=(m * size * size, m * size * size),
        values=(n + m, 2 * n + 3 * m),  # backward reads g and where the maxima were, and writes gx
        tolerance=SELECTION,
    )


def avg_pool2d(size: int) -> Operation:
    n, m = prod(IMAGES), prod(IMAGES) // size**2
    return Operation(
        f"avg_pool2d {size}",
        normals(IMAGES),
        lambda F, x: F.avg_pool2d(x, size, size),
        flops=(n, 2 * n),
        values=(n + m, 2 * n + 2 * m),
        tolerance=SELECTION,
    )


# Functions of each value, normalisations, losses


def elementwise(name: str, shape: Shape, tolerance: Tolerance) -> Operation:
    n = prod(shape)
    return Operation(
        name,
        normals(shape),
        lambda F, x: getattr(F, name)(x),
        flops=(n, 3 * n),
        values=(2 * n, 5 * n),  # backward reads g and x (or y), and writes gx
        tolerance=tolerance,
    )


def batch_norm() -> Operation:
    n = prod(IMAGES)
    return Operation(
        "batch_norm",
        normals(IMAGES, (64,), (64,)),
        lambda F, x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        flops=(5 * n, 13 * n),
        values=(3 * n, 8 * n),  # each pass reads all of its inputs for the sums, then again
        tolerance=SUMS,
    )


def layer_norm(rows: int, columns: int) -> Operation:
    n = rows * columns
    return Operation(
        f"layer_norm ({rows},{columns})",
        normals((rows, columns), (columns,), (columns,)),
        lambda F, x, w, b: F.layer_norm(x, (columns,), w, b),
        flops=(5 * n, 13 * n),
        values=(2 * n, 5 * n),  # a row stays in the cache between the sums and the division
        tolerance=SUMS,
    )


def softmax(*shape: int) -> Operation:
    n = prod(shape)
    return Operation(
        f"softmax ({','.join(map(str, shape))})",
        normals(shape),
        lambda F, x: F.softmax(x, -1),
        flops=(4 * n, 8 * n),
        values=(2 * n, 5 * n),
        tolerance=SUMS,
    )


def attention(N: int, H: int, L: int, E: int, causal: bool) -> Operation:
    """Scores and weighted means are products of 2 · L · L · E each; backward has four, and the scores again."""
    shape, pairs = (N, H, L, E), N * H * L * (L + 1) // 2 if causal else N * H * L * L
    return Operation(
        f"attention ({N},{H},{L},{E}){' causal' if causal else ''}",
        normals(shape, shape, shape),
        lambda F, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal),
        flops=(4 * pairs * E, 14 * pairs * E),
        values=(4 * prod(shape), 12 * prod(shape)),
        tolerance=SUMS,
    )


def cross_entropy(rows: int, classes: int) -> Operation:
    n = rows * classes

    def arrays(rng: np.random.Generator) -> Arrays:
        return [rng.standard_normal((rows, classes), np.float32), rng.integers(0, classes, rows)]

    return Operation(
        f"cross_entropy ({rows},{classes})",
        arrays,
        lambda F, x, labels: F.cross_entropy(x, labels),
        flops=(4 * n, 7 * n),
        values=(n, 3 * n),
        tolerance=SUMS,
    )


# Matrix products


def linear(rows: int, inputs: int, outputs: int) -> Operation:
    flops, given = 2 * rows * inputs * outputs, rows * inputs + inputs * outputs
    return Operation(
        f"linear ({rows},{inputs},{outputs})",
        normals((rows, inputs), (outputs, inputs), (outputs,)),
        lambda F, x, w, b: F.linear(x, w, b),
        flops=(flops, 3 * flops),
        values=(given + rows * outputs, 3 * given + 2 * rows * outputs),
        tolerance=SUMS,
    )


def matmul(n: int) -> Operation:
    return Operation(
        f"matmul {n}",
        normals((n, n), (n, n)),
        lambda F, a, b: a @ b,
        flops=(2 * n**3, 6 * n**3),
        values=(3 * n * n, 8 * n * n),
        tolerance=SUMS,
    )


# The graph's own cost


def graph(nodes: int, side: int) -> Operation:
    """h ← tanh(h · w + b), three nodes each time. All of it stays in the cache, and no limit but Python's is near."""

    def function(F: Any, h: Any, w: Any, b: Any) -> Any:
        for _ in range(nodes // 3):
            h = F.tanh(h * w + b)
        return h

    return Operation(
        f"graph of {nodes} nodes {side}×{side}",
        normals((side, side), (side, side), (side, side)),
        function,
        flops=(0, 0),
        values=(0, 0),
        tolerance=RECURRENCE,
        nodes=nodes,
    )


def recurrent(kind: str, N: int, T: int, I: int, H: int, packed: bool = False, **options: Any) -> Step:
    """A recurrent layer over sequences of T steps, or of 10 to T packed: forward and backward."""
    gates = {"LSTM": 4, "GRU": 3}[kind]
    # The longest first: libraries that sort them differ in how they order sequences of one length, and so in the rows.
    lengths = -np.sort(-np.random.default_rng(0).integers(10, T + 1, N)) if packed else np.full(N, T)
    stack = options.get("num_layers", 1), 1 + options.get("bidirectional", False)
    inputs = I + (stack[0] - 1) * stack[1] * H  # of all layers
    flops = 2.0 * int(lengths.sum()) * gates * H * (inputs + stack[0] * H) * stack[1]

    def build(lib: Any) -> Callable[[], list[Any]]:
        rng = np.random.default_rng(0)
        layer = getattr(lib.nn, kind)(I, H, batch_first=True, **options)
        state = initial_state(lib, layer, rng)
        layer.load_state_dict({key: 0.3 * value for key, value in state.items()})  # larger ones make it chaotic
        x: Any = lib.tensor(rng.standard_normal((N, T, I), np.float32))
        if packed:
            x = lib.nn.utils.rnn.pack_padded_sequence(x, lengths.tolist(), batch_first=True)
        shape = (int(lengths.sum()),) if packed else (N, T)
        g = lib.tensor(rng.standard_normal((*shape, stack[1] * H), np.float32))

        def step() -> list[Any]:
            layer.zero_grad()
            output = layer(x)[0]
            output = output.data if packed else output
            output.backward(g)
            return [output.detach(), *(p.grad for p in layer.parameters())]

        return step

    stacked = "".join(
        f", {name}" for name, used in (("2 layers, both directions", options), ("packed", packed)) if used
    )
    return Step(f"{kind} ({N},{T},{I},{H}){stacked}", build, (3 * flops,) * 2, values=(0, 0), tolerance=RECURRENCE)


WORKLOADS: list[Workload] = [
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
    max_pool2d(2, 2),
    max_pool2d(3, 2),
    avg_pool2d(2),
    batch_norm(),
    layer_norm(1024, 768),
    softmax(96, 128, 128),
    attention(8, 12, 128, 64, causal=False),
    attention(1, 8, 2048, 64, causal=True),
    cross_entropy(4096, 1000),
    elementwise("gelu", (8, 128, 3072), SMOOTH),
    elementwise("tanh", IMAGES, SMOOTH),
    elementwise("relu", IMAGES, SELECTION),
    linear(256, 1024, 1024),
    linear(64, 784, 128),
    matmul(1024),
    adam(10, fused=False),
    adam(10, fused=True),
    graph(60, 32),
    *(
        recurrent(kind, *sizes, **options)
        for kind in ("LSTM", "GRU")
        for sizes, options in (
            ((32, 64, 64, 128), {}),
            ((64, 64, 256, 256), {}),
            ((8, 100, 32, 64), {}),
            ((1, 200, 64, 128), {}),
            ((16, 50, 128, 128), {"num_layers": 2, "bidirectional": True}),
            ((32, 50, 64, 128), {"packed": True}),
        )
    ),
    character(32, 32, 83, 320),
    bert_training(8, 128, layers=4, width=256, heads=4),
    sentences(32, 5, 40, layers=6, width=384, heads=12),
    training("LeNet step (64,1,28,28)", lenet, (64, 1, 28, 28), 64 * 6 * LENET),
    training("ResNet-20 step (32,3,32,32)", resnet, (32, 3, 32, 32), 32 * 6 * RESNET20),
]
BY_NAME = {workload.name: workload for workload in WORKLOADS}
