"""Primitives that copy: into another dtype, into other memory."""

from __future__ import annotations

from typing import Any

from minidl.function import Primitive, call


class Cast(Primitive):
    """The same values in another floating dtype; the gradient is cast back."""

    def forward(self, a: Any) -> Any:
        self.source = a.dtype
        return a.astype(self.dtype)

    def backward(self, g: Any) -> Any:
        return call(Cast, g, dtype=self.source)


class Clone(Primitive):
    """The same values in memory of its own."""

    def forward(self, a: Any) -> Any:
        return a.copy()

    def backward(self, g: Any) -> Any:
        return g
