"""Optimisers against their formulas, computed number by number in Python floats."""

import copy
import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import nn, optim

CLASSES = [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad]


# The formulas: each takes the gradients of one number over time, and gives its values


def sgd(p, gradients, lr, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    v = None
    for g in gradients:
        g = (-g if maximize else g) + weight_decay * p
        v = g if v is None else momentum * v + (1 - dampening) * g
        p = p - lr * (g + momentum * v if nesterov else v if momentum else g)
        yield p


def adam(
    p, gradients, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, maximize=False, decoupled=False
):
    m = v = largest = 0.0
    for t, g in enumerate(gradients, 1):
        g = -g if maximize else g
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        largest = max(largest, v) if amsgrad else v
        mean, square = m / (1 - betas[0] ** t), largest / (1 - betas[1] ** t)
        p = p - lr * mean / (math.sqrt(square) + eps)
        yield p


def adamw(p, gradients, lr, weight_decay=1e-2, **options):
    return adam(p, gradients, lr, weight_decay=weight_decay, decoupled=True, **options)


def rmsprop(p, gradients, lr, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False, maximize=False):
    v = a = b = 0.0
    for g in gradients:
        g = (-g if maximize else g) + weight_decay * p
        v = alpha * v + (1 - alpha) * g * g
        a = alpha * a + (1 - alpha) * g if centered else 0
        b = momentum * b + g / (math.sqrt(v - a * a) + eps)
        p = p - lr * b
        yield p


def adagrad(p, gradients, lr, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10, maximize=False):
    s = initial_accumulator_value
    for t, g in enumerate(gradients, 1):
        g = (-g if maximize else g) + weight_decay * p
        s = s + g * g
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (math.sqrt(s) + eps)
        yield p


FORMULAS = dict(zip(CLASSES, (sgd, adam, adamw, rmsprop, adagrad), strict=True))

rates = st.sampled_from([0.001, 0.1, 1])
decays = st.sampled_from([0, 0.01, 0.3])
shrinks = st.sampled_from([0, 0.5, 0.9, 0.99])
common = {"lr": rates, "weight_decay": decays, "maximize": st.booleans()}
adams = {
    **common,
    "betas": st.tuples(shrinks, shrinks),
    "eps": st.sampled_from([1e-8, 0.1]),
    "amsgrad": st.booleans(),
}
OPTIONS = {
    optim.SGD: st.fixed_dictionaries(
        {**common, "momentum": shrinks, "dampening": st.sampled_from([0, 0.3]), "nesterov": st.booleans()}
    ).filter(lambda o: not o["nesterov"] or (o["momentum"] and not o["dampening"])),
    optim.Adam: st.fixed_dictionaries(adams),
    optim.AdamW: st.fixed_dictionaries(adams),
    optim.RMSprop: st.fixed_dictionaries(
        {**common, "alpha": shrinks, "momentum": shrinks, "centered": st.booleans(), "eps": st.just(1e-3)}
    ),
    optim.Adagrad: st.fixed_dictionaries(
        {**common, "lr_decay": decays, "initial_accumulator_value": decays, "eps": st.sampled_from([1e-10, 0.1])}
    ),
}


def draw_case(data):
    cls = data.draw(st.sampled_from(CLASSES))
    options = data.draw(OPTIONS[cls])
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    shape = data.draw(st.sampled_from([(), (1,), (5,), (2, 3), (0, 2), (2, 1, 2)]))
    return cls, options, rng, shape


def parameter(array):
    return nn.Parameter(minidl.tensor(array))


def run(optimizer, parameters, gradients):
    """Step through gradients, given as one list of arrays a step; yields the parameters' values."""
    for step in gradients:
        for p, g in zip(parameters, step, strict=True):
            p.grad = None if g is None else minidl.tensor(g)
        optimizer.step()
        yield [p._array.copy() for p in parameters]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_updates_are_the_formulas(data):
    cls, options, rng, shape = draw_case(data)
    start, gradients = rng.standard_normal(shape), rng.standard_normal((6, *shape))
    p = parameter(start)
    found = [values for (values,) in run(cls([p], **options), [p], gradients[:, None])]
    for index in np.ndindex(shape):
        expected = list(FORMULAS[cls](float(start[index]), [float(g[index]) for g in gradients], **options))
        np.testing.assert_allclose([f[index] for f in found], expected, rtol=1e-9, atol=1e-11)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_float32_stays_float32_keeps_its_memory_and_is_near_float64(data):
    cls, options, rng, shape = draw_case(data)
    options["lr"] = 0.01
    start, gradients = rng.standard_normal(shape), rng.standard_normal((4, 1, *shape))
    p, same, exact = parameter(start.astype(np.float32)), parameter(start.astype(np.float32)), parameter(start)
    array, optimizer = p._array, cls([p], **options)
    version = p._version.changed
    found = list(run(optimizer, [p], gradients.astype(np.float32)))
    assert p._array is array and p._version.changed > version
    tensors = [v for state in optimizer.state.values() for v in state.values() if isinstance(v, minidl.Tensor)]
    assert p.dtype == np.float32 and all(t.dtype == np.float32 and t.shape == shape for t in tensors)
    strong = {
        name: np.float64(v) if isinstance(v, float) else v for name, v in options.items()
    }  # as a schedule may set
    *_, (again,) = run(cls([same], **strong), [same], gradients.astype(np.float32))
    np.testing.assert_array_equal(found[-1][0], again)
    *_, (expected,) = run(cls([exact], **options), [exact], gradients)
    np.testing.assert_allclose(found[-1][0], expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("cls", CLASSES)
def test_runs_are_equal_to_the_bit_and_gradients_untouched(cls):
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(s).astype(np.float32) for s in ((3, 4), (2,), (5, 5))]
    gradients = [[rng.standard_normal(s.shape).astype(np.float32) for s in start] for _ in range(5)]
    before = copy.deepcopy(gradients)
    results = []
    for _ in range(2):
        parameters = [nn.Parameter(minidl.tensor(s)) for s in start]
        optimizer = cls(parameters, lr=0.1, weight_decay=0.1, **({"momentum": 0.9} if cls is optim.SGD else {}))
        for step in gradients:
            for p, g in zip(parameters, step, strict=True):
                p.grad = minidl.from_numpy(g)
            optimizer.step()
        results.append([p._array.tobytes() for p in parameters])
    assert results[0] == results[1]
    for a, b in zip(itertools.chain(*before), itertools.chain(*gradients), strict=True):
        np.testing.assert_array_equal(a, b)


def test_parameters_without_gradient_stay_and_keep_no_state():
    p, q = parameter(np.ones(2)), parameter(np.ones(2))
    optimizer = optim.AdamW([p, q], lr=0.1)
    p.grad = minidl.ones(2, dtype=minidl.float64)
    optimizer.step()
    assert (q == 1).all() and q not in optimizer.state and (p < 1).all()


def test_layouts():
    base = np.zeros((4, 6))
    p = nn.Parameter(minidl.from_numpy(base.T[::2, ::-1]))
    p.grad = minidl.tensor(np.arange(12.0).reshape(3, 4))
    optim.Adam([p], lr=1.0, weight_decay=0.1).step()
    expected = parameter(np.zeros((3, 4)))
    expected.grad = p.grad
    optim.Adam([expected], lr=1.0, weight_decay=0.1).step()
    # the kernel fuses products into sums, which NumPy's form, for memory with gaps, does not
    np.testing.assert_allclose(p._array, expected._array, rtol=1e-15, atol=0)
    assert np.count_nonzero(base) == 11


# Groups, closures, zero_grad


def test_groups_have_options_of_their_own():
    p, q, r = (parameter(np.zeros(1)) for _ in range(3))
    optimizer = optim.SGD([{"params": [p]}, {"params": q, "lr": 10}], lr=1, momentum=0.5)
    optimizer.add_param_group({"params": (x for x in [r]), "lr": 100, "momentum": 0, "note": "mine"})
    assert [g["lr"] for g in optimizer.param_groups] == [1, 10, 100]
    assert [g["momentum"] for g in optimizer.param_groups] == [0.5, 0.5, 0]
    for _ in range(2):
        for x in (p, q, r):
            x.grad = minidl.ones(1, dtype=minidl.float64)
        optimizer.step()
    assert [x.item() for x in (p, q, r)] == [-2.5, -25, -200]
    assert optimizer.param_groups[2]["note"] == "mine"
    assert "lr: 100" in repr(optimizer)


def test_closure():
    p = parameter(np.array([4.0]))
    optimizer = optim.SGD([p], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with minidl.no_grad():
        assert optimizer.step(closure).item() == 16
    assert p.item() == 2
    assert optimizer.step() is None


def test_zero_grad():
    p, q = parameter(np.ones(2)), parameter(np.ones(2))
    optimizer = optim.SGD([p, q], lr=1)
    (p * 2).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0, 0] and q.grad is None
    optimizer.zero_grad()
    assert p.grad is None


def test_a_step_between_forward_and_backward_is_noticed():
    p = parameter(np.ones(2))
    optimizer = optim.SGD([p], lr=1)
    loss = (p * p).sum()
    p.grad = minidl.ones(2, dtype=minidl.float64)
    optimizer.step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


# State


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("way", ["load", "pickle", "deepcopy"])
def test_going_on_from_a_saved_state_is_the_same_to_the_bit(cls, way):
    rng = np.random.default_rng(0)
    options = {"lr": 0.1, "weight_decay": 0.01, "maximize": True}
    options |= {"momentum": 0.9} if cls in (optim.SGD, optim.RMSprop) else {}
    options |= {"amsgrad": True} if cls in (optim.Adam, optim.AdamW) else {}
    start = [rng.standard_normal(s) for s in ((3,), (2, 2), (1,))]
    gradients = [[rng.standard_normal(s.shape) for s in start] for _ in range(6)]
    for step in gradients:
        step[2] = None

    def make(values):
        parameters = [parameter(v) for v in values]
        return parameters, cls([{"params": parameters[:1], "lr": 0.5}, {"params": parameters[1:]}], **options)

    parameters, optimizer = make(start)
    whole = list(run(optimizer, parameters, gradients))
    parameters, optimizer = make(start)
    half = list(run(optimizer, parameters, gradients[:3]))
    if way == "load":
        state = copy.deepcopy(optimizer.state_dict())
        parameters, optimizer = make(half[-1])
        optimizer.load_state_dict(state)
        for entries in state["state"].values():  # it has copied what it loaded
            for value in entries.values():
                if isinstance(value, minidl.Tensor):
                    value.fill_(np.nan)
    else:
        both = (parameters, optimizer)
        parameters, optimizer = copy.deepcopy(both) if way == "deepcopy" else pickle.loads(pickle.dumps(both))
    rest = list(run(optimizer, parameters, gradients[3:]))
    for a, b in zip(whole, half + rest, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_state_dict_has_pytorchs_layout():
    p, q = parameter(np.ones(2)), parameter(np.ones(3))
    optimizer = optim.Adam([{"params": [p]}, {"params": [q]}])
    assert optimizer.state_dict()["state"] == {}
    q.grad = minidl.ones(3, dtype=minidl.float64)
    optimizer.step()
    state = optimizer.state_dict()
    assert list(state) == ["state", "param_groups"]
    assert [g["params"] for g in state["param_groups"]] == [[0], [1]]
    assert list(state["state"]) == [1]
    assert list(state["state"][1]) == ["step", "exp_avg", "exp_avg_sq"]
    assert state["state"][1]["step"] == 1


def test_loading_a_state_that_does_not_fit_changes_nothing():
    def stepped(cls, *shapes, **options):
        parameters = [parameter(np.ones(s)) for s in shapes]
        for p in parameters:
            p.grad = minidl.ones(p.shape, dtype=minidl.float64)
        optimizer = cls(parameters, lr=1, **options)
        optimizer.step()
        return optimizer

    optimizer = stepped(optim.Adam, 2, 3)
    before = copy.deepcopy(optimizer.state_dict())
    good = optimizer.state_dict()

    def changed(**entries):
        return {**good, **entries}

    step = {0: {"step": 1, "exp_avg": np.zeros(2), "exp_avg_sq": np.zeros(2)}}
    for state, error, message in (
        ([], TypeError, "expects a dict"),
        ({"state": {}}, TypeError, "expects a dict"),
        (stepped(optim.SGD, 2, 3, momentum=1).state_dict(), ValueError, "lacks betas, eps"),
        (stepped(optim.Adam, 2).state_dict(), ValueError, r"groups with \[1\] parameters, not \[2\]"),
        (stepped(optim.Adam, 2, 4).state_dict(), ValueError, r"exp_avg of parameter 1 has shape \(4,\)"),
        (changed(state={5: {}}), ValueError, "a parameter 5 that no group has"),
        (changed(state={0: {**step[0], "sum": np.zeros(2)}}), ValueError, "another optimiser's"),
        (changed(state={0: {**step[0], "exp_avg": np.zeros(2, np.float32)}}), ValueError, "dtype float32"),
        (changed(param_groups=[{**good["param_groups"][0], "lr": -1}]), ValueError, "lr must be at least 0"),
    ):
        with pytest.raises(error, match=message):
            optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert before["param_groups"] == after["param_groups"]
    for i in range(2):
        assert before["state"][i]["step"] == after["state"][i]["step"]
        np.testing.assert_array_equal(before["state"][i]["exp_avg"], after["state"][i]["exp_avg"])


# Altogether


@pytest.mark.parametrize("cls", CLASSES)
def test_a_small_problem_is_solved(cls):
    minidl.manual_seed(0)
    x = minidl.randn(50, 3)
    y = x @ minidl.tensor([[1.0], [-2.0], [0.5]]) + 3
    model = nn.Linear(3, 1)
    rate = {optim.SGD: 0.1, optim.Adagrad: 1.0, optim.RMSprop: 0.02}.get(cls, 0.05)  # RMSprop ends up ± lr around it
    optimizer = cls(model.parameters(), lr=rate, weight_decay=0)
    for _ in range(300):
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-2
