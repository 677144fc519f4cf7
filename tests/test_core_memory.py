"""Changes in place: a changed array that backward needs is found and named, a harmless change is not."""

import numpy as np
import pytest

import minidl
from minidl.nn import functional as F
from minidl.tensor import Tensor
from minidl.testing import gradcheck


def leaf(*values: float) -> Tensor:
    return minidl.tensor(values, dtype=minidl.float64, requires_grad=True)


CHANGES = {
    "add_": lambda t: t.add_(1.0),
    "sub_": lambda t: t.sub_(1.0),
    "mul_": lambda t: t.mul_(2.0),
    "div_": lambda t: t.div_(2.0),
    "copy_": lambda t: t.copy_(np.array([7.0, 8.0])),
    "zero_": lambda t: t.zero_(),
    "fill_": lambda t: t.fill_(3.0),
    "clamp_": lambda t: t.clamp_(0.0, 1.0),
    "setitem": lambda t: t.__setitem__(0, 9.0),
    "masked_fill_": lambda t: t.masked_fill_(minidl.tensor([True, False]), 9.0),
    "numpy": lambda t: t.detach().numpy().__setitem__(0, 9.0),
    "asarray": lambda t: np.asarray(t.detach()).__setitem__(0, 9.0),
    "through a view": lambda t: t.detach()[:1].add_(1.0),
    "through a view of numpy": lambda t: t.detach().numpy()[::-1].__setitem__(0, 9.0),
    "data": lambda t: t.data.add_(1.0),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("exposed", ["before", "after"])
def test_a_changed_input_is_named(change: str, exposed: str) -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    if exposed == "before" or "numpy" in change or change == "asarray":
        w.detach().numpy()
    y = (x * w).sum()
    with minidl.no_grad():
        CHANGES[change](w)
    with pytest.raises(RuntimeError, match=r"mul: its input b, of shape \(2,\), was changed in place"):
        y.backward()


@pytest.mark.parametrize("change", CHANGES)
def test_what_backward_does_not_need_may_change(change: str) -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (x + w).sum()
    with minidl.no_grad():
        CHANGES[change](w)
    y.backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_a_changed_output_is_named() -> None:
    x = leaf(1.0, 2.0)
    y = x.exp()
    with minidl.no_grad():
        y.add_(1.0)
    with pytest.raises(RuntimeError, match=r"exp: its output, of shape \(2,\)"):
        y.sum().backward()


def test_a_changed_input_of_a_fused_operation() -> None:
    x, w = minidl.randn(1, 1, 3, 3), minidl.randn(1, 1, 2, 2, requires_grad=True)
    y = F.conv2d(x, w).sum()
    x += 1
    with pytest.raises(RuntimeError, match="conv2d: its input x"):
        y.backward()


def test_memory_from_numpy_is_watched() -> None:
    a = np.array([1.0, 2.0])
    for x in (minidl.from_numpy(a), minidl.as_tensor(a), Tensor(a), minidl.from_numpy(a)[::-1]):
        w = leaf(3.0, 4.0)
        y = (x * w).sum()
        a[0] += 1
        with pytest.raises(RuntimeError, match="changed in place"):
            y.backward()


def test_create_graph_notices_changes_too() -> None:
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    with minidl.no_grad():
        x.add_(1.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        minidl.autograd.grad(y, x, create_graph=True)


def test_a_change_between_first_and_second_order() -> None:
    x = leaf(1.0, 2.0)
    (g,) = minidl.autograd.grad((x**3).sum(), x, create_graph=True)
    with minidl.no_grad():
        x.add_(1.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        g.sum().backward()


def test_an_optimisers_step() -> None:
    """Updates between steps are legal; one between forward and backward is not."""
    w = leaf(1.0, 2.0)
    for _ in range(3):
        w.grad = None
        (w * w).sum().backward()
        with minidl.no_grad():
            w -= 0.1 * w.grad
    assert np.allclose(w.tolist(), np.array([1.0, 2.0]) * 0.8**3)
    y = (w * w).sum()
    w._array -= 0.1  # as optimisers do, which then say so
    w._touch()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_a_change_that_is_undone_through_numpy_is_none() -> None:
    """The values are what counts where only a fingerprint can tell."""
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    a = w.detach().numpy()
    y = (x * w).sum()
    a += 1
    a -= 1
    y.backward()
    assert x.grad.tolist() == [3.0, 4.0]


def test_changes_to_other_memory_are_no_ones_business() -> None:
    x = leaf(1.0, 2.0)
    w = leaf(3.0, 4.0)
    y = (x * w).sum()
    with minidl.no_grad():
        w.clone().add_(1.0)
        (w * 1.0).mul_(5.0)
        minidl.tensor(w).zero_()
    y.backward()
    assert x.grad.tolist() == [3.0, 4.0]


def test_max_pool_does_not_trust_the_indices_it_gave_away() -> None:
    x = minidl.randn(1, 1, 4, 4, requires_grad=True)
    y, index = F.max_pool2d(x, 2, return_indices=True)
    index.zero_()
    y.sum().backward()
    assert x.grad.sum().item() == 4.0 and x.grad.max().item() == 1.0


# In place inside a graph


def test_gradients_of_changes_in_place() -> None:
    def changed(x: Tensor, v: Tensor) -> Tensor:
        y = x * 2.0
        y += v
        y *= v
        y -= 1.0
        y /= 3.0
        y **= 2
        y[0] = v[1] * x[1]
        y.clamp_(min=-100.0)
        y.masked_fill_(minidl.tensor([False, False, True]), 0.5)
        return y

    assert gradcheck(changed, [leaf(1.0, 2.0, 3.0), leaf(0.5, -1.0, 2.0)])


def test_a_constant_that_takes_part_from_now_on() -> None:
    x = leaf(2.0, 3.0)
    y = minidl.zeros(2, dtype=minidl.float64)
    y[1] = x[0] * x[1]
    y += x
    y.sum().backward()
    assert x.grad.tolist() == [4.0, 3.0]
    z = minidl.zeros(2, dtype=minidl.float64).copy_(x)
    assert z.requires_grad


def test_an_earlier_use_keeps_its_value() -> None:
    x = leaf(2.0, 3.0)
    y = x * 1.0
    z = y + 5.0  # keeps nothing of y
    y += 10.0
    (z * y).sum().backward()  # d/dx (x + 5)(x + 10) = 2x + 15
    assert x.grad.tolist() == [19.0, 21.0]


def test_what_cannot_be_changed_in_place() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="leaf"):
        x += 1.0
    with pytest.raises(RuntimeError, match="leaf"):
        x[0] = 1.0
    with pytest.raises(RuntimeError, match="view"):
        (x * 1.0)[:1].add_(1.0)
    y = minidl.zeros(2)
    with pytest.raises(ValueError, match="fit into"):
        y += minidl.zeros(3, 2)
    with pytest.raises(TypeError, match="fit into"):
        n = minidl.tensor([1, 2])
        n += 0.5
    with pytest.raises(TypeError, match="fit into"):
        minidl.tensor([1, 2])[0] = 0.5
    with pytest.raises(IndexError, match="index"):
        y[5] = 1.0
    with pytest.raises(ValueError, match="index"):
        y[:] = minidl.zeros(3)
    assert y.tolist() == [0.0, 0.0]


def test_assigning_data_replaces_the_memory() -> None:
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    x.data = minidl.zeros(3, dtype=minidl.float64)
    assert x.shape == (3,) and x.requires_grad
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_reading_through_numpy_costs_nothing_later() -> None:
    """numpy() exposes the memory; values that nobody changed pass."""
    w = leaf(1.0, 2.0)
    for _ in range(3):
        w.detach().numpy().sum()
        (w * w).sum().backward()
    assert w.grad.tolist() == [6.0, 12.0]


def test_both_views_of_exposed_memory_are_watched() -> None:
    array = np.arange(1.0, 5.0)
    x = minidl.from_numpy(array).requires_grad_()
    for place in (0, 3):
        y = (x[:2] * x[2:]).sum()
        array[place] += 1
        with pytest.raises(RuntimeError, match="changed in place"):
            y.backward()
