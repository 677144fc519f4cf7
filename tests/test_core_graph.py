"""The walk: long chains and what frees them, sums over many paths, misuse."""

import gc
import time
import weakref

import numpy as np
import pytest

import minidl
from minidl.autograd import Function, grad
from minidl.nn import functional as F
from minidl.tensor import Tensor, apply
from minidl.testing import gradcheck


def leaf(*values: float) -> Tensor:
    return minidl.tensor(values if len(values) != 1 else values[0], dtype=minidl.float64, requires_grad=True)


@pytest.fixture
def no_collector():
    """The garbage collector off: what is freed is freed by reference counts."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# Size and memory


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_chain_of_100_000_nodes(create_graph: bool, no_collector) -> None:
    x = leaf(1.0)
    y = x
    start = time.perf_counter()
    for _ in range(100_000):
        y = y * 1.0 if create_graph else y + 1.0
    (g,) = grad(y, x, create_graph=create_graph)
    assert g.item() == 1.0
    assert time.perf_counter() - start < 60
    del y, g  # freeing the chain must not overflow the stack either


def test_dropping_a_graph_of_100_000_nodes_unused(no_collector) -> None:
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y.sin()
    first = weakref.ref(y.grad_fn)
    del y
    assert first() is None


@pytest.mark.parametrize("walked", ["not", "backward", "retained", "create_graph", "hooks"])
def test_a_dropped_graph_is_freed_at_once(walked: str, no_collector) -> None:
    x, w = minidl.randn(2, 1, 5, 5, requires_grad=True), minidl.randn(3, 1, 2, 2, requires_grad=True)
    F.conv2d(x, w).sum().backward()
    gc.collect()  # compiling a kernel, if that was its first use, leaves cycles behind that hold its arguments
    y = F.conv2d(x, w)
    z = (y * y.exp()).max(1).values
    loss = z.sum()
    nodes = [weakref.ref(t.grad_fn) for t in (y, z, loss)]
    tensors = [weakref.ref(t) for t in (y, z, loss)]
    arrays = [weakref.ref(t._array) for t in (y, z)]
    if walked == "hooks":
        y.retain_grad()
        z.register_hook(lambda g: g * 2)
    if walked == "create_graph":
        for g in grad(loss, [x, w], create_graph=True):
            nodes.append(weakref.ref(g.grad_fn))
        del g
    elif walked != "not":
        loss.backward(retain_graph=walked == "retained")
    del y, z, loss
    assert [ref() for ref in nodes + tensors + arrays] == [None] * len(nodes + tensors + arrays)


def test_a_leaf_is_freed_at_once(no_collector) -> None:
    x = leaf(1.0)
    (x * 2.0).backward()
    refs = [weakref.ref(x), weakref.ref(x._array), weakref.ref(x.grad)]
    del x
    assert [ref() for ref in refs] == [None] * 3


def test_backward_frees_what_it_has_passed(no_collector) -> None:
    x = leaf(1.0, 2.0)
    y = x.exp()
    kept = weakref.ref(y._array)
    z = (y * y).sum()
    del y
    assert kept() is not None
    z.backward()
    assert kept() is None


def test_a_leaf_that_is_gone_is_no_trouble() -> None:
    x = leaf(1.0)
    y = x * leaf(2.0)
    y.backward()
    assert x.grad.item() == 2.0


# Sums over paths


def test_many_consumers() -> None:
    x = leaf(3.0)
    y = sum((x * float(i) for i in range(100)), start=x)
    y.backward()
    assert x.grad.item() == 1 + sum(range(100))


def test_a_diamond_of_diamonds_is_walked_once() -> None:
    """2^60 paths, 120 nodes."""
    x = leaf(1.0)
    y = x
    for _ in range(60):
        y = y * 0.5 + y * 0.5
    y.backward()
    assert x.grad.item() == pytest.approx(1.0)


def test_gradients_add_up_over_backwards() -> None:
    x = leaf(2.0)
    for _ in range(3):
        (x * x).backward()
    assert x.grad.item() == 12.0


def test_one_tensor_twice_in_one_operation() -> None:
    assert gradcheck(lambda x: x * x, leaf(2.0))
    assert gradcheck(lambda x: x @ x, minidl.randn(2, 2, dtype=minidl.float64, requires_grad=True))
    assert gradcheck(lambda x: minidl.cat([x, x, x]), leaf(1.0, 2.0))


def test_accumulation_does_not_write_into_what_others_hold() -> None:
    """y + x hands the same g to both; the walk must not add into it in place."""
    x, g = leaf(1.0, 2.0), np.array([1.0, 1.0])
    y = x * 1.0
    z = y + x + y
    z.backward(Tensor(g))
    assert x.grad.tolist() == [3.0, 3.0]
    assert g.tolist() == [1.0, 1.0]
    a, b = leaf(1.0), leaf(1.0)
    (a + b).backward()
    (a * 5.0).backward()
    assert (a.grad.item(), b.grad.item()) == (6.0, 1.0)


def test_grad_is_not_the_gradient_passed_in() -> None:
    x, g = leaf(1.0, 2.0), Tensor(np.ones(2))
    (x + 0.0).backward(g)
    x.grad.fill_(7.0)
    assert g.tolist() == [1.0, 1.0]


def test_outputs_that_nobody_used() -> None:
    x = leaf(3.0, 1.0, 2.0)
    a, b, c = x.unbind()
    b.backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0]

    class TwoOutputs(Function):
        def forward(self, x):
            return x * 2, x * 3, np.arange(3)

        def backward(self, g2, g3, g_index):
            assert g_index.shape == (3,)
            return g2 * 2 + g3 * 3

    for chosen, expected in (((0,), 2.0), ((1,), 3.0), ((0, 1), 5.0), ((1, 1), 6.0)):
        x.grad = None
        outputs = apply(TwoOutputs(), x)
        assert not outputs[2].requires_grad
        sum((outputs[i].sum() for i in chosen), start=minidl.zeros((), dtype=minidl.float64)).backward()
        assert x.grad.tolist() == [expected] * 3


def test_no_gradient_for_an_input() -> None:
    class First(Function):
        def forward(self, a, b):
            return a + b

        def backward(self, g):
            return g, None

    a, b = leaf(1.0), leaf(2.0)
    apply(First(), a, b * 2.0).backward()
    assert a.grad.item() == 1.0 and b.grad is None


def test_wrong_number_of_gradients() -> None:
    class OneForTwo(Function):
        def forward(self, a, b):
            return a + b

        def backward(self, g):
            return g

    with pytest.raises(RuntimeError, match="one_for_two: backward returned 1 gradients for 2 inputs"):
        apply(OneForTwo(), leaf(1.0), leaf(2.0)).backward()


# Misuse


def test_misuse_of_backward() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"shape \(2,\), not one element"):
        (x * 2.0).backward()
    with pytest.raises(ValueError, match="gradient has shape"):
        (x * 2.0).backward(minidl.ones(3, dtype=minidl.float64))
    with pytest.raises(ValueError, match="float32"):
        (x * 2.0).backward(minidl.ones(2))
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        minidl.ones(()).backward()
    with pytest.raises(RuntimeError, match="does not require a gradient"), minidl.no_grad():
        (x * 2.0).sum().backward()
    with pytest.raises(TypeError, match="only floating-point"):
        minidl.tensor([1, 2]).requires_grad_()
    with pytest.raises(TypeError, match="only floating-point"):
        minidl.tensor([1, 2], requires_grad=True)
    with pytest.raises(RuntimeError, match="detach"):
        (x * 2.0).requires_grad_(False)
    x.requires_grad_(False)
    assert not x.requires_grad
