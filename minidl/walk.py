"""The walk: reverse-mode differentiation over a graph of Functions.

From the roots down to the leaves every node is visited once, after all its consumers: it gets the sum of what they
said, asks its own backward, and passes the answers on. The walk is a loop with a stack of its own, so a chain of
100,000 nodes is as good as one of ten, and it frees what it has consumed.

It knows nodes and values, not Tensors: values are ndarrays or, with `create_graph`, Tensors, which add the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minidl.function import Function, Leaf, TensorTools


def walk(
    roots: Sequence[tuple[Function, Any]],
    tools: TensorTools,
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
    targets: Iterable[Function] | None = None,
) -> dict[Function, Any]:
    """Send gradients from `roots`, pairs of node and gradient, down the graph; return {leaf: its gradient}.

    With `targets` only the paths that lead to them are walked, and {target: its gradient} is returned. Nothing else
    refers to the memory of what is returned, so the caller may write into it.
    """
    waiting = count_consumers(node for node, _ in roots)
    targets = None if targets is None else set(targets)
    needed = None if targets is None else nodes_above(targets, waiting)
    values: dict[Function, Any] = {}
    ours: set[Function] = set()  # nodes whose value is memory that nobody else refers to
    found: dict[Function, Any] = {}

    for node, g in roots:
        values[node] = values[node] + g if node in values else g
    is_end = is_leaf if targets is None else targets.__contains__
    ready = [node for node, consumers in waiting.items() if consumers == 0]

    while ready:
        node = ready.pop()
        g = values.pop(node, None)
        if g is None or (needed is not None and node not in needed):
            grads: tuple[Any, ...] = (None,) * len(node.parents)
        else:
            for hook in node.hooks:
                g = tools.run_hook(hook, g, create_graph)
                ours.discard(node)
            if is_end(node):
                found[node] = g if node in ours else tools.copy(g)
            grads = node.differentiable_gradients(g, tools) if create_graph else node.gradients(g)

        for parent, gradient in zip(node.parents, grads):  # noqa: B905 (a Leaf has neither)
            if parent is None:
                continue
            waiting[parent] = consumers = waiting[parent] - 1
            if not consumers:
                ready.append(parent)
            if gradient is None:
                continue
            before = values.get(parent)
            if before is None:
                values[parent] = gradient
                # Whose memory it is matters only where something will be added, or where it is handed out.
                if (consumers or is_end(parent)) and gradient is not g and is_fresh(gradient, grads, node):
                    ours.add(parent)
            elif parent in ours and type(gradient) is np.ndarray:
                before += gradient
                values[parent] = before  # NumPy's scalars are not added to in place
            else:
                values[parent] = before + gradient
                ours.add(parent)
        if not retain_graph:
            node.release()
    return found


def is_leaf(node: Function) -> bool:
    """Whether gradients end here."""
    return type(node) is Leaf


def is_fresh(gradient: Any, grads: tuple[Any, ...], node: Function) -> bool:
    """Whether a gradient is an array of its own: not a view, not what the node kept, not given out twice."""
    if type(gradient) is not np.ndarray or gradient.base is not None:
        return False
    for x in node.inputs:
        if gradient is x:
            return False
    times = 0
    for other in grads:
        times += other is gradient
    return times == 1


def count_consumers(roots: Iterable[Function]) -> dict[Function, int]:
    """For every node that the roots reach, how many edges lead to it."""
    counts = dict.fromkeys(roots, 0)
    stack = list(counts)
    while stack:
        for parent in stack.pop().parents:
            if parent in counts:
                counts[parent] += 1
            elif parent is not None:
                counts[parent] = 1
                stack.append(parent)
    return counts


def nodes_above(targets: set[Function], consumers: dict[Function, int]) -> set[Function]:
    """Of the nodes in `consumers`, those from which a target can be reached."""
    waiting = dict(consumers)
    order = [node for node, count in waiting.items() if count == 0]
    for node in order:  # grows while it is read: a topological order, consumers first
        for parent in node.parents:
            if parent is not None:
                waiting[parent] -= 1
                if not waiting[parent]:
                    order.append(parent)
    needed: set[Function] = set()
    for node in reversed(order):
        if node in targets or any(parent in needed for parent in node.parents):
            needed.add(node)
    return needed
