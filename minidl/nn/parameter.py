"""Parameter: a Tensor that a module learns."""

from __future__ import annotations

from typing import Any

from minidl.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that, assigned to an attribute of a Module, is one of its `parameters()`.

    It is always a leaf: made from a Tensor inside a graph, it shares that Tensor's memory but not its history.

    >>> import minidl
    >>> from minidl import nn
    >>> nn.Parameter(minidl.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)

    Args:
        data: a Tensor (or an ndarray), whose memory is shared, or a sequence of numbers.
        requires_grad: whether it is learnt; False freezes it.

    Raises:
        TypeError: data that is not floating-point, with requires_grad=True.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
