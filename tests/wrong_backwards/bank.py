"""The bank, and how a wrong backward is entered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minidl.function import Function


@dataclass(frozen=True)
class Wrong:
    """One mistake: `backward` stands in for that of `passes` while `operation` is checked."""

    operation: str
    passes: type[Function]
    backward: Callable[..., Any]

    @property
    def name(self) -> str:
        return f"{self.operation}: {self.backward.__name__.strip('_').replace('_', ' ')}"


BANK: list[Wrong] = []
RIGHT: dict[type[Function], Callable[..., Any]] = {}


def wrong(operation: str, passes: type[Function]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the decorated backward into the bank."""
    RIGHT[passes] = passes.backward

    def register(backward: Callable[..., Any]) -> Callable[..., Any]:
        BANK.append(Wrong(operation, passes, backward))
        return backward

    return register


def right(passes: type[Function]) -> Callable[..., Any]:
    """The backward as it is in the library, whatever stands in for it now."""
    return RIGHT[passes]


def with_wrong_sign(passes: type[Function], i: int) -> Callable[..., Any]:
    def wrong_sign(self: Any, *g: Any) -> Any:
        grads = right(passes)(self, *g)
        if type(grads) is not tuple:
            return -grads
        return tuple(-x if i == j and x is not None else x for j, x in enumerate(grads))

    wrong_sign.__name__ = f"wrong_sign_of_gradient_{i}"
    return wrong_sign
