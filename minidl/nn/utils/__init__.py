"""What stands beside the layers: parameters as a whole, and sequences of different lengths (`rnn`)."""

from minidl.nn.utils import rnn
from minidl.nn.utils.parameters import (
    clip_grad_norm_,
    clip_grad_value_,
    parameters_to_vector,
    vector_to_parameters,
)

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "rnn", "vector_to_parameters"]
