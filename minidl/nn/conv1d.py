"""Convolution of sequences as a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl.factories import empty
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.conv import PADDING_MODES
from minidl.nn.linear import at_least
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.ops.windows import same_padding, single
from minidl.tensor import Tensor


class Conv1d(Module):
    """A learnt window slides over sequences: y[n, k] = b[k] + Σ_c w[k, c] ⋆ x[n, c].

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Conv1d(40, 64, 5, stride=2, padding=2)(minidl.zeros(3, 40, 100)).shape
    (3, 64, 50)

    Arguments, initial values and errors as those of `Conv2d`, but that each size is one number.

    Shapes:
        x (N, C, T) -> y (N, K, P), P = ⌊(T + 2·padding - dilation·(S - 1) - 1) / stride⌋ + 1;
        weight (K, C / groups, S), bias (K,). Also without N.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.groups = at_least(
            "Conv1d", 1, in_channels=in_channels, out_channels=out_channels, groups=groups
        )
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"Conv1d: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}"
            )
        self.kernel_size = (single("Conv1d", "kernel_size", kernel_size, 1),)
        self.stride = (single("Conv1d", "stride", stride, 1),)
        self.dilation = (single("Conv1d", "dilation", dilation, 1),)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Conv1d: padding must be 'same', 'valid' or an int, not {padding!r}")
            if padding == "same" and self.stride != (1,):
                raise ValueError(f"Conv1d: padding='same' needs stride 1, not {stride}")
            self.padding: str | tuple[int] = padding
        else:
            self.padding = (single("Conv1d", "padding", padding, 0),)
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"Conv1d: padding_mode must be one of {', '.join(PADDING_MODES)}, not {padding_mode!r}")
        self.padding_mode = padding_mode
        self.weight = Parameter(
            empty((self.out_channels, self.in_channels // self.groups, *self.kernel_size), dtype=dtype)
        )
        self.register_parameter("bias", Parameter(empty(self.out_channels, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values anew."""
        init.default_(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """x (N, C, T) -> y (N, K, P)."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._ends(), mode=self.padding_mode)
            padding = 0
        return F.conv1d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _ends(self) -> tuple[int, int]:
        """How much is added before and after."""
        if self.padding == "same":
            return same_padding((1, *self.kernel_size), (1, *self.dilation))[1]
        return (0, 0) if self.padding == "valid" else self.padding * 2

    def extra_repr(self) -> str:
        """The options; those that have their default are left out, as PyTorch does."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        options = {"padding": (0,), "dilation": (1,), "groups": 1}
        text += "".join(
            f", {name}={getattr(self, name)}" for name, usual in options.items() if getattr(self, name) != usual
        )
        if self.bias is None:
            text += ", bias=False"
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode}"
