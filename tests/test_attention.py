"""Attention across the borders of its blocks, masked in every way, against the float64 definition and PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import Tensor
from minidl.kernels import attention, attention_backward
from minidl.kernels.simd import simd
from minidl.nn import functional as F
from minidl.testing.layouts import LAYOUTS

ROOT = Path(__file__).parents[1]
sdpa = F.scaled_dot_product_attention


def normal(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def passes(arrays: list[np.ndarray | None], dtype: str = "float64", **options: Any) -> list[np.ndarray]:
    """The result and the gradients of all floating-point arrays, for one cotangent."""
    tensors = [None if a is None else Tensor(a if a.dtype == bool else a.astype(dtype)) for a in arrays]
    leaves = [t.requires_grad_() for t in tensors if t is not None and t.dtype != bool]
    minidl.manual_seed(7)
    y = sdpa(*tensors, **options)
    y.backward(Tensor(normal(*y.shape, seed=9, dtype="float32").astype(dtype)))
    return [y.detach().numpy(), *(t.grad.numpy() for t in leaves)]


TOLERANCES = {"float64": 1e-12, "float32": 2e-5}


def compare(arrays: list[np.ndarray | None], dtypes: Any = TOLERANCES, **options: Any) -> None:
    """Both dtypes against the float64 definition at inputs that float32 has."""
    arrays = [a if a is None or a.dtype == bool else a.astype("float32") for a in arrays]
    with minidl.definitions():
        wanted = passes(arrays, **options)
    for dtype in dtypes:
        for i, (got, expected) in enumerate(zip(passes(arrays, dtype, **options), wanted, strict=True)):
            assert got.dtype == dtype and got.shape == expected.shape
            # terms are of size 1 and more, though their sum may be 0: of a single key, whose weight is always 1
            scale = max(float(np.abs(expected).max(initial=0)), 1)
            assert np.abs(got - expected).max(initial=0) <= TOLERANCES[dtype] * scale, (i, dtype)


@settings(max_examples=25)
@given(st.data())
def test_any_shape_and_mask(data: Any) -> None:
    """Lengths on both sides of the blocks' borders; leading dimensions that broadcast."""
    lengths = st.one_of(
        st.integers(1, 10), st.integers(1, 40), st.sampled_from([95, 97, 127, 128, 129, 131, 200, 259, 300])
    )
    widths = st.sampled_from([1, 2, 7, 16, 31, 32, 33])
    L, S, E, V = data.draw(lengths), data.draw(lengths), data.draw(widths), data.draw(widths)
    batches = st.sampled_from([(), (1,), (2,), (2, 1), (1, 2), (3, 1, 2)])
    batch = data.draw(batches)
    subset = lambda: tuple(1 if data.draw(st.booleans()) else n for n in batch)  # noqa: E731
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    arrays: list[Any] = [rng.standard_normal((*subset(), n, m)) for n, m in ((L, E), (S, E), (S, V))]
    arrays[0] = rng.standard_normal((*batch, L, E))
    options: dict[str, Any] = {"dropout_p": data.draw(st.sampled_from([0.0, 0.0, 0.3]))}
    kind = data.draw(st.sampled_from(["none", "causal", "bool", "float"]))
    if kind == "causal":
        options["is_causal"] = True
    elif kind != "none":
        shape = (*subset(), *(1 if data.draw(st.booleans()) else n for n in (L, S)))
        arrays.append(rng.random(shape) < 0.5 if kind == "bool" else rng.standard_normal(shape))
    compare(arrays, **options)


@pytest.mark.parametrize("L", [1, 2, attention.FEW, attention.FEW + 1])
@pytest.mark.parametrize(("E", "V"), [(64, 64), (13, 45), (80, 3)])
def test_few_queries(L: int, E: int, V: int) -> None:
    """Keys and values that lie apart in memory, more of them than a block has."""
    kv = [normal(2, 300, 3, n, seed=n).transpose(0, 2, 1, 3) for n in (E, V)]
    compare([normal(2, 3, L, E), *kv, normal(2, 1, L, 300) > 0])
    compare([normal(2, 3, L, E), *kv, normal(3, 1, 300)], dropout_p=0.3)


