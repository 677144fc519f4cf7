"""All kernels: the same bits for any number of threads, what they may be compiled with, and that all can be."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from minidl.kernels import conv, jit, pool  # noqa: F401 (conv and pool register their kernels)
from minidl.kernels import threads as policy

SOURCES = Path(jit.__file__).parent


@pytest.mark.parametrize(
    ("n", "error"),
    [(0, ValueError), (-1, ValueError), (10**6, ValueError), (1.0, TypeError), (None, TypeError), (True, TypeError)],
)
def test_set_num_threads_refuses(n, error):
    before = policy.get_num_threads()
    with pytest.raises(error, match="set_num_threads"):
        policy.set_num_threads(n)
    assert policy.get_num_threads() == before


def test_the_same_bits_on_one_to_five_threads():
    """More threads than this machine may have cores: a process of its own, with a pool of five."""
    code = """
        import sys, numpy as np
        from minidl.kernels import conv, gemm, norm, pool, threads as policy
        rng = np.random.default_rng(0)
        def everything():
            for groups, stride in ((1, (1, 1)), (1, (2, 1)), (8, (1, 2))):
                x = rng.standard_normal((7, 8, 11, 13)).astype("float32")
                w = rng.standard_normal((8, 8 // groups, 3, 3)).astype("float32")
                geometry = stride, ((1, 1), (1, 1)), (1, 1), groups
                y = conv.conv2d_forward(x, w, None, *geometry)
                yield y
                yield conv.conv2d_input_gradient(y, w, x.shape, *geometry)
                yield conv.conv2d_weight_gradient(y, x, w.shape, *geometry)
            for M, N, K in ((633, 9, 300), (97, 700, 64), (1, 400, 1000), (70, 90, 500)):  # edges wherever bands end
                a, b = (rng.standard_normal(s).astype("float32") for s in ((M, K), (K, N)))
                yield gemm.matmul(a, b)
                yield gemm.matmul(a, b.T.copy().T)
            x, w = (rng.standard_normal(s).astype("float32") for s in ((3, 48, 12, 9), (50, 48, 3, 3)))
            geometry = (1, 1), ((1, 1), (1, 1)), (1, 1), 1  # Winograd's
            yield conv.conv2d_forward(x, w, None, *geometry)
            y = rng.standard_normal((3, 50, 12, 9)).astype("float32")
            yield conv.conv2d_weight_gradient(y, x, w.shape, *geometry)
            yield from norm.layer_norm_backward(a, a[::-1].copy(), None, a[:, 0].copy(), a[:, 1].copy(), 1)
            x = rng.standard_normal((2, 8, 11, 13)).astype("float32")
            y, index = pool.max_pool2d_forward(x, (3, 3), (2, 2), (1, 1), (1, 1), (6, 7))
            yield y
            yield pool.max_pool2d_backward(y, index, x.shape)
        results, policy.LITTLE = [], 0
        for n in range(1, 6):
            policy.set_num_threads(n)
            rng = np.random.default_rng(0)
            results.append(b"".join(a.tobytes() for a in everything()))
        print(len(set(results)))
    """
    environment = os.environ | {"NUMBA_NUM_THREADS": "5", "PYTHONPATH": str(SOURCES.parents[1])}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize("flags", [{"nnan"}, {"ninf", "reassoc"}, {"fast"}])
def test_fastmath_is_a_whitelist(flags):
    with pytest.raises(ValueError, match="whitelist"):
        jit.helper(fastmath=frozenset(flags))


def test_every_kernel_compiles_ahead_for_both_dtypes_and_once():
    dtypes = np.dtype("float32"), np.dtype("float64")
    done = list(jit.compile_ahead(dtypes))
    assert [(name, dtype) for name, dtype, _ in done] == [(name, dtype) for name in jit.KERNELS for dtype in dtypes]
    assert all(seconds > 0 for *_, seconds in done)
    for kernel in jit.KERNELS.values():
        assert len(kernel.codes) <= len(dtypes), kernel.name
