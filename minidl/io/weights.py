"""Named arrays in files: safetensors for weights, .npz for anything else.

Both formats hold nothing but values: loading runs no code, unlike a pickle.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.limits import file_length
from minidl.data.npz import read_npz
from minidl.dtypes import SUPPORTED
from minidl.factories import made
from minidl.io.atomic import write_atomically
from minidl.io.descriptions import from_bfloat16
from minidl.io.standins import Refused
from minidl.io.torch_file import load_torch
from minidl.tensor import Tensor

READ = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}
"""Dtypes of safetensors that come to be arrays; not all of these are Tensors."""
TORCH_ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".th", ".tar")


def save(tensors: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Write named Tensors or arrays, such as `model.state_dict()`, to a `.safetensors` or `.npz` file.

    Raises:
        ValueError: another ending. TypeError: something that is not numbers.

    Example:
        >>> import minidl, pathlib, tempfile
        >>> from minidl.io import load, save
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save({"w": minidl.tensor([1.0, 2.0])}, pathlib.Path(folder) / "w.npz")
        ...     load(pathlib.Path(folder) / "w.npz")
        {'w': tensor([1., 2.])}
    """
    _by_ending("save", path, save_safetensors, save_npz)(tensors, path)


def load(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read what `save` wrote: Tensors by name, as `model.load_state_dict` takes them.

    Of .pt, .pth, .bin, .ckpt, .th and .pth.tar files, PyTorch's, what `load_torch` gives, which reads such files of
    any name.

    Raises:
        FileNotFoundError: there is no such file. ValueError: another ending, a truncated or corrupt file.
    """
    if Path(path).suffix in TORCH_ENDINGS:
        return load_torch(path)
    return _by_ending("load", path, load_safetensors, load_npz)(path)


def save_safetensors(
    tensors: Mapping[str, Any], path: str | os.PathLike, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, as a whole or not at all; `metadata` are strings kept in its header.

    Raises:
        TypeError: a name, or metadata, that is no string; something that is not numbers.
        ImportError: the package `safetensors` is not installed.
        OSError: the file cannot be written.
    """
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"save_safetensors: metadata must be strings, got {key!r}: {value!r}")
    arrays = _arrays("save_safetensors", tensors)
    write_atomically(path, _safetensors("numpy").save(arrays, metadata=dict(metadata) if metadata else None))


def load_safetensors(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read the Tensors of a safetensors file, by name. Half precision, float16 and bfloat16, becomes float32.

    Raises:
        FileNotFoundError: there is no such file. ValueError: truncated, corrupt, or of a dtype that minidl lacks.
        ImportError: the package `safetensors` is not installed.
    """
    return read_safetensors(path)[0]


def read_safetensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The Tensors of a safetensors file and the metadata of its header. Raises as `load_safetensors`."""
    package = _safetensors()
    file_length(path)
    try:
        with package.safe_open(os.fspath(path), framework="numpy") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
            for name, kind in kinds.items():
                if kind not in READ:
                    raise Refused(f"{path}: {name}: dtype {kind} is not supported by minidl")
            brain = {name for name, kind in kinds.items() if kind == "BF16"}  # unknown to NumPy
            arrays = {name: None if name in brain else np.array(file.get_tensor(name)) for name in kinds}
        if brain:
            for name, found in package.deserialize(Path(path).read_bytes()):
                if name in brain:
                    arrays[name] = from_bfloat16(np.frombuffer(found["data"], "<u2")).reshape(found["shape"])
    except Refused:
        raise
    except (package.SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a safetensors file, or a truncated or corrupt one: {error}") from None
    return _tensors(path, arrays), metadata


def save_npz(tensors: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Write an .npz file, as a whole or not at all. Raises TypeError and OSError as `save_safetensors`."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:  # as np.savez does, which has no arrays of the name "file"
        for name, array in _arrays("save_npz", tensors).items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    write_atomically(path, content.getvalue())


def load_npz(path: str | os.PathLike, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """Read the arrays of numbers of an .npz file as Tensors, by name: all, or those of `names` that it has.

    Raises as `load`; never unpickles. What else the file holds, texts or pickled objects, is left out by `names`.
    """
    return _tensors(path, read_npz(path, names))


def _tensors(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Tensors on these arrays; half precision, which minidl does not compute in, becomes float32."""
    tensors = {}
    for name, array in arrays.items():
        if array.dtype == np.float16:
            array = array.astype(np.float32)
        if array.dtype not in SUPPORTED:
            raise ValueError(f"{path}: {name}: dtype {array.dtype} is not supported by minidl")
        tensors[name] = made(array)
    return tensors


def _arrays(operation: str, tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """C-contiguous arrays in native byte order: safetensors writes an array's memory as it lies."""
    arrays = {}
    for name, value in tensors.items():
        if not isinstance(name, str):
            raise TypeError(f"{operation}: names must be strings, got {name!r}")
        array = value._array if isinstance(value, Tensor) else np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{operation}: {name} must be an array of numbers, got dtype {array.dtype}")
        arrays[name] = np.array(array, array.dtype.newbyteorder("="), order="C", copy=None)
    return arrays


def _by_ending(operation: str, path: str | os.PathLike, safetensors: Any, npz: Any) -> Any:
    ending = Path(path).suffix
    if ending not in (".safetensors", ".npz"):
        hint = "; save as .safetensors, which PyTorch's users read too" if ending in TORCH_ENDINGS else ""
        if operation == "load":
            hint = "; load_torch reads PyTorch's files of any name"
        raise ValueError(f"{operation}: {path}: expected a name ending in .safetensors or .npz{hint}")
    return safetensors if ending == ".safetensors" else npz


def _safetensors(module: str | None = None) -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            "safetensors files need the package safetensors: pip install safetensors (or use .npz)"
        ) from None
    return safetensors if module is None else safetensors.numpy