@pytest.mark.parametrize(("L", "S"), [(1, 1), (128, 128), (300, 200), (200, 300), (97, 500), (3, 260)])
def test_causal(L: int, S: int) -> None:
    compare([normal(2, L, 8), normal(2, S, 8), normal(2, S, 5)], is_causal=True)


def test_groups_share_heads() -> None:
    q, k, v = normal(2, 6, 20, 8), normal(2, 2, 30, 8), normal(2, 2, 30, 8, seed=1)
    compare([q, k, v, normal(2, 6, 20, 30) > 0], enable_gqa=True)
    shared = sdpa(*map(Tensor, (q, k, v)), enable_gqa=True)
    repeated = sdpa(Tensor(q), *(Tensor(np.repeat(x, 3, 1)) for x in (k, v)))
    assert np.abs(shared.numpy() - repeated.numpy()).max() < 1e-14


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str) -> None:
    arrays = [normal(2, 3, 70, 8), normal(2, 3, 140, 8), normal(2, 3, 140, 4), normal(3, 70, 140)]
    wanted = passes(arrays)
    tensors = [Tensor(LAYOUTS[layout](a)).requires_grad_() for a in arrays]
    y = sdpa(*tensors)
    y.backward(Tensor(LAYOUTS[layout](normal(*y.shape, seed=9, dtype="float32").astype("float64"))))
    for got, expected in zip([y.detach(), *(t.grad for t in tensors)], wanted, strict=True):
        assert np.abs(got.numpy() - expected).max() < 1e-12


def test_heads_that_lie_apart_and_masks_that_repeat_are_not_copied() -> None:
    x = np.ascontiguousarray(normal(2, 50, 3, 8)).transpose(0, 2, 1, 3)
    assert np.shares_memory(attention.Heads(x, (2, 3)).memory, x)
    mask = np.broadcast_to(normal(2, 1, 1, 40), (2, 3, 50, 40))
    assert attention.Heads(mask, (2, 3), unit=False).memory.size == 80
    y, _ = attention.forward(x, x, x, None, (2, 3), 1.0, False, 0.0, 0)
    assert y.transpose(0, 2, 1, 3).flags.c_contiguous


@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("length", [4, 150])
def test_rows_without_keys_give_zeros_and_send_zeros_back(kind: str, length: int) -> None:
    mask = np.ones((length, length), bool)
    mask[1] = False
    mask[:, 2] = False
    if kind == "float":
        mask = np.where(mask, 0.0, -np.inf)
    y, gq, gk, gv, *_ = passes([normal(2, length, 3, seed=i) for i in range(3)] + [mask])
    for a in (y, gq, gk, gv):
        assert np.isfinite(a).all()
    assert not y[:, 1].any() and not gq[:, 1].any()
    assert not gk[:, 2].any() and not gv[:, 2].any()
    assert y[:, 0].any() and gq[:, 0].any()


@pytest.mark.parametrize("length", [4, 150])
def test_nan_reaches_the_queries_that_attend_to_it(length: int) -> None:
    q, k, v = (normal(length, 3, seed=i) for i in range(3))
    q[1, 0] = np.nan
    y, gq, gk, _ = passes([q, k, v])
    assert np.isnan(y[1]).all() and np.isfinite(np.delete(y, 1, 0)).all()
    assert np.isnan(gq[1]).any() and np.isnan(gk).any()
    k = k.copy()
    k[2, 1] = np.nan
    assert np.isnan(passes([np.nan_to_num(q), k, v])[0]).all()
    causal = passes([np.nan_to_num(q), k, v], is_causal=True)[0]
    assert np.isfinite(causal[:2]).all() and np.isnan(causal[2:]).all()


