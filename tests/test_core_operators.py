"""Operators, reductions, shapes and indexing against NumPy (values) and against differences (gradients)."""

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.ops.samples import distinct, normal, positive, signed
from minidl.tensor import Tensor
from minidl.testing import gradcheck
from minidl.testing.strategies import arrays, broadcastable_shapes, dtypes, indices, shapes

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


def same(got: Tensor, expected: np.ndarray) -> None:
    """Equal values, shape and dtype."""
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-12, atol=1e-14)


def leaf(a: np.ndarray) -> Tensor:
    return Tensor(a).requires_grad_()


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


# Reductions


@st.composite
def array_and_axes(draw, values=normal, min_side=1):
    a = draw(arrays(shapes(1, 3, min_side, 3), values=values))
    axes = draw(st.one_of(st.none(), st.integers(-a.ndim, a.ndim - 1), st.sets(st.integers(0, a.ndim - 1), min_size=1)))
    return a, tuple(sorted(axes)) if isinstance(axes, set) else axes


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin", "max", "min"])
@given(data=st.data(), keep=st.booleans())
def test_reductions(name, data, keep) -> None:
    a, axes = data.draw(array_and_axes(values=distinct))
    if name in ("max", "min"):  # along one dim only, and with it the indices
        axes = axes if isinstance(axes, int) else -1
        values, index = getattr(leaf(a), name)(axes, keepdim=keep)
        same(index, getattr(np, f"arg{name}")(a, axis=axes, keepdims=keep))
        same(getattr(leaf(a), f"arg{name}")(axes, keepdim=keep), index.numpy())
        same(values, getattr(a, name)(axis=axes, keepdims=keep))
        gradcheck(lambda x: getattr(x, name)(axes).values, [leaf(a)])
        return
    expected = getattr(np, name)(a, axis=axes, keepdims=keep)
    same(getattr(leaf(a), name)(axes, keep), expected)
    same(getattr(leaf(a), name)(axis=axes, keepdims=keep), expected)
    gradcheck(lambda x: getattr(x, name)(axes, keep), [leaf(a)])


@given(case=array_and_axes(), correction=st.sampled_from([0, 1]))
def test_variance(case, correction) -> None:
    a, axes = case
    n = a.size if axes is None else np.prod([a.shape[i] for i in np.atleast_1d(axes)])
    if n <= 1:
        return
    same(leaf(a).var(axes, correction=correction), a.var(axis=axes, ddof=correction))
    same(leaf(a).std(axes, unbiased=bool(correction)), a.std(axis=axes, ddof=correction))
    gradcheck(lambda x: x.var(axes, correction=correction), [leaf(a)])


@given(case=array_and_axes(values=signed))
def test_norms_products_and_running_sums(case) -> None:
    a, axes = case
    axis = axes if isinstance(axes, int) else 0
    same(leaf(a).cumsum(axis), a.cumsum(axis))
    same(leaf(a).prod(axis), a.prod(axis))
    same(leaf(a).norm(dim=axis), np.linalg.norm(a, axis=axis))
    same(leaf(a).logsumexp(axes), np.log(np.exp(a).sum(axes)))
    same(leaf(a).softmax(axis), np.exp(a) / np.exp(a).sum(axis, keepdims=True))
    for function in (Tensor.cumsum, Tensor.prod, Tensor.softmax, Tensor.log_softmax):
        gradcheck(function, [leaf(a), axis])
    gradcheck(lambda x: x.norm(dim=axis) + x.norm(3, dim=axis) + x.norm(1, axis), [leaf(a)])


@given(case=array_and_axes(values=distinct), descending=st.booleans())
def test_sort_and_topk(case, descending) -> None:
    a, axes = case
    axis = axes if isinstance(axes, int) else 0
    order = np.argsort(-a if descending else a, axis=axis)
    values, index = leaf(a).sort(axis, descending)
    same(index, order)
    same(values, np.take_along_axis(a, order, axis))
    k = (a.shape[axis] + 1) // 2
    values, index = leaf(a).topk(k, axis, largest=descending)
    same(index, np.take(order, np.arange(k), axis))
    gradcheck(lambda x: x.sort(axis, descending).values, [leaf(a)])
    gradcheck(lambda x: x.topk(k, axis).values, [leaf(a)])


def test_sort_is_stable_both_ways() -> None:
    x = minidl.tensor([2.0, 1.0, 2.0, 1.0])
    assert x.argsort().tolist() == [1, 3, 0, 2]
    assert x.argsort(descending=True).tolist() == [0, 2, 1, 3]


def test_reductions_of_nothing() -> None:
    x = minidl.zeros(2, 0)
    assert x.sum().item() == 0 and x.sum(1).tolist() == [0, 0] and x.prod().item() == 1
    assert np.isnan(x.mean().item())
    for name in ("max", "min", "amax", "argmax"):
        with pytest.raises(ValueError, match=name):
            getattr(x, name)()
    assert x.all().item() is True and x.any().item() is False


def test_integers_and_booleans_add_up() -> None:
    assert minidl.tensor([True, True]).sum().item() == 2
    assert minidl.tensor([100, 100], dtype=minidl.int8).sum().item() == 200
    with pytest.raises(TypeError, match="mean"):
        minidl.tensor([1, 2]).mean()


# Shapes


