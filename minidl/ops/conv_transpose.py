"""Transposed convolution: every value of a small image puts a filter into a larger one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from minidl.axes import as_int
from minidl.dtypes import require_same_dtype
from minidl.function import Function
from minidl.kernels import conv as kernels
from minidl.ops.conv import conv2d_definition, lettered
from minidl.ops.shapes import pad
from minidl.ops.table import Sample, operation, require_tensor, run
from minidl.ops.windows import MOST_PLACES, Padding, Pair, numbers
from minidl.tensor import Tensor


def conv_transpose2d_definition(
    x: Tensor, weight: Tensor, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Tensor:
    """The image with stride - 1 zeros behind each value, convolved with the filters turned by half a circle."""
    (N, C, H, W), (_, k, R, S) = x.shape, weight.shape
    rows, columns = stride
    apart = pad(x.reshape(N, C, H, 1, W, 1), (0, columns - 1, 0, 0, 0, rows - 1)).reshape(N, C, H * rows, W * columns)
    frame = []
    for s, (before, after), d, n in zip(stride, padding, dilation, (R, S), strict=True):
        frame.append((d * (n - 1) - before, d * (n - 1) - after - (s - 1)))
    turned = weight.flip((2, 3)).reshape(groups, C // groups, k, R, S).transpose(1, 2)
    filters = turned.reshape(groups * k, C // groups, R, S)
    return conv2d_definition(pad(apart, frame[1] + frame[0]), filters, None, (1, 1), ((0, 0), (0, 0)), dilation, groups)


class ConvTranspose2d(Function):
    """y = the gradient that a convolution with w sends to its image, if x is the gradient of its output.

    Written out for one group, y[n, k, p·σ + r·δ, q·σ + s·δ] += Σ_c w[c, k, r, s] · x[n, c, p, q] for all p, q, r, s;
    compare gx of `Conv2d`. Every product hands its output's gradient g to both factors:

        gx[n, c, p, q] = Σ_krs w[c, k, r, s] · g[n, k, p·σ + r·δ, q·σ + s·δ]     the convolution of g with w
        gw[c, k, r, s] = Σ_npq x[n, c, p, q] · g[n, k, p·σ + r·δ, q·σ + s·δ]     its gw, x and g in each other's place
    """

    definition = staticmethod(conv_transpose2d_definition)

    def forward(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        (N, _, *image), (_, k, *window) = x.shape, weight.shape
        sides = zip(image, window, self.stride, self.padding, self.dilation, strict=True)
        output = [(n - 1) * s + d * (r - 1) + 1 - sum(ends) for n, r, s, ends, d in sides]
        return kernels.conv2d_input_gradient(x, weight, (N, k * self.groups, *output), *self.geometry())

    def backward(self, g: np.ndarray) -> tuple[np.ndarray | None, ...]:
        x, weight = self.inputs
        gx = kernels.conv2d_forward(g, weight, None, *self.geometry()) if self.needs[0] else None
        gw = kernels.conv2d_weight_gradient(x, g, weight.shape, *self.geometry()) if self.needs[1] else None
        return gx, gw

    def geometry(self) -> tuple[Pair, Padding, Pair, int]:
        """Of the convolution whose gradient this is."""
        return self.stride, self.padding, self.dilation, self.groups


def transposed(
    name: str,
    image: str,
    window: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    output_padding: int | Sequence[int],
    groups: int,
    dilation: int | Sequence[int],
) -> Tensor:
    """Check, run, and add what needs no kernel: rows that no filter reaches, and the bias. Letters as `convolution`."""
    require_tensor(name, input=x, weight=weight, bias=bias)
    require_same_dtype(name, input=x, weight=weight, bias=bias)
    n = len(image)
    if x.ndim == 1 + n:
        options = stride, padding, output_padding, groups, dilation
        return transposed(name, image, window, x.unsqueeze(0), weight, bias, *options).squeeze(0)
    if x.ndim != 2 + n or weight.ndim != 2 + n:
        sides = ", ".join(image)
        raise ValueError(
            f"{name}: input must be (N, C, {sides}) or (C, {sides}) and weight (C, K / groups, {', '.join(window)}), "
            f"but their shapes are {x.shape} and {weight.shape}"
        )
    groups = as_int(name, "groups", groups)
    (C, k), size = weight.shape[:2], weight.shape[2:]
    named = f"(x: {lettered('NC' + image, x)}, weight: {lettered('CK' + window, weight)}, groups={groups})"
    if groups < 1 or C % groups:
        raise ValueError(f"{name}: groups must be positive and divide the number of channels {named}")
    if x.shape[1] != C:
        raise ValueError(f"{name}: weight expects {C} input channels but x has {x.shape[1]} {named}")
    if bias is not None and bias.shape != (k * groups,):
        raise ValueError(f"{name}: bias must have shape ({k * groups},), not {bias.shape} {named}")
    if 0 in weight.shape or 0 in x.shape[2:]:
        raise ValueError(f"{name}: neither the filters nor an image may be empty {named}")
    stride, dilation = numbers(name, "stride", stride, 1, n), numbers(name, "dilation", dilation, 1, n)
    padding, more = numbers(name, "padding", padding, 0, n), numbers(name, "output_padding", output_padding, 0, n)
    if any(m >= max(s, d) for m, s, d in zip(more, stride, dilation, strict=True)):
        raise ValueError(f"{name}: output_padding {more} must be below the stride {stride} or the dilation {dilation}")
    output = [
        (length - 1) * s - 2 * p + d * (r - 1) + m + 1
        for length, r, s, p, m, d in zip(x.shape[2:], size, stride, padding, more, dilation, strict=True)
    ]
    if min(output) < 1 or np.prod(output, dtype=float) > MOST_PLACES:
        raise ValueError(f"{name}: an output of {' x '.join(map(str, output))} places {named} (padding {padding})")
    ends = tuple((p, max(p - m, 0)) for p, m in zip(padding, more, strict=True))
    beyond = [max(m - p, 0) for p, m in zip(padding, more, strict=True)]
    one, none = (1,) * (2 - n), ((0, 0),) * (2 - n)
    node = ConvTranspose2d(stride=one + stride, padding=none + ends, dilation=one + dilation, groups=groups)
    y = run(node, x, weight) if n == 2 else run(node, x.unsqueeze(2), weight.unsqueeze(2)).squeeze(2)
    y = pad(y, [m for after in reversed(beyond) for m in (0, after)]) if any(beyond) else y
    return y if bias is None else y + bias.reshape(-1, *(1,) * n)


def conv_transpose2d_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Non-square images, filters and strides, padding on either side of the output's, groups, no image at all."""

    def sample(x: tuple[int, ...], w: tuple[int, ...], bias: int = 0, **options: object) -> Sample:
        arrays = [rng.standard_normal(x), rng.standard_normal(w)]
        return Sample(*arrays, rng.standard_normal(bias) if bias else None, **options)

    yield sample((2, 3, 4, 3), (3, 4, 3, 2), 4)
    yield sample((2, 3, 3, 4), (3, 2, 3, 3), stride=(2, 3), padding=(1, 2), output_padding=(1, 2))
    yield sample((1, 2, 3, 4), (2, 2, 2, 3), 2, stride=2, dilation=(2, 1), output_padding=1)
    yield sample((2, 4, 3, 3), (4, 3, 3, 3), 6, groups=2, stride=2, padding=1)
    yield sample((3, 4, 3), (3, 2, 2, 2), stride=3)
    yield sample((0, 3, 4, 5), (3, 2, 2, 2), 2)


