"""Elementwise operators and products of matrices, against NumPy (values) and differences (gradients)."""

import operator

import numpy as np
import pytest
from beside_numpy import leaf, same
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.ops.samples import distinct, normal, positive, signed
from minidl.tensor import Tensor
from minidl.testing import gradcheck
from minidl.testing.strategies import arrays, broadcastable_shapes, dtypes

BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, np.maximum, np.minimum]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
UNARY = {
    np.exp: normal,
    np.expm1: normal,
    np.log: positive,
    np.log1p: positive,
    np.log2: positive,
    np.log10: positive,
    np.sqrt: positive,
    np.square: normal,
    np.reciprocal: signed,
    np.sin: normal,
    np.cos: normal,
    np.tanh: normal,
    np.negative: normal,
    np.abs: signed,
    np.sign: signed,
    np.floor: distinct,
    np.ceil: distinct,
}


# Elementwise


@st.composite
def operand_pairs(draw, values=signed):
    a, b = draw(broadcastable_shapes())
    return draw(arrays(a, values=values)), draw(arrays(b, values=values))


@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
@given(pair=operand_pairs())
def test_binary(function, pair) -> None:
    a, b = pair
    same(function(leaf(a), leaf(b)), function(a, b))
    same(function(leaf(a), b), function(a, b))  # an ndarray on either side
    same(function(a, leaf(b)), function(a, b))
    gradcheck(function, [leaf(a), leaf(b)])


