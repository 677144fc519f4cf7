"""Checking gradients against finite differences, which know nothing of how the gradient was derived.

A function of arrays with outputs y_k and random cotangents c_k is one number, L = Σ c_k · y_k. Its derivative for one
element x is (L(x + h) - L(x - h)) / 2h with h = 1e-6 · (1 + |x|), and backward with the cotangents must say the same.
The cotangents are random because ones are blind: the gradient of a softmax or a norm for ones is 0, and so is
that of a backward that does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minidl.autograd import grad
from minidl.mode import enable_grad, no_grad
from minidl.random import default_generator
from minidl.tensor import Tensor

EPS, RTOL, ATOL = 1e-6, 1e-6, 1e-8


class GradientError(AssertionError):
    """A gradient differs from what it is held against."""


def gradcheck(
    function: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = EPS,
    rtol: float = RTOL,
    atol: float = ATOL,
    fast_mode: bool = False,
    raise_exception: bool = True,
    seed: int = 0,
) -> bool:
    """Whether the gradients that backward gives agree with central differences, for a random cotangent.

    Inputs must stay clear of kinks and ties. A function that draws random numbers from the default generator
    draws the same ones each time it is called here.

    Args:
        function: of the inputs; returns a Tensor or a (nested) sequence of them.
        inputs: a Tensor or a sequence; float64 Tensors with requires_grad=True are checked, all else is passed on.
        eps: the step is eps · (1 + |x|).
        rtol, atol: they agree if |analytic - numerical| <= atol + rtol · |numerical|.
        fast_mode: one difference along a random direction in place of one for each element: quick, but says less.
        raise_exception: return False rather than raise.
        seed: of the random cotangents and directions.

    Raises:
        GradientError: naming the input, the index, the analytic and the numerical gradient.
        TypeError: an input that requires a gradient but is not float64.
        ValueError: no input requires a gradient.

    >>> import minidl
    >>> from minidl.testing import gradcheck
    >>> x = minidl.randn(3, dtype=minidl.float64, requires_grad=True)
    >>> gradcheck(minidl.Tensor.tanh, x)
    True
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient")
    for i in checked:
        if inputs[i].dtype != np.float64:
            raise TypeError(f"gradcheck: input {i} is {inputs[i].dtype}; differences need float64")
    try:
        Check(function, inputs, checked, eps, rtol, atol, seed).run(fast_mode)
    except GradientError:
        if raise_exception:
            raise
        return False
    return True


class Check:
    """One run of gradcheck: the function at a point, its cotangents and analytic gradients."""

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: Sequence[Any],
        checked: list[int],
        eps: float,
        rtol: float,
        atol: float,
        seed: int,
    ) -> None:
        self.function, self.inputs, self.checked = function, inputs, checked
        self.eps, self.rtol, self.atol = eps, rtol, atol
        self.rng = np.random.default_rng(seed)
        self.name = getattr(function, "__name__", type(function).__name__)

    def run(self, fast_mode: bool) -> None:
        """Raise GradientError where the two gradients differ."""
        analytic = self.analytic()
        # Copies: they are changed for the differences, and may share memory or be read-only where they come from.
        self.point = {i: np.array(self.inputs[i].detach().numpy(), order="C") for i in self.checked}
        if fast_mode:
            self.along_a_direction(analytic)
        else:
            self.element_by_element(analytic)

    def analytic(self) -> dict[int, np.ndarray]:
        """Gradients by backward, for every input that is checked."""
        leaves = [x.detach().requires_grad_() if i in self.checked else x for i, x in enumerate(self.inputs)]
        with same_random_numbers():
            outputs = floating_outputs(self.function(*leaves))
        self.cotangents = [self.rng.standard_normal(y.shape).astype(y.dtype) for y in outputs]
        roots = [(y, c) for y, c in zip(outputs, self.cotangents, strict=True) if y.requires_grad]
        targets = [leaves[i] for i in self.checked]
        found: Sequence[Tensor | None] = [None] * len(targets)
        if roots:
            found = grad([y for y, _ in roots], targets, [Tensor(c) for _, c in roots], allow_unused=True)
        gradients = {}
        for i, x, g in zip(self.checked, targets, found, strict=True):
            if g is not None and (g.shape != x.shape or g.dtype != x.dtype):
                raise GradientError(
                    f"{self.name}: the gradient of input {i} is {g.dtype} {g.shape}, the input {x.dtype} {x.shape}"
                )
            gradients[i] = np.zeros(x.shape) if g is None else g.detach().numpy()
        return gradients

    def outputs(self) -> list[np.ndarray]:
        """The outputs at the point as it is now."""
        arguments = [Tensor(self.point[i].copy()) if i in self.point else x for i, x in enumerate(self.inputs)]
        with same_random_numbers(), no_grad():
            return [y.detach().numpy() for y in floating_outputs(self.function(*arguments))]

    def difference(self, after: list[np.ndarray], before: list[np.ndarray]) -> float:
        """L(after) - L(before), by differences of elements, so that what did not change, be it infinite, cancels."""
        with np.errstate(invalid="ignore"):
            changes = [np.where(a == b, 0.0, a - b) for a, b in zip(after, before, strict=True)]
        return sum(float(np.sum(c * change)) for c, change in zip(self.cotangents, changes, strict=True))

    def element_by_element(self, analytic: dict[int, np.ndarray]) -> None:
        for i, x in self.point.items():
            for index in np.ndindex(x.shape):
                here = x[index]
                h = self.eps * (1 + abs(here))
                ends = []
                for end in (here + h, here - h):
                    x[index] = end
                    ends.append((end, self.outputs()))
                x[index] = here
                (high, after), (low, before) = ends
                numerical = self.difference(after, before) / (high - low)
                self.compare(f"input {i} at index {index}", analytic[i][index], numerical)

    def along_a_direction(self, analytic: dict[int, np.ndarray]) -> None:
        directions = {i: self.rng.standard_normal(x.shape) * (1 + np.abs(x)) for i, x in self.point.items()}
        centre = {i: x.copy() for i, x in self.point.items()}
        ends = []
        for sign in (self.eps, -self.eps):
            for i, x in self.point.items():
                x[...] = centre[i] + sign * directions[i]
            ends.append(self.outputs())
        numerical = self.difference(*ends) / (2 * self.eps)
        total = sum(float(np.sum(analytic[i] * d)) for i, d in directions.items())
        self.compare(f"inputs {self.checked} along a random direction", total, numerical)

    def compare(self, place: str, analytic: float, numerical: float) -> None:
        if not abs(analytic - numerical) <= self.atol + self.rtol * abs(numerical):
            shapes = ", ".join(str(self.inputs[i].shape) for i in self.checked)
            raise GradientError(
                f"{self.name}: the gradient of {place} is {analytic:.10g} by backward but {numerical:.10g} by "
                f"differences (input shapes {shapes})"
            )


