"""The checks themselves: what is right passes, what is wrong is named."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl.autograd import Function
from minidl.function import call
from minidl.ops.table import OPERATIONS, Operation
from minidl.primitives import Exp
from minidl.tensor import Tensor, apply
from minidl.testing import (
    CheckError,
    GradientError,
    Sample,
    check_all,
    check_function,
    check_operation,
    check_sample,
    gradcheck,
    gradgradcheck,
)
from minidl.testing import strategies as s


def leaf(*shape: int) -> Tensor:
    return minidl.randn(*shape, dtype=minidl.float64, requires_grad=True)


class Scaled(Function):
    """y = 3 x, with a backward that the tests get wrong."""

    factor = 3.0

    def forward(self, x):
        return x * 3.0

    def backward(self, g):
        return g * self.factor


# gradcheck


def test_gradcheck_passes_what_is_right() -> None:
    x, y = leaf(2, 3), leaf(3)
    assert gradcheck(lambda x, y: x * y.exp(), [x, y]) is True
    assert gradcheck(lambda x, y: (x.sum(1), {"b": [y * 2.0]}, 5, "text", y > 0), (x, y))  # nested outputs
    assert gradcheck(lambda x, n, options: x * n * options["c"], [x, 3, {"c": 2.0}])  # other arguments
    assert gradcheck(lambda x, y: x * 2.0, [x, y])  # y is not used
    assert gradcheck(lambda x: x.floor(), [x])
    assert gradcheck(lambda x: x.T, minidl.randn(2, 3, dtype=minidl.float64).T.requires_grad_())
    assert gradcheck(lambda x: x * minidl.rand(3, dtype=minidl.float64), [y])  # the same random numbers each time
    assert gradcheck(lambda x: x.sum(), [leaf(0, 2)])
    assert gradcheck(lambda x: x * 2.0, [leaf()], fast_mode=True)


def test_gradcheck_names_input_index_and_both_values() -> None:
    class Wrong(Scaled):
        def backward(self, g):
            g = g * 3.0
            g[1, 2] += 1e-4
            return g

    def tripled(n, x):
        return apply(Wrong(), x)

    x = leaf(2, 3)
    with pytest.raises(GradientError, match=r"tripled: the gradient of input 1 at index \(1, 2\) is") as caught:
        gradcheck(tripled, [5, x])
    analytic, numerical = map(float, re.findall(r"is (\S+) by backward but (\S+) by", str(caught.value))[0])
    assert analytic - numerical == pytest.approx(1e-4, rel=1e-3)
    assert gradcheck(tripled, [5, x], raise_exception=False) is False
    assert gradcheck(tripled, [5, x], fast_mode=True, raise_exception=False) is False
    assert gradcheck(tripled, [5, x], atol=1e-3) is True


def test_gradcheck_is_not_blind_to_what_ones_hide() -> None:
    """For a cotangent of ones the gradient of a softmax is 0, as is that of a backward that does nothing."""

    class Zero(Function):
        def forward(self, x):
            e = np.exp(x - x.max(-1, keepdims=True))
            return e / e.sum(-1, keepdims=True)

        def backward(self, g):
            return np.zeros_like(g)

    assert not gradcheck(lambda x: apply(Zero(), x), leaf(2, 3), raise_exception=False)


def test_gradcheck_finds_a_gradient_that_is_missing() -> None:
    x = leaf(3)
    assert not gradcheck(lambda x: x * x.detach(), x, raise_exception=False)
    assert not gradcheck(lambda x: x.detach() * 2.0, x, raise_exception=False)


def test_gradcheck_leaves_everything_as_it_was() -> None:
    x = leaf(2)
    before, state = x.tolist(), minidl.default_generator.get_state()
    gradcheck(lambda x: x * minidl.rand(2, dtype=minidl.float64), x)
    gradgradcheck(lambda x: x**3, x)
    assert x.tolist() == before and x.grad is None and minidl.default_generator.get_state() == state


def test_misuse_of_gradcheck() -> None:
    with pytest.raises(ValueError, match="no input requires a gradient"):
        gradcheck(Tensor.exp, minidl.zeros(2, dtype=minidl.float64))
    with pytest.raises(TypeError, match="input 0 is float32"):
        gradcheck(Tensor.exp, minidl.zeros(2, requires_grad=True))
    with pytest.raises(ValueError, match="gradgradcheck: no output"):
        gradgradcheck(lambda x: x > 0, leaf(2))


def test_gradgradcheck_finds_a_rule_that_cannot_be_differentiated() -> None:
    class Detached(Exp):
        """Right at first order; but the kept output is used as a constant."""

        def backward(self, g):
            return g * np.asarray(self.output)

    x = leaf(3)
    assert gradcheck(lambda x: call(Detached, x), x)
    with pytest.raises(GradientError, match="gradient of"):
        gradgradcheck(lambda x: call(Detached, x), x)
    assert gradgradcheck(lambda x: call(Exp, x), x)
    assert gradgradcheck(lambda x: call(Exp, x), x, fast_mode=True)
    assert not gradgradcheck(lambda x: call(Detached, x), x, fast_mode=True, raise_exception=False)


# The factory: each check rejects what it is there for


def rejected(match: str, *, definition=lambda x: x * 3.0, sample: Sample | None = None, **methods) -> None:
    """A Function like Scaled but for some methods fails with this message."""
    passes = type("Student", (Scaled,), methods)
    with pytest.raises(CheckError, match=match):
        check_function(passes, definition, sample or Sample(np.random.default_rng(0).standard_normal((3, 4))))


def test_a_right_function_passes() -> None:
    samples = [Sample(np.ones((2, 3))), Sample(np.ones(())), Sample(np.ones((0, 2)))]
    assert check_function(Scaled, lambda x: x * 3.0, *samples) == 3


def test_wrong_value() -> None:
    rejected("Student on Sample.*output 0 against the definition", forward=lambda self, x: x * 3.001)


def test_wrong_shape_and_dtype() -> None:
    rejected("output 0 against the definition", forward=lambda self, x: x[None] * 3.0)
    rejected("output 0 is float64 for float32", forward=lambda self, x: x.astype(np.float64) * 3.0)
    rejected("float64 .*is not float64|gradient of input 0", backward=lambda self, g: g.sum(0) * 3.0)
    rejected("gradient of input 0 is float64 for a float32", backward=lambda self, g: g.astype(np.float64) * 3.0)


def test_wrong_gradient() -> None:
    rejected("gradient of input 0 against the definition", backward=lambda self, g: g * 2.0)


def test_a_definition_that_is_wrong_too_does_not_help() -> None:
    """The finite differences know better: both, value and definition's gradient, would have to be wrong alike."""

    def definition(x):
        return x * 3.0 + (x * 0.001).detach() * 1000.0 - (x * 0.001) * 1000.0

    rejected("by backward but .* by differences", definition=definition, backward=lambda self, g: g * 2.0)


