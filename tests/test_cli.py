"""The command: training, and what is said when something is wrong."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from lenet_runs import EPOCHS, ROOT, interrupted_at, run_minidl, train, weights_of, with_a_whole_run

import minidl
from minidl.cli import main
from minidl.data import write_idx
from minidl.io import load
from minidl.kernels.jit import KERNELS
from minidl.models import LeNet


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return with_a_whole_run(tmp_path_factory.mktemp("cli"))


# What a run does


def test_a_run_on_the_digits(tmp_path, capsys):
    assert main(["train", "lenet", "--epochs", "2", "--out", str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert "1438 training and 359 held-out images of 1x8x8, 10 classes" in lines[0] and err == ""
    assert [bool(re.match(r"epoch \d/2 .* train 0\.\d{4}, held-out 0\.\d{4}", line)) for line in lines[1:3]] == [
        True
    ] * 2
    assert re.fullmatch(r"held-out accuracy 0\.\d{4} after 2 epochs in [\d.]+ s \(\d+ images/s\): .*run", lines[-1])
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert len(history) == 2 and history[-1]["test_accuracy"] > 0.6
    assert set(os.listdir(tmp_path / "run")) >= {"config.json", "history.json", "model.safetensors"}
    model = LeNet(10, 1, 16)
    model.load_state_dict(load(tmp_path / "run" / "model.safetensors"))


def test_the_same_seed_gives_the_same_bits(folder, tmp_path):
    assert train(folder, tmp_path / "again") == 0
    assert weights_of(tmp_path / "again") == weights_of(folder / "whole")
    assert train(folder, tmp_path / "other", "--seed", "1") == 0
    assert weights_of(tmp_path / "other") != weights_of(folder / "whole")


def test_quiet_prints_one_line(folder, tmp_path, capsys):
    assert train(folder, tmp_path / "run", "--quiet") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_options(folder, tmp_path, optimizer):
    words = ["--optimizer", optimizer, "--lr", "0.01", "--batch-size", "16", "--seed", "5"]
    assert train(folder, tmp_path / "run", *words) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["optimizer"] == optimizer and config["lr"] == 0.01 and config["batch_size"] == 16
    assert config["seed"] == 5 and config["epochs"] == EPOCHS and config["classes"] == ["0", "1", "2"]


def test_default_run_folders(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lenet-001", "lenet-002"):
        assert main(["train", "lenet", "--data", str(folder / "small.npz"), "--epochs", "1", "--quiet"]) == 0
        assert (tmp_path / "runs" / name / "model.safetensors").exists()


def test_mnist_folder_and_colour_images(tmp_path):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(2, dtype=np.uint8), 20)
    x = rng.integers(0, 60, (40, 28, 20)).astype(np.uint8)
    x[y == 1, 8:20] += 150
    for part in ("train", "t10k"):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", x)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", y)
    assert main(["train", "lenet", "--data", str(tmp_path), "--epochs", "4", "--batch-size", "8",
                 "--out", str(tmp_path / "run")]) == 0  # fmt: skip
    assert json.loads((tmp_path / "run" / "history.json").read_text())[-1]["test_accuracy"] > 0.9
    np.savez(tmp_path / "colour.npz", x=np.stack([x / 255, x / 99, x * 0], axis=3), y=np.where(y, "cat", "dog"))
    assert main(["train", "lenet", "--data", str(tmp_path / "colour.npz"), "--epochs", "1",
                 "--out", str(tmp_path / "run2")]) == 0  # fmt: skip


def test_without_matplotlib(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert train(folder, tmp_path / "run") == 0
    assert "matplotlib is not installed" in capsys.readouterr().out and not (tmp_path / "run" / "curve.png").exists()


# What can be wrong


def refused(capsys, *words, code=2, name="minidl train"):
    """The one line on stderr."""
    assert main(list(map(str, words))) == code
    err = capsys.readouterr().err
    assert err.startswith(f"{name}: ") and err.count("\n") == 1 and err.endswith("\n")
    return err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--epochs -1", "--epochs: expected a positive integer, got '-1'"),
        ("--epochs 0", "--epochs"),
        ("--epochs 1.5", "--epochs"),
        ("--epochs 99999999999999999999", "--epochs"),
        ("--batch-size 0", "--batch-size: expected a positive integer"),
        ("--lr nan", "--lr: expected a positive finite number, got 'nan'"),
        ("--lr inf", "--lr"),
        ("--lr 0", "--lr"),
        ("--lr -0.1", "--lr"),
        ("--lr x", "--lr"),
        ("--seed -3", "--seed: expected an integer from 0 on"),
        ("--optimizer lion", "--optimizer: invalid choice: 'lion'"),
        ("--data /nowhere", "/nowhere: there is no such file or folder"),
        ("--epoch 3", "unrecognized arguments: --epoch 3"),
        ("--resume", "--resume needs the folder of a run"),
        ("--resume /nowhere", "/nowhere is not a run folder"),
        ("--resume /a --out /b", "two folders"),
        ("--out /dev/null/run", "cannot write the run folder"),
        ("--out /proc/run", "cannot write the run folder"),
    ],
)
def test_bad_arguments(capsys, words, message):
    assert message in refused(capsys, "train", "lenet", *words.split())


def test_bad_commands(capsys):
    assert "COMMAND" in refused(capsys, name="minidl")
    assert "invalid choice: 'fly'" in refused(capsys, "fly", name="minidl")
    assert "MODEL" in refused(capsys, "train")
    assert "invalid choice: 'vgg'" in refused(capsys, "train", "vgg")


@pytest.mark.parametrize("content", [b"", b"PK", b"\0" * 100])
def test_broken_data(tmp_path, capsys, content):
    (tmp_path / "data.npz").write_bytes(content)
    assert f"{tmp_path / 'data.npz'}: " in refused(
        capsys, "train", "lenet", "--data", tmp_path / "data.npz", "--out", tmp_path / "run"
    )
    assert not (tmp_path / "run").exists()


def test_images_too_small_or_too_few(tmp_path, capsys):
    np.savez(tmp_path / "few.npz", x=np.zeros((4, 8, 8)), y=[0, 0, 1, 1])
    assert "few.npz: too few images" in refused(capsys, "train", "lenet", "--data", tmp_path / "few.npz")


def test_no_run_is_overwritten(folder, capsys):
    before = weights_of(folder / "whole")
    assert "is not empty" in refused(
        capsys, "train", "lenet", "--data", folder / "small.npz", "--out", folder / "whole"
    )
    assert weights_of(folder / "whole") == before


def test_resume_refuses(folder, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    resume = ("train", "lenet", "--resume", run)
    assert "is finished" in refused(capsys, "train", "lenet", "--resume", folder / "whole")
    assert interrupted_at(folder, run, monkeypatch, sys.modules["minidl.training.loop"], "train_step", 5)
    capsys.readouterr()
    for words, message in [
        (("--epochs", 9), f"begun with --epochs {EPOCHS}"),
        (("--batch-size", 9), "begun with --batch-size 32"),
        (("--lr", 9), "begun with --lr 0.005"),
        (("--seed", 9), "begun with --seed 0"),
        (("--optimizer", "sgd"), "begun with --optimizer adamw"),
        (("--data", folder / "other.npz"), "begun with --data"),
    ]:
        assert message in refused(capsys, *resume, *words)
    config = json.loads((run / "config.json").read_text())
    for change, message in [
        ({"model": "resnet"}, "another model: resnet"),
        ({"data_digest": "0" * 16}, "is not the data that"),
        ({"epochs": "3"}, "config.json is broken: epochs: '3'"),
        ({"batch_size": 0}, "config.json is broken"),
        ({"optimizer": "lion"}, "config.json is broken"),
        ({"optimizer": "sgd"}, "broken, or the checkpoint of another run"),
    ]:
        (run / "config.json").write_text(json.dumps(config | change))
        assert message in refused(capsys, *resume)
    (run / "config.json").write_text(json.dumps(config))
    checkpoint = run / "checkpoint.safetensors"
    content = checkpoint.read_bytes()
    for broken in (b"", content[:1000], content[:-1], bytes(100)):
        checkpoint.write_bytes(broken)
        assert "checkpoint.safetensors: " in refused(capsys, *resume)
    checkpoint.write_bytes(content)
    assert main(list(map(str, resume))) == 0
    assert weights_of(run) == weights_of(folder / "whole")


def test_divergence_says_where_and_keeps_the_checkpoint(folder, tmp_path, capsys):
    words = ("train", "lenet", "--data", folder / "small.npz", "--out", tmp_path / "run", "--optimizer", "sgd")
    with np.errstate(all="ignore"):
        error = refused(capsys, *words, "--lr", "1e30", code=1)
    assert re.search(r"epoch \d+.*a smaller --lr may help", error)
    assert all(np.isfinite(t.numpy()).all() for t in load(tmp_path / "run" / "checkpoint.safetensors").values())
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_full_disk_while_training(folder, tmp_path, capsys, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", "checkpoint")

    monkeypatch.setattr("minidl.training.loop.save_checkpoint", full)
    assert train(folder, tmp_path / "run") == 1
    assert capsys.readouterr().err == "minidl train: checkpoint: No space left on device\n"


# The command itself


def test_version_and_help(capsys):
    for words in (["--version"], ["--help"], ["train", "--help"], ["train", "lenet", "--help"]):
        with pytest.raises(SystemExit) as exit_:
            main(words)
        assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith(f"minidl {minidl.__version__}\n")


def test_the_command_starts_without_what_it_may_not_need():
    code = (
        "import sys, minidl.cli\n"
        "try: minidl.cli.main(['--version'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'numba', 'matplotlib', 'tqdm', 'safetensors', 'torch'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out == f"minidl {minidl.__version__}\n[]\n"


def test_compile(capsys):
    assert main(["compile"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(KERNELS)
    assert all(re.search(r" float32 +\d+\.\d\d s$", line) for line in lines)
    assert last.startswith(f"{len(KERNELS)} kernels are compiled, in ")
    assert main(["compile", "--quiet"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert "--dtype" in refused(capsys, "compile", "--dtype", "int8", name="minidl compile")


def test_python_m_minidl():
    process = run_minidl("train", "lenet", "--lr", "0")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2 and out == ""
    assert err.startswith("minidl train: argument --lr: expected") and err.count("\n") == 1


def test_output_that_nobody_reads(folder, tmp_path):
    data = folder / "small.npz"
    with run_minidl("train", "lenet", "--data", data, "--epochs", 2, "--out", tmp_path / "run") as process:
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(timeout=60) == 1
