"""Steps of training: what a library does with its own modules and optimisers, from the loss to the new weights."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from benchmarks.kinds import DEEP, NETWORK, RECURRENCE, SELECTION, Shape, Step
from benchmarks.models import bert, charlm


def adam(millions: int, fused: bool) -> Step:
    """One parameter of that many million numbers. PyTorch's fused step has to be asked for, so it has its own row."""
    n = millions * 1_000_000

    def build(lib: Any) -> Callable[[], list[Any]]:
        rng = np.random.default_rng(0)
        p, g = (lib.tensor(rng.standard_normal(n, np.float32)) for _ in range(2))
        p.requires_grad = True
        p.grad = g
        options = {"fused": True} if fused and lib.__name__ == "torch" else {}
        optimizer = lib.optim.Adam([p], lr=1e-3, **options)

        def step() -> list[Any]:
            optimizer.step()
            return [p]

        return step

    return Step(
        f"adam {millions} M{' (PyTorch: fused=True)' if fused else ''}",
        build,
        flops=(12 * n,) * 2,
        values=(7 * n,) * 2,  # reads p, g, m, v and writes p, m, v
        tolerance=SELECTION,
    )


def training(name: str, model: Callable[[Any, Any], Any], shape: Shape, flops: float) -> Step:
    """Forward, loss, backward, a step of SGD with momentum."""

    def build(lib: Any) -> Callable[[], list[Any]]:
        rng = np.random.default_rng(0)
        x = lib.tensor(rng.standard_normal(shape, np.float32))
        labels = lib.tensor(rng.integers(0, 10, shape[0]))
        network = model(lib.nn, lib.nn.functional)
        network.load_state_dict(initial_state(lib, network, rng))
        optimizer = lib.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

        def step() -> list[Any]:
            optimizer.zero_grad()
            loss = lib.nn.functional.cross_entropy(network(x), labels)
            loss.backward()
            optimizer.step()
            return [loss, *(p.grad for p in network.parameters()), *network.parameters()]

        return step

    return Step(name, build, flops=(flops, flops), values=(0, 0), tolerance=NETWORK)


def character(N: int, T: int, C: int, H: int) -> Step:
    """A step of `minidl train charlm`: N × T of C characters, an LSTM of H, clipping, AdamW; the state goes on."""

    def build(lib: Any) -> Callable[[], list[Any]]:
        rng = np.random.default_rng(0)
        x, y = (lib.tensor(rng.integers(0, C, (T, N))) for _ in range(2))
        network = charlm(lib.nn, lib.nn.functional, C, H)
        state = initial_state(lib, network, rng)
        network.load_state_dict({key: 0.3 * value for key, value in state.items()})  # larger ones make it chaotic
        optimizer = lib.optim.AdamW(network.parameters(), lr=1e-4)
        carried = None

        def step() -> list[Any]:
            nonlocal carried
            optimizer.zero_grad()
            scores, (h, c) = network(x, carried)
            carried = h.detach(), c.detach()
            loss = lib.nn.functional.cross_entropy(scores.flatten(0, 1), y.flatten())
            loss.backward()
            lib.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            return [loss, *carried, *(p.grad for p in network.parameters())]

        return step

    flops = 6.0 * N * T * H * (4 * H + C)  # what a character does to the gates can be looked up
    return Step(f"character model step ({N},{T},{C},{H})", build, (flops, flops), values=(0, 0), tolerance=RECURRENCE)


def bert_training(N: int, T: int, layers: int, width: int, heads: int, vocabulary: int = 30522) -> Step:
    """A step of fine-tuning a BERT that sorts texts into two classes, all of T words."""

    def build(lib: Any) -> Callable[[], list[Any]]:
        rng = np.random.default_rng(0)
        ids, labels = lib.tensor(rng.integers(0, vocabulary, (N, T))), lib.tensor(rng.integers(0, 2, N))
        network = bert(lib.nn, lib.nn.functional, vocabulary, layers, width, heads, 4 * width, labels=2)
        network.load_state_dict(initial_state(lib, network, rng))
        optimizer = lib.optim.AdamW(network.parameters(), lr=2e-5)
        # What is added to all keys changes no weight, so a key's bias has a gradient of nothing but rounding errors.
        compared = [p for name, p in network.named_parameters() if not name.endswith("key.bias")]

        def step() -> list[Any]:
            optimizer.zero_grad()
            loss = lib.nn.functional.cross_entropy(network(ids), labels)
            loss.backward()
            optimizer.step()
            return [loss, *(p.grad for p in compared)]

        return step

    flops = 6 * encoder_products(N * T, T, layers, width)
    return Step(f"BERT-mini step ({N},{T})", build, (flops, flops), values=(0, 0), tolerance=DEEP)


def sentences(N: int, shortest: int, longest: int, layers: int, width: int, heads: int) -> Step:
    """MiniLM reads sentences of different lengths, padded to the longest: rows of all words, without a graph."""

    def build(lib: Any) -> Callable[[], list[Any]]:
        rng = np.random.default_rng(0)
        lengths = np.append(longest, rng.integers(shortest, longest + 1, N - 1))
        tokens = np.arange(longest) < lengths[:, None]
        ids = lib.tensor(np.where(tokens, rng.integers(0, 30522, tokens.shape), 0))
        mask = lib.tensor(tokens[:, None, None])
        network = bert(lib.nn, lib.nn.functional, 30522, layers, width, heads, 4 * width)
        network.load_state_dict(initial_state(lib, network, rng))
        network.eval()

        def step() -> list[Any]:
            with lib.no_grad():
                return [network(ids, mask)]

        return step

    flops = 2 * encoder_products(N * longest, longest, layers, width)
    return Step(f"MiniLM inference ({N} sentences)", build, (flops, flops), values=(0, 0), tolerance=DEEP)


def encoder_products(words: int, length: int, layers: int, width: int) -> float:
    """Multiply-adds of an encoder: four projections, a network four times as wide, scores and weighted means."""
    return float(words * layers * width * (4 * width + 8 * width + 2 * length))


def initial_state(lib: Any, network: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The same weights for every library: as K. He et al. 2015 draw them, and 0 or 1 where the library says so."""
    state = dict(network.state_dict())
    for key, value in state.items():
        shape = tuple(value.shape)
        if len(shape) > 1:
            spread = np.float32((2 / prod(shape[1:])) ** 0.5)
            state[key] = lib.tensor(spread * rng.standard_normal(shape, np.float32))
        elif len(shape) == 1 and "bias" in key:
            state[key] = lib.tensor(np.zeros(shape, np.float32))
    return state


# Multiply-adds of one image: outputs · terms of each, layer by layer.
LENET = 6 * 28**2 * 25 + 16 * 10**2 * 150 + 120 * 400 + 120 * 84 + 84 * 10
RESNET20 = 32**2 * (16 * 27 + 6 * 16 * 144) + 16**2 * (32 * 144 + 5 * 32 * 288) + 8**2 * (64 * 288 + 5 * 64 * 576) + 640
