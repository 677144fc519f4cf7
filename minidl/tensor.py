"""Tensor: an ndarray that remembers how it was made.

Four attributes make one: the array, the node of the graph that made it, the version of its memory, and the gradient
that a backward left. What can be done with the array is in `operators/`; here is what a Tensor adds to it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.dtypes import as_array, as_dtype
from minidl.function import Function, Identity, Leaf, Output, TensorTools, Version, clock, needs_of
from minidl.hooks import RemovableHandle
from minidl.mode import Switch, mode
from minidl.operators import Arithmetic, Comparison, Indexing, InPlace, Reductions, Shapes, Ufuncs
from minidl.primitives import Cast, Clone
from minidl.walk import walk

TensorLike = Any


class Tensor(Arithmetic, Comparison, Reductions, Shapes, Indexing, InPlace, Ufuncs):
    """An n-dimensional array with a gradient: `minidl.tensor(data)` makes one.

    `t.backward()` leaves in `x.grad` the gradient of `t` for every `x` made with `requires_grad=True` that it was
    computed from.

    >>> import minidl
    >>> x = minidl.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = (x**2).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """

    __slots__ = ("__weakref__", "_array", "_node", "_retained", "_version", "grad")

    def __init__(self, data: TensorLike, requires_grad: bool = False) -> None:
        if isinstance(data, Tensor):
            self._array, self._version = data._array, data._version
        else:
            self._array = as_array(data)
            self._version = Version()
            self._version.exposed = self._array is data or self._array.base is not None
        self._node: Function | None = None
        self._retained = False
        self.grad: Tensor | None = None
        if requires_grad:
            self.requires_grad_()

    # What it is

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient flows back to, or through, this Tensor."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for a gradient here (or no longer), in place. TypeError for integers, RuntimeError inside a graph."""
        if not requires_grad:
            if not self.is_leaf:
                raise RuntimeError("requires_grad_: only a leaf can stop asking for a gradient; use detach()")
            self._node = None
        elif self._node is None:
            if self._array.dtype.kind != "f":
                raise TypeError(f"requires_grad_: only floating-point Tensors have gradients, not {self.dtype}")
            self._node = Leaf(self)
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the user made it, rather than an operation that was recorded."""
        return self._node is None or type(self._node) is Leaf

    @property
    def grad_fn(self) -> Function | None:
        """The node that made this Tensor, None for a leaf."""
        return None if self.is_leaf else self._node

    @property
    def data(self) -> Tensor:
        """The same memory outside the graph. Assigning replaces the memory: the array, and its dtype and shape."""
        return self.detach()

    @data.setter
    def data(self, value: TensorLike) -> None:
        other = value if isinstance(value, Tensor) else Tensor(value)
        self._touch()
        self._array, self._version = other._array, other._version

    def detach(self) -> Tensor:
        """A Tensor on the same memory, outside the graph."""
        return from_result(self._array, None, self._version)

    # Gradients

    def backward(
        self, gradient: TensorLike = None, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Add to `x.grad`, for every leaf x, the gradient of this Tensor: gradientᵀ · ∂t/∂x, a vector-Jacobian product.

        Args:
            gradient: same shape as this Tensor; may be left out if it has one element.
            retain_graph: keep what backward needs, for another backward; by default as `create_graph`.
            create_graph: record backward itself, so that gradients can be differentiated again.

        Raises:
            RuntimeError: nothing here requires a gradient; no `gradient` for several elements; the graph was freed by
                an earlier backward; something it needs was changed in place.
        """
        self._accumulate(differentiate("backward", [self], [gradient], retain_graph, create_graph), create_graph)

    @staticmethod
    def _accumulate(gradients: dict[Leaf, Any], create_graph: bool) -> None:
        """Add what a walk found to the `.grad` of the leaves."""
        for leaf, g in gradients.items():
            x = leaf.tensor()
            if x is None:
                continue
            g = g if isinstance(g, Tensor) else from_result(np.asarray(g), None, Version())
            if g.shape != x.shape or g.dtype != x.dtype:
                arrived = f"a gradient of shape {g.shape}, {g.dtype}, arrived at"
                raise RuntimeError(f"backward: {arrived} a Tensor of shape {x.shape}, {x.dtype}")
            if x.grad is None:
                x.grad = g
            elif create_graph or x.grad.requires_grad:
                x.grad = x.grad + g
            else:
                x.grad._array += g._array
                x.grad._touch()

    def retain_grad(self) -> None:
        """Leave the gradient in `.grad` here too, though this is not a leaf."""
        if self._node is None:
            raise RuntimeError("retain_grad: this Tensor does not require a gradient")
        if not self.is_leaf and not self._retained:
            self._retained = True
            here = weakref.ref(self)

            def keep(g: Tensor) -> None:
                t = here()
                if t is not None:
                    t.grad = g.clone() if t.grad is None else t.grad + g

            self._node.hooks += (keep,)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call `hook(gradient)` when the gradient here is known; what it returns, if anything, replaces it."""
        if self._node is None:
            raise RuntimeError("register_hook: this Tensor does not require a gradient")
        node = self._node
        node.hooks += (hook,)

        def take_off() -> None:
            node.hooks = tuple(other for other in node.hooks if other is not hook)

        return RemovableHandle(take_off)

    # Memory

    def _touch(self) -> None:
        """Say that the memory has changed, so that a graph that kept it can tell."""
        self._version.change()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The array itself, sharing memory. RuntimeError while a gradient flows here, unless `force`."""
        if self._node is not None and not force:
            raise RuntimeError("numpy: this Tensor requires a gradient; use t.detach().numpy()")
        return self.__array__()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if dtype is not None and np.dtype(dtype) != self._array.dtype:
            return self._array.astype(dtype)
        if copy:
            return self._array.copy()
        self._version.exposed = True
        return self._array

    # Python's own protocols

    def __repr__(self) -> str:
        values = np.array2string(self._array, separator=", ", prefix="tensor(")
        suffix = "" if self.dtype in (np.float32, np.int64, np.bool_) else f", dtype={self.dtype}"
        if not self.is_leaf:
            suffix += f", grad_fn=<{self._node.name}>"
        elif self._node is not None:
            suffix += ", requires_grad=True"
        return f"tensor({values}{suffix})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError("deepcopy: only leaves can be copied with their gradient; use clone()")
        copy = self._like(self._array.copy())
        memo[id(self)] = copy
        copy.grad = None if self.grad is None else self.grad.detach().clone()
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise RuntimeError("pickle: only leaves can be pickled; use detach()")
        return unpickled, (type(self), self._array, self.requires_grad)

    def _like(self, array: np.ndarray) -> Tensor:
        """A leaf of the same class on another array."""
        return unpickled(type(self), array, self.requires_grad)

    @staticmethod
    def _apply(node: Function, *inputs: Tensor | np.ndarray | None) -> Any:
        """Run a new node's forward on the inputs and, if a gradient may be asked for, record it in the graph.

        Inputs may also be ndarrays (constants that nobody changes) or None (left out). Returns a Tensor or a tuple of
        them. What forward returns is a new array or a view of an input, not the input itself.
        """
        arrays: list[np.ndarray | None] = []
        parents: list[Function | None] = []
        versions: list[Version | None] = []
        for x in inputs:
            if isinstance(x, Tensor):
                arrays.append(x._array)
                parents.append(x._node)
                versions.append(x._version)
            else:
                arrays.append(x)
                parents.append(None)
                versions.append(None)
        if mode.recording:
            node.needs = needs_of(parents)
            recorded = True in node.needs
        else:
            node.needs, recorded = (False,) * len(arrays), False
        node.recorded = clock.now
        if node.quiet:
            with np.errstate(all="ignore"):  # infinities and NaN are results, as everywhere in deep learning
                result = node.forward(*arrays)
        else:
            result = node.forward(*arrays)
        if recorded:
            node.parents = tuple(parents)
            if node.keeps_inputs:
                node.inputs = tuple(arrays)
                node.watch(versions, arrays)
        if type(result) is not np.ndarray:
            if type(result) is tuple:
                return several(node, result, recorded)
            result = np.asarray(result)
        version = Version() if result.base is None else shared_version(result, inputs)
        if recorded and node.keeps_output:
            node.output = result
            node.watch([version], [result])
        return from_result(result, node if recorded else None, version)

    @staticmethod
    def _constant(array: np.ndarray, node: Function | None = None) -> Tensor:
        """A result that nobody shares, by default one without a gradient."""
        return from_result(array, node, Version())

    @staticmethod
    def _from_user(data: TensorLike) -> Tensor:
        """An operand that is not a Tensor."""
        return Tensor(data)

    # Copies and casts

    def clone(self) -> Tensor:
        """The same values in memory of its own, still in the graph."""
        return apply(Clone(), self)

    def to(self, dtype: Any) -> Tensor:
        """The same values in another dtype (itself, if it has it); a Tensor stands for its dtype."""
        dtype = as_dtype(dtype.dtype if isinstance(dtype, Tensor) else dtype)
        if dtype == self.dtype:
            return self
        if dtype.kind == "f" and self.dtype.kind == "f":
            return apply(Cast(dtype=dtype), self)
        with np.errstate(invalid="ignore"):
            return from_result(self._array.astype(dtype), None, Version())


