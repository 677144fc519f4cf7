"""minidl: deep learning from scratch, to be read and to be run."""

__version__ = "0.1.0"

from minidl import autograd
from minidl.dtypes import bool_ as bool
from minidl.dtypes import float32, float64, int8, int16, int32, int64, uint8
from minidl.factories import (
    arange,
    as_tensor,
    bernoulli,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    linspace,
    normal,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    tensor,
    zeros,
    zeros_like,
)
from minidl.mode import definitions, enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from minidl.random import Generator, default_generator, manual_seed
from minidl.tensor import Tensor
