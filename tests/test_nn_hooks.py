"""Hooks of modules, and what they must not keep alive."""

import copy
import gc
import weakref

import pytest

import minidl
from minidl import nn


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(minidl.ones(2))

    def forward(self, x, *, times=1):
        return x * self.scale * float(times)


def test_hooks_see_and_replace():
    module = Scale()
    seen = []
    before = module.register_forward_pre_hook(lambda m, args: seen.append(("before", m, args)) or args[0] + 1)
    after = module.register_forward_hook(lambda m, args, out: seen.append(("after", m, args)) or out * 10)
    x = minidl.ones(2)
    assert module(x).tolist() == [20.0, 20.0]
    assert [(kind, m) for kind, m, _ in seen] == [("before", module), ("after", module)]
    assert seen[1][2][0].tolist() == [2.0, 2.0]
    before.remove()
    before.remove()
    assert module(x).tolist() == [10.0, 10.0]
    after.remove()
    assert module(x).tolist() == [1.0, 1.0]


def test_hooks_with_kwargs_order_and_removal_while_running():
    module = Scale()
    module.register_forward_pre_hook(lambda m, args, kwargs: (args, {"times": 3}), with_kwargs=True)
    assert module(minidl.ones(2)).tolist() == [3.0, 3.0]
    order = []
    with module.register_forward_hook(lambda m, args, out: order.append("second")):
        module.register_forward_hook(lambda m, args, out: order.append("first"), prepend=True)
        once = module.register_forward_hook(lambda m, args, kwargs, out: once.remove(), with_kwargs=True)
        module.register_forward_hook(lambda m, args, out: order.append("last"))
        module(minidl.ones(2))
        assert order == ["first", "second", "last"]
    module(minidl.ones(2))
    assert order == ["first", "second", "last", "first", "last"]
    with pytest.raises(TypeError, match="hook must be callable"):
        module.register_forward_hook(3)
    module.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True)
    with pytest.raises(TypeError, match=r"None or \(args, kwargs\)"):
        module(minidl.ones(2))


def test_hooks_of_a_copy_are_its_own():
    module = Scale()
    handle = module.register_forward_hook(print)
    twin = copy.deepcopy(module)
    handle.remove()
    assert not module._forward_hooks and len(twin._forward_hooks) == 1


def test_a_module_is_freed_without_the_collector():
    gc.disable()
    try:
        net = nn.Sequential(Scale())
        net[0].register_forward_hook(print)
        gone = weakref.ref(net)
        del net
        assert gone() is None
    finally:
        gc.enable()