apply = Tensor._apply


def from_result(array: np.ndarray, node: Function | None, version: Version) -> Tensor:
    """A Tensor made of its parts, without the checks of the constructor."""
    t = object.__new__(Tensor)
    t._array = array
    t._node = node
    t._version = version
    t._retained = False
    t.grad = None
    return t


def unpickled(kind: type[Tensor], array: np.ndarray, requires_grad: bool) -> Tensor:
    """A leaf on an array that nobody else holds."""
    return kind(from_result(array, None, Version()), requires_grad)


def several(node: Function, results: tuple[np.ndarray, ...], recorded: bool) -> tuple[Tensor, ...]:
    """The Tensors of a node with several outputs; integers among them, such as indices, have no gradient."""
    outputs = tuple(
        from_result(result, Output(node, i) if recorded and result.dtype.kind == "f" else None, Version())
        for i, result in enumerate(results)
    )
    if recorded:
        node.outputs = tuple((result.shape, result.dtype) for result in results)
        if node.keeps_output:
            node.output = results
            node.watch([t._version for t in outputs], results)
    return outputs


def shared_version(result: np.ndarray, inputs: Sequence[Any]) -> Version:
    """The version of the input whose memory the result shares; a new one if it turns out to share none."""
    for x in inputs:
        if isinstance(x, Tensor) and np.may_share_memory(result, x._array):
            return x._version
    return Version()


