"""What the tests of the command share: short runs of LeNet, in this process and in one of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import minidl
from minidl.cli import main
from minidl.data import load_digits

ROOT = Path(minidl.__file__).parent.parent
EPOCHS = 3
os.environ["MINIDL_QUIET"] = "1"  # what kernels say when they are compiled is not what is tested here


def run_minidl(*words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "minidl", *map(str, words)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def with_a_whole_run(path):
    """100 digits as `small.npz`, and a finished run on them as `whole`; the folder."""
    digits = load_digits()
    chosen = np.flatnonzero(digits.y < 3)[:100]
    np.savez(path / "small.npz", x=digits.x[chosen], y=digits.y[chosen])
    assert train(path, path / "whole") == 0
    return path


def train(folder, out, *words):
    data = str(folder / "small.npz")
    return main(["train", "lenet", "--data", data, "--epochs", str(EPOCHS), "--out", str(out), *words])


def weights_of(run):
    return (run / "model.safetensors").read_bytes()


def interrupted_at(folder, out, monkeypatch, target, name, call):
    """Train, with Ctrl-C at the given call of a function; whether it was reached."""
    real, calls = getattr(target, name), []

    def interrupting(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(target, name, interrupting)
        return train(folder, out) == 130
