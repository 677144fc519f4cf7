"""Another size as a layer."""

from __future__ import annotations

from collections.abc import Sequence

from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.ops.interpolate import MODES
from minidl.tensor import Tensor


class Upsample(Module):
    """Images or sequences at another size, by the nearest value or a mixture of neighbours: `F.interpolate`.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Upsample(scale_factor=2)(minidl.tensor([[[1.0, 3.0]]]))
    tensor([[[1., 1., 3., 3.]]])

    Args:
        size: the new lengths, or one number for all.
        scale_factor: instead of it, what the lengths are multiplied by.
        mode: "nearest", "nearest-exact", "area", "linear" for sequences, "bilinear" for images.
        align_corners: for the linear modes, let the corners' centres stay where they are.
        recompute_scale_factor: go by the rounded lengths instead of the factor.

    Shapes:
        x (N, C, H, W) -> y (N, C, P, Q), or x (N, C, T) -> y (N, C, P).

    Raises:
        ValueError: an unknown mode; at the call, what `F.interpolate` refuses.
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"Upsample: mode must be one of {', '.join(MODES)}, not {mode!r}")
        factors = scale_factor if isinstance(scale_factor, Sequence) else (scale_factor,)
        factors = tuple(None if factor is None else float(factor) for factor in factors)
        self.size, self.scale_factor = size, factors if isinstance(scale_factor, Sequence) else factors[0]
        self.mode, self.align_corners, self.recompute_scale_factor = mode, align_corners, recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """x (N, C, ...) -> y (N, C, ...)."""
        options = self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        return F.interpolate(input, *options)

    def extra_repr(self) -> str:
        wanted = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{wanted}, mode={self.mode!r}"
