"""Images and sequences at another size: the nearest value, or a mixture of neighbours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from minidl.dtypes import require_float
from minidl.ops.adaptive_pool import adaptive_avg_pool1d, adaptive_avg_pool2d
from minidl.ops.samples import normal
from minidl.ops.table import Sample, operation, require_tensor
from minidl.ops.windows import MOST_PLACES, numbers
from minidl.tensor import Tensor

MODES = {"nearest": (3, 4), "nearest-exact": (3, 4), "area": (3, 4), "linear": (3,), "bilinear": (4,)}
"""How many dimensions the input may have."""

Size = int | Sequence[int] | None
Scale = float | Sequence[float] | None


def interpolate_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Every mode, larger and smaller, by sizes and by factors."""
    for mode in ("nearest", "nearest-exact", "area", "bilinear"):
        yield Sample(normal(rng, 2, 2, 4, 3), size=(6, 5), mode=mode)
    yield Sample(normal(rng, 1, 2, 5, 4), scale_factor=(0.5, 1.7), mode="bilinear")
    yield Sample(normal(rng, 1, 2, 3, 4), size=(5, 1), mode="bilinear", align_corners=True)
    yield Sample(normal(rng, 2, 3, 5), scale_factor=2, mode="linear")
    yield Sample(normal(rng, 2, 3, 5), size=4)


@operation(samples=interpolate_samples)
def interpolate(
    input: Tensor,
    size: Size = None,
    scale_factor: Scale = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Tensor:
    """Images (N, C, H, W), or sequences (N, C, T), at another size.

    Place p of the result stands for the place (p + ½) · H/P - ½ of the input. "nearest" takes the value that stands
    there (rounded as ⌊p · H/P⌋, "nearest-exact" as the formula has it), "linear" and "bilinear" mix its neighbours,
    y = (1 - λ) x_i + λ x_(i+1), where λ is how far it lies from the first, along each direction; "area" is
    `adaptive_avg_pool2d`.

    Args:
        size: the new lengths, or one number for all.
        scale_factor: instead of it, what the lengths are multiplied by (rounded down); it then also stands for P/H in
            the formula, unless `recompute_scale_factor`. As in PyTorch, it does not where a length stays as it is, but
            for "nearest-exact", nor where it doubles, for "nearest".
        align_corners: for the linear modes, let the corners' centres stay where they are: place p is p · (H-1)/(P-1).

    Raises:
        TypeError: input is no floating-point Tensor.
        ValueError: both or neither of size and scale_factor, an unknown mode or one for other dimensions,
            align_corners where there is nothing to align, lengths of 0.

    >>> import minidl, minidl.nn.functional as F
    >>> x = minidl.tensor([[[1.0, 3.0]]])
    >>> F.interpolate(x, scale_factor=2), F.interpolate(x, size=4, mode="linear")
    (tensor([[[1., 1., 3., 3.]]]), tensor([[[1. , 1.5, 2.5, 3. ]]]))
    """
    require_tensor("interpolate", input=input)
    require_float("interpolate", input=input)
    if mode not in MODES:
        raise ValueError(f"interpolate: mode must be one of {', '.join(MODES)}, not {mode!r}")
    if input.ndim not in MODES[mode]:
        shapes = " or ".join({3: "(N, C, T)", 4: "(N, C, H, W)"}[n] for n in MODES[mode])
        raise ValueError(f"interpolate: mode {mode!r} takes {shapes}, not {input.shape}")
    if align_corners is not None and "linear" not in mode:
        raise ValueError(f"interpolate: align_corners is for the linear modes, not {mode!r}")
    output, scales = new_lengths(input, size, scale_factor)
    if mode == "area":
        return (adaptive_avg_pool1d if input.ndim == 3 else adaptive_avg_pool2d)(input, output)
    for axis, (n, length, scale) in enumerate(zip(input.shape[2:], output, scales, strict=True), 2):
        rounded = recompute_scale_factor or length in {"nearest": (n, 2 * n), "nearest-exact": ()}.get(mode, (n,))
        step = n / length if scale is None or rounded else 1 / scale
        if "linear" in mode:
            input = mixed(input, axis, *neighbours(n, length, step, bool(align_corners)))
        else:
            input = along(input, axis, nearest(n, length, step, 0.5 if mode == "nearest-exact" else 0.0))
    return input


def new_lengths(x: Tensor, size: Size, scale_factor: Scale) -> tuple[tuple[int, ...], Sequence[float | None]]:
    """P, Q, and by what H and W were to be multiplied, None if the lengths were given."""
    n = x.ndim - 2
    if (size is None) == (scale_factor is None):
        raise ValueError(f"interpolate: give either size or scale_factor, not {size} and {scale_factor}")
    scales: Sequence[float | None] = (None,) * n
    if size is None:
        scales = tuple(scale_factor) if isinstance(scale_factor, Sequence) else (scale_factor,) * n
        if len(scales) != n or not all(isinstance(s, int | float) and 0 < s < math.inf for s in scales):
            raise ValueError(f"interpolate: scale_factor must be positive, one or {n} numbers, not {scale_factor!r}")
        size = [math.floor(length * scale) for length, scale in zip(x.shape[2:], scales, strict=True)]
    output = numbers("interpolate", "size", size, 1, n)
    if 0 in x.shape[1:] or math.prod(output) > MOST_PLACES:
        raise ValueError(f"interpolate: an input of {x.shape} cannot become one of size {output}")
    return output, scales


def nearest(n: int, length: int, step: float, offset: float) -> np.ndarray:
    """Of each new place the old one. In float32, as PyTorch counts."""
    places = (np.arange(length, dtype=np.float32) + np.float32(offset)) * np.float32(step)
    return np.minimum(np.floor(places).astype(np.int64), n - 1)


def neighbours(n: int, length: int, step: float, align_corners: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each new place the two old ones around it, and λ, how far from the first."""
    places = np.arange(length)
    source = places * ((n - 1) / max(length - 1, 1)) if align_corners else np.maximum((places + 0.5) * step - 0.5, 0)
    first = np.minimum(np.floor(source).astype(np.int64), n - 1)
    return first, np.minimum(first + 1, n - 1), source - first


def along(x: Tensor, axis: int, places: np.ndarray) -> Tensor:
    """The slices at these places along one dimension."""
    return x[(*(slice(None),) * axis, places)]


def mixed(x: Tensor, axis: int, first: np.ndarray, second: np.ndarray, share: np.ndarray) -> Tensor:
    """(1 - λ) x_first + λ x_second, along one dimension."""
    weight = Tensor(share.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - axis - 1)))
    return along(x, axis, first) * (1 - weight) + along(x, axis, second) * weight
