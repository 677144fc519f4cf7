"""Losses of numbers against numbers: as PyTorch, at bends and ends, in blocks, on threads."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
from minidl.kernels import distances, threads
from minidl.kernels.activation import BLOCK
from minidl.nn import functional as F

CALLS = {
    "mse_loss": {},
    "l1_loss": {},
    "smooth_l1_loss": {"beta": 0.5},
    "huber_loss": {"delta": 1.5},
    "binary_cross_entropy": {},
    "binary_cross_entropy_with_logits": {},
}


def values(name, n, dtype):
    rng = np.random.default_rng(n)
    x, t = (rng.uniform(0, 1, n), rng.uniform(0, 1, n)) if "binary" in name else rng.standard_normal((2, n)) * 2
    if name.endswith("logits"):
        x = (x - 0.5) * 40
    elif name == "binary_cross_entropy":
        x[:4], t[:4] = (0, 1, 0, 1), (0, 0, 1, 1)
    else:  # no difference, those at the bends, and beyond what the square of can be held
        x[:9] = [0, 0.5, -0.5, 1.5, -1.5, np.inf, -np.inf, np.nan, 1]
        t[:9] = 0
    return x.astype(dtype), t.astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", CALLS)
def test_as_pytorch(name, reduction, dtype):
    torch = pytest.importorskip("torch")
    x, t = values(name, 3 * BLOCK + 5, dtype)
    if reduction != "none":
        x, t = x[9:], t[9:]
    ours = [minidl.tensor(a, requires_grad=True) for a in (x, t)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, t)]
    y = getattr(F, name)(*ours, reduction=reduction, **CALLS[name])
    z = getattr(torch.nn.functional, name)(*theirs, reduction=reduction, **CALLS[name])
    g = np.random.default_rng(1).standard_normal(z.shape).astype(dtype)
    y.backward(minidl.tensor(g))
    z.backward(torch.tensor(g))
    eps = np.finfo(dtype).eps
    rtol = 1e-8 if name == "binary_cross_entropy" and dtype == "float64" else 50 * eps  # their 1e-12 is a float32
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=50 * eps, atol=8 * eps)
    for a, b in zip(ours, theirs, strict=True):
        # where theirs are 0 for l1_loss, and infinite for the target of binary_cross_entropy
        numbers = ~np.isnan(x - t) & np.isfinite(b.grad.numpy())
        assert numbers.sum() >= x.size - 4
        got, want = a.grad.numpy()[numbers], b.grad.numpy()[numbers]
        np.testing.assert_allclose(got, want, rtol=rtol, atol=8 * eps * abs(g).max())


@pytest.mark.parametrize("name", CALLS)
def test_nan_reaches_loss_and_gradient(name):
    x, t = values(name, BLOCK + 30, "float32")
    x[BLOCK + 9] = np.nan
    x = minidl.tensor(x[9:], requires_grad=True)
    loss = getattr(F, name)(x, minidl.tensor(t[9:]), **CALLS[name])
    loss.backward()
    assert np.isnan(loss.item()) and np.isnan(x.grad.numpy()[BLOCK]) and np.isnan(x.grad.numpy()).sum() == 1


@pytest.mark.parametrize("name", CALLS)
def test_the_mean_of_nothing_is_nan(name):
    x = minidl.tensor(np.zeros((0, 3), "float32"), requires_grad=True)
    loss = getattr(F, name)(x, minidl.zeros(0, 3))
    loss.backward()
    assert np.isnan(loss.item()) and x.grad.shape == (0, 3)


@pytest.mark.parametrize("name", CALLS)
def test_layouts_and_a_wrong_reduction(name):
    x, t = (np.random.default_rng(0).uniform(0.2, 0.8, (30, 4)) for _ in range(2))
    turned = getattr(F, name)(minidl.tensor(x).T, minidl.tensor(t).T, reduction="none").numpy()
    np.testing.assert_array_equal(turned.T, getattr(F, name)(minidl.tensor(x), minidl.tensor(t), reduction="none"))
    with pytest.raises(ValueError, match=f"{name}: reduction must be .* 'median'"):
        getattr(F, name)(minidl.tensor(x), minidl.tensor(t), reduction="median")


def test_arguments_that_broadcast():
    x = minidl.tensor(np.ones((3, 4)), requires_grad=True)
    t = minidl.tensor(np.arange(4.0), requires_grad=True)
    F.mse_loss(x, t, reduction="sum").backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.tile([2.0, 0, -2, -4], (3, 1)))
    np.testing.assert_array_equal(t.grad.numpy(), [-6.0, 0, 6, 12])


@pytest.mark.parametrize("kind", range(5))
def test_the_same_bits_on_any_number_of_threads(kind):
    rng = np.random.default_rng(kind)
    x, t, g = rng.uniform(0.1, 0.9, (3, 40 * BLOCK + 13)).astype("float32")
    before = threads.get_num_threads()
    results = []
    try:
        for n in (1, threads.most_threads()):
            threads.set_num_threads(n)
            total = distances.distance(kind, x, t, (0.3, 2.0), True)
            results.append((total, distances.distance_gradient(kind, g, x, t, (0.3, 2.0), 0.7, False)))
    finally:
        threads.set_num_threads(before)
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_labels_that_count_nothing_send_nothing_back():
    x = minidl.randn(3, 4, requires_grad=True)
    loss = F.nll_loss(x, minidl.tensor([1, 1, 1]), ignore_index=1)
    loss.backward()
    assert np.isnan(loss.item()) and x.grad.abs().max().item() == 0
