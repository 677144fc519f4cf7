"""Positions: attention itself does not know in which order its keys come, so they are told where they stand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.axes import as_int, broadcasts_to
from minidl.dtypes import as_dtype, float32, require_float
from minidl.function import Primitive, call
from minidl.ops.samples import calls, normal, on
from minidl.ops.table import Sample, operation, require_tensor, run
from minidl.primitives import Cat
from minidl.tensor import Tensor, apply


def frequencies(name: str, dim: int, base: float) -> np.ndarray:
    """base^(-2i / dim) for i = 0, 1, ...: from one turn in 2π positions to one in 2π · base."""
    if not (isinstance(base, int | float) and 0 < base < math.inf):
        raise ValueError(f"{name}: base must be a positive number, but is {base!r}")
    return base ** (-np.arange(0, dim, 2) / dim)


@operation(samples=calls(lambda rng: Sample(5, 4), lambda rng: Sample(3, 5, base=100.0), lambda rng: Sample(0, 2)))
def sinusoidal_positions(length: int, dim: int, *, base: float = 10000.0, dtype: Any = None) -> Tensor:
    """A table of positions (A. Vaswani et al., "Attention is all you need", 2017), to be added to embeddings.

    table[t, 2i] = sin(t · base^(-2i / dim)), table[t, 2i + 1] = cos(t · base^(-2i / dim)). A shift of the position is a
    rotation of these pairs, the same for all positions.

    Returns:
        (length, dim), float32 by default.

    Raises:
        ValueError: a negative length, a dim below 1, a base that is not positive. TypeError: an integer dtype.

    >>> import minidl.nn.functional as F
    >>> F.sinusoidal_positions(2, 2).numpy().round(4).tolist()[0]
    [0.0, 1.0]
    """
    length, dim = (as_int("sinusoidal_positions", name, n) for name, n in (("length", length), ("dim", dim)))
    if length < 0 or dim < 1:
        raise ValueError(f"sinusoidal_positions: there is no table of {length} positions and {dim} dimensions")
    dtype = as_dtype(float32 if dtype is None else dtype)
    if dtype.kind != "f":
        raise TypeError(f"sinusoidal_positions: dtype must be floating-point, not {dtype}")
    angles = np.outer(np.arange(length), frequencies("sinusoidal_positions", dim, base))
    table = np.stack([np.sin(angles), np.cos(angles)], -1).reshape(length, dim + dim % 2)[:, :dim]
    return Tensor._constant(np.array(table, dtype, order="C"))


def pairs(x: Any, interleaved: bool) -> tuple[Any, Any]:
    """The two values of each pair: neighbours, or one of the first half and one of the second."""
    if interleaved:
        return x[..., 0::2], x[..., 1::2]
    half = x.shape[-1] // 2
    return x[..., :half], x[..., half:]


def rotary_embedding_definition(x: Tensor, cos: np.ndarray, sin: np.ndarray, interleaved: bool) -> Tensor:
    """Each pair (a, b), seen as the number a + ib, times cos + i sin."""
    a, b = pairs(x, interleaved)
    c, s = Tensor(cos), Tensor(sin)
    turned = a * c - b * s, a * s + b * c
    if not interleaved:
        return apply(Cat(axis=x.ndim - 1), *turned)
    return apply(Cat(axis=x.ndim), *(part.unsqueeze(-1) for part in turned)).reshape(x.shape)


class RotaryEmbedding(Primitive):
    """Forward turned each pair by an angle: y = R x, so gx = Rᵀ g, and the transpose of a rotation is its inverse.

    Backward is the same rotation the other way round: sin → -sin.
    """

    definition = staticmethod(rotary_embedding_definition)

    def forward(self, x: np.ndarray) -> np.ndarray:
        (a, b), y = pairs(x, self.interleaved), np.empty(x.shape, x.dtype)
        first, second = pairs(y, self.interleaved)
        first[...] = a * self.cos - b * self.sin
        second[...] = a * self.sin + b * self.cos
        return y

    def backward(self, g: Any) -> Any:
        return call(RotaryEmbedding, g, cos=self.cos, sin=-self.sin, interleaved=self.interleaved)


@operation(
    samples=calls(
        on(5, 4),
        on(2, 3, 2, interleaved=False),
        lambda rng: Sample(normal(rng, 2, 3, 6), np.array([4, 0, 9]), base=100.0),
        lambda rng: Sample(normal(rng, 2, 2, 3, 4), rng.integers(0, 9, (2, 1, 3)), interleaved=False),
        on(0, 2),
        on(2, 0),
    ),
    passes=RotaryEmbedding,
)
def rotary_embedding(
    input: Tensor, positions: Tensor | None = None, *, base: float = 10000.0, interleaved: bool = True
) -> Tensor:
    """Turn queries or keys by their positions (J. Su et al., "RoFormer", 2021).

    Pair i of the values at position t is turned by the angle t · base^(-2i / D). The product of a turned query with a
    turned key then depends on their distance alone.

    Args:
        input: (..., L, D), D even.
        positions: integers that broadcast to (..., L); by default 0 .. L - 1.
        base: of the frequencies.
        interleaved: pairs are neighbours, as in the paper; otherwise value i goes with value i + D / 2, as in many
            checkpoints of language models.

    Raises:
        TypeError: input is not floating-point, positions are not integers.
        ValueError: shapes that do not go together, an odd D, a base that is not positive.

    >>> import minidl, minidl.nn.functional as F
    >>> y = F.rotary_embedding(minidl.tensor([[1.0, 0.0], [1.0, 0.0]]))
    >>> (y**2).sum(-1).round()  # turned, not stretched
    tensor([1., 1.])
    """
    name = "rotary_embedding"
    require_tensor(name, input=input, positions=positions)
    require_float(name, input=input)
    if input.ndim < 2 or input.shape[-1] % 2:
        raise ValueError(f"{name}: input must be (..., L, D) with an even D, not {input.shape}")
    places = np.arange(input.shape[-2]) if positions is None else positions._array
    if places.dtype.kind not in "iu":
        raise TypeError(f"{name}: positions must be integers, not {places.dtype}")
    if not places.ndim or not broadcasts_to(places.shape, input.shape[:-1]):
        raise ValueError(f"{name}: positions {places.shape} do not broadcast to {input.shape[:-1]}")
    angles = places[..., None] * frequencies(name, input.shape[-1], base)
    cos, sin = (f(angles).astype(input.dtype) for f in (np.cos, np.sin))
    return run(RotaryEmbedding(cos=cos, sin=sin, interleaved=bool(interleaved)), input)
