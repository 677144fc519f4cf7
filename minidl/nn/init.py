"""Initial values for parameters, written in place: `nn.init.kaiming_normal_(layer.weight)`.

Each function draws from `generator`, or from the default generator, overwrites its Tensor outside of any graph and
returns it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.dtypes import require_float
from minidl.mode import mode
from minidl.random import Generator, stream
from minidl.tensor import Tensor


def write(name: str, tensor: Tensor, values: Any) -> Tensor:
    """Overwrite a Tensor's memory with values that broadcast to its shape."""
    check(name, tensor)
    tensor._array[...] = values
    tensor._touch()
    return tensor


def check(name: str, tensor: Tensor) -> None:
    """TypeError unless it is a floating-point Tensor."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a Tensor, got a {type(tensor).__name__}")
    require_float(name, tensor=tensor)


def check_matrix(name: str, tensor: Tensor) -> None:
    """ValueError for fewer than two dimensions."""
    check(name, tensor)
    if tensor.ndim < 2:
        raise ValueError(f"{name}: expected a Tensor of at least two dimensions, got shape {tensor.shape}")


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value everywhere.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.init.constant_(minidl.empty(2), 0.5)
    tensor([0.5, 0.5])
    """
    return write("constant_", tensor, val)


def zeros_(tensor: Tensor) -> Tensor:
    """0 everywhere."""
    return write("zeros_", tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """1 everywhere."""
    return write("ones_", tensor, 1)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix: a linear layer that passes on what it gets. ValueError unless it has two dimensions."""
    check("eye_", tensor)
    if tensor.ndim != 2:
        raise ValueError(f"eye_: expected a matrix, got shape {tensor.shape}")
    return write("eye_", tensor, np.eye(*tensor.shape, dtype=tensor.dtype))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """1 at the centre of kernel i for channel i, else 0: a convolution that passes on what it gets.

    Raises:
        ValueError: not three to five dimensions, or groups that do not divide the output channels.
    """
    check("dirac_", tensor)
    if not 3 <= tensor.ndim <= 5:
        raise ValueError(f"dirac_: expected a kernel of three to five dimensions, got shape {tensor.shape}")
    if groups < 1 or tensor.shape[0] % groups:
        raise ValueError(f"dirac_: groups={groups} does not divide the {tensor.shape[0]} output channels")
    values = np.zeros(tensor.shape, tensor.dtype)
    centre = tuple(n // 2 for n in tensor.shape[2:])
    outputs = tensor.shape[0] // groups
    for channel in range(min(outputs, tensor.shape[1])):
        values[(slice(channel, None, outputs), channel, *centre)] = 1
    return write("dirac_", tensor, values)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in [a, b). ValueError if a > b."""
    check("uniform_", tensor)
    if not a <= b:
        raise ValueError(f"uniform_: expected a <= b, got a={a}, b={b}")
    if not mode.drawing:
        return write("uniform_", tensor, 0)
    return write("uniform_", tensor, a + (b - a) * stream(generator).random(tensor.shape, tensor.dtype))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal, N(mean, std²). ValueError if std is negative."""
    check("normal_", tensor)
    if not std >= 0:
        raise ValueError(f"normal_: std must not be negative, but is {std}")
    if not mode.drawing:
        return write("normal_", tensor, 0)
    return write("normal_", tensor, mean + std * stream(generator).standard_normal(tensor.shape, tensor.dtype))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, N(mean, std²), but only values in [a, b]: those outside are drawn again.

    A narrow interval is drawn from uniformly, each value accepted with a probability of the normal density there over
    the highest one in the interval (C. Robert, "Simulation of truncated normal variables", 1995).

    Raises:
        ValueError: std is not positive, a >= b, or the interval lies more than 2 std from the mean.
    """
    check("trunc_normal_", tensor)
    if not (std > 0 and a < b):
        raise ValueError(f"trunc_normal_: expected std > 0 and a < b, got std={std}, a={a}, b={b}")
    low, high = (a - mean) / std, (b - mean) / std
    peak = min(max(0.0, low), high)  # where in the interval the density is highest
    if abs(peak) > 2:
        raise ValueError(f"trunc_normal_: [{a}, {b}] is more than 2 std={std} from mean={mean}")
    rng = stream(generator)
    values = np.empty(math.prod(tensor.shape))
    missing = np.arange(values.size)
    while missing.size:
        if high - low > 1:
            drawn = rng.standard_normal(missing.size)
            accepted = (low <= drawn) & (drawn <= high)
        else:
            drawn = rng.uniform(low, high, missing.size)
            accepted = rng.random(missing.size) <= np.exp((peak**2 - drawn**2) / 2)
        values[missing[accepted]] = drawn[accepted]
        missing = missing[~accepted]
    return write("trunc_normal_", tensor, np.clip(mean + std * values, a, b).reshape(tensor.shape))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much weights are enlarged to make up for what a nonlinearity takes from the variance.

    linear, convolutions, sigmoid: 1; tanh: 5/3; relu: √2; leaky_relu: √(2 / (1 + slope²)), slope = param or 0.01;
    selu: 3/4.

    >>> from minidl import nn
    >>> round(nn.init.calculate_gain("relu"), 4)
    1.4142

    Raises:
        ValueError: another name.
    """
    if nonlinearity in ("linear", "sigmoid") or nonlinearity in CONVOLUTIONS:
        return 1.0
    if nonlinearity == "tanh":
        return 5 / 3
    if nonlinearity == "relu":
        return math.sqrt(2)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, int | float | np.number):
            raise ValueError(f"calculate_gain: the slope of leaky_relu must be a number, not {slope!r}")
        return math.sqrt(2 / (1 + float(slope) ** 2))
    if nonlinearity == "selu":
        return 3 / 4
    raise ValueError(f"calculate_gain: unknown nonlinearity {nonlinearity!r}")


CONVOLUTIONS = {f"conv{transposed}{n}d" for n in (1, 2, 3) for transposed in ("", "_transpose")}


def fans(name: str, tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out): how many inputs an output of the layer sees, and how many outputs an input is seen by.

    Of a linear weight (K, C) that is (C, K), of a convolution's (K, C, R, S) it is (C·R·S, K·R·S).
    """
    check_matrix(name, tensor)
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def xavier_std(name: str, tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2 / max(sum(fans(name, tensor)), 1))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in ±a, a = gain · √(6 / (fan_in + fan_out)).

    X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    ValueError for fewer than two dimensions.
    """
    bound = math.sqrt(3) * xavier_std("xavier_uniform_", tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with std = gain · √(2 / (fan_in + fan_out)). Source and errors as `xavier_uniform_`."""
    return normal_(tensor, 0.0, xavier_std("xavier_normal_", tensor, gain), generator)


def kaiming_std(name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{name}: mode must be 'fan_in' or 'fan_out', not {mode!r}")
    fan = fans(name, tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform in ±b, b = gain · √(3 / fan): the variance of activations stays the same from layer to layer.

    K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", 2015.

    Args:
        tensor: the weight.
        a: negative slope of the leaky ReLU that follows; 0 is ReLU.
        mode: "fan_in" keeps the variance forward, "fan_out" backward.
        nonlinearity: what follows, see `calculate_gain`.
        generator: where the randomness comes from.

    Raises:
        ValueError: fewer than two dimensions, or an unknown mode or nonlinearity.
    """
    bound = math.sqrt(3) * kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with std = gain / √fan. Source, arguments and errors as `kaiming_uniform_`."""
    return normal_(tensor, 0.0, kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """gain · Q with orthonormal rows or columns, whichever are fewer; dimensions after the first count as one.

    Q of the QR decomposition of a normal matrix, uniformly distributed once the signs of R's diagonal are taken out
    (A. Saxe, J. McClelland, S. Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks", 2013). ValueError for fewer than two dimensions.
    """
    check_matrix("orthogonal_", tensor)
    if 0 in tensor.shape:
        return tensor
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    normal = stream(generator).standard_normal((max(rows, columns), min(rows, columns)), tensor.dtype)
    q, r = np.linalg.qr(normal)
    q *= np.where(np.diag(r) < 0, -1, 1)
    return write("orthogonal_", tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def default_(weight: Tensor, bias: Tensor | None) -> None:
    """PyTorch's default for linear and convolution: weight and bias uniform in ±1/√fan_in.

    For the weight it is `kaiming_uniform_(weight, a=√5)`, whose √(2 / (1 + 5)) · √(3 / fan_in) is that bound.
    """
    kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = 1 / math.sqrt(max(fans("default_", weight)[0], 1))
        uniform_(bias, -bound, bound)
