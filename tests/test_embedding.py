"""Embedding and positions: conventions, errors, and PyTorch as an oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import Tensor
from minidl.nn import functional as F
from minidl.ops.table import OPERATIONS, Sample
from minidl.testing import check_sample


@given(st.data())
def test_any_ids(data: Any) -> None:
    rows, width = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 5))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    shape = data.draw(st.sampled_from([(), (0,), (1,), (7,), (2, 3), (2, 0, 3)]))
    ids = np.asarray(rng.integers(0, rows, shape), data.draw(st.sampled_from([np.int64, np.int32, np.uint8])))
    options = {
        "padding_idx": data.draw(st.one_of(st.none(), st.integers(-rows, rows - 1))),
        "scale_grad_by_freq": data.draw(st.booleans()),
    }
    plain = options["padding_idx"] is None and not options["scale_grad_by_freq"]  # else no derivative
    op = replace(OPERATIONS["embedding"], smooth=plain)
    check_sample(op, Sample(ids, rng.standard_normal((rows, width)), **options))


def test_many_rows_on_any_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    ids, g = rng.integers(0, 300, 5000), rng.standard_normal((5000, 40)).astype("float32")
    wanted = np.zeros((300, 40))
    np.add.at(wanted, ids, g.astype("float64"))
    threads, found = minidl.get_num_threads(), set()
    try:
        for n in {1, threads}:
            minidl.set_num_threads(n)
            weight = minidl.zeros(300, 40, requires_grad=True)
            F.embedding(minidl.tensor(ids), weight).backward(minidl.tensor(g))
            assert np.abs(weight.grad.numpy() - wanted).max() < 1e-4
            found.add(weight.grad.numpy().tobytes())
    finally:
        minidl.set_num_threads(threads)
    assert len(found) == 1


def test_ids_may_change_after_forward() -> None:
    ids, weight = minidl.tensor([1, 2]), minidl.zeros(3, 1, requires_grad=True)
    y = F.embedding(ids, weight)
    ids[0] = 0
    y.sum().backward()
    assert weight.grad.flatten().tolist() == [0, 1, 1]


def test_long_rows_are_shortened_in_place() -> None:
    weight = minidl.tensor([[3.0, 4.0], [0.3, 0.4], [30.0, 40.0]])
    y = F.embedding(minidl.tensor([0, 1]), weight, max_norm=1.0)
    np.testing.assert_allclose(y.numpy(), [[0.6, 0.8], [0.3, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(weight.numpy(), [[0.6, 0.8], [0.3, 0.4], [30, 40]], rtol=1e-6)


@pytest.mark.parametrize(
    ("ids", "weight", "options", "error", "message"),
    [
        ([[0, 3]], (3, 2), {}, IndexError, r"id 3 at \(0, 1\) is out of range: weight has 3 rows"),
        ([-1], (3, 2), {}, IndexError, "id -1"),
        ([0], (0, 2), {}, IndexError, "0 rows"),
        ([0.0], (3, 2), {}, TypeError, "integers"),
        ([True], (3, 2), {}, TypeError, "integers"),
        ([0], (3,), {}, ValueError, "must be a matrix"),
        ([0], (3, 2), {"padding_idx": 3}, ValueError, "padding_idx 3"),
        ([0], (3, 2), {"padding_idx": -4}, ValueError, "padding_idx -4"),
        ([0], (3, 2), {"sparse": True}, ValueError, "sparse"),
    ],
)
def test_bad_input(ids: Any, weight: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        F.embedding(minidl.tensor(ids), minidl.zeros(*weight), **options)


@pytest.mark.parametrize(
    "options",
    [{}, {"padding_idx": 1}, {"padding_idx": -1}, {"scale_grad_by_freq": True}, {"max_norm": 0.9, "norm_type": 1.0}],
)
def test_against_pytorch(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    ids, table, g = rng.integers(0, 5, (3, 4)), rng.standard_normal((5, 6)), rng.standard_normal((3, 4, 6))
    ours = minidl.tensor(table.copy()).requires_grad_()
    theirs = torch.from_numpy(table.copy()).requires_grad_()
    y = F.embedding(Tensor(ids), ours, **options)
    z = torch.nn.functional.embedding(torch.from_numpy(ids), theirs, **options)
    y.backward(Tensor(g))
    z.backward(torch.from_numpy(g))
    for a, b in ((y.detach(), z.detach()), (ours.detach(), theirs.detach()), (ours.grad, theirs.grad)):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-14)


def test_sinusoids() -> None:
    table = F.sinusoidal_positions(50, 6, dtype=minidl.float64).numpy()
    for t, i in ((0, 0), (7, 1), (49, 2)):
        angle = t / 10000 ** (2 * i / 6)
        np.testing.assert_allclose(table[t, 2 * i : 2 * i + 2], [np.sin(angle), np.cos(angle)], rtol=1e-12)
    assert np.array_equal(F.sinusoidal_positions(50, 5, dtype=minidl.float64).numpy()[:, :1], table[:, :1])
    with pytest.raises(ValueError, match="no table"):
        F.sinusoidal_positions(-1, 2)
    with pytest.raises(TypeError, match="dtype must be floating-point, not int64"):
        F.sinusoidal_positions(2, 2, dtype=minidl.int64)


@pytest.mark.parametrize("interleaved", [True, False])
def test_products_of_turned_vectors_depend_on_their_distance(interleaved: bool) -> None:
    q, k = minidl.randn(1, 8, dtype=minidl.float64), minidl.randn(1, 8, dtype=minidl.float64)

    def product(i: int, j: int) -> float:
        turned = [F.rotary_embedding(x, minidl.tensor([t]), interleaved=interleaved) for x, t in ((q, i), (k, j))]
        return (turned[0] * turned[1]).sum().item()

    assert product(3, 1) == pytest.approx(product(12, 10), rel=1e-10)
    assert product(3, 1) != pytest.approx(product(3, 2), rel=1e-3)
    assert product(0, 0) == pytest.approx((q * k).sum().item(), rel=1e-12)


def test_rotary_embedding_of_bad_input() -> None:
    with pytest.raises(ValueError, match="even D"):
        F.rotary_embedding(minidl.zeros(2, 3))
    with pytest.raises(ValueError, match="positions"):
        F.rotary_embedding(minidl.zeros(2, 4), minidl.tensor([1, 2, 3]))
    with pytest.raises(TypeError, match="integers"):
        F.rotary_embedding(minidl.zeros(2, 4), minidl.tensor([1.0, 2.0]))


@pytest.mark.parametrize("base", [0, -1.0, np.nan, np.inf, "x"])
def test_waves_need_a_positive_base(base: Any) -> None:
    with pytest.raises(ValueError, match="sinusoidal_positions: base must be a positive number"):
        F.sinusoidal_positions(2, 4, base=base)
    with pytest.raises(ValueError, match="rotary_embedding: base must be a positive number"):
        F.rotary_embedding(minidl.zeros(2, 4), base=base)
