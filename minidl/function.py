"""Function: one node of the graph, a pair of hand-written passes and what they keep.

A `Function` is written on plain arrays and knows no Tensor. One *instance* is one node: calling an operation makes a
new instance, whose attributes hold the options of the call, the arrays that backward needs, and the parents it came
from. The walk (`walk.py`) goes from node to node; `tensor.py` puts Tensors on top.

There are two kinds:

- `Function`: passes written by hand, usually on a Numba kernel, and a `definition` composed of primitives. Its backward
  maps arrays to arrays. Gradients of higher order go through the definition.
- `Primitive`: the thirty-odd atoms of the definitions. A primitive's rule is written once, with operators that ndarray
  and Tensor share: given arrays it computes, given Tensors it builds the graph for the next order.
"""

from __future__ import annotations

import copy
import inspect
import re
import threading
import weakref
import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np


class Clock:
    """Counts the changes made in place, to any memory: as long as it stands still, nothing that a node kept changed."""

    def __init__(self) -> None:
        self.now = 0
        self.lock = threading.Lock()

    def tick(self) -> int:
        """Count one more."""
        with self.lock:
            self.now += 1
            return self.now


clock = Clock()


class Version:
    """When one piece of memory was last changed in place; all views of that memory share it.

    `exposed` says that user code holds the bare ndarray (`t.numpy()`, `from_numpy`) and may change it without telling
    the clock; what is kept of exposed memory is therefore also fingerprinted.
    """

    changed = 0
    exposed = False

    def change(self) -> None:
        """Say that the memory has changed, so that a graph that kept it can tell."""
        self.changed = clock.tick()


def fingerprint(array: np.ndarray) -> int:
    """A checksum of the array's values, some gigabytes a second."""
    return zlib.adler32(np.ascontiguousarray(array).view(np.uint8) if array.ndim else array.tobytes())


