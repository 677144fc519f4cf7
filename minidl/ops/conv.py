"""Convolution: every output value is the product of a window of the image with a filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minidl.axes import as_int
from minidl.dtypes import require_same_dtype
from minidl.function import Function
from minidl.kernels import conv as kernels
from minidl.kernels.frame import plane_sums
from minidl.ops.shapes import pad
from minidl.ops.table import Sample, operation, require_tensor, run
from minidl.ops.windows import Padding, Pair, numbers, output_size, same_padding
from minidl.primitives import Einsum, Windows
from minidl.tensor import Tensor, apply


def conv2d_definition(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Tensor:
    """Sliding windows and one contraction.

    y[n, k, p, q] = bias[k] + Σ_c Σ_r Σ_s weight[k, c, r, s] · x[n, c, p·stride + r·dilation, q·stride + s·dilation]
    """
    N, C, _, _ = x.shape
    K, _, R, S = weight.shape
    (top, bottom), (left, right) = padding
    x = pad(x, (left, right, top, bottom))
    windows = apply(Windows(size=(R, S), stride=stride, dilation=dilation), x)  # (N, C, P, Q, R, S)
    _, _, P, Q, _, _ = windows.shape
    windows = windows.reshape(N, groups, C // groups, P, Q, R, S)
    weight = weight.reshape(groups, K // groups, C // groups, R, S)
    y = apply(Einsum(terms=("ngcpqrs", "gkcrs"), result="ngkpq"), windows, weight).reshape(N, K, P, Q)
    return y if bias is None else y + bias.reshape(K, 1, 1)


class Conv2d(Function):
    """y = conv(x, w) + b, over images x (N, C, H, W) and filters w (K, C / groups, R, S).

    Written out for one group, y[n, k, p, q] = b[k] + Σ_crs w[k, c, r, s] · x[n, c, p·σ + r·δ, q·σ + s·δ].
    With g = ∂L/∂y, every product on the right hands its output's gradient to both factors:

        gx[n, c, p·σ + r·δ, q·σ + s·δ] += Σ_k w[k, c, r, s] · g[n, k, p, q]     for all p, q, r, s
        gw[k, c, r, s] = Σ_npq g[n, k, p, q] · x[n, c, p·σ + r·δ, q·σ + s·δ]
        gb[k]          = Σ_npq g[n, k, p, q]

    Forward gathered windows of the image, so the gradient of the image scatters into the same windows; a filter was
    used at every place of every image, so its gradient sums over them.
    """

    definition = staticmethod(conv2d_definition)

    def forward(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        return kernels.conv2d_forward(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def backward(self, g: np.ndarray) -> tuple[np.ndarray | None, ...]:
        x, weight, bias = self.inputs
        geometry = self.stride, self.padding, self.dilation, self.groups
        gx = kernels.conv2d_input_gradient(g, weight, x.shape, *geometry) if self.needs[0] else None
        gw = kernels.conv2d_weight_gradient(g, x, weight.shape, *geometry) if self.needs[1] else None
        gb = plane_sums(g) if self.needs[2] else None
        return gx, gw, gb


def conv2d_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Non-square images, filters and strides, every kind of padding, groups, no image at all."""

    def sample(x: tuple[int, ...], w: tuple[int, ...], bias: bool = True, **options: object) -> Sample:
        arrays = [rng.standard_normal(x), rng.standard_normal(w)]
        return Sample(*arrays, rng.standard_normal(w[0]) if bias else None, **options)

    yield sample((2, 3, 6, 5), (4, 3, 3, 2))
    yield sample((2, 3, 7, 6), (4, 3, 3, 3), stride=(2, 3), padding=(1, 2))
    yield sample((1, 2, 7, 9), (2, 2, 2, 3), bias=False, dilation=(2, 1), padding="same")
    yield sample((2, 4, 5, 5), (6, 2, 3, 3), groups=2, stride=2, padding=1)
    yield sample((2, 3, 4, 6), (6, 1, 3, 3), groups=3, padding="valid")
    yield sample((3, 4, 5), (2, 3, 1, 1), stride=2)
    yield sample((0, 3, 4, 5), (2, 3, 2, 2))


