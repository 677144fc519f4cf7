"""Reading and writing files: weights and other named arrays."""

from minidl.io.atomic import write_atomically
from minidl.io.records import Record, tensors_of
from minidl.io.torch_file import load_pickle, load_torch
from minidl.io.weights import (
    load,
    load_npz,
    load_safetensors,
    read_safetensors,
    save,
    save_npz,
    save_safetensors,
)

__all__ = [
    "Record",
    "load",
    "load_npz",
    "load_pickle",
    "load_safetensors",
    "load_torch",
    "read_safetensors",
    "save",
    "save_npz",
    "save_safetensors",
    "tensors_of",
    "write_atomically",
]
