"""Frames around sequences and images as layers: `F.pad` with a mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from minidl.axes import as_int
from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.tensor import Tensor


class Padding(Module):
    """What the layers here share: widths before and after, of the last dimension first; negative ones crop.

    Args:
        padding: one width for all sides, or (left, right), for images (left, right, top, bottom).

    Shapes:
        x (N, C, T) or (N, C, H, W) -> y, longer; also without N.

    Raises:
        TypeError: widths that are no ints. ValueError: another number of them; at the call, an x of another rank, or
            a frame for which it has no values.
    """

    directions: ClassVar[int]
    mode: ClassVar[str] = "constant"
    value: float | None = None

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        name, count = type(self).__name__, 2 * self.directions
        widths = tuple(padding) if isinstance(padding, Sequence) else (padding,) * count
        self.padding = tuple(as_int(name, "padding", n) for n in widths)
        if len(self.padding) != count:
            raise ValueError(f"{name}: padding must be an int or {count} of them, not {padding!r}")

    def forward(self, input: Tensor) -> Tensor:
        """x (N, C, ...) -> y (N, C, ...)."""
        if self.mode != "constant" and input.ndim not in (self.directions + 1, self.directions + 2):
            sides = "T" if self.directions == 1 else "H, W"
            raise ValueError(f"{type(self).__name__}: x must be (N, C, {sides}) or (C, {sides}), not {input.shape}")
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad(Padding):
    """A frame of one value."""

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(ConstantPad):
    """A frame of one value around sequences. Arguments and errors as `Padding`, and the value."""

    directions = 1


class ConstantPad2d(ConstantPad):
    """A frame of one value around images. Arguments and errors as `Padding`, and the value.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.ConstantPad2d((1, 0, 0, 1), 7.0)(minidl.ones(1, 1, 1))
    tensor([[[7., 1.],
             [7., 7.]]])
    """

    directions = 2


class ZeroPad1d(Padding):
    """Zeros around sequences. Arguments and errors as `Padding`."""

    directions = 1


class ZeroPad2d(Padding):
    """Zeros around images. Arguments and errors as `Padding`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.ZeroPad2d(2)(minidl.ones(3, 4, 5)).shape
    (3, 8, 9)
    """

    directions = 2


class ReflectionPad1d(Padding):
    """A frame that mirrors sequences at their ends, which are not repeated. Arguments and errors as `Padding`."""

    directions, mode = 1, "reflect"


class ReflectionPad2d(Padding):
    """A frame that mirrors images at their edges, which are not repeated. Arguments and errors as `Padding`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.ReflectionPad2d((2, 0, 0, 0))(minidl.tensor([[[1.0, 2.0, 3.0]]]))
    tensor([[[3., 2., 1., 2., 3.]]])
    """

    directions, mode = 2, "reflect"


class ReplicationPad1d(Padding):
    """A frame that repeats the ends of sequences. Arguments and errors as `Padding`."""

    directions, mode = 1, "replicate"


class ReplicationPad2d(Padding):
    """A frame that repeats the edges of images. Arguments and errors as `Padding`."""

    directions, mode = 2, "replicate"


class CircularPad1d(Padding):
    """A frame that goes on at the other end of sequences. Arguments and errors as `Padding`."""

    directions, mode = 1, "circular"


class CircularPad2d(Padding):
    """A frame that goes on at the other side of images. Arguments and errors as `Padding`."""

    directions, mode = 2, "circular"