@pytest.mark.parametrize("function", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow])
@pytest.mark.parametrize("number", [2, 1.5, True, np.float32(3), np.float64(0.5), np.int64(2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_are_weak(function, number, dtype) -> None:
    a = np.array([1.0, 2.5, 3.0], dtype)
    x = Tensor(a)
    weak = dtype(number)
    for got, expected in ((function(x, number), function(a, weak)), (function(number, x), function(weak, a))):
        assert got.dtype == dtype
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6)


@given(a=arrays(values=positive), number=st.sampled_from([2, -1, 0.5, 3, 1, 0]))
def test_powers_by_numbers(a, number) -> None:
    same(leaf(a) ** number, a**number)
    same(abs(number) ** leaf(a), np.float64(abs(number)) ** a)
    gradcheck(lambda x: x**number, [leaf(a)])


@given(pair=operand_pairs(values=positive))
def test_powers_by_tensors(pair) -> None:
    a, b = pair
    same(leaf(a) ** leaf(b), a**b)
    gradcheck(operator.pow, [leaf(a), leaf(b)])


@pytest.mark.parametrize("function", COMPARISONS, ids=lambda f: f.__name__)
@given(pair=operand_pairs(values=lambda rng, *shape: np.asarray(rng.integers(0, 3, shape)) * 1.0))
def test_comparisons(function, pair) -> None:
    a, b = pair
    same(function(leaf(a), Tensor(b)), function(a, b))
    same(function(Tensor(a), 1), function(a, 1))
    assert not function(leaf(a), b).requires_grad


@pytest.mark.parametrize("function", [operator.and_, operator.or_, operator.xor])
@given(a=arrays((2, 3), dtypes("b")), b=arrays((3,), dtypes("b")))
def test_bits(function, a, b) -> None:
    same(function(Tensor(a), Tensor(b)), function(a, b))
    same(~Tensor(a), ~a)


@pytest.mark.parametrize("function", [operator.floordiv, operator.mod])
def test_whole_division(function) -> None:
    a, b = np.array([7, -7, 6]), np.array([2, 2, -4])
    same(function(Tensor(a), Tensor(b)), function(a, b))


@pytest.mark.parametrize("ufunc", UNARY, ids=lambda f: f.__name__)
@given(data=st.data())
def test_unary(ufunc, data) -> None:
    a = data.draw(arrays(values=UNARY[ufunc]))
    same(ufunc(leaf(a)), ufunc(a))
    gradcheck(ufunc, [leaf(a)])


@given(a=arrays(values=signed))
def test_composed_unary(a) -> None:
    same(leaf(a).sigmoid(), 1 / (1 + np.exp(-a)))
    same((leaf(a) ** 2).rsqrt(), 1 / np.abs(a))
    gradcheck(Tensor.sigmoid, [leaf(a)])
    gradcheck(lambda x: (x**2).rsqrt(), [leaf(a)])


@given(a=arrays(values=distinct), limits=st.sampled_from([(-0.201, 0.301), (None, 0.101), (0.001, None)]))
def test_clamp(a, limits) -> None:
    low, high = limits
    same(leaf(a).clamp(low, high), np.clip(a, low, high))
    gradcheck(lambda x: x.clamp(low, high), [leaf(a)])
    as_tensors = [None if n is None else minidl.full(a.shape, n, dtype=minidl.float64) for n in limits]
    same(leaf(a).clamp(*as_tensors), np.clip(a, low, high))


# Products of matrices


@given(data=st.data())
def test_matmul(data) -> None:
    m, k, n = (data.draw(st.integers(0, 3)) for _ in range(3))
    front_a, front_b = data.draw(broadcastable_shapes(max_dims=2, max_side=2))
    a = data.draw(arrays((k,) if data.draw(st.booleans()) else (*front_a, m, k)))
    b = data.draw(arrays((k,) if data.draw(st.booleans()) else (*front_b, k, n)))
    same(leaf(a) @ leaf(b), a @ b)
    same(a @ leaf(b), a @ b)
    gradcheck(operator.matmul, [leaf(a), leaf(b)])


EQUATIONS = [
    ("ij,jk->ik", "ij,jk"),
    ("ij,kj->ik", "ij,kj"),
    ("bij,bjk", "bij,bjk"),
    ("ii->i", "ii"),
    ("ii", "ii"),
    ("iij,jk->ki", "iij,jk"),
    ("...ij,...jk->...ik", "xyij,yjk"),
    ("...i,...i", "xi,yi"),
    ("i...->...", "ixy"),
    ("Ab,bA,b->A", "Ab,bA,b"),
    (" ij , j -> i ", "ij,j"),
    ("i,j->ji", "i,j"),
    ("ij->", "ij"),
    ("zZ->Zz", "zZ"),
    ("kj,ji", "kj,ji"),
    ("kAj", "kAj"),
    ("iijj->ji", "iijj"),
]


@pytest.mark.parametrize(("equation", "letters"), EQUATIONS)
def test_einsum(equation: str, letters: str) -> None:
    lengths = {"i": 2, "j": 3, "k": 4, "b": 2, "x": 2, "y": 1, "A": 3, "z": 2, "Z": 3}
    rng = np.random.default_rng(0)
    operands = [rng.standard_normal([lengths[c] for c in term]) for term in letters.split(",")]
    if "...i,...i" in equation:
        operands[1] = rng.standard_normal((1, 2))
    same(minidl.einsum(equation, *map(leaf, operands)), np.einsum(equation, *operands))
    gradcheck(lambda *xs: minidl.einsum(equation, *xs), list(map(leaf, operands)))


def test_einsum_broadcasts_length_1() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 3, 3))
    same(minidl.einsum("ij,ij->ij", Tensor(a), leaf(b[:1])), a * b[:1])
    gradcheck(lambda x, y: minidl.einsum("ij,ij->j", x, y), [leaf(a), leaf(b[:, :1])])


# The functions that NumPy has too


