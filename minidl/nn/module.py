"""Module: parameters, buffers and submodules under their names, and what can be done with all of them.

A module holds three dicts, in the order of assignment; everything else follows from walking them. `state_dict` keys are
the paths of attribute names that lead to a Tensor: `c1.weight`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from minidl.dtypes import as_dtype, float32, float64
from minidl.nn.hooks import Hooks, RemovableHandle, call_with_hooks
from minidl.nn.parameter import Parameter
from minidl.nn.state import IncompatibleKeys, load
from minidl.tensor import Tensor

Self = TypeVar("Self", bound="Module")

MEMBERS = ("_parameters", "_buffers", "_modules")


class Module:
    """Base class of all layers and models: `super().__init__()` first, then attributes, and a `forward`.

    A `Parameter` or a `Module` assigned to an attribute is registered under the attribute's name.

    >>> import minidl
    >>> from minidl import nn
    >>> class Affine(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.scale = nn.Parameter(minidl.ones(2))
    ...         self.shift = nn.Parameter(minidl.zeros(2))
    ...
    ...     def forward(self, x):
    ...         return x * self.scale + self.shift
    >>> model = Affine()
    >>> [name for name, parameter in model.named_parameters()]
    ['scale', 'shift']
    >>> model(minidl.tensor([1.0, 2.0])).detach()
    tensor([1., 2.])
    """

    training: bool

    def __init__(self) -> None:
        self.__dict__.update({members: {} for members in MEMBERS})
        self._transient: set[str] = set()  # names of the buffers that are no part of the state
        self._forward_pre_hooks = Hooks()
        self._forward_hooks = Hooks()
        self.training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass writes its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward: write `def forward(self, x): ...`")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_pre_hooks or self._forward_hooks:
            return call_with_hooks(self, self._forward_pre_hooks, self._forward_hooks, args, kwargs)
        return self.forward(*args, **kwargs)

    # Registering

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name; None keeps the place of one that is left out, such as a bias.

        Raises:
            TypeError: not a Parameter. KeyError: a name that is taken, empty or has a dot in it.
        """
        self._register("_parameters", name, param, Parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a Tensor that belongs to the state but is not learnt, such as a running mean.

        With `persistent=False` it is left out of `state_dict`. Raises as `register_parameter`.
        """
        self._register("_buffers", name, tensor, Tensor)
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule under a name. Raises as `register_parameter`."""
        self._register("_modules", name, module, Module)

    register_module = add_module

    def _register(self, members: str, name: str, value: Any, kind: type) -> None:
        taken = getattr(self, members)
        if not isinstance(name, str):
            raise TypeError(f"{type(self).__name__}: a name must be a string, not {name!r}")
        if not name or "." in name or (name not in taken and hasattr(self, name)):
            raise KeyError(f"{type(self).__name__}: the name {name!r} is taken, empty or has a dot in it")
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{type(self).__name__}: {name} must be a {kind.__name__} or None, not {describe(value)}")
        if isinstance(value, Module):
            self._check_no_cycle(name, value)
        taken[name] = value

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._put("_parameters", name, value)
        elif isinstance(value, Module):
            self._put("_modules", name, value)
        elif (members := self._home(name)) is None:
            object.__setattr__(self, name, value)
        else:
            kind = {"_parameters": Parameter, "_modules": Module, "_buffers": Tensor}[members]
            if value is not None and not isinstance(value, kind):
                raise TypeError(
                    f"{type(self).__name__}.{name} must be a {kind.__name__} or None, not {describe(value)}; "
                    f"del it first if it is to be something else"
                )
            self.__dict__[members][name] = value

    def _put(self, members: str, name: str, value: Any) -> None:
        """Register what was assigned, in the place of whatever had the name before."""
        if members not in self.__dict__:
            raise AttributeError(
                f"{type(self).__name__}: cannot assign {name} before super().__init__() was called in __init__"
            )
        if hasattr(type(self), name):
            raise KeyError(f"{type(self).__name__}: the name {name!r} is taken by an attribute of the class")
        if isinstance(value, Module):
            self._check_no_cycle(name, value)
        if name not in self.__dict__[members] and (self._home(name) is not None or name in self.__dict__):
            delattr(self, name)
        self.__dict__[members][name] = value

    def _check_no_cycle(self, name: str, module: Module) -> None:
        if any(below is self for below in module.modules()):
            raise ValueError(f"{type(self).__name__}: {name} would make the module a part of itself")

    def _home(self, name: str) -> str | None:
        """Which of the three dicts has the name."""
        return next((members for members in MEMBERS if name in self.__dict__.get(members, ())), None)

    def __getattr__(self, name: str) -> Any:
        for members in MEMBERS:
            if name in self.__dict__.get(members, ()):
                return self.__dict__[members][name]
        hint = "" if "_modules" in self.__dict__ else "; was super().__init__() called in __init__?"
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}")

    def __delattr__(self, name: str) -> None:
        members = self._home(name)
        if members is None:
            object.__delattr__(self, name)
        else:
            del self.__dict__[members][name]
            self._transient.discard(name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    # Walking

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module and all below it with their paths, parents first; one used in several places comes once."""
        seen: set[int] = set()
        stack = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if remove_duplicate and id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            children = [(join(path, name), child) for name, child in module._modules.items() if child is not None]
            stack.extend(reversed(children))

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules right below, with their names, each once."""
        seen: set[int] = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules right below."""
        return (child for _, child in self.named_children())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their paths, each once even if it is shared (tied weights)."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters: what an optimiser is given."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their paths."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _named(self, members: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix, remove_duplicate) if recurse else [(prefix, self)]:
            for name, tensor in getattr(module, members).items():
                if tensor is None or (remove_duplicate and id(tensor) in seen):
                    continue
                seen.add(id(tensor))
                yield join(path, name), tensor

    def get_submodule(self, target: str) -> Module:
        """The module at a path, `"features.0"`; itself for "". AttributeError if there is none."""
        module = self
        for name in target.split(".") if target else ():
            child = module._modules.get(name)
            if child is None:
                raise AttributeError(f"get_submodule: {type(module).__name__} has no module {name!r} (of {target!r})")
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path, `"features.0.weight"`. AttributeError if there is none."""
        return self._get("parameter", target)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path. AttributeError if there is none."""
        return self._get("buffer", target)

    def _get(self, kind: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        tensor = getattr(module, f"_{kind}s").get(name)
        if tensor is None:
            raise AttributeError(f"get_{kind}: {type(module).__name__} has no {kind} {name!r} (of {target!r})")
        return tensor

    # Doing something with all of them

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module, children before parents; returns self. For initialising, say."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode, which dropout and batch norm depend on, here and below; returns self."""
        if not isinstance(mode, bool):
            raise TypeError(f"train: mode must be a bool, not {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Set evaluation mode, as `train(False)`."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Learn all parameters, or freeze them; returns self."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for parameter in self.parameters():
            zero_grad(parameter, set_to_none)

    def to(self: Self, dtype: Any) -> Self:
        """Cast floating-point parameters, their gradients and buffers, in place; integers stay. Returns self."""
        dtype = as_dtype(dtype)
        if dtype.kind != "f":
            raise TypeError(f"to: dtype must be floating-point, not {dtype}")
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.is_floating_point():
                tensor.data = tensor.detach().to(dtype)
                if tensor.grad is not None:
                    tensor.grad = tensor.grad.detach().to(dtype)
        return self

    def float(self: Self) -> Self:
        """Cast to float32, in place."""
        return self.to(float32)

    def double(self: Self) -> Self:
        """Cast to float64, in place."""
        return self.to(float64)

    # State

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """Parameters and persistent buffers by path, on the same memory: copy or save it before training goes on.

        With `keep_vars` the Parameters themselves instead of detached Tensors. Shared ones appear under each path.
        """
        state: dict[str, Tensor] = {}
        for path, module in self.named_modules(prefix.removesuffix("."), remove_duplicate=False):
            persistent = {name: t for name, t in module._buffers.items() if name not in module._transient}
            for name, tensor in (module._parameters | persistent).items():
                if tensor is not None:
                    state[join(path, name)] = tensor if keep_vars else tensor.detach()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Overwrite parameters and buffers with the Tensors or ndarrays of a state, all of them or none.

        Args:
            state_dict: arrays by path.
            strict: missing and unexpected keys are errors; else they are skipped, and only returned.

        Returns:
            A named tuple (missing_keys, unexpected_keys).

        Raises:
            RuntimeError: lists all missing keys, unexpected keys, wrong shapes and wrong dtypes at once; the module is
                as it was.
            TypeError: the state is not a dict.
        """
        return load(type(self).__name__, self.state_dict(keep_vars=True), state_dict, strict)

    # Hooks

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before forward; what it returns, if anything, replaces the arguments.

        With `with_kwargs`: `hook(module, args, kwargs)`, which may return (args, kwargs).
        """
        return self._forward_pre_hooks.register("register_forward_pre_hook", hook, prepend, with_kwargs)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after forward; what it returns, if anything, replaces the output.

        With `with_kwargs`: `hook(module, args, kwargs, output)`.
        """
        return self._forward_hooks.register("register_forward_hook", hook, prepend, with_kwargs)

    # Showing

    def extra_repr(self) -> str:
        """What `repr` shows between the parentheses: a layer's options."""
        return ""

    def __repr__(self) -> str:
        options = self.extra_repr()
        lines = options.split("\n") if options else []
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self._modules.items()]
        name = type(self).__name__
        if not children and len(lines) <= 1:
            return f"{name}({options})"
        return f"{name}(\n  " + "\n  ".join(lines + children) + "\n)"


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def describe(value: Any) -> str:
    return f"a {type(value).__name__}"


def zero_grad(tensor: Tensor, set_to_none: bool) -> None:
    """Forget a gradient, or fill it with zeros outside of any graph."""
    if set_to_none:
        tensor.grad = None
    elif tensor.grad is not None:
        tensor.grad = tensor.grad.detach().zero_()


@contextlib.contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Inside, a model is in evaluation mode; afterwards each of its modules is in the mode that it was in."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode
