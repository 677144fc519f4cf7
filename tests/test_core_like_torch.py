"""Methods and functions of Tensors beside PyTorch's: the value, and the gradient."""

import numpy as np
import pytest

import minidl

torch = pytest.importorskip("torch")


def pair(*shape, low=0.2, seed=0):
    """The same values, away from 0, as a Tensor of each library that requires a gradient."""
    a = np.random.default_rng(seed).uniform(low, 2, shape)
    return minidl.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)


CALLS = [
    ("addcmul", [(2, 3), (3,), (2, 1)], {"value": -0.5}),
    ("addcdiv", [(3,), (2, 3), (2, 1)], {"value": 3}),
    ("lerp", [(2, 3), (3,)], {"weight": 0.3}),
    ("lerp", [(2, 3), (2, 3), (2, 1)], {}),
    ("outer", [(2,), (3,)], {}),
    ("tril", [(2, 3, 4)], {"diagonal": 1}),
    ("triu", [(3, 4)], {"diagonal": -1}),
    ("repeat_interleave", [(2, 3)], {"repeats": 2}),
    ("repeat_interleave", [(2, 3)], {"repeats": 3, "dim": 1}),
    ("repeat_interleave", [()], {"repeats": 3}),
]


@pytest.mark.parametrize(("name", "shapes", "options"), CALLS)
@pytest.mark.parametrize("method", [True, False])
def test_values_and_gradients(name, shapes, options, method):
    ours, theirs = zip(*(pair(*shape, seed=i) for i, shape in enumerate(shapes)), strict=True)
    a = (getattr(ours[0], name) if method else lambda *args, **kw: getattr(minidl, name)(ours[0], *args, **kw))(
        *ours[1:], **options
    )
    b = getattr(theirs[0], name)(*theirs[1:], **options)
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12)
    g = np.random.default_rng(9).standard_normal(a.shape)
    a.backward(minidl.tensor(g))
    b.backward(torch.tensor(g))
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-10)


@pytest.mark.parametrize("repeats", [[0, 2, 1], [2]])
def test_each_slice_by_its_number(repeats):
    x, y = pair(2, 3)
    a = x.repeat_interleave(minidl.tensor(repeats), -1)
    np.testing.assert_array_equal(a.numpy(force=True), y.repeat_interleave(torch.tensor(repeats), -1).detach().numpy())


@pytest.mark.parametrize("repeats", [(1,), (1, 1), (2, 1), (2,), (0,)])
def test_what_is_repeated_is_copied(repeats):
    results = []
    for library in (minidl, torch):
        x = library.zeros(3)
        y = x.repeat(*repeats)
        y += 1
        results.append((y.tolist(), x.tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize("name", ["addcmul_", "addcdiv_", "lerp_"])
def test_in_place(name):
    ours, theirs = zip(*(pair(2, 3, seed=i) for i in range(3)), strict=True)
    results = []
    for x, *others in (ours, theirs):
        y = x * 2  # a result may be changed in place
        (y := getattr(y, name)(*others)).sum().backward()
        results.append([y.detach().numpy(), *(t.grad.numpy() for t in (x, *others))])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_in_place_scatter():
    a, b, index = minidl.zeros(3, 4), torch.zeros(3, 4), np.array([[0, 2, 0, 1], [2, 2, 0, 1]])
    a.scatter_add_(0, minidl.tensor(index), minidl.ones(2, 4))
    b.scatter_add_(0, torch.tensor(index), torch.ones(2, 4))
    np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize(
    "change",
    [lambda t: t.fill_(0), lambda t: t.zero_(), lambda t: t.copy_(1.0), lambda t: t.uniform_(), lambda t: t.normal_()],
)
def test_a_leaf_that_requires_a_gradient_is_not_overwritten(change):
    """It would lose its gradient in silence."""
    for library in (minidl, torch):
        x = library.ones(2, requires_grad=True)
        with pytest.raises(RuntimeError, match="leaf"):
            change(x)
        with library.no_grad():
            change(x)
        assert x.requires_grad


def test_nor_is_a_view_in_a_graph():
    x = minidl.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="view"):
        (x * 2.0)[:2].fill_(0)


def test_comparisons_as_a_whole():
    a, b = np.array([1.0, np.inf, np.nan, 2.0]), np.array([1.0 + 1e-9, np.inf, np.nan, 3.0])
    for options in ({}, {"equal_nan": True}, {"rtol": 1.0}, {"atol": 1.0}):
        ours = minidl.tensor(a).isclose(minidl.tensor(b), **options)
        theirs = torch.tensor(a).isclose(torch.tensor(b), **options)
        assert (
            ours.tolist() == minidl.isclose(minidl.tensor(a), minidl.tensor(b), **options).tolist() == theirs.tolist()
        )
    x = minidl.tensor([1.0, 2.0])
    assert x.equal(x.clone()) and not x.equal(x + 1.0) and not x.equal(x[:1])
    assert x.allclose(x + 1e-7) and not x.allclose(x + 1.0)


def test_nonzero():
    x = np.array([[0.0, 2.0], [3.0, 0.0]])
    assert minidl.tensor(x).nonzero().tolist() == torch.tensor(x).nonzero().tolist()
    places = minidl.tensor(x).nonzero(as_tuple=True)
    assert [p.tolist() for p in places] == [p.tolist() for p in torch.tensor(x).nonzero(as_tuple=True)]


def test_new_ones_have_our_dtype():
    x = minidl.zeros(2, dtype=minidl.float64)
    assert x.new_zeros(2, 3).tolist() == [[0.0] * 3] * 2 and x.new_ones((2,)).tolist() == [1.0, 1.0]
    assert x.new_full((2,), 7).tolist() == [7.0, 7.0] and x.new_full((), 7).shape == ()
    assert {t.dtype for t in (x.new_zeros(1), x.new_ones(1), x.new_full((1,), 7))} == {minidl.float64}


def test_numpy_by_force():
    x = minidl.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="detach"):
        x.numpy()
    assert np.shares_memory(x.numpy(force=True), x.detach().numpy())


