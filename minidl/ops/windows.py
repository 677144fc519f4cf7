"""What convolution and pooling share: pairs of sizes, padding, and the size of the output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minidl.axes import as_int
from minidl.tensor import Tensor

MOST_PLACES = 2**40  # of an output; more than any memory holds

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]  # (top, bottom), (left, right)


def numbers(name: str, argument: str, value: Any, minimum: int, count: int) -> tuple[int, ...]:
    """So many ints, from an int, which stands for each, or from a sequence; ValueError below the minimum."""
    values = tuple(value) if isinstance(value, Sequence | Tensor) and not isinstance(value, str) else (value,)
    values = tuple(as_int(name, argument, n) for n in values)
    if len(values) == 1:
        values *= count
    if len(values) != count:
        several = "a pair of ints" if count == 2 else "a sequence of one"
        raise ValueError(f"{name}: {argument} must be an int or {several}, not {value!r}")
    if min(values) < minimum:
        raise ValueError(f"{name}: {argument} must be at least {minimum}, but is {value}")
    return values


def pair(name: str, argument: str, value: Any, minimum: int) -> Pair:
    """(rows, columns) from an int or a sequence of one or two; ValueError below the minimum."""
    rows, columns = numbers(name, argument, value, minimum, 2)
    return rows, columns


def same_padding(size: Sequence[int], dilation: Sequence[int]) -> tuple[Pair, ...]:
    """Padding that keeps the image's size at stride 1; where it is odd, the larger half goes behind, as in PyTorch."""
    totals = [d * (n - 1) for n, d in zip(size, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def output_size(
    name: str,
    image: Sequence[int],
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Pair],
    dilation: Sequence[int],
    ceil_mode: bool = False,
) -> tuple[int, ...]:
    """How many windows fit: ⌊(H + padding - dilation·(R - 1) - 1) / stride⌋ + 1, in each direction.

    With `ceil_mode` the division rounds up, but a window must start inside the image or its leading padding.

    Raises:
        ValueError: the kernel is larger than the padded image.
    """
    counts = []
    for n, r, s, (before, after), d in zip(image, size, stride, padding, dilation, strict=True):
        free = n + before + after - d * (r - 1) - 1
        count = (math.ceil(free / s) if ceil_mode else free // s) + 1
        if ceil_mode and (count - 1) * s >= n + before:
            count -= 1
        if free < 0 and count < 1:
            raise ValueError(
                f"{name}: the kernel {size} with dilation {dilation} is larger than the padded image "
                f"(image {image}, padding {padding})"
            )
        counts.append(count)
    if math.prod(counts) > MOST_PLACES:
        places = " x ".join(map(str, counts))
        raise ValueError(f"{name}: an output of {places} places is too large (padding {padding})")
    return tuple(counts)
