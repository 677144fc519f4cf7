"""Backward a second time, gradients of gradients, and grad()."""

import numpy as np
import pytest

import minidl
from minidl.autograd import Function, backward, grad
from minidl.nn import functional as F
from minidl.tensor import Tensor, apply
from minidl.testing import gradcheck


def leaf(*values: float) -> Tensor:
    return minidl.tensor(values if len(values) != 1 else values[0], dtype=minidl.float64, requires_grad=True)


# A second time, and higher orders


def test_second_backward_is_an_error_that_names_the_way_out() -> None:
    x = leaf(2.0)
    y = x.exp() * x
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()


def test_retain_graph() -> None:
    x = leaf(2.0)
    y = x**3
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 36.0
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_two_roots_that_share_a_part() -> None:
    x = leaf(2.0)
    shared = x * x
    a, b = shared * 2.0, shared * 3.0
    a.backward()
    with pytest.raises(RuntimeError, match="second time"):
        b.backward()
    x.grad = None
    shared = x * x
    backward([shared * 2.0, shared * 3.0])
    assert x.grad.item() == 20.0


def test_derivatives_up_to_the_third() -> None:
    x = leaf(0.3, -1.2)

    def derivatives(y: Tensor) -> list[list[float]]:
        found = []
        for _ in range(3):
            (y,) = grad(y.sum(), x, create_graph=True)
            found.append(y.tolist())
        return found

    v = np.array([0.3, -1.2])
    s, c, t = np.sin(v), np.cos(v), np.tanh(v)
    assert np.allclose(derivatives(x**4), [4 * v**3, 12 * v**2, 24 * v])
    assert np.allclose(derivatives(x.sin()), [c, -s, -c])
    assert np.allclose(derivatives(x.exp() * x), [np.exp(v) * (v + n) for n in (1, 2, 3)])
    assert np.allclose(derivatives(x.tanh()), [1 - t**2, -2 * t * (1 - t**2), (1 - t**2) * (6 * t**2 - 2)])


def test_third_order_through_fused_operations() -> None:
    """The gradient of the gradient of the gradient of a convolution's square, against differences of the second."""
    w = minidl.randn(1, 1, 2, 2, dtype=minidl.float64, requires_grad=True)
    x = minidl.randn(1, 1, 3, 3, dtype=minidl.float64, requires_grad=True)

    def second(x: Tensor, w: Tensor) -> Tensor:
        with minidl.enable_grad():
            x, w = (t if t.requires_grad else t.detach().requires_grad_() for t in (x, w))
            (gx,) = grad((F.conv2d(x, w) ** 3).sum(), x, create_graph=True)
            (gw,) = grad((gx**2).sum(), w, create_graph=True)
        return gw

    assert gradcheck(second, [x, w], rtol=1e-5)


def test_create_graph_leaves_gradients_that_have_a_graph() -> None:
    x = leaf(2.0)
    (x**3).backward(create_graph=True)
    assert x.grad.requires_grad
    (second,) = grad(x.grad, x)
    assert second.item() == 12.0
    x = leaf(2.0)
    (x**3).backward()
    assert not x.grad.requires_grad


def test_a_gradient_penalty_reaches_the_weights() -> None:
    """∂/∂w |∂(wx²)/∂x|² = ∂/∂w (2wx)² = 8wx²."""
    x, w = leaf(3.0), leaf(5.0)
    (g,) = grad(w * x**2, x, create_graph=True)
    (g**2).backward()
    assert w.grad.item() == pytest.approx(8 * 5 * 9)


def test_function_without_definition_has_no_second_order() -> None:
    class Bare(Function):
        def forward(self, x):
            return x * x

        def backward(self, g):
            return 2 * g * self.inputs[0]

    x = leaf(2.0)
    assert grad(apply(Bare(), x), x)[0].item() == 4.0
    with pytest.raises(RuntimeError, match="bare: has no definition"):
        grad(apply(Bare(), x), x, create_graph=True)


# grad()


def test_grad_leaves_dot_grad_alone_and_walks_only_where_it_must() -> None:
    x, w = leaf(2.0), leaf(3.0)
    y = x * w
    (g,) = grad(y, x)
    assert g.item() == 3.0 and x.grad is None and w.grad is None


def test_grad_of_something_in_between() -> None:
    x = leaf(2.0)
    y = x * x
    z = y * 3.0
    gy, gx = grad(z, [y, x])
    assert (gy.item(), gx.item()) == (3.0, 12.0)


def test_grad_with_grad_outputs_and_several_outputs() -> None:
    x = leaf(1.0, 2.0)
    (g,) = grad([x * 2.0, x * x], x, [minidl.tensor([1.0, 10.0]).double(), minidl.tensor([1.0, 1.0]).double()])
    assert g.tolist() == [4.0, 24.0]


def test_grad_of_what_does_not_depend() -> None:
    x, other = leaf(1.0), leaf(2.0)
    with pytest.raises(RuntimeError, match="do not depend on input 1"):
        grad(x * 2.0, [x, other])
    assert grad(x * 2.0, [x, other], allow_unused=True)[1] is None
    assert grad(x * 2.0, other, materialize_grads=True)[0].item() == 0.0
    with pytest.raises(RuntimeError, match="input 0"):
        grad(x * 2.0, minidl.zeros(()))
    with pytest.raises(ValueError, match="1 outputs but 2"):
        grad(x, x, [None, None])
