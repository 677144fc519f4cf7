"""The atoms: each one's rule against finite differences, first and second order, and PyTorch's conventions at kinks."""

import math

import numpy as np
import pytest

import minidl
from minidl import primitives as P
from minidl.ops.samples import distinct, normal, positive, signed
from minidl.tensor import Tensor, apply
from minidl.testing import gradcheck, gradgradcheck

RNG = np.random.default_rng(0)
INDEX = np.array([[2, 0, 2], [1, 1, 0]])

# name -> (how to make the node, arrays to run it on)
CASES = {
    "Abs": (P.Abs, [signed(RNG, 3)]),
    "Add": (P.Add, [normal(RNG, 2, 1), normal(RNG, 3)]),
    "Cast": (lambda: P.Cast(dtype=np.dtype("float64")), [normal(RNG, 3)]),
    "Cat": (lambda: P.Cat(axis=1), [normal(RNG, 2, 1), normal(RNG, 2, 3)]),
    "Clip": (lambda: P.Clip(low=-0.11, high=0.31), [distinct(RNG, 9)]),
    "Clone": (P.Clone, [normal(RNG, 3)]),
    "Cos": (P.Cos, [normal(RNG, 3)]),
    "CumSum": (lambda: P.CumSum(axis=1), [normal(RNG, 2, 3)]),
    "Div": (P.Div, [normal(RNG, 2, 1), signed(RNG, 3)]),
    "Einsum": (
        lambda: P.Einsum(terms=("abx", "bc", "c"), result="ca"),
        [normal(RNG, *s) for s in ((2, 3, 2), (3, 4), (4,))],
    ),
    "Erf": (P.Erf, [normal(RNG, 3)]),
    "Exp": (P.Exp, [normal(RNG, 3)]),
    "Expand": (lambda: P.Expand(shape=(2, 3, 4)), [normal(RNG, 3, 1)]),
    "Expm1": (P.Expm1, [normal(RNG, 3)]),
    "Flip": (lambda: P.Flip(axes=(0, 2)), [normal(RNG, 2, 1, 3)]),
    "Fold": (lambda: P.Fold(shape=(2, 5, 6), stride=(2, 1), dilation=(1, 2)), [normal(RNG, 2, 2, 4, 2, 2)]),
    "Gather": (lambda: P.Gather(index=INDEX, axis=1), [normal(RNG, 2, 3)]),
    "GetItem": (lambda: P.GetItem(key=(slice(None), INDEX)), [normal(RNG, 2, 3)]),
    "Log": (P.Log, [positive(RNG, 3)]),
    "Log1p": (P.Log1p, [positive(RNG, 3)]),
    "MatMul": (P.MatMul, [normal(RNG, 2, 1, 2, 3), normal(RNG, 2, 3, 2)]),
    "Max": (lambda: P.Max(axes=(0, 2), keepdims=False), [distinct(RNG, 2, 2, 3)]),
    "Maximum": (P.Maximum, list(distinct(RNG, 2, 2, 3))),
    "Min": (lambda: P.Min(axes=(1,), keepdims=True), [distinct(RNG, 2, 2, 3)]),
    "Minimum": (P.Minimum, list(distinct(RNG, 2, 2, 3))),
    "Mul": (P.Mul, [normal(RNG, 2, 1), normal(RNG, 3)]),
    "Neg": (P.Neg, [normal(RNG, 3)]),
    "Pad": (lambda: P.Pad(widths=((0, 1), (2, 0)), value=3.0), [normal(RNG, 2, 3)]),
    "Permute": (lambda: P.Permute(axes=(2, 0, 1)), [normal(RNG, 2, 3, 4)]),
    "Pow": (P.Pow, [positive(RNG, 2, 1), normal(RNG, 3)]),
    "Power": (lambda: P.Power(c=2.5), [positive(RNG, 3)]),
    "Prod": (lambda: P.Prod(axis=1, keepdims=False), [signed(RNG, 2, 3)]),
    "PutItem": (lambda: P.PutItem(key=INDEX, shape=(3, 2)), [normal(RNG, 2, 3, 2)]),
    "Reshape": (lambda: P.Reshape(shape=(3, 2)), [normal(RNG, 2, 3)]),
    "Roll": (lambda: P.Roll(shifts=(1, -2), axes=(0, 1)), [normal(RNG, 2, 3)]),
    "Scale": (lambda: P.Scale(c=3.0), [normal(RNG, 3)]),
    "ScatterAdd": (lambda: P.ScatterAdd(index=INDEX, axis=0, shape=(3, 3)), [normal(RNG, 2, 3)]),
    "SetItem": (lambda: P.SetItem(key=(slice(None), 1)), [normal(RNG, 2, 3), normal(RNG, 1)]),
    "Shift": (lambda: P.Shift(c=3.0), [normal(RNG, 3)]),
    "Sin": (P.Sin, [normal(RNG, 3)]),
    "Sqrt": (P.Sqrt, [positive(RNG, 3)]),
    "Step": (lambda: P.Step(compute=np.floor), [distinct(RNG, 3)]),
    "Sub": (P.Sub, [normal(RNG, 2, 1), normal(RNG, 3)]),
    "Sum": (lambda: P.Sum(axes=(0, 2), keepdims=False), [normal(RNG, 2, 3, 2)]),
    "Tanh": (P.Tanh, [normal(RNG, 3)]),
    "Where": (lambda: P.Where(condition=np.array([True, False, True])), [normal(RNG, 2, 1), normal(RNG, 3)]),
    "Windows": (lambda: P.Windows(size=(2, 2), stride=(2, 1), dilation=(1, 2)), [normal(RNG, 2, 5, 6)]),
}