def test_writes_into_input() -> None:
    def forward(self, x):
        x *= 3.0
        return x.copy()

    rejected("Student", forward=forward)


def test_writes_into_cotangent() -> None:
    def backward(self, g):
        g *= 3.0
        return g

    with pytest.raises((CheckError, ValueError)):
        check_function(type("Student", (Scaled,), {"backward": backward}), lambda x: x * 3.0, Sample(np.ones(3)))


def test_gives_its_input_away() -> None:
    def forward(self, x):
        self.mine = x * 0 + 3.0
        return x * 3.0

    def backward(self, g):
        self.mine *= g  # right the first time only
        return self.mine

    rejected("in a second backward|opposite|changed", forward=forward, backward=backward)


def test_gradient_in_the_inputs_memory() -> None:
    class Half(Function):
        def forward(self, x):
            return x * x / 2

        def backward(self, g):
            if np.all(g == 1):
                return self.inputs[0]
            return g * self.inputs[0]

    x = Tensor(np.ones(3), requires_grad=True)
    apply(Half(), x).sum().backward()
    assert check_function(Half, lambda x: x * x / 2, Sample(np.ones(3)))  # random cotangents: a copy each time

    def backward(self, g):
        np.multiply(self.inputs[0], g, out=self.inputs[0])
        return self.inputs[0]

    passes = type("Half", (Half,), {"backward": backward})
    with pytest.raises((CheckError, ValueError)):
        check_function(passes, lambda x: x * x / 2, Sample(np.ones(3)))


def test_not_repeatable() -> None:
    rng = np.random.default_rng()
    rejected("two runs differ in their bits", forward=lambda self, x: x * 3.0 + 1e-13 * rng.random())


