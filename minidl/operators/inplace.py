"""Changes in place: they overwrite the memory, and take part in the graph.

A change that is recorded works on a copy of the old value, so that whatever kept the value may go on doing so, and then
the Tensor takes the place of the result: memory, and node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.dtypes import require_float
from minidl.function import Leaf
from minidl.mode import mode
from minidl.random import Generator, stream

if TYPE_CHECKING:
    from minidl.tensor import Tensor


class InPlace:
    """Methods that end in an underscore, as in PyTorch, and the augmented assignments."""

    __slots__ = ()

    def _records(self, *others: Tensor) -> bool:
        """Whether an operation on this and others would be recorded."""
        return mode.recording and (self._node is not None or any(t._node is not None for t in others))

    def _in_place(self) -> Tensor:
        """What an operation in place starts from: our value, which lasts while our memory is overwritten."""
        if not mode.recording:
            return self
        if type(self._node) is Leaf:
            raise RuntimeError(
                "a leaf that requires a gradient cannot be changed in place while a graph is recorded; "
                "do it under minidl.no_grad()"
            )
        if self._node is not None and self._array.base is not None:
            raise RuntimeError("a view inside a graph cannot be changed in place; write x = x + ... instead")
        return self if self._node is None else self._constant(self._array.copy(), self._node)

    def _assign(self, result: Tensor) -> Tensor:
        """Overwrite the memory with a result, and take its place in the graph."""
        if result.shape != self.shape:
            raise ValueError(f"in place: the result has shape {result.shape}, which does not fit into {self.shape}")
        if not np.can_cast(result.dtype, self.dtype, "same_kind"):
            raise TypeError(f"in place: a {result.dtype} result does not fit into {self.dtype}")
        if result._node is not None and self._array.base is not None:
            raise RuntimeError("a view cannot take part in a graph by a change in place; write x = x + ... instead")
        self._array[...] = result._array
        self._touch()
        if result._node is not self._node and mode.recording:
            self._node = result._node
        return self

    def copy_(self, other: Any) -> Tensor:
        """Overwrite with another's values, which broadcast and are cast."""
        self._in_place()
        other = other if isinstance(other, InPlace) else self._operand(other)
        return self._assign(other.to(self.dtype).expand(self.shape))

    def fill_(self, value: Any) -> Tensor:
        """Overwrite with one value."""
        return self.copy_(value)

    def zero_(self) -> Tensor:
        """Overwrite with 0."""
        return self.fill_(0)

    def add_(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """self += alpha · other."""
        return self._assign(self._in_place().add(other, alpha=alpha))

    def sub_(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """self -= alpha · other."""
        return self._assign(self._in_place().sub(other, alpha=alpha))

    def mul_(self, other: Any) -> Tensor:
        """self *= other."""
        return self._assign(self._in_place() * other)

    def div_(self, other: Any) -> Tensor:
        """self /= other."""
        return self._assign(self._in_place() / other)

    def clamp_(self, min: Any = None, max: Any = None) -> Tensor:
        """Clamp in place."""
        return self._assign(self._in_place().clamp(min, max))

    def masked_fill_(self, mask: Any, value: Any) -> Tensor:
        """Overwrite with `value` where the mask is true."""
        return self._assign(self._in_place().masked_fill(mask, value))

    def addcmul_(self, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
        """self += value · tensor1 · tensor2."""
        return self._assign(self._in_place().addcmul(tensor1, tensor2, value=value))

    def addcdiv_(self, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
        """self += value · tensor1 / tensor2."""
        return self._assign(self._in_place().addcdiv(tensor1, tensor2, value=value))

    def lerp_(self, end: Tensor, weight: Any) -> Tensor:
        """self += weight · (end - self)."""
        return self._assign(self._in_place().lerp(end, weight))

    def scatter_add_(self, dim: int, index: Tensor, src: Tensor) -> Tensor:
        """self[index[i][j]][j] += src[i][j] for dim 0, and so on for others."""
        return self._assign(self._in_place().scatter_add(dim, index, src))

    def uniform_(self, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
        """Overwrite with numbers drawn evenly from an interval. ValueError for an empty or infinite one."""
        require_float("uniform_", self=self)
        if not 0 <= to - from_ < np.inf:
            raise ValueError(f"uniform_: expects from <= to, both finite, not {from_} and {to}")
        self._in_place()
        return self._assign(self._constant(stream(generator).uniform(from_, to, self.shape).astype(self.dtype)))

    def normal_(self, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
        """Overwrite with normal numbers of a mean and a standard deviation. ValueError for a negative one."""
        require_float("normal_", self=self)
        if not std >= 0:
            raise ValueError(f"normal_: std must not be negative, but is {std}")
        self._in_place()
        return self._assign(self._constant(stream(generator).normal(mean, std, self.shape).astype(self.dtype)))

    __iadd__, __isub__, __imul__, __itruediv__ = add_, sub_, mul_, div_

    def __ipow__(self, other: Any) -> Tensor:
        return self._assign(self._in_place() ** other)
