"""Tensor among NumPy and Python: conversions, dtype rules, copies, pickles, factories, random numbers, messages."""

import copy
import inspect
import json
import pickle

import numpy as np
import pytest
from hypothesis import given

import minidl
from minidl.dtypes import SUPPORTED
from minidl.tensor import Tensor
from minidl.testing.strategies import arrays, dtypes

# To and from NumPy


@given(a=arrays(dtype=dtypes()))
def test_there_and_back(a) -> None:
    for t in (minidl.from_numpy(a), minidl.as_tensor(a), Tensor(a)):
        assert t.dtype == a.dtype and t.shape == a.shape and t.numel() == a.size and t.ndim == a.ndim
        assert not a.size or np.shares_memory(t.numpy(), a)
        np.testing.assert_array_equal(np.asarray(t), a)
    copied = minidl.tensor(a)
    assert copied.dtype == a.dtype and not np.shares_memory(copied.numpy(), a)
    assert copied.numpy().flags.writeable and copied.is_contiguous()
    assert copied.tolist() == a.tolist()


def test_numpy_and_array_protocol() -> None:
    x = minidl.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="detach"):
        x.numpy()
    assert np.asarray(x.detach(), dtype=np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(x.detach(), copy=True), x.detach().numpy())
    assert np.asarray(x.detach()) is x.detach().numpy()
    assert float(minidl.tensor(2.5)) == 2.5 and int(minidl.tensor(2)) == 2 and [10, 20][minidl.tensor(1)] == 20
    assert f"{minidl.tensor(2.5):.2f}" == "2.50" and list(range(minidl.tensor(3))) == [0, 1, 2]


def test_ndarray_on_the_left_gives_a_tensor() -> None:
    a, x = np.array([1.0, 2.0]), minidl.tensor([3.0, 4.0], dtype=minidl.float64, requires_grad=True)
    for y in (a * x, a - x, a / x, a @ x, a + x, np.exp(x), np.maximum(a, x), np.float64(2) * x):
        assert isinstance(y, Tensor) and y.requires_grad
    assert isinstance(a < x, Tensor) and (a == x).dtype == bool
    with pytest.raises(TypeError, match="arctan2 is not defined on Tensors"):
        np.arctan2(a, x)
    with pytest.raises(TypeError):
        np.add(a, x, out=a)
    with pytest.raises(TypeError):
        x + "1"
    with pytest.raises(TypeError):
        x + None


def test_in_place_on_an_ndarray_is_no_silent_cast() -> None:
    a = np.array([1.0, 2.0])
    with pytest.raises(TypeError):
        a += minidl.tensor([1.0, 1.0], dtype=minidl.float64)


# dtypes


def test_python_numbers_and_lists() -> None:
    assert minidl.tensor(1.0).dtype == minidl.float32 and minidl.tensor([1.0, 2]).dtype == minidl.float32
    assert minidl.tensor(1).dtype == minidl.int64 and minidl.tensor(True).dtype == minidl.bool
    assert minidl.tensor(np.float64(1)).dtype == minidl.float64
    assert minidl.tensor([1, 2], dtype=minidl.float64).dtype == minidl.float64
    assert minidl.tensor([minidl.tensor(1.0), minidl.tensor(2.0)]).tolist() == [1.0, 2.0]
    assert minidl.tensor([]).shape == (0,) and minidl.tensor([]).dtype == minidl.float32
    assert minidl.float32 is np.dtype("float32")


def test_float32_and_float64_do_not_mix() -> None:
    a, b = minidl.ones(2), minidl.ones(2, dtype=minidl.float64)
    for function in (lambda: a + b, lambda: a @ b, lambda: b < a, lambda: minidl.cat([a, b]), lambda: a.maximum(b)):
        with pytest.raises(TypeError, match=r"float32 and float64|float64 and float32"):
            function()
    with pytest.raises(TypeError, match="where"):
        minidl.where(a > 0, a, b)
    with pytest.raises(TypeError, match="einsum"):
        minidl.einsum("i,i", a, b)
    assert (a * minidl.tensor(2.0, dtype=minidl.float64)).dtype == minidl.float32  # a 0-dimensional one is a number


