"""Primitives that only move values: reshape, permute, expand, flip, pad, cat, windows.

Each is linear, so its backward is its transpose: what forward copied, backward sums; what forward cut off or made up,
backward fills with zeros or drops. None keeps any values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.function import Primitive, call
from minidl.primitives.elementwise import unbroadcast


class Reshape(Primitive):
    """The same values in row-major order, under another shape."""

    def forward(self, a: Any) -> Any:
        self.source = a.shape
        return a.reshape(self.shape)

    def backward(self, g: Any) -> Any:
        return g.reshape(self.source)


class Permute(Primitive):
    """Axes in another order: output axis i is input axis axes[i]; backward puts them back."""

    def forward(self, a: Any) -> Any:
        return a.transpose(self.axes)

    def backward(self, g: Any) -> Any:
        inverse = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return call(Permute, g, axes=tuple(inverse))


class Expand(Primitive):
    """Repeats axes of length 1 without copying; backward sums the copies."""

    def forward(self, a: Any) -> Any:
        self.source = a.shape
        return np.broadcast_to(a, self.shape)

    def backward(self, g: Any) -> Any:
        return unbroadcast(g, self.source)


class Flip(Primitive):
    """Reverses axes; twice is once and for all the same."""

    def forward(self, a: Any) -> Any:
        return np.flip(a, self.axes)

    def backward(self, g: Any) -> Any:
        return call(Flip, g, axes=self.axes)


class Roll(Primitive):
    """Moves values along axes, those that leave come in again at the other end; backward moves them back."""

    def forward(self, a: Any) -> Any:
        return np.roll(a, self.shifts, self.axes)

    def backward(self, g: Any) -> Any:
        return call(Roll, g, shifts=tuple(-n for n in self.shifts), axes=self.axes)


class Pad(Primitive):
    """Puts `value` around the array: `widths` has (before, after) for each axis; backward cuts the frame off."""

    def forward(self, a: Any) -> Any:
        return np.pad(a, self.widths, constant_values=self.value)

    def backward(self, g: Any) -> Any:
        inner = tuple(slice(before, n - after) for (before, after), n in zip(self.widths, g.shape, strict=True))
        return g[inner]


class Cat(Primitive):
    """Joins arrays along an axis; backward cuts the gradient at the seams."""

    def forward(self, *arrays: Any) -> Any:
        self.lengths = [a.shape[self.axis] for a in arrays]
        return np.concatenate(arrays, self.axis)

    def backward(self, g: Any) -> Any:
        before = (slice(None),) * self.axis
        ends = np.cumsum(self.lengths).tolist()
        return tuple(
            g[(*before, slice(end - n, end))] if need else None
            for n, end, need in zip(self.lengths, ends, self.needs, strict=True)
        )


class Windows(Primitive):
    """Sliding windows over the last two axes: (..., H, W) -> (..., P, Q, R, S), a view of the input.

    Window (p, q) holds at (r, s) the value at row p·stride + r·dilation, column likewise. R×S is `size`.
    """

    def forward(self, a: Any) -> Any:
        self.source = a.shape
        (R, S), (sh, sw), (dh, dw) = self.size, self.stride, self.dilation
        P = (a.shape[-2] - dh * (R - 1) - 1) // sh + 1
        Q = (a.shape[-1] - dw * (S - 1) - 1) // sw + 1
        h, w = a.strides[-2:]
        return np.lib.stride_tricks.as_strided(
            a, (*a.shape[:-2], P, Q, R, S), (*a.strides[:-2], h * sh, w * sw, h * dh, w * dw), writeable=False
        )

    def backward(self, g: Any) -> Any:
        return call(Fold, g, shape=self.source, stride=self.stride, dilation=self.dilation)


class Fold(Primitive):
    """The transpose of `Windows`: adds every window back to where it was taken from."""

    def forward(self, windows: Any) -> Any:
        *_, P, Q, R, S = windows.shape
        (sh, sw), (dh, dw) = self.stride, self.dilation
        self.size = (R, S)
        a = np.zeros(self.shape, windows.dtype)
        for r in range(R):
            for s in range(S):
                rows = slice(r * dh, r * dh + (P - 1) * sh + 1, sh)
                columns = slice(s * dw, s * dw + (Q - 1) * sw + 1, sw)
                a[..., rows, columns] += windows[..., r, s]
        return a

    def backward(self, g: Any) -> Any:
        return call(Windows, g, size=self.size, stride=self.stride, dilation=self.dilation)
