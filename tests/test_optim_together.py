"""A step is one launch for all parameters, and every parameter fares as if it had an optimiser of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import nn, optim
from minidl.kernels import many
from minidl.kernels.many import BLOCK, Rows, gather

KINDS = [
    (optim.SGD, {}),
    (optim.SGD, {"momentum": 0.9, "dampening": 0.3}),
    (optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (optim.Adam, {}),
    (optim.Adam, {"amsgrad": True}),
    (optim.AdamW, {}),
    (optim.RMSprop, {}),
    (optim.RMSprop, {"centered": True}),
    (optim.RMSprop, {"momentum": 0.5}),
    (optim.RMSprop, {"centered": True, "momentum": 0.5}),
    (optim.Adagrad, {"lr_decay": 0.1}),
]


def laid_out(array, layout):
    """The same values, held otherwise."""
    if layout == "columns first":
        return np.array(array, order="F")
    if layout == "with gaps":
        wide = np.zeros((*array.shape, 2), array.dtype)
        wide[..., 0] = array
        return wide[..., 0]
    if layout == "unaligned":
        raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
        raw[...] = array
        return raw
    array = array.copy()
    array.flags.writeable = layout != "read-only"
    return array


def tensor_on(array):
    """A Tensor on that very memory."""
    t = minidl.zeros(1)
    t._array = array
    return t


shapes = st.sampled_from([(), (1,), (7,), (3, 5), (0, 2), (16, 3, 3, 3), (BLOCK,), (BLOCK + 1,), (3, BLOCK)])
layouts = st.sampled_from(["plain", "plain", "plain", "columns first", "with gaps", "unaligned"])
parameters_drawn = st.lists(st.tuples(shapes, st.sampled_from(["f", "f", "d"]), layouts), min_size=1, max_size=9)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), parameters_drawn, st.booleans(), st.integers(0, 2**31), st.data())
def test_together_is_as_one_by_one(kind, drawn, maximize, seed, data):
    cls, options = kind
    rng = np.random.default_rng(seed)
    options = {**options, "lr": 0.01, "weight_decay": 0.1, "maximize": maximize}
    start = [(np.asarray(rng.standard_normal(shape)).astype(dtype), layout) for shape, dtype, layout in drawn]
    ours, theirs = ([nn.Parameter(tensor_on(laid_out(*s))) for s in start] for _ in range(2))
    together, alone = cls(ours, **options), [cls([p], **options) for p in theirs]
    for _ in range(3):
        for p, q in zip(ours, theirs, strict=True):
            g = np.asarray(rng.standard_normal(p.shape)).astype(p.dtype)
            layout = data.draw(
                st.sampled_from(["missing", "plain", "plain", "read-only", "columns first", "with gaps"])
            )
            p.grad = q.grad = None if layout == "missing" else tensor_on(laid_out(g, layout))
        before = [None if p.grad is None else p.grad._array.copy() for p in ours]
        together.step()
        for optimizer in alone:
            optimizer.step()
        for p, q, g in zip(ours, theirs, before, strict=True):
            np.testing.assert_array_equal(p._array, q._array)
            np.testing.assert_array_equal(None if p.grad is None else p.grad._array, g)
    for p, optimizer in zip(ours, alone, strict=True):
        (expected,) = optimizer.state.values() if optimizer.state else ({},)
        found = together.state.get(p, {})
        assert list(found) == list(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(value))


def with_gradients(*sizes, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    parameters = [nn.Parameter(minidl.tensor(rng.standard_normal(n).astype(dtype))) for n in sizes]
    for p in parameters:
        p.grad = minidl.tensor(rng.standard_normal(p.shape).astype(dtype))
    return parameters


@pytest.mark.parametrize(("cls", "options"), KINDS)
def test_a_step_is_one_launch(cls, options, monkeypatch):
    launches = []
    run = Rows.run
    monkeypatch.setattr(Rows, "run", lambda rows, *args, **more: (launches.append(rows), run(rows, *args, **more)))
    parameters = with_gradients(*range(1, 40))
    parameters[7].grad = None
    optimizer = cls(parameters, **options)
    for _ in range(2):
        optimizer.step()
    assert [len(rows.held) for rows in launches] == [38, 38]
    parameters[7].grad = minidl.ones(8)
    optimizer.step()  # where a step's number matters, the one that begins now, and those before it and after it
    of_its_own = cls in (optim.Adam, optim.AdamW, optim.Adagrad) or (cls is optim.SGD and bool(options))
    assert [len(rows.held) for rows in launches[2:]] == ([7, 1, 31] if of_its_own else [39])


def test_one_odd_parameter_does_not_part_all_others(monkeypatch):
    parameters = with_gradients(*[6] * 64)
    parameters[20]._array = laid_out(parameters[20]._array, "with gaps")
    launches = []
    run = Rows.run
    monkeypatch.setattr(Rows, "run", lambda rows, *args, **more: (launches.append(rows), run(rows, *args, **more)))
    optim.Adam(parameters).step()
    assert sum(len(rows.held) for rows in launches) == 63 and len(launches) == 6


def test_many_values_are_not_gathered_for_ever(monkeypatch):
    """A gradient that had to be copied is not held until all others are copied, too."""
    parameters = [nn.Parameter(minidl.zeros(1000, 500)) for _ in range(6)]
    launches = []
    run = Rows.run
    monkeypatch.setattr(Rows, "run", lambda rows, *args, **more: (launches.append(rows), run(rows, *args, **more)))
    for p in parameters:
        p.grad = minidl.ones(500, 1000).T
    optim.SGD(parameters, lr=1).step()
    assert [len(rows.held) for rows in launches] == [3, 3]
    assert all((p._array == -1).all() for p in parameters)


@pytest.mark.parametrize("threads", [1, 2])
def test_shared_memory_is_changed_in_order(threads):
    """Two parameters overlap: the second sees what the first became, as with a launch each."""
    before = minidl.get_num_threads()
    if threads > before:
        pytest.skip("one core")
    n = 20 * BLOCK
    rng = np.random.default_rng(0)
    base, g = rng.standard_normal(n + 3), rng.standard_normal((2, n))
    expected = base.copy()
    options = {"lr": 0.3, "weight_decay": 0.5}
    for part, gradient in zip((expected[:n], expected[3:]), g, strict=True):
        part -= 0.3 * (gradient + 0.5 * part)
    parameters = [nn.Parameter(tensor_on(part)) for part in (base[:n], base[3:])]
    for p, gradient in zip(parameters, g, strict=True):
        p.grad = minidl.tensor(gradient)
    minidl.set_num_threads(threads)
    try:
        optim.SGD(parameters, **options).step()
    finally:
        minidl.set_num_threads(before)
    np.testing.assert_allclose(base, expected, rtol=1e-13, atol=1e-14)


def test_a_gradient_that_is_another_parameter():
    p, q = with_gradients(5, 5, dtype="float64")
    a, b = p._array.copy(), q._array.copy()
    p.grad, q.grad = q.detach(), p.detach()
    optim.SGD([p, q], lr=0.5).step()
    np.testing.assert_array_equal(p._array, a - 0.5 * b)
    np.testing.assert_array_equal(q._array, b - 0.5 * (a - 0.5 * b))


def test_a_gradient_for_two_and_a_module_used_twice():
    p, q = with_gradients(5, 5)
    q.grad = p.grad
    a, b = p._array.copy(), q._array.copy()
    optim.SGD([p, q], lr=0.5).step()
    np.testing.assert_array_equal(p._array, a - np.float32(0.5) * p.grad._array)
    np.testing.assert_array_equal(q._array, b - np.float32(0.5) * p.grad._array)
    linear = nn.Linear(3, 3)
    model = nn.Sequential(linear, linear)
    model(minidl.ones(2, 3)).sum().backward()
    weight = linear.weight._array.copy()
    optim.SGD(model.parameters(), lr=0.5).step()
    np.testing.assert_array_equal(linear.weight._array, weight - np.float32(0.5) * linear.weight.grad._array)


@pytest.mark.parametrize(("cls", "options"), KINDS)
def test_arrays_may_be_others_in_every_step(cls, options):
    """Weights loaded or replaced, gradients and states new: the new memory is changed, the old one is not."""
    ours, theirs = with_gradients(6, 6, 6), with_gradients(6, 6, 6)
    optimizer, expected = cls(ours, **options), cls(theirs, **options)
    for step in range(3):
        old = [p._array for p in ours]
        kept = [a.copy() for a in old]
        for p, q in zip(ours, theirs, strict=True):
            p.data = q._array = q._array + np.float32(step)
            p._array = p._array.copy()
            p.grad, q.grad = (minidl.tensor(np.full(6, step + 1, np.float32)) for _ in range(2))
        optimizer.load_state_dict(optimizer.state_dict())
        optimizer.step()
        expected.step()
        for p, q, a, b in zip(ours, theirs, old, kept, strict=True):
            np.testing.assert_array_equal(p._array, q._array)
            np.testing.assert_array_equal(a, b)
        del old, kept


def test_an_error_stops_before_its_parameter():
    parameters, expected = with_gradients(4, 4, 4), with_gradients(4, 4, 4)
    untouched = parameters[2]._array.copy()
    parameters[1].grad = minidl.ones(3)
    optimizer = optim.Adam(parameters)
    with pytest.raises(ValueError, match=r"Adam: a parameter has shape \(4,\) .* gradient \(3,\)"):
        optimizer.step()
    optim.Adam(expected[:1]).step()
    np.testing.assert_array_equal(parameters[0]._array, expected[0]._array)
    np.testing.assert_array_equal(parameters[2]._array, untouched)
    assert [p in optimizer.state for p in parameters] == [True, False, False]
    parameters[1].grad = parameters[1].detach()
    optimizer.step()
    optimizer.state[parameters[1]]["exp_avg"] = minidl.zeros(5)
    with pytest.raises(ValueError, match=r"exp_avg \(5,\) .* cast after the first step"):
        optimizer.step()
    assert [optimizer.state[p]["step"] for p in parameters] == [3, 1, 1]


def test_an_update_of_ones_own_is_used():
    class Bounded(optim.Adam):
        def update(self, p, g, state, options):
            super().update(p, g, state, options)
            np.clip(p, -0.1, 0.1, out=p)

    p, q = with_gradients(9, 2000)
    optimizer = Bounded([p, q], lr=0.01)
    optimizer.step()
    assert np.abs(p._array).max() <= np.float32(0.1) and np.abs(q._array).max() <= np.float32(0.1)
    assert optimizer.state[p]["step"] == 1
    np.testing.assert_allclose(optimizer.state[p]["exp_avg"]._array, 0.1 * p.grad._array, rtol=1e-6)


def test_options_of_numpy_and_notes_in_groups():
    p, q = with_gradients(5, 5)
    optimizer = optim.AdamW([{"params": [p], "note": np.arange(3)}], lr=1e-3)
    optimizer.param_groups[0].update(lr=np.array(0.1), betas=np.array([0.5, 0.75]), eps=np.float64(1e-8))
    optimizer.step()
    q._array[...], q.grad = with_gradients(5)[0]._array, p.grad
    optim.AdamW([q], lr=0.1, betas=(0.5, 0.75)).step()
    np.testing.assert_array_equal(p._array, q._array)
    assert p.dtype == np.float32


# The table


def test_a_table_takes_only_what_kernels_can_change():
    good = np.ones(6, "f")
    for bad in (
        *(
            laid_out(np.ones((2, 3), "f"), layout)
            for layout in ("columns first", "with gaps", "unaligned", "read-only")
        ),
        *(np.ones(6, dtype) for dtype in (np.float64, np.float16, np.int32, ">f4", complex)),
        *(np.ones(n, "f") for n in (5, 7, 0)),
        np.float32(1),
    ):
        assert Rows([(good, good), (good, bad)]).lines is None
        assert Rows([(good, good), (bad, bad)]).lines is None or bad.size in (5, 7)
        tables, others = gather([good, bad])
        assert (len(tables), len(others)) in ((1, 1), (2, 0) if bad.dtype == np.float64 else (1, 0))
        assert all(a is bad for a in others)
    assert Rows([(np.ones(0, "f"),)]).lines is None
    assert Rows([(good, None), (good, None)]).lines is not None


@given(st.lists(st.sampled_from([1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK]), min_size=1, max_size=20))
def test_blocks_cover_every_value_once(sizes):
    arrays = [np.zeros(n, "f") for n in sizes]
    rows = Rows([(a,) for a in arrays])
    for task in range(rows.tasks):
        x = many.values(rows.lines, many.block(rows.lines, task), 0, np.zeros(1, "f"))
        assert 0 < x.size <= BLOCK
        x += 1
    assert all((a == 1).all() for a in arrays)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), min_size=1, max_size=8))
def test_disjoint(parts):
    memory = np.zeros(60)
    arrays = [memory[start:][:n] for start, n in parts]
    shared = any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    assert Rows([(a,) for a in arrays]).disjoint() == (not shared)


def test_tables_say_where_arrays_lie():
    for n in (1, 3, 20):
        rows = [(np.ones(i + 1), None, np.ones((i + 1, 1))) for i in range(n)]
        lines = Rows(rows).lines
        assert Rows(rows).disjoint()  # what is missing is nowhere, and does not count
        assert lines[1].tolist() == list(range(1, n + 1)) and not lines[3].any()
        for column in (0, 2):
            assert lines[2 + column].tolist() == [row[column].ctypes.data for row in rows]


@pytest.mark.parametrize("setting", ["NUMBA_DISABLE_JIT=1", "MINIDL_NUM_THREADS=1"])
def test_steps_by_any_path(setting):
    code = """