def test_integers_meet_floats() -> None:
    n, x = minidl.tensor([1, 2]), minidl.tensor([0.5, 0.5], dtype=minidl.float64)
    assert (n + x).dtype == minidl.float64 and (n * 0.5).dtype == minidl.float32 and (n * 2).dtype == minidl.int64
    assert (n / 2).dtype == minidl.float32 and (n / x).dtype == minidl.float64
    assert (minidl.tensor([True, False]) + 1).dtype == minidl.int64
    assert (minidl.tensor([1], dtype=minidl.int8) + n).dtype == minidl.int64
    for name in ("exp", "log", "sqrt", "sin", "tanh", "sigmoid", "mean", "var", "norm"):
        with pytest.raises(TypeError, match=f"{name}: input must be floating-point, but is int64"):
            getattr(n, name)()


@pytest.mark.parametrize("dtype", SUPPORTED, ids=str)
def test_casts(dtype) -> None:
    x = minidl.tensor([0.0, 1.0, 2.0])
    assert x.to(dtype).dtype == dtype and (x.to(dtype) is x) == (dtype == minidl.float32)
    assert x.to(dtype).numpy().tolist() == np.array([0.0, 1.0, 2.0]).astype(dtype).tolist()
    assert x.type_as(minidl.zeros(1, dtype=dtype)).dtype == dtype
    assert minidl.zeros(2, dtype=dtype).dtype == minidl.ones_like(x, dtype=dtype).dtype == dtype


def test_a_cast_passes_the_gradient_back() -> None:
    x = minidl.tensor([1.0, 2.0], requires_grad=True)
    (x.double() ** 2).sum().backward()
    assert x.grad.dtype == minidl.float32 and x.grad.tolist() == [2.0, 4.0]
    assert not x.long().requires_grad