def test_large_scores_do_not_overflow() -> None:
    q = np.eye(3) * 1e3
    y = sdpa(*(Tensor(a.astype("float32")) for a in (q, q, np.eye(3))), scale=1.0)
    assert np.array_equal(y.numpy(), np.eye(3))


def test_dropout_is_repeatable_and_unbiased() -> None:
    q, k = Tensor(np.zeros((4, 200, 2))), Tensor(np.zeros((4, 150, 2)))
    v = Tensor(np.ones((4, 150, 1)))
    minidl.manual_seed(1)
    first, second = sdpa(q, k, v, dropout_p=0.3).numpy(), sdpa(q, k, v, dropout_p=0.3).numpy()
    minidl.manual_seed(1)
    assert np.array_equal(first, sdpa(q, k, v, dropout_p=0.3).numpy())
    assert not np.array_equal(first, second)
    # 120,000 weights, each 1 / 0.7 with probability 0.7: the mean's standard deviation is 0.0019
    assert abs(first.mean() - 1) < 0.008
    assert 0.8 < first.std() / np.sqrt(0.3 / 0.7 / 150) < 1.2  # of 150 independent ones
    generator = minidl.Generator().manual_seed(1)
    assert np.array_equal(first, sdpa(q, k, v, dropout_p=0.3, generator=generator).numpy())


def test_same_bits_on_any_number_of_threads() -> None:
    arrays = [normal(1, 2, 600, 16, seed=i) for i in range(3)]
    threads = minidl.get_num_threads()
    try:
        found = []
        for n in {1, threads}:
            minidl.set_num_threads(n)
            found.append([a.tobytes() for a in passes(arrays, "float32", is_causal=True, dropout_p=0.1)])
    finally:
        minidl.set_num_threads(threads)
    assert all(other == found[0] for other in found)