import numpy as np, minidl
from minidl import nn, optim
rng = np.random.default_rng(0)
for cls in (optim.SGD, optim.Adam, optim.RMSprop, optim.Adagrad):
    p, q, r = (minidl.tensor(rng.standard_normal(n), requires_grad=True) for n in (5, 9001, 1))
    optimizer = cls([p, q, r], weight_decay=0.1, **({} if cls is optim.Adagrad else dict(momentum=0.9)
                                                     if cls is not optim.Adam else dict(amsgrad=True)))
    for _ in range(2):
        for x in (p, q, r):
            x.grad = minidl.tensor(rng.standard_normal(x.shape))
        nn.utils.clip_grad_norm_([p, q, r], 3.0)
        optimizer.step()
    print(*[format(v, ".11g") for x in (p, q, r) for v in x._array[::100]])
"""
    name, value = setting.split("=")
    common = {"PYTHONPATH": str(Path(many.__file__).parents[2]), "MINIDL_QUIET": "1"}
    printed = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env=os.environ | common | extra,
            check=True,
            timeout=100,
            capture_output=True,
            text=True,
        ).stdout
        for extra in ({}, {name: value})
    ]
    numbers = [np.array(text.split(), float) for text in printed]
    np.testing.assert_allclose(*numbers, rtol=1e-9)  # plain Python fuses nothing
    assert numbers[0].size == 4 * 93
    assert printed[0] == printed[1] or "JIT" in setting