@operation(samples=conv_transpose2d_samples, passes=ConvTranspose2d)
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Every value of an image puts a filter into a larger one; where filters overlap they add up.

    y[n, k, p·σ + r·δ, q·σ + s·δ] = bias[k] + Σ weight[c, k, r, s] · x[n, c, p, q], over all c, p, q, r, s that lead
    there; then `padding` is cut off each side. It is what a convolution with these filters does to gradients, so its
    shapes are those of a convolution backwards: decoders and generators grow images by it (M. Zeiler et al.,
    "Deconvolutional networks", 2010).

    Args:
        input: images (N, C, H, W), or one image (C, H, W).
        weight: filters (C, K / groups, R, S): the other way around than those of `conv2d`.
        bias: (K,), added to every place.
        stride: σ, how far apart neighbours put their filters. dilation: δ, how far the filter's values lie apart.
        padding: rows and columns cut off each side.
        output_padding: that many rows and columns fewer are cut off at the end, where a stride leaves the size open.
        groups: the channels are cut into so many groups, each with filters of its own.

    Returns:
        (N, K, P, Q), P = (H - 1)·stride - 2·padding + dilation·(R - 1) + output_padding + 1, likewise Q.

    Raises:
        TypeError: arguments that are no floating-point Tensors of one dtype.
        ValueError: shapes that do not go together, more padding than there is, an output_padding of a stride or more.

    >>> import minidl, minidl.nn.functional as F
    >>> F.conv_transpose2d(minidl.tensor([[[1.0, 2.0]]]), minidl.ones(1, 1, 1, 2), stride=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    options = stride, padding, output_padding, groups, dilation
    return transposed("conv_transpose2d", "HW", "RS", input, weight, bias, *options)


def conv_transpose1d_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Padding on either side of the output's, groups, gaps."""
    normal = rng.standard_normal
    yield Sample(normal((2, 3, 4)), normal((3, 4, 3)), normal(4), stride=2, padding=1, output_padding=1)
    yield Sample(normal((4, 5)), normal((4, 3, 2)), normal(6), groups=2, dilation=3, output_padding=(2,))


@operation(samples=conv_transpose1d_samples)
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """`conv_transpose2d` of sequences, as images of one row: the same arguments, each size one number.

    Shapes:
        input (N, C, T), or (C, T); weight (C, K / groups, S); bias (K,) -> (N, K, P).

    >>> import minidl, minidl.nn.functional as F
    >>> F.conv_transpose1d(minidl.tensor([[1.0, 2.0]]), minidl.ones(1, 1, 3))
    tensor([[1., 3., 3., 2.]])
    """
    options = stride, padding, output_padding, groups, dilation
    return transposed("conv_transpose1d", "T", "S", input, weight, bias, *options)