def test_heads_with_one_mask_are_one_task() -> None:
    order, groups = attention_backward.sharing(np.array([5, 0, 5, 9]))
    assert order.tolist() == [1, 0, 2, 3] and groups.tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("shapes", "options", "error", "message"),
    [
        (((3,), (2, 3), (2, 3)), {}, ValueError, "at least 2 dimensions"),
        (((2, 3), (2, 4), (2, 4)), {}, ValueError, "differ in their last dimension"),
        (((2, 3), (4, 3), (5, 3)), {}, ValueError, "differ in length"),
        (((2, 4, 3), (3, 4, 3), (3, 4, 3)), {}, ValueError, "do not broadcast"),
        (((2, 3),) * 3, {"dropout_p": 1.5}, ValueError, "dropout_p"),
        (((2, 3),) * 3, {"dropout_p": float("nan")}, ValueError, "dropout_p"),
        (((2, 3),) * 3, {"attn_mask": np.ones((2, 3), bool)}, ValueError, "does not broadcast"),
        (((2, 3),) * 3, {"attn_mask": np.ones((4, 2, 2), bool)}, ValueError, "does not broadcast"),
        (((2, 3),) * 3, {"attn_mask": np.ones(2, bool)}, ValueError, "does not broadcast"),
        (((2, 3),) * 3, {"attn_mask": np.ones((2, 2), int)}, TypeError, "attn_mask must be bool or float64"),
        (((2, 3),) * 3, {"attn_mask": np.ones((2, 2), bool), "is_causal": True}, ValueError, "not both"),
        (((2, 3),) * 3, {"enable_gqa": True}, ValueError, "needs heads"),
        (((6, 2, 3), (4, 2, 3), (4, 2, 3)), {"enable_gqa": True}, ValueError, "must divide"),
    ],
)
def test_bad_input(shapes: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    options = {k: Tensor(x) if isinstance(x, np.ndarray) else x for k, x in options.items()}
    with pytest.raises(error, match=message):
        sdpa(*(Tensor(np.ones(shape)) for shape in shapes), **options)


def test_dtypes_do_not_mix() -> None:
    x = Tensor(np.ones((2, 3)))
    with pytest.raises(TypeError, match="dtypes differ"):
        sdpa(x, x.float(), x)
    with pytest.raises(TypeError, match="floating-point"):
        sdpa(*(x.to(minidl.int64),) * 3)


def test_against_pytorch() -> None:
    torch = pytest.importorskip("torch")
    for batch, L, S, E, V in (((2, 2), 5, 7, 4, 3), ((), 140, 135, 8, 8), ((2, 1), 33, 65, 32, 16)):
        q, k, v = normal(*batch, L, E), normal(*batch, S, E), normal(*batch, S, V)
        bias = normal(L, S)
        for mask, options in (
            (None, {}),
            (None, {"is_causal": True}),
            (None, {"scale": -0.7}),
            (bias > 0, {}),
            (bias, {}),
            (np.where(bias > 0, -np.inf, bias), {}),
        ):
            got = passes([q, k, v, mask], **options)
            leaves = [torch.from_numpy(a.copy()).requires_grad_() for a in (q, k, v)]
            given_mask = None if mask is None else torch.from_numpy(mask)
            y = torch.nn.functional.scaled_dot_product_attention(*leaves, attn_mask=given_mask, **options)
            y.backward(torch.from_numpy(normal(*y.shape, seed=9, dtype="float32").astype("float64")))
            for a, b in zip(got, [y.detach(), *(t.grad for t in leaves)], strict=False):
                np.testing.assert_allclose(a, b.numpy(), rtol=1e-9, atol=1e-12)


CASES: list[tuple[list[tuple[int, ...]], dict[str, Any]]] = [
    ([(2, 45, 9), (2, 150, 9), (2, 150, 37)], {"is_causal": True}),
    ([(2, 20, 9), (2, 30, 9), (2, 30, 5), (20, 30)], {"dropout_p": 0.2}),
    ([(2, 3, 33), (2, 150, 33), (2, 150, 37), (3, 150)], {"dropout_p": 0.2}),
]
CHECK = """
import sys, numpy as np
sys.path.insert(0, "tests")
from test_attention import CASES, passes
saved = np.load(sys.argv[1])
for i, (shapes, options) in enumerate(CASES):
    for j, got in enumerate(passes([saved[f"{i} {j}"] for j in range(len(shapes))], "float32", **options)):
        wanted = saved[f"{i} wanted {j}"]
        assert np.abs(got - wanted).max() < 2e-5 * max(np.abs(wanted).max(), 1), (i, j)
"""


SETTINGS = ["MINIDL_SIMD=avx512", "MINIDL_SIMD=avx2", "MINIDL_SIMD=generic", "NUMBA_DISABLE_JIT=1"]


@pytest.fixture(scope="module")
def processes(tmp_path_factory: Any) -> Iterator[dict[str, subprocess.Popen]]:
    """A process for each setting, all at once. They get inputs and what the definition makes of them from a file, so
    that they compile nothing but what they are to test.
    """
    path, saved = tmp_path_factory.mktemp("attention") / "cases.npz", {}
    for i, (shapes, options) in enumerate(CASES):
        arrays = [normal(*shape, seed=j, dtype="float32") for j, shape in enumerate(shapes)]
        with minidl.definitions():
            wanted = passes(arrays, **options)
        saved |= {f"{i} {j}": a for j, a in enumerate(arrays)} | {f"{i} wanted {j}": a for j, a in enumerate(wanted)}
    np.savez(path, **saved)
    command, started = [sys.executable, "-c", CHECK, str(path)], {}
    for setting in SETTINGS:
        name, _, value = setting.partition("=")
        if value != simd():  # what all other tests run on
            environment = os.environ | {name: value, "PYTHONPATH": str(ROOT)}
            started[setting] = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    yield started
    for process in started.values():
        with process:  # which waits, and closes its stderr
            process.kill()


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_path(setting: str, processes: dict[str, subprocess.Popen]) -> None:
    if setting not in processes:
        pytest.skip("what all other tests run on")
    _, errors = processes[setting].communicate()
    assert processes[setting].returncode == 0, errors