@given(a=arrays(shapes(0, 4)), data=st.data())
def test_shapes(a, data) -> None:
    order = data.draw(st.permutations(range(a.ndim)))
    x = leaf(a)
    same(x.permute(*order), a.transpose(order))
    same(x.reshape(-1) if a.size else x.reshape(0), a.reshape(-1))
    same(x.T, a.T)
    same(x.flip(*range(a.ndim)), np.flip(a))
    same(x.squeeze(), a.squeeze())
    same(x.unsqueeze(-1), a[..., None])
    same(x.repeat(*(2,) * a.ndim), np.tile(a, (2,) * a.ndim))
    same(x.tile(2, 3), np.tile(a, (2, 3)))
    if a.ndim:
        axis, other = data.draw(st.integers(0, a.ndim - 1)), data.draw(st.integers(-a.ndim, -1))
        shift = data.draw(st.integers(-5, 5))
        same(x.roll(shift, axis), np.roll(a, shift, axis))
        same(x.roll(shift), np.roll(a, shift))
        same(x.movedim(axis, other), np.moveaxis(a, axis, other))
        same(x.transpose(axis, other), a.swapaxes(axis, other))
        for got, expected in zip(x.unbind(axis), np.moveaxis(a, axis, 0), strict=True):
            same(got, expected)
        for chunks in (1, 2, 3):
            parts = x.chunk(chunks, axis)
            assert len(parts) <= chunks
            same(minidl.cat(parts, axis), a)
        gradcheck(lambda x: [x.roll(shift, axis), x.flip(axis), x.movedim(axis, other), *x.unbind(axis)], [x])
    gradcheck(lambda x: [x.permute(*order), x.tile(2, 3), x.reshape(a.size), x.expand(2, *a.shape)], [x])


@given(data=st.data())
def test_cat_and_stack(data) -> None:
    shape = data.draw(shapes(1, 3))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    parts = []
    for n in data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3)):
        part = list(shape)
        part[axis] = n
        parts.append(data.draw(arrays(tuple(part))))
    xs = [leaf(a) for a in parts]
    same(minidl.cat(xs, axis), np.concatenate(parts, axis))
    gradcheck(lambda *xs: minidl.cat(xs, axis), xs)
    same(minidl.stack(xs[:1] * 2, axis), np.stack(parts[:1] * 2, axis))


def test_views_share_memory_and_copies_do_not() -> None:
    x = minidl.zeros(2, 3)
    for view in (x[0], x.T, x.reshape(6), x.view(3, 2), x.expand(4, 2, 3), x[:, ::2], x.flip(0), x.detach()):
        assert np.shares_memory(view.numpy(), x.numpy())
    for copy in (x.clone(), x[[0, 1]], x.T.reshape(6), x.tile(1, 2), minidl.tensor(x), x.repeat(2, 1)):
        assert not np.shares_memory(copy.numpy(), x.numpy())
    with pytest.raises(RuntimeError, match="view"):
        x.T.view(6)


# Indexing


@given(data=st.data())
def test_getitem(data) -> None:
    a = data.draw(arrays(shapes(0, 3)))
    key = data.draw(indices(a.shape))
    same(leaf(a)[key], a[key])
    gradcheck(lambda x: x[key], [leaf(a)])


@given(data=st.data())
def test_setitem(data) -> None:
    a = data.draw(arrays(shapes(0, 3)))
    key = data.draw(indices(a.shape))
    places = np.arange(a.size).reshape(a.shape)[key].ravel()
    if len(set(places.tolist())) < places.size:  # which of two values wins is nobody's promise
        return
    values = np.random.default_rng(0).standard_normal(a[key].shape)
    expected = np.array(a)
    expected[key] = values

    def assign(x: Tensor, v: Tensor) -> Tensor:
        y = x.clone()
        y[key] = v
        return y

    same(assign(leaf(a), leaf(values)), expected)
    gradcheck(assign, [leaf(a), leaf(values)])


def test_indices_may_be_tensors_lists_and_masks() -> None:
    a = np.arange(12.0).reshape(3, 4)
    x = leaf(a)
    rows = minidl.tensor([2, 0])
    same(x[rows], a[[2, 0]])
    same(x[[2, 0]], a[[2, 0]])
    same(x[[]], a[[]])
    same(x[rows, rows], a[[2, 0], [2, 0]])
    same(x[x > 3], a[a > 3])
    same(x[minidl.tensor(1)], a[1])
    same(x[..., None, -1], a[..., None, -1])
    same(minidl.stack(list(x)), a)
    index = np.array([1, 1])
    y = x[index]
    index[:] = 99  # the graph has its own copy
    y.sum().backward()
    assert x.grad[1].tolist() == [2.0] * 4 and x.grad[0].tolist() == [0.0] * 4


@given(data=st.data(), axis=st.sampled_from([0, 1, -1]))
def test_gather_and_scatter(data, axis) -> None:
    a = data.draw(arrays((3, 4)))
    shape = [2, 3]
    shape[axis] = 5
    index = np.random.default_rng(data.draw(st.integers(0, 9))).integers(0, a.shape[axis], shape)
    src = data.draw(arrays(tuple(shape)))
    part = a[:, :3] if axis == 0 else a[:2]
    same(leaf(a).gather(axis, Tensor(index)), np.take_along_axis(part, index, axis))
    expected = a.copy()
    for place in np.ndindex(*shape):
        target = list(place)
        target[axis] = index[place]
        expected[tuple(target)] += src[place]
    same(leaf(a).scatter_add(axis, Tensor(index), leaf(src)), expected)
    gradcheck(lambda x, s: [x.gather(axis, Tensor(index)), x.scatter_add(axis, Tensor(index), s)], [leaf(a), leaf(src)])


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