@pytest.mark.parametrize("dtype", ["complex128", "float16", "uint64", "object", "U3"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises(TypeError, match="not supported"):
        minidl.tensor(np.zeros(2, dtype))
    with pytest.raises(TypeError, match="not supported"):
        minidl.zeros(2, dtype=dtype)
    with pytest.raises(TypeError, match="not supported"):
        minidl.zeros(2).to(dtype)


def test_foreign_byte_order_becomes_ours() -> None:
    x = minidl.tensor(np.array([1.0, 2.0], ">f8"))
    assert x.dtype.isnative and x.tolist() == [1.0, 2.0]


# Copies


def test_deepcopy_and_pickle_of_leaves() -> None:
    x = minidl.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    for again in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert again.requires_grad and again.is_leaf and again.tolist() == [1.0, 2.0]
        assert not np.shares_memory(again.detach().numpy(), x.detach().numpy())
    twin = copy.deepcopy(x)
    assert twin.grad.tolist() == [2.0, 4.0] and twin.grad is not x.grad
    memo = copy.deepcopy([x, x])
    assert memo[0] is memo[1]
    for function in (copy.deepcopy, pickle.dumps):
        with pytest.raises(RuntimeError, match="only leaves"):
            function(x * 2.0)


def test_repr() -> None:
    assert repr(minidl.tensor([1.0, 2.0])) == "tensor([1., 2.])"
    assert repr(minidl.tensor([1.0], dtype=minidl.float64)) == "tensor([1.], dtype=float64)"
    x = minidl.tensor(1.0, requires_grad=True)
    assert repr(x) == "tensor(1., requires_grad=True)" and repr(x * 2.0) == "tensor(2., grad_fn=<scale>)"
    assert repr(minidl.tensor([1, 2])) == "tensor([1, 2])" and str(minidl.tensor(True)) == "tensor(True)"


def test_help_shows_every_method() -> None:
    """No method is attached from elsewhere, and each says what it does."""
    for name, method in inspect.getmembers(Tensor, inspect.isfunction):
        if not name.startswith("_"):
            assert method.__doc__, f"Tensor.{name} has no docstring"
    for name in ("__eq__", "__hash__", "__contains__", "__iter__", "__len__"):
        assert hasattr(Tensor, name)
    assert len({minidl.zeros(1), minidl.zeros(1)}) == 2  # hashed by identity, as PyTorch's


# Factories


def test_factories() -> None:
    assert minidl.zeros(2, 3).shape == minidl.zeros((2, 3)).shape == minidl.zeros([2, 3]).shape == (2, 3)
    assert minidl.ones(()).item() == 1.0 and minidl.zeros().shape == ()
    assert minidl.full((2,), 7).dtype == minidl.int64 and minidl.full((2,), 7.0).tolist() == [7.0, 7.0]
    assert minidl.full((), True).dtype == minidl.bool
    assert minidl.arange(3).tolist() == [0, 1, 2] and minidl.arange(1, 2, 0.5).tolist() == [1.0, 1.5]
    assert minidl.arange(3.0).dtype == minidl.float32 and minidl.arange(5, 0, -2).tolist() == [5, 3, 1]
    assert minidl.linspace(0, 1, 5).tolist() == [0, 0.25, 0.5, 0.75, 1] and minidl.linspace(0, 1, 0).shape == (0,)
    assert minidl.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]] and minidl.empty(2, 2).shape == (2, 2)
    x = minidl.zeros(2, dtype=minidl.float64)
    for like in (minidl.ones_like, minidl.zeros_like, minidl.empty_like, minidl.rand_like, minidl.randn_like):
        assert like(x).dtype == minidl.float64 and like(x).shape == (2,)
    assert minidl.full_like(x, 3).dtype == minidl.float64
    assert minidl.ones(2, requires_grad=True).is_leaf


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: minidl.zeros(-1), ValueError, "zeros: a length"),
        (lambda: minidl.zeros(2.5), TypeError, "zeros: shape must be an int"),
        (lambda: minidl.tensor([[1.0], [1.0, 2.0]]), ValueError, "rows of different lengths"),
        (lambda: minidl.arange(0, 5, 0), ValueError, "arange: step"),
        (lambda: minidl.arange(0, 5, -1), ValueError, "arange: from 0 to 5"),
        (lambda: minidl.linspace(0, 1, -1), ValueError, "linspace"),
        (lambda: minidl.randint(3, 3, (2,)), ValueError, "randint"),
        (lambda: minidl.randint(0, 3, 2), TypeError, "randint: size"),
        (lambda: minidl.randperm(-1), ValueError, "randperm"),
        (lambda: minidl.rand(2, dtype=minidl.int64), TypeError, "rand: dtype must be floating-point"),
        (lambda: minidl.rand(2, generator=np.random.default_rng()), TypeError, "generator must be a minidl.Generator"),
        (lambda: minidl.bernoulli(minidl.tensor([1.5])), ValueError, "bernoulli"),
        (lambda: minidl.normal(0.0, -1.0, (2,)), ValueError, "normal"),
        (lambda: minidl.manual_seed(-1), ValueError, "manual_seed"),
        (lambda: minidl.manual_seed(1.5), TypeError, "manual_seed: seed must be an int"),
        (lambda: minidl.from_numpy([1.0]), TypeError, "from_numpy: expected an ndarray, not list"),
    ],
)
def test_misuse_of_factories(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()


# Random numbers


DRAWS = [
    lambda g: minidl.rand(50, generator=g),
    lambda g: minidl.randn(50, generator=g, dtype=minidl.float64),
    lambda g: minidl.randint(-3, 4, (50,), generator=g),
    lambda g: minidl.randperm(50, generator=g),
    lambda g: minidl.bernoulli(minidl.full((50,), 0.5), generator=g),
    lambda g: minidl.normal(2.0, 3.0, (50,), generator=g),
    lambda g: minidl.rand_like(minidl.zeros(50), generator=g),
    lambda g: minidl.randn_like(minidl.zeros(50), generator=g),
]


@pytest.mark.parametrize("draw", DRAWS)
def test_a_seed_gives_the_same_numbers(draw) -> None:
    a, b = (draw(minidl.Generator().manual_seed(7)).numpy() for _ in range(2))
    assert a.tobytes() == b.tobytes()
    minidl.manual_seed(7)
    assert draw(None).numpy().tobytes() == a.tobytes()
    assert draw(None).numpy().tobytes() != a.tobytes()
    assert draw(minidl.Generator().manual_seed(8)).numpy().tobytes() != a.tobytes()


def test_a_generator_of_ones_own_leaves_the_default_alone() -> None:
    before = minidl.default_generator.get_state()
    g = minidl.Generator().manual_seed(1)
    minidl.rand(3, generator=g)
    assert minidl.default_generator.get_state() == before


def test_the_state_survives_json() -> None:
    g = minidl.Generator().manual_seed(3)
    minidl.rand(5, generator=g)
    state = json.loads(json.dumps(g.get_state()))
    a = minidl.randn(5, generator=g).tolist()
    g.set_state(state)
    assert minidl.randn(5, generator=g).tolist() == a
    for bad in ({}, {"bit_generator": "MT19937"}, None, 5, {**state, "state": {"state": -1, "inc": "x"}}):
        with pytest.raises(ValueError, match="set_state"):
            g.set_state(bad)
    assert minidl.Generator().seed() != minidl.Generator().seed()


def test_distributions() -> None:
    u, n = minidl.rand(20000), minidl.randn(20000)
    assert u.min().item() >= 0 and u.max().item() < 1 and abs(u.mean().item() - 0.5) < 0.01
    assert abs(n.mean().item()) < 0.03 and abs(n.std().item() - 1) < 0.03
    assert set(minidl.randint(2, 5, (200,)).tolist()) == {2, 3, 4}
    assert sorted(minidl.randperm(10).tolist()) == list(range(10))
    p = minidl.tensor([0.0, 1.0, 0.25]).expand(20000, 3)
    assert np.allclose(minidl.bernoulli(p).mean(0).tolist(), [0, 1, 0.25], atol=0.02)


# Messages


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x + minidl.zeros(2), ValueError, r"add: shapes \(3, 4\) and \(2,\) do not broadcast together"),
        (lambda x: x @ x, ValueError, r"matmul: inner lengths differ: shapes \(3, 4\) and \(3, 4\)"),
        (lambda x: x @ minidl.tensor(1.0), ValueError, "matmul"),
        (lambda x: minidl.zeros(2, 3, 4) @ minidl.zeros(3, 4, 5), ValueError, "matmul: shapes"),
        (lambda x: x.sum(2), IndexError, "sum: dim 2 is out of range for 2 dimensions"),
        (lambda x: x.sum((0, 0)), ValueError, "sum: a dim appears twice"),
        (lambda x: x.sum(0.5), TypeError, "sum: dim must be an int"),
        (lambda x: x.reshape(5, -1), ValueError, r"reshape: \(3, 4\) has 12 elements, which do not fill \(5, -1\)"),
        (lambda x: x.reshape(-1, -1), ValueError, "reshape: .* at most one -1"),
        (lambda x: x.permute(0, 0), ValueError, "permute"),
        (lambda x: x.expand(3, 5), ValueError, "expand"),
        (lambda x: x.split(0), ValueError, "split"),
        (lambda x: x.split([1, 1]), ValueError, "split"),
        (lambda x: x.chunk(0), ValueError, "chunk"),
        (lambda x: x[5], IndexError, r"index 5 is out of bounds .* \(shape \(3, 4\)\)"),
        (lambda x: x[0, 0, 0], IndexError, "index"),
        (lambda x: x[1.5], IndexError, "index: 1.5 cannot be an index"),
        (lambda x: x["a"], IndexError, "index: 'a' cannot be an index"),
        (lambda x: x[minidl.tensor([0.5])], IndexError, "must be integer or boolean"),
        (lambda x: x[minidl.tensor([True, False])], IndexError, "index"),
        (lambda x: x.gather(0, minidl.tensor([[3]])), IndexError, "gather: an index is out of range 0..2 along dim 0"),
        (lambda x: x.gather(0, minidl.tensor([[-1]])), IndexError, "gather"),
        (lambda x: x.gather(0, minidl.tensor([0])), ValueError, "gather"),
        (lambda x: x.gather(0, minidl.tensor([[0.0]])), TypeError, "gather: the index must be integer"),
        (lambda x: x.narrow(0, 2, 5), IndexError, "narrow"),
        (lambda x: minidl.tensor(1.0).narrow(0, 0, 1), ValueError, "narrow"),
        (lambda x: x.masked_fill(x > 0, minidl.zeros(1)), ValueError, "masked_fill: value must have no dimensions"),
        (lambda x: x.masked_fill(x > 0, 1j), TypeError, "must be a Tensor, an ndarray or a number, not complex"),
        (lambda x: x.where(x > 0, "a"), TypeError, "must be a Tensor, an ndarray or a number, not str"),
        (lambda x: x.topk(9), ValueError, "topk: k=9 is out of range for a dim of length 4"),
        (lambda x: x.item(), ValueError, r"item: the Tensor has shape \(3, 4\)"),
        (lambda x: bool(x), ValueError, "ambiguous"),
        (lambda x: len(minidl.tensor(1.0)), TypeError, "len"),
        (lambda x: list(minidl.tensor(1.0)), TypeError, "iter"),
        (lambda x: x.where(x, 0.0), TypeError, "where: the condition must be boolean"),
        (lambda x: x & x, TypeError, "and: operands must be boolean or integer"),
        (lambda x: ~x, TypeError, "invert"),
        (lambda x: x.clamp(), ValueError, "clamp"),
        (lambda x: minidl.cat([]), ValueError, "cat: there are no tensors"),
        (lambda x: minidl.cat(x), TypeError, "cat: tensors must be a list"),
        (lambda x: minidl.cat([x, 1.0]), TypeError, "cat: tensor 1 must be a Tensor, not float"),
        (lambda x: minidl.cat([x, x.T]), ValueError, r"cat: shapes \(3, 4\), \(4, 3\) differ not only in dim 0"),
        (lambda x: minidl.stack([x, x.T]), ValueError, "stack: shapes"),
        (lambda x: minidl.mm(x, x[0]), ValueError, "mm: takes 2 and 2 dimensions"),
        (lambda x: minidl.bmm(x, x), ValueError, "bmm"),
        (lambda x: minidl.exp(1.0), TypeError, "exp: input must be a Tensor, not float"),
        (lambda x: minidl.einsum("ij,jk", x), ValueError, "einsum: 2 terms for 1 operands"),
        (lambda x: minidl.einsum("ijk", x), ValueError, "einsum: 'ijk' names another number of dimensions"),
        (lambda x: minidl.einsum("ii", x), ValueError, "einsum: 'i' stands for the lengths 3 and 4"),
        (lambda x: minidl.einsum("ij->k", x), ValueError, "einsum: the result's letter 'k'"),
        (lambda x: minidl.einsum("ij->ii", x), ValueError, "einsum: the result's letter 'i'"),
        (
            lambda x: minidl.einsum("ij,ij", x, x[:2]),
            ValueError,
            "einsum: the letter 'i' stands for the lengths 3 and 2",
        ),
        (lambda x: minidl.einsum("i1", x), ValueError, "einsum: 'i1' must consist of letters"),
        (lambda x: minidl.einsum(x, "ij"), TypeError, "einsum: the equation comes first"),
        (lambda x: minidl.pad(x, (1,)), ValueError, r"pad: widths \(1,\) must be pairs"),
        (lambda x: minidl.pad(x, (-3, -2)), ValueError, "pad: widths .* cut more than dim 1"),
        (lambda x: minidl.pad(x, (4, 0), mode="reflect"), ValueError, "pad: mode 'reflect' has no values"),
        (lambda x: minidl.pad(x, (5, 0), mode="circular"), ValueError, "pad: mode 'circular' has no values"),
        (lambda x: minidl.pad(x, (1, 0), mode="mirror"), ValueError, "pad: mode must be one of constant, reflect"),
        (lambda x: minidl.pad(x, (1, 1, 1, 1), mode="reflect"), ValueError, "leaves at least one dimension"),
        (lambda x: minidl.one_hot(x.long() - 1, 2), IndexError, "one_hot: classes must be in 0..1"),
        (lambda x: minidl.one_hot(x), TypeError, "one_hot"),
        (lambda x: minidl.tril(x[0]), ValueError, "tril"),
        (lambda x: minidl.tensordot(x, x, 3), ValueError, "tensordot: dims=3"),
    ],
)
def test_misuse_is_named(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call(minidl.zeros(3, 4))
