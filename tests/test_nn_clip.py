"""clip_grad_norm_: one norm of gradients of any dtype and layout, all scaled in place, or none."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import nn


def with_gradient(array):
    p = nn.Parameter(minidl.zeros(*array.shape, dtype=array.dtype))
    p.grad = minidl.zeros(1)
    p.grad._array = array
    return p


def drawn(rng, shape, dtype, layout):
    array = np.asarray(rng.standard_normal((*shape, 2)).astype(dtype))
    if layout == "with gaps":
        return array[..., 0]
    return np.array(array[..., 0], order="F" if layout == "columns first" else "C")


cases = st.tuples(
    st.sampled_from([(), (1,), (5,), (0, 3), (3, 4), (7, 5000)]),
    st.sampled_from(["f", "f", "d"]),
    st.sampled_from(["plain", "plain", "columns first", "with gaps"]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(cases, min_size=1, max_size=8), st.floats(0.01, 300), st.integers(0, 2**31))
def test_every_gradient_counts_and_is_scaled_by_the_same(drawings, max_norm, seed):
    rng = np.random.default_rng(seed)
    gradients = [drawn(rng, *case) for case in drawings]
    before = [g.copy() for g in gradients]
    parameters = [with_gradient(g) for g in gradients]
    found = nn.utils.clip_grad_norm_(parameters, max_norm)
    exact = math.sqrt(sum(float((g.astype(float) ** 2).sum()) for g in before))
    kind = np.result_type(*gradients)
    assert found.dtype == kind and found.shape == ()
    single = any(g.dtype == np.float32 for g in gradients)
    np.testing.assert_allclose(found.item(), exact, rtol=1e-6 if single else 1e-14)
    factor = np.minimum(max_norm / (found._array + 1e-6), 1)
    for p, g, old in zip(parameters, gradients, before, strict=True):
        assert p.grad._array is g
        np.testing.assert_array_equal(g, old * factor.astype(g.dtype))


def test_short_gradients_are_left_alone():
    g = np.array([3.0, 4.0])
    g.flags.writeable = False
    p, q = with_gradient(g), with_gradient(np.ones(3, "f"))
    versions = [x.grad._version.changed for x in (p, q)]
    assert nn.utils.clip_grad_norm_([p, q], 100).item() == pytest.approx(math.sqrt(28))
    assert versions == [x.grad._version.changed for x in (p, q)]
    nn.utils.clip_grad_norm_([q], 0.5)
    assert q.grad._version.changed > versions[1]
    with pytest.raises(ValueError, match="read-only"):
        nn.utils.clip_grad_norm_([p], 1)


def test_a_gradient_of_two_parameters_is_scaled_for_each():
    """As PyTorch has it."""
    g = np.full(5, 2.0)
    nn.utils.clip_grad_norm_([with_gradient(g), with_gradient(g)], 1)
    factor = 1 / (math.sqrt(40) + 1e-6)
    np.testing.assert_allclose(g, 2 * factor**2, rtol=1e-14)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite(bad):
    g, h = np.array([1, bad], "f"), np.ones(3, "f")
    with np.errstate(all="raise"):
        total = nn.utils.clip_grad_norm_([with_gradient(g), with_gradient(h)], 1)
    assert not np.isfinite(total.item())
    np.testing.assert_array_equal(h, np.full(3, np.nan if math.isnan(bad) else 0))


def test_against_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(n).astype("f") for n in (3, 50, 20000)]
    theirs = [torch.nn.Parameter(torch.zeros(a.shape)) for a in arrays]
    for p, a in zip(theirs, arrays, strict=True):
        p.grad = torch.tensor(a)
    for order in (2, 1, math.inf):
        expected = torch.nn.utils.clip_grad_norm_(theirs, 2.0, order).item()
        np.testing.assert_allclose(
            nn.utils.clip_grad_norm_([with_gradient(a) for a in arrays], 2.0, order).item(), expected, rtol=1e-5
        )
        for p, a in zip(theirs, arrays, strict=True):
            np.testing.assert_allclose(a, p.grad.numpy(), rtol=1e-5)
