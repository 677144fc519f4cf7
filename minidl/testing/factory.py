"""One set of checks for every operation of the op table, and for a Function that a student hands in.

What is checked for each sample call is the list of functions below `check_sample`; each raises CheckError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minidl.function import Function
from minidl.mode import definitions, no_grad
from minidl.ops.table import OPERATIONS, Operation, Sample, run
from minidl.random import default_generator
from minidl.tensor import Tensor
from minidl.testing.calls import Call, draw_cotangents, map_sample, pull
from minidl.testing.gradcheck import (
    ATOL,
    RTOL,
    GradientError,
    floating_outputs,
    gradcheck,
    gradgradcheck,
    same_random_numbers,
)
from minidl.testing.layouts import LAYOUTS

DIFFERENCES = 30  # up to so many elements each has a difference of its own; more share one along a random direction
FLOAT32_TOLERANCE = 1e-4  # of the largest value: float32 has 24 bits, and a sum of n values loses some


class CheckError(AssertionError):
    """An operation fails a check; the message names the operation, the sample and what differs."""


def check_all(operations: Mapping[str, Operation] = OPERATIONS, *, seed: int = 0) -> int:
    """Check every operation of a table; return how many. All that fail are named in one CheckError."""
    failures = []
    for op in operations.values():
        try:
            check_operation(op, seed=seed)
        except CheckError as error:
            failures.append(str(error))
    if failures:
        raise CheckError(f"{len(failures)} of {len(operations)} operations fail:\n" + "\n".join(failures))
    return len(operations)


def check_operation(op: Operation, *, seed: int = 0) -> int:
    """Check one operation on each of its samples; return how many there were.

    >>> from minidl.ops.linalg import matmul
    >>> from minidl.ops.table import OPERATIONS
    >>> from minidl.testing import check_operation
    >>> check_operation(OPERATIONS["matmul"])
    6

    Raises:
        CheckError: the operation fails a check, or has no samples.
    """
    samples = list(op.try_on(np.random.default_rng(seed)))
    if not samples:
        raise CheckError(f"{op.name}: there are no samples to check it on")
    for sample in samples:
        check_sample(op, sample, seed=seed)
    return len(samples)


def check_function(
    function: type[Function],
    definition: Callable[..., Any] | None = None,
    *samples: Sample,
    smooth: bool = True,
    seed: int = 0,
) -> int:
    """Check a Function of one's own, such as a student's, against a definition; return how many samples there were.

    Args:
        function: the hand-written passes.
        definition: the same mathematics on Tensors, called with the inputs and the options; by default
            `function.definition`.
        samples: each has the inputs (float64 ndarrays) and the Function's options as keywords.
        smooth: the samples stay clear of kinks, so that finite differences apply too.

    >>> import numpy as np
    >>> from minidl.autograd import Function
    >>> from minidl.testing import Sample, check_function
    >>> class Square(Function):
    ...     def forward(self, x):
    ...         return x * x
    ...     def backward(self, g):
    ...         return g * self.inputs[0]  # the factor 2 is missing
    >>> check_function(Square, lambda x: x**2, Sample(np.array([1.0, 2.0])))
    Traceback (most recent call last):
    minidl.testing.factory.CheckError: Square on Sample(float64[2]): gradient of input 0 against the definition: ...
    """
    definition = definition or function.definition
    if definition is None:
        raise ValueError(f"check_function: {function.__name__} has no definition to hold it against")
    passes = type(function.__name__, (function,), {"definition": staticmethod(definition)})

    def operation(*inputs: Any, **options: Any) -> Any:
        return run(passes(**options), *inputs)

    return check_operation(Operation(function.__name__, operation, lambda rng: samples, passes, smooth), seed=seed)


# The checks


def check_sample(op: Operation, sample: Sample, *, seed: int = 0) -> None:
    """Check one call of an operation; CheckError says what is wrong.

    Strategies draw samples too: `@given(conv2d_arguments())`, then `check_sample(OPERATIONS["conv2d"], sample)`.
    """
    call = Call.of(op, sample)
    try:
        with same_random_numbers():
            default_generator.manual_seed(seed)
            run_checks(call, seed)
    except CheckError:
        raise
    except Exception as error:
        raise CheckError(f"{call.name}: raises {type(error).__name__}: {error}") from error


def run_checks(call: Call, seed: int) -> None:
    check_randomness(call)
    with no_grad():
        _, outputs = call.run(())
    values = [y.detach().numpy() for y in outputs]
    cotangents = draw_cotangents(values, seed)
    gradients = check_against_definition(call, values, cotangents)
    check_memory(call, cotangents, values)
    check_repeatable(call, cotangents)
    check_each_alone(call, cotangents, gradients)
    check_layouts(call, cotangents, values, gradients)
    check_float32(call, cotangents)
    if call.op.smooth:
        check_differences(call, seed)


def check_randomness(call: Call) -> None:
    """Only an operation that says so draws random numbers; under one seed it draws the same."""
    before = default_generator.get_state()
    args, kwargs = map_sample(call.sample, lambda x: Tensor(x) if isinstance(x, np.ndarray) else copied(x))
    with no_grad():
        call.op.function(*args, **kwargs)
    drew = default_generator.get_state() != before
    default_generator.set_state(before)
    if drew and not call.op.seeded:
        raise CheckError(f"{call.name}: draws random numbers, but is not registered with seeded=True")


def copied(x: Any) -> Any:
    return x.detach().clone() if isinstance(x, Tensor) else x


def check_against_definition(call: Call, values: list[np.ndarray], cotangents: list[np.ndarray]) -> list[np.ndarray]:
    """Values, shapes, dtypes and gradients are those of the definition; returns the gradients."""
    with definitions(), no_grad():
        expected_values = [y.detach().numpy() for y in call.run(())[1]]
    if len(values) != len(expected_values):
        raise CheckError(f"{call.name}: {len(values)} outputs, but the definition has {len(expected_values)}")
    for i, (y, wanted) in enumerate(zip(values, expected_values, strict=True)):
        compare(call, f"output {i} against the definition", y, wanted)
    with definitions():
        _, expected = call.gradients(cotangents)
    recorded, got = call.gradients(cotangents)
    for i, (y, wanted) in enumerate(zip(recorded, values, strict=True)):
        compare(call, f"output {i} with a graph against the same without", y, wanted)
    for i, g, wanted in zip(call.differentiable, got, expected, strict=True):
        compare(call, f"gradient of input {i} against the definition", g, wanted)
        if g.shape != call.arrays[i].shape or g.dtype != call.arrays[i].dtype:
            raise CheckError(f"{call.name}: gradient of input {i} is {g.dtype} {g.shape}, unlike the input")
    return got


def check_memory(call: Call, cotangents: list[np.ndarray], values: list[np.ndarray]) -> None:
    """Inputs and cotangents are not written to; gradients share memory with nothing; a second backward is as good."""
    call = call.with_arrays(np.copy)
    kept = [a.copy() for a in (*call.arrays, *cotangents)]
    leaves, outputs = call.run()
    first = pull(outputs, leaves, cotangents, retain_graph=True)
    snapshot = [g.copy() for g in first]
    second = pull(outputs, leaves, [-c for c in cotangents], retain_graph=True)
    third = pull(outputs, leaves, cotangents)
    for what, a, before in zip(labels(call, cotangents), (*call.arrays, *cotangents), kept, strict=True):
        if not np.array_equal(a, before, equal_nan=a.dtype.kind == "f"):
            raise CheckError(f"{call.name}: {what} was written to")
    for i, y, value in zip(range(len(outputs)), outputs, values, strict=True):
        compare(call, f"output {i} after backward against the same before", y.detach().numpy(), value)
    for i, g, before, opposite, again in zip(call.differentiable, first, snapshot, second, third, strict=True):
        if not np.array_equal(g, before, equal_nan=True):
            raise CheckError(f"{call.name}: gradient of input {i} changed during a later backward")
        compare(call, f"gradient of input {i} for the opposite cotangent against its opposite", opposite, -g)
        compare(call, f"gradient of input {i} in a second backward against the first", again, g)
    places = [*zip(labels(call, cotangents), (*call.arrays, *cotangents), strict=True)]
    places += [(f"output {i}", y.detach().numpy()) for i, y in enumerate(outputs)]
    places += [(f"the gradient of input {i}", g) for i, g in zip(call.differentiable, first, strict=True)]
    for i, g in zip(call.differentiable, first, strict=True):
        for what, a in places:
            if a is not g and np.shares_memory(g, a):
                raise CheckError(f"{call.name}: gradient of input {i} shares memory with {what}")


def labels(call: Call, cotangents: list[np.ndarray]) -> list[str]:
    return [f"input {i}" for i in range(len(call.arrays))] + [f"cotangent {i}" for i in range(len(cotangents))]


def check_repeatable(call: Call, cotangents: list[np.ndarray]) -> None:
    """Two runs give the same bits."""
    (first, gradients), (second, again) = call.gradients(cotangents), call.gradients(cotangents)
    for a, b in zip((*first, *gradients), (*second, *again), strict=True):
        if a.tobytes() != b.tobytes():
            raise CheckError(f"{call.name}: two runs differ in their bits")


def check_each_alone(call: Call, cotangents: list[np.ndarray], gradients: list[np.ndarray]) -> None:
    """An input has the same gradient if it is the only one to require it."""
    if len(gradients) < 2:
        return
    for i, together in zip(call.differentiable, gradients, strict=True):
        _, (alone,) = call.gradients(cotangents, [i])
        compare(call, f"gradient of input {i} alone against that of all at once", alone, together)


def check_layouts(
    call: Call, cotangents: list[np.ndarray], values: list[np.ndarray], gradients: list[np.ndarray]
) -> None:
    """Inputs and cotangents in other memory layouts, and read-only, give the same result."""
    for layout, convert in LAYOUTS.items():
        outputs, found = call.with_arrays(convert).gradients([convert(c) for c in cotangents])
        for i, (y, wanted) in enumerate(zip(outputs, values, strict=True)):
            compare(call, f"output {i} for {layout} inputs against contiguous ones", y, wanted)
        for i, g, wanted in zip(call.differentiable, found, gradients, strict=True):
            compare(call, f"gradient of input {i} for {layout} arrays against contiguous ones", g, wanted)


def check_float32(call: Call, cotangents: list[np.ndarray]) -> None:
    """float32 gives float32, close to the float64 definition at the same, rounded, inputs."""
    single = call.with_arrays(lambda a: a.astype(np.float32) if a.dtype == np.float64 else a)
    double = call.with_arrays(lambda a: a.astype(np.float32).astype(np.float64) if a.dtype == np.float64 else a)
    rounded = [c.astype(np.float32) for c in cotangents]
    with definitions():
        wanted_values, wanted_gradients = double.gradients([c.astype(np.float64) for c in rounded])
    with no_grad():
        _, outputs = single.run(())
    for i, (y, wanted) in enumerate(zip(outputs, wanted_values, strict=True)):
        expected = np.dtype(np.float32) if wanted.dtype == np.float64 and call.differentiable else wanted.dtype
        if y.dtype != expected:
            raise CheckError(f"{call.name}: output {i} is {y.dtype} for float32 inputs, not {expected}")
    values, gradients = single.gradients(rounded)
    for i, g in zip(call.differentiable, gradients, strict=True):
        if g.dtype != single.arrays[i].dtype:
            raise CheckError(f"{call.name}: gradient of input {i} is {g.dtype} for a float32 input")
    if call.op.seeded:  # other random numbers are drawn for another dtype
        return
    with definitions():  # its error says how well the problem is conditioned
        plain_values, plain_gradients = single.gradients(rounded)
    for i, (y, plain, wanted) in enumerate(zip(values, plain_values, wanted_values, strict=True)):
        compare_float32(call, f"float32 output {i}", y, plain, wanted)
    for i, g, plain, wanted in zip(call.differentiable, gradients, plain_gradients, wanted_gradients, strict=True):
        compare_float32(call, f"float32 gradient of input {i}", g, plain, wanted)


def compare_float32(call: Call, what: str, got: np.ndarray, plain: np.ndarray, wanted: np.ndarray) -> None:
    """CheckError unless float32 is as near the float64 definition as its digits, or the definition's error, allow."""
    finite = np.isfinite(wanted)
    allowed = FLOAT32_TOLERANCE * np.abs(wanted[finite]).max(initial=0)
    if wanted.dtype.kind == "f":
        allowed += 10 * np.abs(plain[finite] - wanted[finite]).max(initial=0)
    compare(call, f"{what} against the float64 definition", got.astype(wanted.dtype), wanted, float(allowed))


