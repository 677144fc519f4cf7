"""The tile on each of its paths, in a process of its own: products and convolutions against NumPy in float64.

Any machine can run any path: LLVM cuts vectors into the registers that there are.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minidl.kernels.simd import simd

ROOT = Path(__file__).parents[1]
PATHS = ("avx512", "avx2", "generic")


@pytest.mark.parametrize("path", PATHS)
def test_every_path_multiplies_and_convolves(path):
    """The machine's own path finds the kernels that other tests compile; the others compile convolutions once."""
    own = path == simd()
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | ({} if own else {"MINIDL_SIMD": path})
    command = [sys.executable, ROOT / "tests" / "simd_paths.py", "float32", *(["float64"] if own else [])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [path]


def test_an_unknown_path_is_named():
    code = "from minidl.kernels import simd; simd.simd()"
    environment = os.environ | {"MINIDL_SIMD": "sse9", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "MINIDL_SIMD must be one of avx512, avx2, generic" in done.stderr