def test_every_primitive_has_a_case() -> None:
    assert set(CASES) == set(P.__all__) - {"unbroadcast"}


@pytest.mark.parametrize("name", CASES)
def test_first_and_second_order(name: str) -> None:
    make, arrays = CASES[name]
    tensors = [Tensor(a.copy(), requires_grad=True) for a in arrays]

    def function(*xs: Tensor) -> Tensor:
        return apply(make(), *xs)

    assert gradcheck(function, tensors)
    assert gradgradcheck(function, tensors)


@pytest.mark.parametrize("name", CASES)
def test_one_gradient_alone(name: str) -> None:
    """An input that needs no gradient costs none, and the others get theirs."""
    make, arrays = CASES[name]
    for i in range(len(arrays)):
        tensors = [Tensor(a.copy(), requires_grad=i == j) for j, a in enumerate(arrays)]
        assert gradcheck(lambda *xs: apply(make(), *xs), tensors)


def gradient(function, *values: float) -> list[float]:
    xs = [minidl.tensor(v, dtype=minidl.float64, requires_grad=True) for v in values]
    y = function(*xs)
    y.backward()
    return [x.grad.item() for x in xs]


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        (Tensor.abs, [0.0], [0.0]),
        (Tensor.maximum, [1.0, 1.0], [0.5, 0.5]),
        (Tensor.minimum, [1.0, 1.0], [0.5, 0.5]),
        (lambda x: x.clamp(0.0, 1.0), [0.0], [1.0]),
        (lambda x: x.clamp(0.0, 1.0), [1.0], [1.0]),
        (lambda x: x.clamp(0.0, 1.0), [1.5], [0.0]),
        (lambda x: x.norm(), [0.0], [0.0]),
        (lambda x: x**0, [0.0], [0.0]),
        (lambda x: x**2, [0.0], [0.0]),
        (lambda x, y: x**y, [0.0, 0.0], [0.0, 0.0]),
        (lambda x, y: x**y, [0.0, 2.0], [0.0, 0.0]),
        (lambda x, y: x**y, [2.0, 0.0], [0.0, math.log(2)]),
        (Tensor.sqrt, [0.0], [math.inf]),
        (Tensor.sign, [0.5], [0.0]),
        (Tensor.round, [0.4], [0.0]),
    ],
)
def test_at_kinks_and_ties(function, values: list[float], expected: list[float]) -> None:
    assert gradient(function, *values) == pytest.approx(expected)


def test_ties_of_reductions() -> None:
    x = minidl.tensor([1.0, 3.0, 3.0], requires_grad=True)
    x.max().backward()
    assert x.grad.tolist() == [0.0, 0.5, 0.5]
    x.grad = None
    x.amax(0).backward()
    assert x.grad.tolist() == [0.0, 0.5, 0.5]
    x.grad = None
    x.max(0).values.backward()  # the first has all, since it has the index
    assert x.grad.tolist() == [0.0, 1.0, 0.0]


def test_nan_wins() -> None:
    x = minidl.tensor([1.0, math.nan, 3.0], requires_grad=True)
    assert math.isnan(x.max().item()) and math.isnan(x.maximum(minidl.zeros(3)).tolist()[1])
    assert x.argmax().item() == 1 and math.isnan(x.min(0).values.item())
    assert math.isnan(x.clamp(0.0, 2.0).tolist()[1])
    x.max().backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("zeros", [[], [1], [0, 2]])
def test_gradient_of_a_product_with_zeros(zeros: list[int]) -> None:
    values = np.array([2.0, 3.0, 5.0, 7.0])
    values[zeros] = 0
    x = Tensor(values, requires_grad=True)
    x.prod().backward()
    others = [np.prod(np.delete(values, i)) for i in range(4)]
    np.testing.assert_allclose(x.grad.numpy(), others)


def test_huge_and_tiny_values() -> None:
    x = minidl.tensor([-1000.0, 0.0, 1000.0], requires_grad=True)
    assert x.sigmoid().tolist() == [0.0, 0.5, 1.0]
    assert x.logsumexp(0).item() == 1000.0
    x.logsumexp(0).backward()
    assert x.grad.tolist() == [0.0, 0.0, 1.0]
    assert minidl.tensor([-math.inf, -math.inf]).logsumexp(0).item() == -math.inf
    assert minidl.tensor(1e-12, dtype=minidl.float64).expm1().item() == pytest.approx(1e-12, rel=1e-9)
    assert minidl.tensor(1e-12, dtype=minidl.float64).log1p().item() == pytest.approx(1e-12, rel=1e-9)
