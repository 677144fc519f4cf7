"""Modules that hold other modules, or parameters: in a row, in a list, under names."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, TypeVar

from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.tensor import Tensor

Self = TypeVar("Self", bound="ModuleList")


def position(name: str, index: Any, length: int) -> int:
    """An index in 0 <= i < length; negative ones count from the end."""
    index = operator.index(index)
    if not -length <= index < length:
        raise IndexError(f"{name}: index {index} is out of range for {length} modules")
    return index % length


class ModuleList(Module):
    """A list of modules: indexing, slicing, append, extend, insert, del. It has no forward of its own.

    >>> from minidl import nn
    >>> layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    >>> len(layers), layers[-1]
    (3, Linear(in_features=4, out_features=4, bias=True))

    Raises:
        TypeError: an element that is not a Module. IndexError: out of range.
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def _name(self, index: Any) -> str:
        return list(self._modules)[position(type(self).__name__, index, len(self))]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self._modules[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._name(index), module)

    def __delitem__(self, index: int | slice) -> None:
        modules = list(self)
        del modules[index]
        self._renumber(modules)

    def _renumber(self, modules: list[Module]) -> None:
        """Hold these, under the names 0, 1, 2, ..."""
        self._modules.clear()
        for module in modules:
            self.append(module)

    def append(self: Self, module: Module) -> Self:
        """Add a module at the end; returns self."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: expected a Module, got a {type(module).__name__}")
        number = len(self)
        while str(number) in self._modules:  # a slice of a Sequential keeps its names: 1, 2, 3
            number += 1
        self.add_module(str(number), module)
        return self

    def extend(self: Self, modules: Iterable[Module]) -> Self:
        """Add modules at the end; returns self."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Add a module before position `index`; all are numbered anew."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: expected a Module, got a {type(module).__name__}")
        modules = list(self)
        modules.insert(index, module)
        self._renumber(modules)

    def pop(self, index: int = -1) -> Module:
        """Take a module out and return it."""
        module = self[index]
        del self[index]
        return module

    def __add__(self: Self, other: Iterable[Module]) -> Self:
        return type(self)([*self, *other])

    def __iadd__(self: Self, other: Iterable[Module]) -> Self:
        return self.extend(other)

    def __repr__(self) -> str:
        """Neighbours that read alike are shown once: `(0-5): 6 x Linear(...)`."""
        runs = [(text, list(run)) for text, run in groupby(self._modules.items(), lambda item: repr(item[1]))]
        lines = []
        for text, run in runs:
            names = run[0][0] if len(run) == 1 else f"{run[0][0]}-{run[-1][0]}"
            count = "" if len(run) == 1 else f"{len(run)} x "
            lines.append(f"({names}): {count}{text}".replace("\n", "\n  "))
        name = type(self).__name__
        return f"{name}(\n  " + "\n  ".join(lines) + "\n)" if lines else f"{name}()"


class Sequential(ModuleList):
    """Modules in a row: each is given the output of the one before.

    Made from modules, which are named 0, 1, 2, ..., or from one dict with the names. A slice is a Sequential of the
    same modules under the same names.

    >>> import minidl
    >>> from minidl import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> model(minidl.zeros(5, 4)).shape
    (5, 2)
    >>> model[:2]
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
      (1): ReLU()
    )

    Raises:
        TypeError: an argument that is not a Module.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            self.extend(args)

    def forward(self, input: Any) -> Any:
        """The last module's output."""
        for module in self:
            input = module(input)
        return input

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(dict(list(self._modules.items())[index]))
        return super().__getitem__(index)

    def __add__(self, other: Iterable[Module]) -> Sequential:
        return type(self)(*self, *other)

    __repr__ = Module.__repr__


class ModuleDict(Module):
    """A dict of modules, in the order of insertion.

    >>> from minidl import nn
    >>> heads = nn.ModuleDict({"digit": nn.Linear(8, 10), "sign": nn.Linear(8, 1)})
    >>> list(heads), heads["sign"]
    (['digit', 'sign'], Linear(in_features=8, out_features=1, bias=True))

    Raises:
        TypeError: a value that is not a Module. KeyError: a key that is no name for a module, or is not there.
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def __getitem__(self, key: str) -> Module:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def keys(self) -> Any:
        """The names."""
        return self._modules.keys()

    def values(self) -> Any:
        """The modules."""
        return self._modules.values()

    def items(self) -> Any:
        """Pairs of name and module."""
        return self._modules.items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace modules."""
        for key, module in dict(modules).items():
            self[key] = module

    def pop(self, key: str) -> Module:
        """Take a module out and return it."""
        return self._modules.pop(key)

    def clear(self) -> None:
        """Take all out."""
        self._modules.clear()


class ParameterList(Module):
    """A list of parameters; Tensors become Parameters.

    >>> import minidl
    >>> from minidl import nn
    >>> weights = nn.ParameterList([minidl.ones(2), minidl.zeros(3)])
    >>> len(weights), [name for name, p in weights.named_parameters()]
    (2, ['0', '1'])

    Raises:
        TypeError: an element that is not a Tensor. IndexError: out of range.
    """

    def __init__(self, values: Iterable[Tensor] | None = None) -> None:
        super().__init__()
        self.extend(values or ())

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._parameters.values())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self._parameters[str(position("ParameterList", index, len(self)))]

    def __setitem__(self, index: int, value: Tensor) -> None:
        self._put_at(position("ParameterList", index, len(self)), value)

    def append(self, value: Tensor) -> ParameterList:
        """Add a parameter at the end; returns self."""
        self._put_at(len(self), value)
        return self

    def extend(self, values: Iterable[Tensor]) -> ParameterList:
        """Add parameters at the end; returns self."""
        for value in list(values):
            self.append(value)
        return self

    __iadd__ = extend

    def _put_at(self, index: int, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"ParameterList: expected a Tensor, got a {type(value).__name__}")
        self.register_parameter(str(index), value if isinstance(value, Parameter) else Parameter(value))

    def extra_repr(self) -> str:
        """One line a parameter: shape and dtype."""
        return "\n".join(f"({name}): Parameter{list(p.shape)} {p.dtype}" for name, p in self._parameters.items())
