"""Where no graph is recorded: detach, the switches, and that each thread has its own."""

import threading

import numpy as np
import pytest

import minidl
from minidl.tensor import Tensor


def leaf(*values: float) -> Tensor:
    return minidl.tensor(values if len(values) != 1 else values[0], dtype=minidl.float64, requires_grad=True)


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