def test_undeclared_randomness() -> None:
    op = Operation("noisy", lambda x: x + minidl.rand_like(x), lambda rng: [Sample(np.ones(3))])
    with pytest.raises(CheckError, match="seeded=True"):
        check_operation(op)
    check_operation(Operation("noisy", lambda x: x + minidl.rand_like(x), op.samples, seeded=True))


def test_depends_on_the_memory_layout() -> None:
    def forward(self, x):
        return np.ndarray(x.shape, x.dtype, x.tobytes("A")) * 3.0  # as a kernel that ignores strides

    rejected("for fortran inputs against contiguous", forward=forward)

    def backward(self, g):
        return np.ndarray(g.shape, g.dtype, g.tobytes("A")) * 3.0

    rejected("for fortran arrays against contiguous", backward=backward)


def test_a_gradient_only_in_company() -> None:
    class Product(Function):
        def forward(self, a, b):
            return a * b

        def backward(self, g):
            a, b = self.inputs
            return (g * b, g * a) if all(self.needs) else (g * a, g * b)

    rng = np.random.default_rng(0)
    with pytest.raises(CheckError, match="alone against that of all at once"):
        check_function(Product, lambda a, b: a * b, Sample(rng.random(3), rng.random(3)))


def test_float32_that_lost_its_precision() -> None:
    def forward(self, x):
        return (x.astype(np.float16) * 3.0).astype(x.dtype) if x.dtype == np.float32 else x * 3.0

    rejected("float32 output 0 against the float64 definition", forward=forward)


def test_second_order_only() -> None:
    """First order is right everywhere; the gradient's own graph is not."""

    def doubled(x):
        return call(Exp, x) + (x.detach().exp() * (x - x.detach()) - x.exp() + x.detach().exp())

    op = Operation("cut", doubled, lambda rng: [Sample(rng.random(3))])
    with pytest.raises(CheckError, match="gradient of cut"):
        check_operation(op)


def test_without_samples_or_definition() -> None:
    with pytest.raises(CheckError, match="no samples"):
        check_operation(Operation("nothing", minidl.exp, lambda rng: []))
    with pytest.raises(ValueError, match="Scaled has no definition"):
        check_function(Scaled)


def test_check_all_names_every_failure() -> None:
    wrong = Operation("wrong", lambda x: x.detach() * 2.0, lambda rng: [Sample(rng.random(2))])
    with pytest.raises(CheckError, match="2 of 3 operations fail"):
        check_all({"a": wrong, "b": OPERATIONS["exp"], "c": wrong})
    assert check_all({"exp": OPERATIONS["exp"]}) == 1


# Strategies


@given(s.arrays(dtype=s.dtypes(), stride_0=True))
def test_arrays_are_what_they_say(a) -> None:
    assert isinstance(a, np.ndarray) and a.ndim <= 4 and max(a.shape, default=0) <= 4


def test_strategies_reach_every_layout() -> None:
    found = set()

    @given(s.arrays((3, 4), stride_0=True))
    def look(a) -> None:
        found.add(
            "read-only" if not a.flags.writeable and 0 not in a.strides
            else "contiguous" if a.flags.c_contiguous
            else "fortran" if a.flags.f_contiguous
            else "reversed" if a.strides[0] < 0
            else "broadcast" if a.strides[0] == 0
            else "strided"
        )  # fmt: skip

    look()
    assert found == {"read-only", "contiguous", "fortran", "reversed", "broadcast", "strided"}


@given(s.broadcastable_shapes(3))
def test_shapes_broadcast(shapes) -> None:
    np.broadcast_shapes(*shapes)


@given(st.data())
def test_indices_are_legal(data) -> None:
    shape = data.draw(s.shapes(0, 3))
    np.zeros(shape)[data.draw(s.indices(shape))]


@pytest.mark.parametrize("name", ["conv2d", "max_pool2d", "avg_pool2d", "linear", "cross_entropy"])
@settings(max_examples=20)
@given(data=st.data())
def test_drawn_arguments(name: str, data) -> None:
    """Every operation of a convolutional network, at whatever the strategies come up with."""
    check_sample(OPERATIONS[name], data.draw(getattr(s, f"{name}_arguments")()))


@given(s.norm_arguments())
def test_drawn_arguments_of_batch_norm(sample) -> None:
    check_sample(OPERATIONS["batch_norm"], sample)
