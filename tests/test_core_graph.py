"""The walk: long chains, many consumers, second backwards, higher orders, hooks, switches, threads."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest

import minidl
from minidl.autograd import Function, backward, grad
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


# Hooks


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


# Where no graph is recorded


def test_detach_and_data() -> None:
    x = leaf(2.0)
    (x * x.detach()).backward()
    assert x.grad.item() == 2.0
    assert not x.data.requires_grad and np.shares_memory(x.data.numpy(), x.detach().numpy())


def test_no_grad_enable_grad_and_set_grad_enabled() -> None:
    x = leaf(2.0)
    with minidl.no_grad():
        assert not (x * 2.0).requires_grad and not minidl.is_grad_enabled()
        with minidl.enable_grad():
            assert (x * 2.0).requires_grad
        assert not (x * 2.0).requires_grad
        assert x.requires_grad  # a leaf stays one
    assert (x * 2.0).requires_grad
    with minidl.set_grad_enabled(False):
        assert not (x * 2.0).requires_grad
    assert minidl.is_grad_enabled()
    minidl.set_grad_enabled(False)
    assert not minidl.is_grad_enabled()
    minidl.set_grad_enabled(True)

    @minidl.no_grad()
    def evaluate(depth: int) -> bool:
        return evaluate(depth - 1) if depth else (x * 2.0).requires_grad

    assert evaluate(0) is False and evaluate(3) is False and evaluate.__name__ == "evaluate"
    with pytest.raises(KeyError), minidl.no_grad():
        raise KeyError
    assert minidl.is_grad_enabled()


def test_switches_belong_to_their_thread() -> None:
    x = leaf(2.0)
    inside, done, seen = threading.Event(), threading.Event(), {}

    def other() -> None:
        with minidl.no_grad(), minidl.definitions():
            inside.set()
            done.wait(10)
            seen["other"] = (x * 2.0).requires_grad

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    seen["main"] = (x * 2.0).requires_grad
    done.set()
    thread.join()
    assert seen == {"other": False, "main": True}


def test_threads_walk_graphs_of_their_own() -> None:
    results: dict[int, float] = {}

    def work(i: int) -> None:
        x = leaf(float(i))
        y = x
        for _ in range(200):
            y = y + x * x
        y.backward()
        results[i] = x.grad.item()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: 1 + 400.0 * i for i in range(8)}


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
