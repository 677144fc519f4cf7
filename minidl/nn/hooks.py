"""Hooks: functions that a module calls before and after its forward."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from minidl.hooks import RemovableHandle

KEYS = itertools.count()


class Hooks(OrderedDict[int, tuple[Callable[..., Any], bool]]):
    """The hooks of one kind of one module, in the order of their calls; each with whether it sees keyword arguments."""

    def register(self, name: str, hook: Callable[..., Any], prepend: bool, with_kwargs: bool) -> RemovableHandle:
        """Add a hook, at the front or at the end."""
        if not callable(hook):
            raise TypeError(f"{name}: the hook must be callable, not {type(hook).__name__}")
        key = next(KEYS)
        self[key] = (hook, with_kwargs)
        self.move_to_end(key, last=not prepend)
        return RemovableHandle(lambda: self.pop(key, None))


def call_with_hooks(module: Any, before: Hooks, after: Hooks, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run `module.forward` on what the hooks before make of its arguments; what the hooks after make of the output."""
    for hook, with_kwargs in list(before.values()):
        if with_kwargs:
            replaced = hook(module, args, kwargs)
            if replaced is not None:
                if not (isinstance(replaced, tuple) and len(replaced) == 2):
                    raise TypeError(f"forward pre-hook: must return None or (args, kwargs), not {replaced!r}")
                args, kwargs = replaced
        else:
            replaced = hook(module, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
    output = module.forward(*args, **kwargs)
    for hook, with_kwargs in list(after.values()):
        replaced = hook(module, args, kwargs, output) if with_kwargs else hook(module, args, output)
        if replaced is not None:
            output = replaced
    return output