class Function:
    """A node: hand-written passes on arrays, what they keep, and the parents they came from.

    A subclass writes `forward(self, *arrays)`, which returns an array (or a tuple of arrays), and `backward(self, *g)`,
    which gets one gradient per output and returns one per input: a tuple, or the bare array if there is one input;
    None where there is no gradient to give. Backward returns new arrays, `g` itself or views of it, and never writes
    into `g` or into what it kept.

    What a subclass says of itself:
        keeps_inputs, keeps_output: which arrays backward needs; they are then also watched for changes in place.
        quiet: whether forward may meet infinities or NaN, about which NumPy would warn (a microsecond to prevent).

    Attributes that the graph sets:
        needs: for each input, whether a gradient for it is asked for; set before forward. Backward may skip the others.
        inputs: the arrays forward received, if `keeps_inputs`.
        output: the array (or tuple) forward returned, if `keeps_output`.
        parents: for each input the node that made it, or None where no gradient goes.
        outputs: shape and dtype of each output, where there are several.
        watched: the versions of what is kept: of each input (None for a constant), then of each output.
        marks: fingerprints of those that are exposed, by position in `watched`.
        recorded: what the clock said at forward.
    """

    keeps_inputs: ClassVar[bool] = True
    keeps_output: ClassVar[bool] = False
    quiet: ClassVar[bool] = True
    definition: ClassVar[Callable[..., Any] | None] = None

    options: Mapping[str, Any] = MappingProxyType({})
    needs: tuple[bool, ...] = ()
    inputs: tuple[np.ndarray | None, ...] = ()
    parents: tuple[Function | None, ...] = ()
    hooks: tuple[Callable[[Any], Any], ...] = ()
    watched: Sequence[Version | None] = ()
    marks: Mapping[int, int] = MappingProxyType({})
    recorded = 0
    outputs: tuple[tuple[tuple[int, ...], np.dtype], ...] = ()
    released = False

    def __init__(self, **options: Any) -> None:
        if options:
            self.options = options
            self.__dict__.update(options)

    @property
    def name(self) -> str:
        """The operation's name as error messages and graph pictures print it: `MaxPool2d` is max_pool2d."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    def forward(self, *arrays: Any) -> Any:
        raise NotImplementedError(f"{self.name} has no forward")

    def backward(self, *grads: Any) -> Any:
        raise NotImplementedError(f"{self.name} has no backward")

    # What the walk asks of a node

    def gradients(self, g: Any) -> tuple[Any, ...]:
        """Gradients of the inputs as arrays, from `g`, the gradient of the output (`Slots` for several outputs)."""
        if self.recorded != clock.now or self.marks:
            self.check_unchanged()
        grads = self.backward(*g.filled(self.outputs)) if type(g) is Slots else self.backward(g)
        return grads if type(grads) is tuple and len(grads) == len(self.parents) else self.as_tuple(grads)

    def differentiable_gradients(self, g: Any, tools: TensorTools) -> tuple[Any, ...]:
        """The same gradients as Tensors that can be differentiated again: through the definition."""
        self.check_unchanged()
        if self.definition is None or not self.keeps_inputs:
            raise RuntimeError(f"{self.name}: has no definition on kept inputs to differentiate again")
        return tools.vjp(lambda *xs: type(self).definition(*xs, **self.options), tools.inputs(self), g)

    def as_tuple(self, grads: Any) -> tuple[Any, ...]:
        """What backward returned, one gradient per input."""
        if type(grads) is not tuple:
            grads = (grads,)
        if len(grads) != len(self.parents):
            raise RuntimeError(
                f"{self.name}: backward returned {len(grads)} gradients for {len(self.parents)} inputs; give one for "
                "each, None where there is none"
            )
        return grads

    # Detecting changes in place

    def watch(self, versions: Sequence[Version | None], arrays: Sequence[np.ndarray | None]) -> None:
        """Remember, so that a change can be found, the versions of arrays that are kept."""
        first = len(self.watched)
        self.watched = [*self.watched, *versions] if first else versions
        for version in versions:
            if version is not None and version.exposed:
                marks = {
                    first + i: fingerprint(array)
                    for i, (version, array) in enumerate(zip(versions, arrays, strict=True))
                    if version is not None and version.exposed
                }
                self.marks = {**self.marks, **marks}
                break

    def arrays_watched(self) -> tuple[np.ndarray | None, ...]:
        """The arrays that are watched."""
        output = self.output if self.keeps_output else ()
        return (*self.inputs, *(output if type(output) is tuple else (output,)))

    def check_unchanged(self) -> None:
        """Raise RuntimeError if this node was freed, or if an array that it kept was changed since forward."""
        if self.released:
            raise RuntimeError(
                f"{self.name}: backward a second time, but what the first one needed was freed; pass retain_graph=True "
                "to the first backward"
            )
        kept = self.arrays_watched()
        for i, version in enumerate(self.watched):
            if version is None:
                continue
            if version.changed > self.recorded or (i in self.marks and fingerprint(kept[i]) != self.marks[i]):
                names = list(inspect.signature(self.forward).parameters)
                what = f"input {names[min(i, len(names) - 1)]}" if i < len(self.inputs) else "output"
                raise RuntimeError(
                    f"{self.name}: its {what}, of shape {kept[i].shape}, was changed in place between forward and "
                    "backward, so the gradient would be wrong; change a copy (x = x + ..., x.clone()) instead"
                )

    def release(self) -> None:
        """Forget everything kept, so that memory is freed as soon as the walk has passed."""
        self.__dict__.clear()
        self.released = True


class Primitive(Function):
    """An atom of the definitions: its backward is one rule, for arrays and, by the same words, for Tensors."""

    keeps_inputs = False
    quiet = False

    def differentiable_gradients(self, g: Any, tools: TensorTools) -> tuple[Any, ...]:
        """Run the rule on Tensors: on a copy of this node whose kept arrays are Tensors joined to the graph."""
        self.check_unchanged()
        rule = copy.copy(self)
        if self.keeps_inputs:
            rule.inputs = tools.inputs(self)
        if self.keeps_output:
            rule.output = tools.wrap(self.output, self, self.watched[-1])
        return self.as_tuple(rule.backward(g))


class Leaf(Function):
    """Where gradients arrive: the end of the graph at a Tensor that the user made with requires_grad=True.

    It refers to its Tensor weakly, since the Tensor refers to it: a cycle would keep both until the collector comes.
    """

    def __init__(self, tensor: Any) -> None:
        self.tensor = weakref.ref(tensor)

    def gradients(self, g: Any) -> tuple[Any, ...]:
        return ()

    def differentiable_gradients(self, g: Any, tools: TensorTools) -> tuple[Any, ...]:
        return ()

    def release(self) -> None:
        """A leaf outlives the graphs that end in it."""


class Identity(Function):
    """Passes the gradient on: the seam at which a definition is joined into a graph that already exists."""

    def gradients(self, g: Any) -> tuple[Any, ...]:
        return (g,)

    def differentiable_gradients(self, g: Any, tools: TensorTools) -> tuple[Any, ...]:
        return (g,)


class Slots(dict[int, Any]):
    """The gradients of a node with several outputs, by output; adding two of them joins them."""

    def __add__(self, other: Slots) -> Slots:
        return Slots(self | other)

    def filled(self, outputs: tuple[tuple[tuple[int, ...], np.dtype], ...]) -> tuple[Any, ...]:
        """One gradient per output: zeros for those that nothing depended on."""
        return tuple(self[i] if i in self else np.zeros(*output) for i, output in enumerate(outputs))


class Output(Function):
    """Stands between a node with several outputs and the Tensor that holds one of them."""

    def __init__(self, node: Function, index: int) -> None:
        self.parents = (node,)
        self.index = index

    def gradients(self, g: Any) -> tuple[Any, ...]:
        self.check_unchanged()
        return (Slots({self.index: g}),)

    def differentiable_gradients(self, g: Any, tools: TensorTools) -> tuple[Any, ...]:
        return self.gradients(g)


class TensorTools:
    """What nodes and the walk need to work on Tensors without knowing them; `tensor.py` provides it."""

    def wrap(self, array: np.ndarray, node: Function | None, version: Version | None = None) -> Any:
        """A Tensor on `array` whose gradient flows into `node`."""
        raise NotImplementedError

    def inputs(self, node: Function) -> tuple[Any, ...]:
        """The node's inputs as Tensors, each joined to the parent it came from."""
        return tuple(
            None if x is None else self.wrap(x, parent, version)
            for x, parent, version in zip(node.inputs, node.parents, node.watched, strict=False)
        )

    def vjp(self, function: Callable[..., Any], inputs: tuple[Any, ...], g: Any) -> tuple[Any, ...]:
        """Run `function` on `inputs` and pull `g` back through it, differentiably."""
        raise NotImplementedError

    def run_hook(self, hook: Callable[[Any], Any], g: Any, create_graph: bool) -> Any:
        """The gradient after a hook has seen, and perhaps replaced, it."""
        raise NotImplementedError

    def copy(self, g: Any) -> Any:
        """The same gradient in memory of its own."""
        raise NotImplementedError


def needs_of(parents: list[Function | None]) -> tuple[bool, ...]:
    """For each input, whether a gradient flows to it; written out for one and two, which nearly all operations have."""
    if len(parents) == 1:
        return (parents[0] is not None,)
    if len(parents) == 2:
        return parents[0] is not None, parents[1] is not None
    return tuple([parent is not None for parent in parents])


def call(function: type[Function], *inputs: Any, **options: Any) -> Any:
    """Run a Function on whatever it is given: arrays give arrays, a Tensor among the inputs gives Tensors.

    This is what lets a primitive's rule be written once for both.
    """
    for x in inputs:
        apply = getattr(x, "_apply", None)
        if apply is not None:
            return apply(function(**options), *inputs)
    return function(**options).forward(*inputs)
