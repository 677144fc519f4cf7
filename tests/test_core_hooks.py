"""Hooks on gradients."""

import pytest

import minidl
from minidl.tensor import Tensor


def leaf(*values: float) -> Tensor:
    return minidl.tensor(values if len(values) != 1 else values[0], dtype=minidl.float64, requires_grad=True)


def test_hooks_see_and_replace_the_gradient() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3.0
    seen = []
    handle = y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10.0)
    y.sum().backward()
    assert seen == [[1.0, 1.0]] and x.grad.tolist() == [30.0, 30.0]

    y = x * 3.0
    handle = y.register_hook(lambda g: g * 100.0)
    handle.remove()
    handle.remove()
    x.grad = None
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_a_hook_on_a_leaf_sees_the_whole_sum_once() -> None:
    x = leaf(1.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.item()))
    (x * 2.0 + x * 3.0).backward()
    assert seen == [5.0]


def test_a_hook_of_a_wrong_shape() -> None:
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match="hook"):
        x.sum().backward()
    with pytest.raises(RuntimeError, match="register_hook"):
        minidl.zeros(2).register_hook(print)


def test_a_hook_that_returns_its_own_tensor_keeps_it() -> None:
    mine = minidl.tensor([7.0, 7.0], dtype=minidl.float64)
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: mine)
    x.sum().backward()
    x.sum().backward()
    assert x.grad.tolist() == [14.0, 14.0] and mine.tolist() == [7.0, 7.0]


def test_retain_grad() -> None:
    x = leaf(2.0)
    y = x * x
    y.retain_grad()
    y.retain_grad()
    (y * 3.0).backward()
    assert y.grad.item() == 3.0 and x.grad.item() == 12.0
    z = x * x
    (z * 3.0).backward()
    assert z.grad is None
    with pytest.raises(RuntimeError, match="retain_grad"):
        minidl.zeros(2).retain_grad()