def gradgradcheck(
    function: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = EPS,
    rtol: float = RTOL,
    atol: float = ATOL,
    fast_mode: bool = False,
    raise_exception: bool = True,
    seed: int = 0,
) -> bool:
    """As `gradcheck`, of the gradient: second order through `create_graph=True` against differences of the first.

    The gradient is seen as a function of the inputs and of the cotangents, and checked for both.

    >>> import minidl
    >>> from minidl.testing import gradgradcheck
    >>> x = minidl.randn(3, dtype=minidl.float64, requires_grad=True)
    >>> gradgradcheck(lambda x: x**3, x)
    True
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    leaves = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    with same_random_numbers():
        outputs = [y for y in floating_outputs(function(*inputs)) if y.requires_grad]
    rng = np.random.default_rng(seed)
    cotangents = [Tensor(rng.standard_normal(y.shape).astype(y.dtype)).requires_grad_() for y in outputs]

    def gradient(*arguments: Any) -> list[Tensor]:
        xs, cs = arguments[: len(inputs)], arguments[len(inputs) :]
        # Under differences nothing requires a gradient, and nothing is recorded; the first gradient needs both.
        xs = [x if i not in leaves or x.requires_grad else x.detach().requires_grad_() for i, x in enumerate(xs)]
        with enable_grad():
            ys = [y for y in floating_outputs(function(*xs)) if y.requires_grad]
            found = grad(ys, [xs[i] for i in leaves], cs, create_graph=True, materialize_grads=True)
        return list(found)

    gradient.__name__ = f"gradient of {getattr(function, '__name__', type(function).__name__)}"
    if not outputs:
        raise ValueError("gradgradcheck: no output depends on an input that requires a gradient")
    return gradcheck(
        gradient,
        (*inputs, *cotangents),
        eps=eps,
        rtol=rtol,
        atol=atol,
        fast_mode=fast_mode,
        raise_exception=raise_exception,
        seed=seed + 1,
    )


def floating_outputs(outputs: Any) -> list[Tensor]:
    """The floating-point Tensors among what a function returned, in order."""
    if isinstance(outputs, Tensor):
        return [outputs] if outputs.dtype.kind == "f" else []
    if isinstance(outputs, list | tuple):
        return [y for output in outputs for y in floating_outputs(output)]
    if isinstance(outputs, dict):
        return floating_outputs(list(outputs.values()))
    return []


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """Put the default generator back afterwards, so that the next block draws the same numbers."""
    state = default_generator.get_state()
    try:
        yield
    finally:
        default_generator.set_state(state)
