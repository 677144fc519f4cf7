"""Sequential, ModuleList, ModuleDict, ParameterList."""

from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import nn


class Add(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.n = n

    def forward(self, x):
        return x + self.n


class Times(Add):
    def forward(self, x):
        return x * self.n


def test_sequential_runs_in_order():
    assert nn.Sequential(Add(1), Times(10), Add(2))(3) == 42
    assert nn.Sequential()(3) == 3
    named = nn.Sequential(OrderedDict(a=Add(1), b=Times(10)))
    assert named(3) == 40 and named.a.n == 1 and named[1] is named.b


def test_a_slice_of_a_sequential_shares_modules_and_names():
    model = nn.Sequential(Add(1), Times(10), Add(2))
    tail = model[1:]
    assert isinstance(tail, nn.Sequential) and tail(3) == 32 and tail[0] is model[1]
    assert list(tail._modules) == ["1", "2"]
    tail.append(Add(5))  # must not overwrite the module named 2
    assert tail(3) == 37 and len(tail) == 3
    assert (model + nn.Sequential(Add(4)))(3) == 46 and len(model) == 3


def test_containers_take_modules_only():
    for bad in ([Add(1)], "x", abs, None):
        with pytest.raises(TypeError, match="Sequential: expected a Module, got a"):
            nn.Sequential(bad, Add(1))
        with pytest.raises(TypeError, match="ModuleList: expected a Module, got a"):
            nn.ModuleList([bad])
    with pytest.raises(TypeError, match="expected a Module"):
        nn.ModuleList().insert(0, abs)
    with pytest.raises(TypeError, match="must be a Module"):
        nn.ModuleDict({"a": abs})
    with pytest.raises(TypeError, match="ParameterList: expected a Tensor"):
        nn.ParameterList([1.0])
    with pytest.raises(NotImplementedError, match="ModuleList has no forward"):
        nn.ModuleList()(1)


MODULES = [Add(n) for n in range(6)]
INDEX = st.integers(-7, 7)
OPERATION = st.one_of(
    st.tuples(st.just("append"), st.sampled_from(MODULES)),
    st.tuples(st.just("extend"), st.lists(st.sampled_from(MODULES), max_size=3)),
    st.tuples(st.just("insert"), INDEX, st.sampled_from(MODULES)),
    st.tuples(st.just("pop"), INDEX),
    st.tuples(st.just("__setitem__"), INDEX, st.sampled_from(MODULES)),
    st.tuples(st.just("__delitem__"), INDEX | st.slices(6)),
    st.tuples(st.just("__getitem__"), INDEX | st.slices(6)),
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([nn.ModuleList, lambda modules: nn.Sequential(*modules)]), st.lists(OPERATION, max_size=8))
def test_a_module_list_is_a_list(make, operations):
    modules, model = make(MODULES[:3]), MODULES[:3]
    for name, *args in operations:
        results = []
        for target in (model, modules):
            try:
                results.append(getattr(target, name)(*args))
            except IndexError:
                results.append(IndexError)
        if name in ("pop", "__getitem__") and results[0] is not IndexError:
            assert list(results[1]) == results[0] if isinstance(results[0], list) else results[1] is results[0]
        assert (results[0] is IndexError) == (results[1] is IndexError)
        assert list(modules) == model
        assert len(modules) == len(model) == len(modules._modules)
        assert list(modules._modules) == [str(i) for i in range(len(model))]


def test_module_list_adds():
    a, b = nn.ModuleList(MODULES[:2]), nn.ModuleList(MODULES[2:3])
    assert list(a + b) == MODULES[:3] and len(a) == 2
    a += b
    assert list(a) == MODULES[:3]


def test_module_dict():
    modules = nn.ModuleDict({"a": Add(1), "b": Add(2)})
    modules["c"] = Add(3)
    modules.update([("d", Add(4))])
    assert list(modules) == list(modules.keys()) == ["a", "b", "c", "d"] and len(modules) == 4
    assert "a" in modules and modules.c.n == 3
    assert modules.pop("a").n == 1
    del modules["b"]
    assert [m.n for m in modules.values()] == [3, 4]
    assert [name for name, _ in modules.items()] == ["c", "d"]
    with pytest.raises(KeyError):
        modules["a"]
    with pytest.raises(KeyError, match="taken"):
        modules["keys"] = Add(1)
    modules.clear()
    assert not len(modules)


def test_parameter_list():
    shared = nn.Parameter(minidl.ones(1))
    parameters = nn.ParameterList([shared, minidl.zeros(2)])
    assert parameters[0] is shared and isinstance(parameters[-1], nn.Parameter)
    parameters += [minidl.zeros(3)]
    assert [p.shape for p in parameters] == [(1,), (2,), (3,)]
    assert len(parameters[1:]) == 2
    parameters[1] = minidl.zeros(5)
    assert [name for name, _ in parameters.named_parameters()] == ["0", "1", "2"]
    assert parameters[1].shape == (5,)
    with pytest.raises(IndexError, match="out of range"):
        parameters[3]
    assert "(1): Parameter[5] float32" in repr(parameters)
