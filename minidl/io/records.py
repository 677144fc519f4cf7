"""What a file says of objects that are not read: kept as it is told, without making or running anything."""

from __future__ import annotations

from typing import Any, NamedTuple

from minidl.tensor import Tensor

NAMES = 1 << 17
"""So many tensors may have names: a small file can mean very many."""


class Named(NamedTuple):
    """Something that has only a name for us: a dtype, a device."""

    name: str


class Record:
    """An object of a class, or what a function would give, of which we know only what a file says.

    Attributes:
        name: of the class or function, "module.Name". args: what it would be called with.
        attributes: of the object, by name. items: what it would be given as a list, or in pairs as a dict.
    """

    def __init__(self, name: str, args: tuple[Any, ...] = ()) -> None:
        self.name, self.args = name, args
        self.attributes: dict[str, Any] = {}
        self.items: list[Any] = []

    def append(self, value: Any) -> None:
        self.items.append(value)

    def extend(self, values: Any) -> None:
        self.items.extend(values)

    def build(self, state: Any) -> None:
        """Attributes: in a dict, or in a pair of dicts where a class has slots; anything else is `state`."""
        parts = state if type(state) is tuple and len(state) == 2 else (state,)
        if not all(part is None or isinstance(part, dict) for part in parts):
            parts = ({"state": state},)
        for part in parts:
            self.attributes.update(part or {})

    def __repr__(self) -> str:
        return f"Record({self.name!r}, attributes: {', '.join(map(str, self.attributes)) or 'none'})"


class Unknown(NamedTuple):
    """A class or function by its name. Called, it records the call."""

    name: str

    def __call__(self, *args: Any) -> Record:
        return Record(self.name, args)


def tensors_of(value: Any) -> dict[str, Tensor]:
    """The Tensors in nested dicts and Records by their names, such as "lstm.weight_ih_l0": a state dict.

    Of a whole module of PyTorch's, or a TorchScript program, that `load_torch(path, records=True)` has told of, these
    are its parameters and buffers. Tensors in lists have no names.

    Raises:
        ValueError: there are very many.

    Example:
        >>> import minidl
        >>> from minidl.io import tensors_of
        >>> tensors_of({"epoch": 3, "model": {"fc": {"weight": minidl.ones(2)}}})
        {'model.fc.weight': tensor([1., 1.])}
    """
    return _tensors_of(value, {})


def _tensors_of(value: Any, known: dict[int, dict[str, Tensor]]) -> dict[str, Tensor]:
    if id(value) not in known:
        known[id(value)] = {}  # while we are inside of it: an object may contain itself
        names: dict[str, Tensor] = {}
        for name, each in _children(value):
            if isinstance(each, Tensor):
                names[name] = each
            elif isinstance(each, dict | Record):
                names |= {f"{name}.{rest}": tensor for rest, tensor in _tensors_of(each, known).items()}
            if len(names) > NAMES:
                raise ValueError(f"tensors_of: there are more than {NAMES} tensors")
        known[id(value)] = names
    return known[id(value)]


def _children(value: Any) -> list[tuple[str, Any]]:
    """Names and values directly in a dict or a Record; a module of PyTorch's keeps its own in three dicts."""
    if isinstance(value, dict):
        return [(str(key), each) for key, each in value.items()]
    if not isinstance(value, Record):
        return []
    kept = [value.attributes.get(part) for part in ("_parameters", "_buffers", "_modules")]
    if not all(isinstance(part, dict) for part in kept):
        return list(value.attributes.items())
    passing = value.attributes.get("_non_persistent_buffers_set")
    passing = passing if isinstance(passing, set) else set()
    return [(str(key), each) for part in kept for key, each in part.items() if key not in passing]