@operation(samples=conv2d_samples, passes=Conv2d)
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve images with filters: y[n, k, p, q] = bias[k] + Σ_crs weight[k, c, r, s] · x[n, c, p·σ + r·δ, q·σ + s·δ].

    As in all of deep learning this is a cross-correlation: the filter is not flipped (LeCun et al., 1989).

    Args:
        input: images (N, C, H, W), or one image (C, H, W).
        weight: filters (K, C / groups, R, S).
        bias: (K,), added to every place.
        stride: σ, how far the window moves, rows and columns.
        padding: zeros around the image, rows and columns; "valid" is none; "same" keeps the size (stride 1 only).
        dilation: δ, how far the filter's values lie apart.
        groups: the channels are cut into so many groups, each with filters of its own; groups = C is depthwise.

    Returns:
        (N, K, P, Q), P = ⌊(H + 2·padding - dilation·(R - 1) - 1) / stride⌋ + 1, likewise Q; (K, P, Q) for one image.

    Raises:
        TypeError: arguments that are no floating-point Tensors of one dtype.
        ValueError: shapes that do not go together, a kernel larger than the padded image, a stride of 0.

    >>> import minidl, minidl.nn.functional as F
    >>> image = minidl.arange(9, dtype=minidl.float32).reshape(1, 1, 3, 3)
    >>> F.conv2d(image, minidl.ones(1, 1, 2, 2))
    tensor([[[[ 8., 12.],
              [20., 24.]]]])
    """
    return convolution("conv2d", "HW", "RS", input, weight, bias, stride, padding, dilation, groups)


def convolution(
    name: str,
    image: str,
    window: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int | Sequence[int],
    padding: int | Sequence[int] | str,
    dilation: int | Sequence[int],
    groups: int,
) -> Tensor:
    """Check and run; errors call the lengths by these letters, "HW" and "RS".

    With one letter each, "T" and "S", the arguments are those of a sequence: an image of one row.
    """
    require_tensor(name, input=x, weight=weight, bias=bias)
    require_same_dtype(name, input=x, weight=weight, bias=bias)
    n = len(image)
    if x.ndim == 1 + n:
        options = stride, padding, dilation, groups
        return convolution(name, image, window, x.unsqueeze(0), weight, bias, *options).squeeze(0)
    if x.ndim != 2 + n or weight.ndim != 2 + n:
        sides = ", ".join(image)
        raise ValueError(
            f"{name}: input must be (N, C, {sides}) or (C, {sides}) and weight (K, C / groups, {', '.join(window)}), "
            f"but their shapes are {x.shape} and {weight.shape}"
        )
    groups = as_int(name, "groups", groups)
    C, (K, c), size = x.shape[1], weight.shape[:2], weight.shape[2:]
    named = f"(x: {lettered('NC' + image, x)}, weight: {lettered('KC' + window, weight)}, groups={groups})"
    if groups < 1 or K % groups or K == 0:
        raise ValueError(f"{name}: groups must be positive and divide the number of filters {named}")
    if c * groups != C:
        raise ValueError(f"{name}: weight expects {c * groups} input channels but x has {C} {named}")
    if bias is not None and bias.shape != (K,):
        raise ValueError(f"{name}: bias must have shape ({K},), not {bias.shape} {named}")
    if 0 in size:
        raise ValueError(f"{name}: the filters are empty {named}")
    stride, dilation = numbers(name, "stride", stride, 1, n), numbers(name, "dilation", dilation, 1, n)
    padding = conv_padding(name, padding, size, stride, dilation)
    output_size(name, x.shape[2:], size, stride, padding, dilation)
    one, none = (1,) * (2 - n), ((0, 0),) * (2 - n)
    node = Conv2d(stride=one + stride, padding=none + padding, dilation=one + dilation, groups=groups)
    return run(node, x, weight, bias) if n == 2 else run(node, x.unsqueeze(2), weight.unsqueeze(2), bias).squeeze(2)


def lettered(letters: str, x: Tensor) -> str:
    """A shape for messages: N=8 C=3 H=28 W=28."""
    return " ".join(f"{letter}={n}" for letter, n in zip(letters, x.shape, strict=True))


def conv_padding(
    name: str, padding: Any, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[Pair, ...]:
    """Zeros before and after, in each direction."""
    if not isinstance(padding, str):
        return tuple((n, n) for n in numbers(name, "padding", padding, 0, len(size)))
    if padding not in ("same", "valid"):
        raise ValueError(f"{name}: padding must be 'same', 'valid' or numbers, not {padding!r}")
    if padding == "valid":
        return ((0, 0),) * len(size)
    if set(stride) != {1}:
        raise ValueError(f"{name}: padding='same' needs stride 1, not {stride}")
    return same_padding(size, dilation)