def test_random_values_in_place():
    x = minidl.zeros(4000)
    a = x.uniform_(-1, 3).numpy().copy()
    assert -1 <= a.min() < -0.9 and 2.9 < a.max() < 3
    a = x.normal_(5, 2).numpy()
    assert abs(a.mean() - 5) < 0.2 and abs(a.std() - 2) < 0.2
    same = [minidl.zeros(3).normal_(generator=minidl.Generator().manual_seed(1)).tolist() for _ in range(2)]
    assert same[0] == same[1]


def test_multinomial():
    weights = np.array([0.1, 0.0, 0.6, 0.3])
    minidl.manual_seed(0)
    drawn = minidl.multinomial(minidl.tensor(weights * 5), 20000, replacement=True)
    assert drawn.dtype == minidl.int64 and drawn.shape == (20000,)
    np.testing.assert_allclose(np.bincount(drawn.numpy(), minlength=4) / 20000, weights, atol=0.02)
    rows = minidl.multinomial(minidl.tensor(np.tile(weights, (20000, 1))), 3).numpy()
    assert (np.sort(rows, 1) == [0, 2, 3]).all()
    np.testing.assert_allclose(np.bincount(rows[:, 0], minlength=4) / 20000, weights, atol=0.02)
    second = np.bincount(rows[rows[:, 0] == 2, 1], minlength=4) / (rows[:, 0] == 2).sum()
    np.testing.assert_allclose(second, [0.25, 0, 0, 0.75], atol=0.02)  # what is left, in proportion
    assert minidl.multinomial(minidl.zeros(0, 3), 2).shape == torch.zeros(0, 3).multinomial(2).shape == (0, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: minidl.multinomial(minidl.tensor([1, 2]), 1), TypeError, "multinomial: input must be a floating"),
        (lambda: minidl.multinomial(minidl.ones(2, 2, 2), 1), ValueError, r"multinomial: input must be \(C,\)"),
        (lambda: minidl.multinomial(minidl.tensor([1.0, -1.0]), 1), ValueError, "multinomial: weights"),
        (lambda: minidl.multinomial(minidl.tensor([[1.0], [0.0]]), 1), ValueError, "multinomial: weights"),
        (lambda: minidl.multinomial(minidl.tensor([1.0, 0.0]), 2), ValueError, "multinomial: cannot draw 2 of 1"),
        (lambda: minidl.multinomial(minidl.tensor([1.0, 2.0]), 0), ValueError, "multinomial: cannot draw 0"),
        (lambda: minidl.ones(2).repeat_interleave(-1), ValueError, "repeat_interleave: repeats must be"),
        (lambda: minidl.ones(2).repeat_interleave([1, 2, 3], 0), ValueError, "repeat_interleave: repeats must be"),
        (lambda: minidl.ones(2).repeat_interleave(1.5), TypeError, "repeat_interleave: repeats must be integers"),
        (lambda: minidl.ones(2).tril(), ValueError, "tril: input must be a matrix"),
        (lambda: minidl.ones(2).outer(minidl.ones(2, 2)), ValueError, "outer: takes 1 and 1 dimensions"),
        (lambda: minidl.ones(2).isclose(minidl.ones(3)), ValueError, "isclose: shapes"),
        (lambda: minidl.ones(2).uniform_(1, 0), ValueError, "uniform_: expects"),
        (lambda: minidl.ones(2).normal_(0, -1), ValueError, "normal_: std"),
        (lambda: minidl.tensor([1]).normal_(), TypeError, "normal_: self must be floating-point"),
        (lambda: minidl.ones(2).new_full((-1,), 1), ValueError, "new_full: a length"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
