"""Module: registering, walking, state, hooks, copies."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import nn


class Scale(nn.Module):
    """Two parameters, a buffer of each kind, and the place of a parameter that is left out."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(minidl.ones(2))
        self.shift = nn.Parameter(minidl.zeros(2))
        self.register_parameter("absent", None)
        self.register_buffer("count", minidl.tensor([0]))
        self.register_buffer("scratch", minidl.zeros(3), persistent=False)

    def forward(self, x, *, times=1):
        return x * self.scale * float(times) + self.shift


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Scale()
        self.rest = nn.Sequential(Scale(), Scale())
        self.own = nn.Parameter(minidl.full((1,), 3.0))


def names(pairs):
    return [name for name, _ in pairs]


def values(module):
    return {name: t._array.copy() for name, t in module.state_dict().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


# Registering


def test_members_are_found_in_the_order_of_assignment():
    net = Net()
    assert names(net.named_parameters()) == [
        *("own", "first.scale", "first.shift", "rest.0.scale", "rest.0.shift", "rest.1.scale", "rest.1.shift")
    ]
    assert names(net.named_parameters(prefix="net", recurse=False)) == ["net.own"]
    assert names(net.named_buffers()) == [
        f"{path}.{name}" for path in ("first", "rest.0", "rest.1") for name in ("count", "scratch")
    ]
    assert names(net.named_modules()) == ["", "first", "rest", "rest.0", "rest.1"]
    assert names(net.named_children()) == ["first", "rest"]
    assert list(net.children()) == [net.first, net.rest]
    assert next(net.modules()) is net
    assert len(list(net.buffers())) == 6
    assert net.first.absent is None
    assert {"own", "first", "rest"} <= set(dir(net))


def test_shared_parameters_and_modules_come_once_but_are_saved_under_each_name():
    net = Net()
    net.rest[1].scale = net.first.scale
    net.again = net.first
    assert sum(p is net.first.scale for p in net.parameters()) == 1
    assert sum(m is net.first for m in net.modules()) == 1
    assert {"first.scale", "rest.1.scale", "again.scale"} <= net.state_dict().keys()
    assert "again.scale" in names(net.named_parameters(remove_duplicate=False))


def test_equal_values_are_not_taken_for_the_same_parameter():
    module = nn.ParameterList([minidl.ones(2), minidl.ones(2)])
    assert len(list(module.parameters())) == 2


def test_assignment_replaces_across_kinds():
    module = Scale()
    module.plain = 1
    module.plain = nn.Parameter(minidl.zeros(1))
    assert "plain" in names(module.named_parameters())
    module.plain = nn.Identity()
    assert "plain" in names(module.named_modules()) and "plain" not in names(module.named_parameters())
    del module.plain
    assert not hasattr(module, "plain")
    module.scale = None
    assert names(module.named_parameters()) == ["shift"]
    module.scale = nn.Parameter(minidl.zeros(5))
    assert names(module.named_parameters()) == ["scale", "shift"]
    module.scratch = minidl.ones(1)
    assert "scratch" in names(module.named_buffers()) and "scratch" not in module.state_dict()


@pytest.mark.parametrize("value", [1.0, np.zeros(2), minidl.zeros(2)])
def test_a_parameter_is_not_silently_replaced_by_something_else(value):
    module = Scale()
    with pytest.raises(TypeError, match=r"Scale\.scale must be a Parameter or None, not a"):
        module.scale = value
    with pytest.raises(TypeError, match=r"Scale\.count must be a Tensor or None"):
        module.count = 3
    net = Net()
    with pytest.raises(TypeError, match=r"Net\.first must be a Module or None"):
        net.first = value


def test_registering_checks_names_and_types():
    module = Scale()
    for name in ("", "a.b", "forward", "training", "count"):
        with pytest.raises(KeyError, match="taken, empty or has a dot"):
            module.register_parameter(name, nn.Parameter(minidl.zeros(1)))
    with pytest.raises(TypeError, match="a name must be a string"):
        module.register_buffer(3, minidl.zeros(1))
    with pytest.raises(TypeError, match="x must be a Parameter or None, not a Tensor"):
        module.register_parameter("x", minidl.zeros(1))
    with pytest.raises(TypeError, match="x must be a Tensor or None, not a list"):
        module.register_buffer("x", [1.0])
    with pytest.raises(TypeError, match="x must be a Module or None, not a function"):
        module.add_module("x", lambda x: x)
    with pytest.raises(KeyError, match="attribute of the class"):
        module.apply = nn.Identity()


def test_a_module_cannot_hold_itself():
    net = Net()
    for assign in (
        lambda: setattr(net.first, "up", net),
        lambda: net.rest.append(net),
        lambda: setattr(net, "me", net),
    ):
        with pytest.raises(ValueError, match="part of itself"):
            assign()


def test_forgetting_super_init_is_said():
    class Forgetful(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(minidl.zeros(1))

    with pytest.raises(AttributeError, match=r"cannot assign weight before super\(\).__init__\(\)"):
        Forgetful()

    class Idle(nn.Module):
        def __init__(self):
            pass

    with pytest.raises(AttributeError, match=r"was super\(\).__init__\(\) called"):
        Idle()(1)
    with pytest.raises(AttributeError, match="Scale has no attribute 'wrong'"):
        _ = Scale().wrong


def test_missing_forward_is_said():
    class Silent(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Silent has no forward"):
        Silent()(minidl.zeros(1))


def test_parameter():
    t = minidl.tensor([1.0, 2.0])
    p = nn.Parameter(t)
    assert isinstance(p, minidl.Tensor) and p.requires_grad and p.is_leaf
    assert p._array is t._array
    assert not nn.Parameter(t, requires_grad=False).requires_grad
    x = minidl.ones(2, requires_grad=True)
    assert nn.Parameter(x * 2).is_leaf
    assert type(p * 2) is minidl.Tensor
    assert repr(p) == "Parameter containing:\ntensor([1., 2.], requires_grad=True)"
    with pytest.raises(TypeError, match="floating-point"):
        nn.Parameter(minidl.tensor([1]))
    assert nn.Parameter(minidl.tensor([1]), requires_grad=False).dtype == np.int64


# Walking by path


def test_get_by_path():
    net = Net()
    assert net.get_submodule("") is net
    assert net.get_submodule("rest.1") is net.rest[1]
    assert net.get_parameter("rest.0.scale") is net.rest[0].scale
    assert net.get_buffer("first.count") is net.first.count
    with pytest.raises(AttributeError, match=r"Sequential has no module '2' \(of 'rest.2'\)"):
        net.get_parameter("rest.2.scale")
    for get, kind in ((net.get_parameter, "parameter"), (net.get_buffer, "buffer")):
        with pytest.raises(AttributeError, match=f"Scale has no {kind} 'absent'"):
            get("first.absent")


# Doing something with all


def test_modes_gradients_and_apply():
    net = Net()
    assert net.eval() is net and not any(m.training for m in net.modules())
    assert net.train().rest[1].training
    with pytest.raises(TypeError, match="mode must be a bool"):
        net.train("yes")

    visited = []
    assert net.apply(lambda m: visited.append(m)) is net
    assert visited == [net.first, *net.rest, net.rest, net]

    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    net.requires_grad_()
    net.rest(net.first(minidl.ones(4, 2))).sum().backward()
    assert net.first.scale.grad is not None and net.own.grad is None
    net.zero_grad(set_to_none=False)
    assert (net.first.scale.grad == 0).all() and net.own.grad is None
    net.zero_grad()
    assert net.first.scale.grad is None


def test_casts_keep_identity_ties_integers_and_gradients():
    net = Net()
    net.rest[0].scale = net.first.scale
    before = list(net.parameters())
    net.first(minidl.ones(4, 2)).sum().backward()
    assert net.double() is net
    assert all(a is b for a, b in zip(before, net.parameters(), strict=True))
    assert all(p.dtype == np.float64 and p.requires_grad and p.is_leaf for p in net.parameters())
    assert net.first.count.dtype == np.int64 and net.first.scratch.dtype == np.float64
    assert net.first.scale.grad.dtype == np.float64
    assert net.rest[0].scale is net.first.scale
    out = net.first(minidl.ones(3, 2, dtype=minidl.float64))
    out.sum().backward()
    np.testing.assert_array_equal(net.first.shift.grad, [7.0, 7.0])
    assert net.float().own.dtype == np.float32
    assert net.to(minidl.float64).own.dtype == np.float64
    with pytest.raises(TypeError, match="floating-point, not int64"):
        net.to(minidl.int64)


def test_casting_between_forward_and_backward_is_noticed():
    module = Scale()
    out = module(minidl.ones(2)).sum()
    module.double()
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()


# State


def test_state_dict_is_in_order_detached_and_on_the_same_memory():
    module = Scale()
    state = module.state_dict()
    assert list(state) == ["scale", "shift", "count"]
    assert state["scale"]._array is module.scale._array and not state["scale"].requires_grad
    assert module.state_dict(keep_vars=True)["scale"] is module.scale
    assert list(module.state_dict(prefix="a.")) == ["a.scale", "a.shift", "a.count"]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_loading_gives_the_values_back(seed, as_arrays):
    rng = np.random.default_rng(seed)
    source, target = Net(), Net()
    for p in source.parameters():
        p._array[...] = rng.standard_normal(p.shape)
    source.rest[1].count.fill_(7)
    state = source.state_dict()
    if as_arrays:
        state = {name: np.asarray(t)[::1] for name, t in reversed(state.items())}
    parameters = list(target.parameters())
    result = target.load_state_dict(state)
    assert (result.missing_keys, result.unexpected_keys) == ([], [])
    assert str(result) == "<All keys matched successfully>"
    assert_same(values(source), values(target))
    assert all(a is b for a, b in zip(parameters, target.parameters(), strict=True))


def test_one_error_lists_everything_and_nothing_is_changed():
    module = Scale()
    before = values(module)
    state = {
        "scale": np.full(3, 9, np.float32),
        "count": np.full(1, 9, np.float32),
        "extra": np.zeros(1),
        7: np.zeros(1),
    }
    with pytest.raises(RuntimeError) as caught:
        module.load_state_dict(state)
    message = str(caught.value)
    assert "does not fit Scale" in message
    assert "scale: expected shape (2,), found (3,)" in message
    assert "count: expected dtype int64, found float32" in message
    assert "missing keys: shift" in message
    assert "unexpected keys: extra, 7" in message
    assert_same(before, values(module))

    state = {"scale": np.full(2, 9, np.float32), "shift": "nine", "count": np.full(1, 9)}
    with pytest.raises(RuntimeError, match="shift: expected a Tensor or an ndarray, found a str"):
        module.load_state_dict(state, strict=False)
    assert_same(before, values(module))
    with pytest.raises(TypeError, match="must be a dict"):
        module.load_state_dict([1])


def test_without_strict_keys_may_differ_but_shapes_may_not():
    module = Scale()
    result = module.load_state_dict({"scale": np.full(2, 9, np.float32), "extra": np.zeros(1)}, strict=False)
    assert result == (["shift", "count"], ["extra"])
    assert (module.scale == 9).all()
    with pytest.raises(RuntimeError, match="shape") as caught:
        module.load_state_dict({"scale": np.zeros(3, np.float32), "extra": np.zeros(1)}, strict=False)
    assert "extra" not in str(caught.value)


def test_loading_counts_as_a_change_in_place():
    module = Scale()
    out = module(minidl.ones(2)).sum()
    module.load_state_dict(Scale().state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()


def test_big_endian_arrays_load():
    module = Scale()
    module.load_state_dict({"scale": np.array([1.5, 2.5], ">f4")}, strict=False)
    np.testing.assert_array_equal(module.scale.detach(), [1.5, 2.5])


# Copies


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_equal_apart_and_keep_ties(duplicate):
    net = Net().eval()
    net.rest[0].scale = net.first.scale
    net.own.requires_grad_(False)
    twin = duplicate(net)
    assert_same(values(net), values(twin))
    assert repr(net) == repr(twin)
    assert twin.rest[0].scale is twin.first.scale
    assert isinstance(twin.own, nn.Parameter) and not twin.own.requires_grad and twin.first.scale.requires_grad
    assert not twin.training
    twin.first.scale._array[...] = 5
    assert (net.first.scale == 1).all()
    twin.new = nn.Parameter(minidl.zeros(1))
    assert "new" not in names(net.named_parameters())
    assert "first.scratch" not in twin.state_dict()


# Showing


def test_repr_shows_the_tree():
    model = nn.Sequential(OrderedDict(first=nn.Linear(2, 3), inner=nn.Sequential(nn.ReLU(), nn.Flatten())))
    assert repr(model) == (
        "Sequential(\n"
        "  (first): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (inner): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Flatten(start_dim=1, end_dim=-1)\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Identity()) == "Identity()"