@pytest.mark.parametrize(
    ("mode", "name"), [("constant", "constant"), ("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")]
)
def test_pad(mode: str, name: str) -> None:
    a = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    for pads in ((1, 2), (0, 4), (3, 0, 2, 1), (1, 1, 0, 3)):
        if mode in ("reflect", "circular") and max(pads) > 2 + (mode == "circular"):
            pads = tuple(min(n, 2) for n in pads)
        widths = [(0, 0)] * (4 - len(pads) // 2) + [pads[i : i + 2] for i in range(0, len(pads), 2)][::-1]
        same(minidl.pad(leaf(a), pads, mode=mode), np.pad(a, widths, name))
    same(minidl.pad(leaf(a), (1, 0), value=2.5), np.pad(a, [(0, 0)] * 3 + [(1, 0)], constant_values=2.5))
    same(minidl.pad(leaf(a), (-1, -2)), a[..., 1:-2])
    same(minidl.pad(leaf(a), (-1, 2, -1, 0)), np.pad(a[:, :, 1:, 1:], [(0, 0)] * 3 + [(0, 2)]))


def test_functions_against_numpy() -> None:
    a = np.random.default_rng(0).standard_normal((3, 4))
    b, mask, x = a.T.copy(), a > 0, leaf(a)
    same(minidl.tril(x, -1), np.tril(a, -1))
    same(minidl.triu(x, 1), np.triu(a, 1))
    same(minidl.tensordot(x, leaf(b), 1), np.tensordot(a, b, 1))
    same(minidl.tensordot(x, leaf(b), ([0, 1], [1, 0])), np.tensordot(a, b, ([0, 1], [1, 0])))
    same(minidl.outer(x[0], x[1]), np.outer(a[0], a[1]))
    same(minidl.hstack([x, x[:, :1]]), np.hstack([a, a[:, :1]]))
    same(minidl.hstack([x[0], x[0, 0]]), np.hstack([a[0], a[0, 0]]))
    same(minidl.vstack([x[0], x]), np.vstack([a[0], a]))
    same(minidl.masked_select(x, Tensor(mask)), a[mask])
    same(minidl.masked_fill(x, Tensor(mask), 7.0), np.where(mask, 7.0, a))
    same(minidl.where(Tensor(mask), 1.0, x), np.where(mask, 1.0, a))
    same(minidl.where(Tensor(mask), x, x[0]), np.where(mask, a, a[0]))
    same(minidl.nonzero(x > 0), np.argwhere(mask))
    for got, expected in zip(minidl.nonzero(x > 0, as_tuple=True), np.nonzero(mask), strict=True):
        same(got, expected)
    same(minidl.index_select(x, 1, minidl.tensor([2, 0])), a[:, [2, 0]])
    same(minidl.take_along_dim(x, Tensor(a.argsort(1)), 1), np.sort(a, 1))
    same(minidl.one_hot(minidl.tensor([[2, 0]])), np.eye(3, dtype=np.int64)[[[2, 0]]])
    same(minidl.one_hot(minidl.tensor([2, 0], dtype=minidl.uint8)), np.eye(3, dtype=np.int64)[[2, 0]])
    assert minidl.one_hot(minidl.tensor([127], dtype=minidl.int8)).shape == (1, 128)
    same(minidl.narrow(x, 1, -2, 2), a[:, -2:])
    for got, expected in zip(minidl.split(x, [1, 3], 1), np.split(a, [1], 1), strict=True):
        same(got, expected)
    for got, expected in zip(minidl.broadcast_tensors(x, x[0]), np.broadcast_arrays(a, a[0]), strict=True):
        same(got, expected)
    same(minidl.add(x, x, alpha=3), a + 3 * a)
    same(minidl.logical_and(x > 0, x > 1), a > 1)
    assert minidl.equal(x, leaf(a)) and not minidl.equal(x, x[0]) and not minidl.equal(x, x + 1.0)
    assert minidl.allclose(x, x + 1e-9) and not minidl.allclose(x, x + 1.0)


# PyTorch's edges


def test_no_dimensions_at_all() -> None:
    x, index = leaf(np.array(2.0)), minidl.tensor(0)
    for y in (x.gather(0, index), x.index_select(0, index), x.sum(0), x.max(0).values, x.sort(0).values, x.cumsum(0)):
        assert y.shape == () and y.item() == 2.0
    assert x.scatter_add(0, index, leaf(np.array(3.0))).item() == 5.0
    assert x.unsqueeze(0).shape == (1,) and x.flatten().shape == (1,) and x.squeeze(0).shape == ()


def test_cat_skips_the_empty_start_of_a_loop() -> None:
    x = leaf(np.ones((2, 3)))
    same(minidl.cat([minidl.zeros(0, dtype=minidl.float64), x], 1), np.ones((2, 3)))
    assert minidl.cat([minidl.zeros(0), minidl.zeros(0)]).shape == (0,)


def test_take_along_dim_counts_from_the_end_too() -> None:
    a = np.arange(6.0).reshape(2, 3)
    same(leaf(a).take_along_dim(minidl.tensor([[-1], [0]]), 1), np.array([[2.0], [3.0]]))
    with pytest.raises(IndexError, match="out of range"):
        leaf(a).take_along_dim(minidl.tensor([[-4], [0]]), 1)


def test_variance_of_all_by_a_bare_bool() -> None:
    a = np.array([[1.0, 2.0], [4.0, 8.0]])
    same(leaf(a).var(False), a.var())
    same(minidl.std(leaf(a), True), a.std(ddof=1))
