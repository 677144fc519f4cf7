"""The command interrupted, at any time and by real signals, goes on to the same bits."""

import json
import os
import signal
import sys
import time

import numpy as np
import pytest
from lenet_runs import interrupted_at, run_minidl, train, weights_of, with_a_whole_run

from minidl.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return with_a_whole_run(tmp_path_factory.mktemp("cli"))


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        ("minidl.training.loop", "train_step", 1),
        ("minidl.training.loop", "train_step", 2),
        ("minidl.training.loop", "train_step", 5),
        ("minidl.training.loop", "evaluate", 2),
        ("minidl.training.loop", "save_checkpoint", 1),
        ("minidl.training.loop", "save_checkpoint", 3),
        ("minidl.cli.lenet", "fit", 1),
        ("minidl.cli.job", "learning_curve", 1),
        ("minidl.cli.job", "save_safetensors", 1),
        ("os", "fsync", 4),
        ("os", "replace", 4),
        ("os", "replace", 6),
    ],
)
def test_resumed_to_the_same_bits(folder, tmp_path, monkeypatch, capsys, module, name, call):
    __import__(module)
    run = tmp_path / "run"
    assert interrupted_at(folder, run, monkeypatch, sys.modules[module], name, call)
    assert f"minidl train: interrupted; to go on: minidl train lenet --resume {run}\n" == capsys.readouterr().err
    assert not list(run.glob(".*"))
    assert main(["train", "lenet", "--resume", str(run)]) == 0
    assert weights_of(run) == weights_of(folder / "whole")
    rows, whole = (json.loads((r / "history.json").read_text()) for r in (run, folder / "whole"))
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in rows] == [
        {k: v for k, v in row.items() if k != "seconds"} for row in whole
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted_at_any_time(folder, tmp_path, capsys):
    """An alarm that interrupts after a while that nobody chose, again and again, until the run is finished."""

    def ring(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ring)
    rng = np.random.default_rng()
    run, words, interruptions = tmp_path / "run", [], 0
    try:
        while True:
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.005, 0.08) * (1 + interruptions / 3))
            try:
                code = train(folder, run, *words)
            except KeyboardInterrupt:  # before or after main
                code = 130
            signal.setitimer(signal.ITIMER_REAL, 0)
            if code != 130:
                break
            interruptions += 1
            if (run / "config.json").exists():
                words = ["--resume"]
            elif run.exists():  # interrupted while the folder was being made
                for file in run.iterdir():
                    file.unlink()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert code == 0 or "is finished" in capsys.readouterr().err, interruptions
    assert weights_of(run) == weights_of(folder / "whole")


@pytest.mark.parametrize(("number", "line"), [(signal.SIGINT, 0), (signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_real_signals(folder, tmp_path, number, line):
    run = tmp_path / "run"
    words = ("train", "lenet", "--data", folder / "small.npz", "--epochs", 12, "--out")
    process = run_minidl(*words, run)
    for _ in range(line + 1):
        process.stdout.readline()
    time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, (out, err)
    assert err == f"minidl train: interrupted; to go on: minidl train lenet --resume {run}\n"
    assert main(["train", "lenet", "--resume", "--out", str(run), "--quiet"]) == 0
    assert main([*map(str, words), str(tmp_path / "other"), "--quiet"]) == 0
    assert weights_of(run) == weights_of(tmp_path / "other")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interruption_that_python_drops_comes_again(folder, tmp_path, monkeypatch):
    """As happens when a signal arrives while a destructor runs."""
    loop = sys.modules["minidl.training.loop"]
    real, steps = loop.train_step, []

    class Dropping:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):  # the handler runs between two bytecodes
                pass

    def step(*args):
        steps.append(1)
        if len(steps) == 4:
            Dropping()
        return real(*args)

    monkeypatch.setattr(loop, "train_step", step)
    assert train(folder, tmp_path / "run") == 128 + signal.SIGTERM
    assert len(steps) == 4
