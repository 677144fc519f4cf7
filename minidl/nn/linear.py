"""Linear, and the modules that only change a shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl.axes import as_int
from minidl.factories import empty
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.tensor import Tensor


def at_least(layer: str, minimum: int, **sizes: Any) -> tuple[int, ...]:
    """The sizes as ints; TypeError or ValueError naming the layer and the argument if one is not, or is too small."""
    for argument, size in sizes.items():
        if as_int(layer, argument, size) < minimum:
            raise ValueError(f"{layer}: {argument} must be at least {minimum}, but is {size}")
    return tuple(as_int(layer, argument, size) for argument, size in sizes.items())


class Linear(Module):
    """y = x Wᵀ + b.

    >>> import minidl
    >>> from minidl import nn
    >>> layer = nn.Linear(3, 2)
    >>> layer(minidl.zeros(5, 3)).shape, layer.weight.shape, layer.bias.shape
    ((5, 2), (2, 3), (2,))

    Args:
        in_features: length of the last dimension of x.
        out_features: length of the last dimension of y.
        bias: whether there is a b.
        dtype: of the parameters; float32 by default.

    Shapes:
        x (..., in_features) -> y (..., out_features); weight (out_features, in_features), bias (out_features,).

    Initial values:
        weight and bias uniform in ±1/√in_features, as PyTorch has them.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, dtype: Any = None) -> None:
        super().__init__()
        sizes = at_least("Linear", 0, in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = sizes
        self.weight = Parameter(empty(self.out_features, self.in_features, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(self.out_features, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values anew."""
        init.default_(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """x (..., in_features) -> y (..., out_features)."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Identity(Module):
    """Gives back what it gets: a placeholder. Arguments are ignored.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Identity()(minidl.tensor([1.0]))
    tensor([1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        """The input."""
        return input


class Flatten(Module):
    """The dimensions from `start_dim` to `end_dim` become one.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Flatten()(minidl.zeros(2, 3, 4, 5)).shape
    (2, 60)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = as_int("Flatten", "start_dim", start_dim)
        self.end_dim = as_int("Flatten", "end_dim", end_dim)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C·H·W), by default."""
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """The dimension `dim` becomes several; one of their lengths may be -1.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Unflatten(1, (3, -1))(minidl.zeros(2, 12)).shape
    (2, 3, 4)

    Raises:
        ValueError: more than one -1; at the call, lengths that do not fill the dimension.
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(unflattened_size, Sequence) or isinstance(unflattened_size, str):
            raise TypeError(f"Unflatten: unflattened_size must be a tuple of ints, not {unflattened_size!r}")
        self.dim = as_int("Unflatten", "dim", dim)
        self.unflattened_size = tuple(as_int("Unflatten", "unflattened_size", n) for n in unflattened_size)
        if self.unflattened_size.count(-1) > 1 or min(self.unflattened_size, default=0) < -1:
            raise ValueError(f"Unflatten: {self.unflattened_size} is not a shape with at most one -1")

    def forward(self, input: Tensor) -> Tensor:
        """(N, L) -> (N, *unflattened_size), for dim 1."""
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
