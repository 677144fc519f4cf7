"""Activations as layers: each is one call of its function in `minidl.nn.functional`, which has the formulas' details.

None of them changes its input in place, so PyTorch's `inplace=` does not exist.
"""

from __future__ import annotations

from typing import Any

from minidl.dtypes import float32
from minidl.factories import full
from minidl.nn import functional as F
from minidl.nn.init import constant_
from minidl.nn.linear import at_least
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.tensor import Tensor


class ReLU(Module):
    """max(x, 0); the gradient at 0 is 0.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.ReLU()(minidl.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.relu(input)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope · x.

    A. Maas, A. Hannun, A. Ng, "Rectifier nonlinearities improve neural network acoustic models", 2013.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class PReLU(Module):
    """x where x > 0, else weight · x, with a learnt slope: one, or one for each channel (dimension 1).

    K. He et al., "Delving deep into rectifiers", 2015.

    Args:
        num_parameters: 1, or the number of channels.
        init: the slope to start from.
        dtype: of the slope; float32 by default.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: Any = None) -> None:
        super().__init__()
        (self.num_parameters,) = at_least("PReLU", 1, num_parameters=num_parameters)
        self.init = init
        self.weight = Parameter(full((self.num_parameters,), init, dtype=dtype or float32))

    def reset_parameters(self) -> None:
        """Go back to the slope to start from."""
        constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """x (N, C, ...) -> the same shape."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ReLU6(Module):
    """min(max(x, 0), 6)."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.relu6(input)


class ELU(Module):
    """x where x > 0, else alpha · (e^x - 1).

    D. Clevert, T. Unterthiner, S. Hochreiter, "Exponential linear units", 2016.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.elu(input, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class SELU(Module):
    """scale · (max(x, 0) + min(0, α · (e^x - 1))), which keeps mean 0 and variance 1 from layer to layer.

    G. Klambauer et al., "Self-normalizing neural networks", 2017.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.selu(input)


class CELU(Module):
    """max(x, 0) + min(0, alpha · (e^(x / alpha) - 1)). ValueError if alpha is 0.

    J. Barron, "Continuously differentiable exponential linear units", 2017.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        if alpha == 0:
            raise ValueError("CELU: alpha must not be 0")
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.celu(input, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class GELU(Module):
    """x · Φ(x), Φ the normal distribution function; approximate="tanh" approximates it. ValueError for other names.

    D. Hendrycks, K. Gimpel, "Gaussian error linear units", 2016.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: approximate must be 'none' or 'tanh', not {approximate!r}")
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x · sigmoid(x), also called swish.

    S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units", 2017.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.silu(input)


class Mish(Module):
    """x · tanh(softplus(x)).

    D. Misra, "Mish: a self regularized non-monotonic activation function", 2019.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.mish(input)


class Sigmoid(Module):
    """1 / (1 + e^-x)."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.sigmoid(input)


class LogSigmoid(Module):
    """log(1 / (1 + e^-x)), which does not overflow."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.logsigmoid(input)


class Hardsigmoid(Module):
    """min(max(x + 3, 0), 6) / 6: a sigmoid of three straight lines."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.hardsigmoid(input)


class Hardswish(Module):
    """x · min(max(x + 3, 0), 6) / 6.

    A. Howard et al., "Searching for MobileNetV3", 2019.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.hardswish(input)


class Tanh(Module):
    """(e^x - e^-x) / (e^x + e^-x)."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.tanh(input)


class Hardtanh(Module):
    """min(max(x, min_val), max_val). ValueError unless min_val < max_val."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__()
        if not min_val < max_val:
            raise ValueError(f"Hardtanh: min_val={min_val} must be below max_val={max_val}")
        self.min_val = min_val
        self.max_val = max_val

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.hardtanh(input, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class Softplus(Module):
    """log(1 + e^(beta · x)) / beta; x itself where beta · x > threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softsign(Module):
    """x / (1 + |x|)."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.softsign(input)


class Tanhshrink(Module):
    """x - tanh(x)."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.tanhshrink(input)


class Softshrink(Module):
    """x moved towards 0 by lambd, and 0 in between. ValueError for a negative lambd."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        if not lambd >= 0:
            raise ValueError(f"Softshrink: lambd must not be negative, but is {lambd}")
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Hardshrink(Module):
    """x where |x| > lambd, else 0."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Threshold(Module):
    """x where x > threshold, else value."""

    def __init__(self, threshold: float, value: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.threshold(input, self.threshold, self.value)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}"


class GLU(Module):
    """a · sigmoid(b), a and b the halves of x along dim.

    Y. Dauphin et al., "Language modeling with gated convolutional networks", 2017.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """x with 2·n values along dim -> n values."""
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
