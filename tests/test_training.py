"""The training loop, evaluation, checkpoints, run folders."""

import builtins
import json
import math
import os
import sys
import threading
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import nn, optim
from minidl.data import DataLoader, TensorDataset
from minidl.nn import functional as F
from minidl.study.plots import learning_curve
from minidl.training import (
    Diverged,
    History,
    Progress,
    Run,
    RunError,
    accuracy,
    constant,
    cosine,
    evaluate,
    fit,
    load_checkpoint,
    save_checkpoint,
    warmup_cosine,
)

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
}


class Net(nn.Module):
    """Batch norm has state of its own, and dropout draws at random: both must survive a resumption."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.two = nn.Linear(8, 3)

    def forward(self, x):
        return self.two(F.dropout(F.relu(self.norm(self.one(x))), 0.2, self.training))


def data(n=40, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    return TensorDataset(x, np.argmax(x[:, :3], axis=1))


def setting(name="adamw", seed=0):
    """Model, optimiser, loader with a generator of its own."""
    minidl.manual_seed(seed)
    model = Net()
    loader = DataLoader(data(), 8, shuffle=True, generator=minidl.Generator().manual_seed(1))
    return model, loader, OPTIMIZERS[name](model.parameters())


def weights(model):
    return {name: t.numpy().copy() for name, t in model.state_dict().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_fit_learns_and_reports():
    model, loader, optimizer = setting()
    rows = []
    history = fit(model, loader, optimizer, 30, DataLoader(data(seed=1), 16), on_epoch=rows.append)
    assert rows == list(history) and history["epoch"] == list(range(1, 31))
    assert set(history[0]) == {
        "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "lr", "seconds",
    }  # fmt: skip
    assert history[-1]["test_accuracy"] > 0.7 > history[0]["train_accuracy"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert "test_loss" not in fit(model, loader, optimizer, 1)[0]


def test_train_means_are_over_samples_not_batches():
    model = nn.Linear(4, 3)
    loader = DataLoader(data(11), 4)
    optimizer = optim.SGD(model.parameters(), lr=1e-30)
    row = fit(model, loader, optimizer)[0]
    means = evaluate(model, DataLoader(data(11), 11))
    assert row["train_loss"] == pytest.approx(means["loss"], rel=1e-6)
    assert row["train_accuracy"] == pytest.approx(means["accuracy"])


def test_evaluate_puts_the_mode_back_and_records_no_graph():
    model, loader, _ = setting()
    seen = []
    model.train()

    def loss(output, target):
        seen.append((model.training, output.requires_grad))
        return F.cross_entropy(output, target)

    evaluate(model, loader, loss)
    assert model.training and set(seen) == {(False, False)}
    model.eval()
    evaluate(model, loader)
    assert not model.training
    with pytest.raises(ValueError, match="no samples"):
        evaluate(model, [])
    model.train()
    with pytest.raises(ZeroDivisionError):
        evaluate(model, loader, lambda output, target: 1 / 0)
    assert model.training
    part = next(module for module in model.modules() if module is not model)
    part.eval()
    evaluate(model, loader)
    assert model.training and not part.training, "what was frozen stays frozen"


def test_accuracy():
    assert accuracy(minidl.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 0.0]]), minidl.tensor([1, 0, 1])) == pytest.approx(
        2 / 3
    )


def test_schedule_sets_the_learning_rate_of_every_step():
    model, loader, optimizer = setting("sgd")
    seen = []
    real = optimizer.step
    optimizer.step = lambda: (seen.append(optimizer.param_groups[0]["lr"]), real())
    history = fit(model, loader, optimizer, 2, schedule=cosine)
    np.testing.assert_allclose(seen, [0.1 * (1 + math.cos(math.pi * i / 10)) / 2 for i in range(10)])
    assert history["lr"] == [seen[4], seen[9]]


def test_schedules():
    assert [constant(t) for t in (0, 0.3, 1)] == [1, 1, 1]
    for schedule in (cosine, warmup_cosine):
        values = [schedule(t) for t in np.linspace(0, 1, 101)]
        assert max(values) == 1 and min(values) >= 0 and values[-1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("stop", [(1, 0), (2, 3), (3, 4)])
def test_resumed_to_the_bit(tmp_path, name, stop):
    model, loader, optimizer = setting(name)
    whole = fit(model, loader, optimizer, 4, schedule=warmup_cosine)

    interrupted, loader, optimizer = setting(name)
    steps = iter(range(10**6))

    def loss(output, target):
        if next(steps) == (stop[0] - 1) * 5 + stop[1]:
            raise KeyboardInterrupt
        return F.cross_entropy(output, target)

    path = tmp_path / "c.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(interrupted, loader, optimizer, 4, schedule=warmup_cosine, checkpoint=path, loss=loss)

    resumed, loader, optimizer = setting(name, seed=99)
    loader.generator.manual_seed(98)
    history = fit(resumed, loader, optimizer, 4, schedule=warmup_cosine, checkpoint=path, resume=True)
    assert_same(weights(resumed), weights(model))
    assert history["train_loss"] == whole["train_loss"] and len(history) == 4


def test_resume_of_all_epochs_trains_no_more(tmp_path):
    model, loader, optimizer = setting()
    fit(model, loader, optimizer, 2, checkpoint=tmp_path / "c")
    before = weights(model)
    assert len(fit(model, loader, optimizer, 2, checkpoint=tmp_path / "c", resume=True)) == 2
    assert_same(weights(model), before)


def test_nan_stops_and_leaves_the_last_good_checkpoint(tmp_path):
    model, loader, optimizer = setting()
    steps = iter(range(100))
    good = []

    def loss(output, target):
        value = F.cross_entropy(output, target)
        return value * math.nan if next(steps) == 7 else value

    with pytest.raises(Diverged, match="the loss is nan in epoch 2, step 3 of 5"):
        fit(
            model, loader, optimizer, 3, loss=loss, checkpoint=tmp_path / "c",
            on_epoch=lambda row: good.append(weights(model)),
        )  # fmt: skip
    assert len(load_checkpoint(tmp_path / "c", model, optimizer, [minidl.Generator(), minidl.Generator()])) == 1
    assert_same(weights(model), good[0])


def test_weights_that_diverge_in_the_last_step_are_not_kept(tmp_path):
    model = nn.Linear(4, 3)
    optimizer = optim.SGD(model.parameters(), lr=1e38)
    loader, path = DataLoader(data(), 40), tmp_path / "c"
    with np.errstate(all="ignore"), pytest.raises(Diverged, match=r"is not finite at the end of epoch 1"):
        fit(model, loader, optimizer, 3, loss=lambda output, y: F.cross_entropy(output, y) * 1e6, checkpoint=path)
    assert load_checkpoint(path, model, None, [minidl.Generator()]).rows == []
    assert all(np.isfinite(w).all() for w in weights(model).values())


def test_fit_refuses(tmp_path):
    model, loader, optimizer = setting()
    with pytest.raises(ValueError, match="at least one epoch"):
        fit(model, loader, optimizer, 0)
    with pytest.raises(ValueError, match="of 0 batches"):
        fit(model, DataLoader(data(3), 4, drop_last=True), optimizer)
    with pytest.raises(ValueError, match="needs the checkpoint"):
        fit(model, loader, optimizer, resume=True)
    with pytest.raises(FileNotFoundError):
        fit(model, loader, optimizer, resume=True, checkpoint=tmp_path / "none")


def test_checkpoint_of_another_model_or_file(tmp_path):
    model, _, optimizer = setting()
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, model, optimizer, History())
    for other, chance in ((nn.Linear(2, 2), []), (model, [minidl.Generator()])):
        with pytest.raises(ValueError, match=r"c\.safetensors: broken, or the checkpoint of another run"):
            load_checkpoint(path, other, generators=chance)
    minidl.io.save(model.state_dict(), path)
    with pytest.raises(ValueError, match="not a checkpoint"):
        load_checkpoint(path, model)


@settings(max_examples=60)
@given(st.data())
def test_broken_checkpoints_are_value_errors(tmp_path_factory, draw):
    path = tmp_path_factory.getbasetemp() / "broken.safetensors"
    model, loader, optimizer = setting()
    chance = [minidl.Generator().manual_seed(0)]
    fit(model, loader, optimizer, 1)
    save_checkpoint(path, model, optimizer, History([{"epoch": 1}]), chance)
    content = bytearray(path.read_bytes())
    place = draw.draw(st.integers(0, len(content) - 1))
    if draw.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= draw.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        load_checkpoint(path, model, optimizer, chance)
    except ValueError as error:
        assert "broken.safetensors" in str(error)


def test_history(tmp_path):
    history = History([{"epoch": 1, "loss": 0.1 + 0.2}])
    history.append({"epoch": 2, "loss": 1e-300})
    history.save(tmp_path / "h.json")
    assert History.load(tmp_path / "h.json").rows == history.rows == json.loads((tmp_path / "h.json").read_text())
    assert "2 epochs" in repr(history) and repr(History()) == "History(0 epochs)"
    for content in ("", "{", "3", '["a"]', "[[1]]"):
        (tmp_path / "h.json").write_text(content)
        with pytest.raises(ValueError, match=r"h\.json: not a history"):
            History.load(tmp_path / "h.json")


def test_run_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [str(Run.create(None, {"model": "m"}).folder) for _ in range(3)]
    assert folders == ["runs/m-001", "runs/m-002", "runs/m-003"]
    run = Run.create(tmp_path / "a" / "b", {"model": "m", "lr": 0.1})
    assert Run.open(run.folder).config == {"model": "m", "lr": 0.1} and not run.finished
    with pytest.raises(RunError, match="is not empty: choose another --out, or go on with it by --resume"):
        Run.create(run.folder, {})
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "file" / "below", "/proc/nothing"):
        with pytest.raises(RunError, match="cannot write the run folder"):
            Run.create(bad, {})
        with pytest.raises(RunError, match="is not a run folder"):
            Run.open(bad)
    for content in ("{", "[]"):
        (run.folder / "config.json").write_text(content)
        with pytest.raises(RunError, match="is broken"):
            Run.open(run.folder)


def test_nobody_waits_for_a_pipe_to_speak(tmp_path):
    pipe = tmp_path / "config.json"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("{}",), daemon=True)
    writer.start()
    with pytest.raises(RunError, match=r"is not a run folder: config\.json is not a file"):
        Run.open(tmp_path)
    with pytest.raises(ValueError, match="found no regular file"):
        History.load(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer.join(10)
    os.close(reader)


class Bar:
    """A stand-in for tqdm."""

    def __init__(self, **options):
        self.options, self.calls = options, []

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.append(name)


def test_progress_bar_is_for_terminals_only(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=Bar))
    assert Progress(3).bar is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert Progress(3, shown=False).bar is None
    with Progress(10, 5) as progress:
        progress.advance("epoch 1")
        with progress.paused():
            pass
    assert progress.bar.options["total"] == 10 and progress.bar.options["initial"] == 5
    assert progress.bar.calls == ["set_description", "update", "clear", "refresh", "close"]


def no_import(monkeypatch, missing):
    real = builtins.__import__

    def importer(name, *args, **kwargs):
        if name.split(".")[0] == missing:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", importer)


def test_without_tqdm_or_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    no_import(monkeypatch, "tqdm")
    assert Progress(3).bar is None
    no_import(monkeypatch, "matplotlib")
    with pytest.raises(ImportError, match="pip install"):
        learning_curve([{"epoch": 1}], tmp_path / "c.png")


def test_learning_curve(tmp_path):
    pytest.importorskip("matplotlib")
    model, loader, optimizer = setting()
    learning_curve(fit(model, loader, optimizer, 2, loader), tmp_path / "c.png", "title")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="empty"):
        learning_curve([], tmp_path / "d.png")