def check_differences(call: Call, seed: int) -> None:
    """First and second order against finite differences."""
    asked = call.differentiable
    tensors = [Tensor(a.copy(), requires_grad=i in asked) for i, a in enumerate(call.arrays)]

    def function(*tensors: Tensor) -> Any:
        return call.run_on(tensors)

    function.__name__ = call.name
    try:
        if asked and floating_outputs(function(*tensors)):
            many = sum(call.arrays[i].size for i in asked) > DIFFERENCES
            gradcheck(function, tensors, seed=seed, fast_mode=many)
            if any(y.requires_grad for y in floating_outputs(function(*tensors))):
                gradgradcheck(function, tensors, seed=seed, fast_mode=True)
    except GradientError as error:
        raise CheckError(str(error)) from None


def compare(call: Call, what: str, got: np.ndarray, wanted: np.ndarray, atol: float = ATOL) -> None:
    """CheckError unless two arrays agree, in shape and dtype too."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        raise CheckError(f"{call.name}: {what}: {got.dtype} {got.shape} is not {wanted.dtype} {wanted.shape}")
    exact = wanted.dtype.kind != "f"
    close = got == wanted if exact else np.isclose(got, wanted, RTOL, atol, equal_nan=True)
    if not np.all(close):
        index = tuple(int(i) for i in np.argwhere(~close)[0])
        raise CheckError(
            f"{call.name}: {what}: {int((~close).sum())} of {close.size} values differ, first at index {index}: "
            f"{got[index]} is not {wanted[index]}"
        )