class Tools(TensorTools):
    """How nodes and the walk make Tensors."""

    def wrap(self, array: np.ndarray, node: Function | None, version: Version | None = None) -> Tensor:
        return from_result(array, node, version or Version())

    def vjp(self, function: Callable[..., Any], inputs: tuple[Any, ...], g: Any) -> tuple[Any, ...]:
        # The definition starts from seams that lead nowhere, so that the walk ends there; then they are joined.
        seams = [None if x is None or x._node is None else Identity() for x in inputs]
        proxies = [
            x if seam is None else from_result(x._array, seam, x._version)
            for x, seam in zip(inputs, seams, strict=True)
        ]
        with Switch("recording", True):
            outputs = function(*proxies)
            if isinstance(outputs, Tensor):
                roots = [(outputs._node, g)]
            else:
                roots = [(outputs[i]._node, gi) for i, gi in g.items() if outputs[i]._node is not None]
            targets = [seam for seam in seams if seam is not None]
            found = walk(roots, self, retain_graph=True, create_graph=True, targets=targets)
        for seam, x in zip(seams, inputs, strict=True):
            if seam is not None:
                seam.parents = (x._node,)
        return tuple(None if seam is None else found.get(seam) for seam in seams)

    def run_hook(self, hook: Callable[[Any], Any], g: Any, create_graph: bool) -> Any:
        replaced = hook(g if create_graph else from_result(g, None, Version()))
        if replaced is None:
            return g
        if not isinstance(replaced, Tensor) or replaced.shape != g.shape:
            raise ValueError(f"hook: must return None or a Tensor of the gradient's shape {g.shape}")
        return replaced if create_graph else replaced._array

    def copy(self, g: Any) -> Any:
        return g.clone() if isinstance(g, Tensor) else np.array(g)


TOOLS = Tools()


def differentiate(
    name: str,
    outputs: Sequence[Tensor],
    gradients: Sequence[TensorLike],
    retain_graph: bool | None,
    create_graph: bool,
    targets: Sequence[Function] | None = None,
) -> dict[Function, Any]:
    """Check what `backward` or `grad` was given, and walk: {leaf or target: gradient, an array or a Tensor}."""
    roots = []
    for t, g in zip(outputs, gradients, strict=True):
        if t._node is None:
            raise RuntimeError(f"{name}: the Tensor of shape {t.shape} does not require a gradient: nothing to walk")
        seed = first_gradient(name, t, g)
        roots.append((t._node, seed if create_graph else seed._array))
    retain_graph = create_graph if retain_graph is None else retain_graph
    with Switch("recording", create_graph), np.errstate(all="ignore"):
        return walk(roots, TOOLS, retain_graph=retain_graph, create_graph=create_graph, targets=targets)


def first_gradient(name: str, t: Tensor, g: TensorLike) -> Tensor:
    """The gradient that a walk starts with at `t`: `g`, or 1 if `t` has one element."""
    if g is None:
        if t._array.size != 1:
            raise RuntimeError(f"{name}: the Tensor has shape {t.shape}, not one element: give a gradient")
        return from_result(np.ones_like(t._array), None, Version())
    g = g if isinstance(g, Tensor) else Tensor(g)
    if g.shape != t.shape or g.dtype != t.dtype:
        raise ValueError(
            f"{name}: the gradient has shape {g.shape} and dtype {g.dtype}, the Tensor {t.shape} and {t.dtype}"
        )
    return g
