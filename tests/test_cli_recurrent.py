"""The recurrent jobs: `minidl train speaker`, `minidl train charlm`, `minidl generate`."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl.cli import build_parser, main
from minidl.cli.charlm import CharLMJob, bits, reopen
from minidl.cli.lenet import LeNetJob
from minidl.cli.speaker import NOISE, loaders
from minidl.data import load_japanese_vowels, load_moby_dick
from minidl.io import load, save_safetensors
from minidl.models import CharLM, SpeakerNet
from minidl.training import Run

ROOT = Path(minidl.__file__).parent.parent
os.environ["MINIDL_QUIET"] = "1"

SPEAKER = ["train", "speaker", "--epochs", "3", "--hidden-size", "8", "--batch-size", "30"]
CHARLM = ["train", "charlm", "--epochs", "3", "--hidden-size", "16", "--batch-size", "8", "--steps", "32"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A short text as `text`, and finished runs as `speaker` and `charlm`."""
    path = tmp_path_factory.mktemp("recurrent")
    (path / "text").write_text(load_moby_dick()[:6000], "utf-8")
    for name in ("speaker", "charlm"):
        assert main(words_of(name, path, "--out", path / name)) == 0
    return path


def words_of(name, folder, *more):
    words = SPEAKER if name == "speaker" else [*CHARLM, "--text", folder / "text"]
    return [str(word) for word in (*words, *more)]


def weights_of(run):
    return (run / "model.safetensors").read_bytes()


def refused(capsys, *words, code=2, name="minidl train"):
    """The one line on stderr."""
    assert main(list(map(str, words))) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"{name}: ") and err.count("\n") == 1 and err.endswith("\n")
    return err


# What a run does


def without_excuses(out):
    """The lines of a run, less the one that says that matplotlib is not installed."""
    return [line for line in out.splitlines() if not line.startswith("no learning curve")]


def test_a_run_on_the_utterances(folder, tmp_path, capsys):
    assert main(words_of("speaker", folder, "--epochs", 4, "--cell", "gru", "--out", tmp_path / "run")) == 0
    out, err = capsys.readouterr()
    first, *epochs, last = without_excuses(out)
    assert err == "" and first.endswith("270 training and 370 held-out utterances of 7 to 29 frames of 12, 9 speakers")
    assert len(epochs) == 4 and all(re.match(r"epoch \d/4  loss .* held-out 0\.\d{4}  \d", line) for line in epochs)
    assert re.fullmatch(r"held-out accuracy 0\.\d{4} after 4 epochs in [\d.]+ s \(\d+ utterances/s\): .*run", last)
    model = SpeakerNet(9, 12, 8, "gru")
    model.load_state_dict(load(tmp_path / "run" / "model.safetensors"))
    assert json.loads((tmp_path / "run" / "history.json").read_text())[-1]["test_accuracy"] > 0.3


def test_a_run_on_text(folder, tmp_path, capsys):
    options = ["--cell", "gru", "--layers", "2", "--dropout", "0", "--lr", "0.02", "--out", tmp_path / "run"]
    assert main(words_of("charlm", folder, *options)) == 0
    out, err = capsys.readouterr()
    first, *epochs, last = without_excuses(out)
    assert err == "" and first.endswith(f"{folder}/text: 5,392 training and 600 held-out characters, 57 distinct")
    pattern = r"epoch (\d)/3  bits a character: train (\d\.\d{3}), held-out (\d\.\d{3})  [\d.]+ s"
    found = [re.fullmatch(pattern, line).groups() for line in epochs]
    assert [epoch for epoch, *_ in found] == ["1", "2", "3"] and float(found[2][2]) < float(found[0][2]) < 6
    assert re.fullmatch(r"held-out \d\.\d{3} bits a character after 3 epochs in .* \(\d+ characters/s\): .*run", last)
    model = CharLM(57, 16, 2, "gru")
    model.load_state_dict(load(tmp_path / "run" / "model.safetensors"))
    assert {"config.json", "history.json"} <= set(os.listdir(tmp_path / "run"))


def test_bits_are_those_of_the_held_out_characters_one_after_the_other(folder):
    """Against the probabilities of each held-out character, given all of the text before it in its row."""
    model, alphabet = reopen(str(folder / "charlm"))
    text = (folder / "text").read_text("utf-8")
    start = len(text) - len(text) // 10
    numbers = alphabet.encode(text[start - 1 :])
    state, total = None, 0.0
    model.eval()
    with minidl.no_grad():
        for now, following in itertools.pairwise(numbers):
            scores, state = model(minidl.tensor([[int(now)]]), state)
            total -= scores[0, 0].to(minidl.float64).log_softmax(0)[int(following)].item() / np.log(2)
    history = json.loads((folder / "charlm" / "history.json").read_text())
    assert bits(history[-1]["test_loss"]) == pytest.approx(total / 600, abs=1e-4)


@pytest.mark.parametrize("name", ["speaker", "charlm"])
def test_the_same_seed_gives_the_same_bits(folder, tmp_path, name):
    assert main(words_of(name, folder, "--out", tmp_path / "again", "--quiet")) == 0
    assert weights_of(tmp_path / "again") == weights_of(folder / name)
    assert main(words_of(name, folder, "--out", tmp_path / "other", "--seed", 1, "--quiet")) == 0
    assert weights_of(tmp_path / "other") != weights_of(folder / name)


def test_noise_is_for_training_only():
    training, held_out = loaders(load_japanese_vowels(), 30)
    (x, lengths, _), (again, _, _) = next(iter(held_out)), next(iter(held_out))
    assert (x == again).all() and (lengths[1:] >= lengths[:-1]).all()
    clean = np.concatenate([x for x, _ in training.dataset])
    assert abs(clean.mean()) < 1e-5 and abs(clean.std() - 1) < 1e-5
    x, lengths, _ = next(iter(training))
    rows = np.concatenate([row[:n] for row, n in zip(x.numpy(), lengths.tolist(), strict=True)])
    assert x.shape == (30, max(lengths.tolist()), 12) and rows.std() > 1 + NOISE**2 / 4


# Interruption and resumption


def interrupted_at(words, monkeypatch, target, name, call):
    """Run a command, with Ctrl-C at the given call of a function; whether it was reached."""
    real, calls = getattr(sys.modules[target], name), []

    def interrupting(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[target], name, interrupting)
        return main(words) == 130


@pytest.mark.parametrize("job", ["speaker", "charlm"])
@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        ("minidl.training.loop", "train_step", 1),
        ("minidl.training.loop", "train_step", 14),
        ("minidl.training.loop", "evaluate", 2),
        ("minidl.training.loop", "save_checkpoint", 3),
        ("minidl.cli.job", "save_safetensors", 1),
        ("os", "replace", 4),
    ],
)
def test_resumed_to_the_same_bits(folder, tmp_path, monkeypatch, capsys, job, module, name, call):
    run = tmp_path / "run"
    assert interrupted_at(words_of(job, folder, "--out", run), monkeypatch, module, name, call)
    assert f"minidl train: interrupted; to go on: minidl train {job} --resume {run}\n" == capsys.readouterr().err
    assert main(["train", job, "--resume", str(run), "--quiet"]) == 0
    assert weights_of(run) == weights_of(folder / job)
    rows, whole = (json.loads((r / "history.json").read_text()) for r in (run, folder / job))
    assert [{**row, "seconds": 0} for row in rows] == [{**row, "seconds": 0} for row in whole]


def test_real_ctrl_c(folder, tmp_path):
    run = tmp_path / "run"
    words = words_of("charlm", folder, "--epochs", 12, "--out", run)
    process = subprocess.Popen(
        [sys.executable, "-m", "minidl", *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert err == f"minidl train: interrupted; to go on: minidl train charlm --resume {run}\n"
    assert main(["train", "charlm", "--resume", str(run), "--quiet"]) == 0
    assert main(words_of("charlm", folder, "--epochs", 12, "--out", tmp_path / "whole", "--quiet")) == 0
    assert weights_of(run) == weights_of(tmp_path / "whole")


# Writing on


def written(capsys, folder, *words):
    assert main(["generate", str(folder / "charlm"), *map(str, words)]) == 0
    out, err = capsys.readouterr()
    assert err == "" and out.endswith("\n")
    return out[:-1]


def test_generated_text_is_repeatable_for_a_seed(folder, capsys):
    text = written(capsys, folder, "--prompt", "Call me ", "--length", 60)
    assert text.startswith("Call me ") and len(text) == 68
    assert written(capsys, folder, "--prompt", "Call me ", "--length", 60, "--seed", 0) == text
    assert written(capsys, folder, "--prompt", "Call me ", "--length", 60, "--seed", 1) != text
    assert written(capsys, folder, "--prompt", "Call me ", "--length", 60, "--temperature", 3) != text
    assert written(capsys, folder, "--prompt", "Call me ", "--length", 0) == "Call me "
    assert written(capsys, folder, "--length", 0) == "\n"


def test_temperature_zero_takes_the_likeliest(folder, capsys):
    first = written(capsys, folder, "--prompt", "w", "--length", 30, "--temperature", 0)
    assert written(capsys, folder, "--prompt", "w", "--length", 30, "--temperature", 0, "--seed", 5) == first
    assert written(capsys, folder, "--prompt", "w", "--length", 30, "--temperature", "1e-300") == first
    model, alphabet = reopen(str(folder / "charlm"))
    for end in (1, 2, 10, 30):
        with minidl.no_grad():
            scores, _ = model.eval()(minidl.tensor(alphabet.encode(first[:end])[None]))
        assert alphabet.decode([scores[0, -1].argmax().item()]) == first[end]


def test_text_that_the_terminal_lacks(folder):
    words = [sys.executable, "-m", "minidl", "generate", str(folder / "charlm"), "--length", "0", "--prompt", "a—b"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "a?b\n" and done.stderr == ""


# What can be wrong


@pytest.mark.parametrize(
    ("job", "option", "name"),
    [("charlm", "text", "moby-dick"), ("lenet", "data", "digits"), ("bert", "data", "sentences")],
)
def test_what_comes_with_the_package_has_a_name(tmp_path, monkeypatch, job, option, name):
    """The help says that it is the default; so it may be asked for, unless there is a file of that name."""
    monkeypatch.chdir(tmp_path)
    words = ["train", job, f"--{option}", name]
    assert getattr(build_parser().parse_args(words), option) == name
    (tmp_path / name).write_text("")
    assert getattr(build_parser().parse_args(words), option) == str(tmp_path / name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train speaker --cell rnn", "--cell: invalid choice: 'rnn'"),
        ("train speaker --hidden-size 0", "--hidden-size: expected a positive integer"),
        ("train speaker --data x", "unrecognized arguments: --data x"),
        ("train speaker --resume", "--resume needs the folder of a run"),
        ("train charlm --dropout 1", "--dropout: expected a number from 0 to less than 1, got '1'"),
        ("train charlm --dropout nan", "--dropout"),
        ("train charlm --steps 0", "--steps: expected a positive integer"),
        ("train charlm --layers -1", "--layers"),
        ("train charlm --layers 1000000000", "--layers: expected an integer from 1 to 100"),
        ("train charlm --lr inf", "--lr"),
        ("train charlm --text /nowhere", "/nowhere: there is no such file"),
        ("train charlm --text /", "/: expected a file, found a folder"),
        ("train charlm --batch-size 2000000", "moby-dick: too short: without its last tenth, 1071285 characters are"),
        ("generate", "RUN"),
        ("generate RUN --temperature -1", "--temperature: expected a finite number from 0 on, got '-1'"),
        ("generate RUN --temperature nan", "--temperature: expected a finite number"),
        ("generate RUN --temperature inf", "--temperature"),
        ("generate RUN --temperature x", "--temperature"),
        ("generate RUN --length -1", "--length: expected an integer from 0 on"),
        ("generate RUN --length 1.5", "--length"),
        ("generate RUN --seed -1", "--seed"),
        ("generate RUN --prompt Ünseen", "--prompt: unknown characters: 'Ü'; the model knows the characters of its"),
        ("generate RUN --prompt=", "--prompt: expected at least one character"),
        ("generate /nowhere", "/nowhere is not a run folder"),
        ("generate /", "/ is not a run folder"),
    ],
)
def test_bad_arguments(folder, capsys, words, message):
    words = [str(folder / "charlm") if word == "RUN" else word for word in words.split()]
    assert message in refused(capsys, *words, name=f"minidl {words[0]}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the text is empty"),
        (b"a", "too short: without its last tenth, 0 characters are too few: batches of 8 need at least 9"),
        (b"abcdefghi", "too short: without its last tenth, 8 characters are too few"),
        (b"\xff\xfe\x00a", "not UTF-8: byte 0 is 0xff"),
        (b"abc\xe2\x80", "not UTF-8: byte 3 is 0xe2"),
    ],
)
def test_bad_text(tmp_path, capsys, content, message):
    (tmp_path / "text").write_bytes(content)
    words = [*CHARLM, "--text", tmp_path / "text", "--out", tmp_path / "run"]
    assert f"{tmp_path / 'text'}: {message}" in refused(capsys, *words)
    assert not (tmp_path / "run").exists()


def test_the_shortest_text(tmp_path, capsys):
    (tmp_path / "text").write_text("abcdefghij")
    assert main([*CHARLM, "--text", str(tmp_path / "text"), "--out", str(tmp_path / "run"), "--quiet"]) == 0
    data = CharLMJob().load(json.loads((tmp_path / "run" / "config.json").read_text()))
    assert data.train.x.tolist() == [[k] for k in range(8)] and (data.test.x, data.test.y) == (8, 9)
    capsys.readouterr()
    assert main(["generate", str(tmp_path / "run"), "--length", "5"]) == 0
    assert re.fullmatch(r"a[a-j]{5}\n", capsys.readouterr().out)


def test_generate_refuses(folder, tmp_path, capsys, monkeypatch):
    def generated(run):
        return refused(capsys, "generate", run, name="minidl generate")

    assert "is a run of another model: speaker" in generated(folder / "speaker")
    words = words_of("charlm", folder, "--out", tmp_path / "unfinished")
    assert interrupted_at(words, monkeypatch, "minidl.training.loop", "train_step", 5)
    capsys.readouterr()
    assert "is not finished; to go on: minidl train charlm --resume" in generated(tmp_path / "unfinished")
    run = tmp_path / "run"
    shutil.copytree(folder / "charlm", run)
    config, weights = (run / "config.json").read_text(), weights_of(run)
    for change, message in [
        ({"alphabet": "aa"}, "config.json is broken: alphabet"),
        ({"alphabet": None}, "config.json is broken: alphabet"),
        ({"alphabet": list(range(57))}, "config.json is broken: alphabet"),
        ({"alphabet": "abc"}, "is broken, or of another run"),
        ({"hidden_size": 17}, "is broken, or of another run"),
        ({"hidden_size": "16"}, "config.json is broken: hidden_size: '16'"),
        ({"dropout": 1.0}, "config.json is broken: dropout: 1.0"),
        ({"cell": "rnn"}, "config.json is broken: cell: 'rnn'"),
        ({"cell": "gru"}, "is broken, or of another run"),
    ]:
        (run / "config.json").write_text(json.dumps({**json.loads(config), **change}))
        assert message in generated(run)
    (run / "config.json").write_text(config)
    for broken in (b"", weights[:50], weights[:-1], bytes(100)):
        (run / "model.safetensors").write_bytes(broken)
        assert "model.safetensors" in generated(run)


def test_a_diverged_model_writes_nothing(folder, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(folder / "charlm", run)
    weights = load(run / "model.safetensors")
    broken = {name: np.full(w.shape, np.nan, np.float32) for name, w in weights.items()}
    save_safetensors(broken, run / "model.safetensors")
    for temperature in (0, 1):
        words = "generate", run, "--temperature", temperature
        assert "the scores of the next word are NaN" in refused(capsys, *words, code=1, name="minidl generate")


def test_resume_refuses(folder, tmp_path, capsys, monkeypatch):
    run, text = tmp_path / "run", tmp_path / "text"
    shutil.copy(folder / "text", text)
    words = [*CHARLM, "--text", str(text), "--out", str(run)]
    assert interrupted_at(words, monkeypatch, "minidl.training.loop", "train_step", 5)
    capsys.readouterr()
    resume = ("train", "charlm", "--resume", run)
    assert "is finished" in refused(capsys, "train", "charlm", "--resume", folder / "charlm")
    assert "another model: charlm" in refused(capsys, "train", "speaker", "--resume", run)
    assert "begun with --hidden-size 16" in refused(capsys, *resume, "--hidden-size", 17)
    text.write_text(text.read_text("utf-8") + "!", "utf-8")
    assert f"{text} is not the data that {run} was begun with" in refused(capsys, *resume)
    shutil.copy(folder / "text", text)
    assert main([*map(str, resume), "--quiet"]) == 0 and weights_of(run) == weights_of(folder / "charlm")


@pytest.mark.parametrize("name", ["lr", "epochs", "optimizer"])
def test_a_configuration_that_lacks_something(tmp_path, capsys, name):
    config = LeNetJob().configuration({"optimizer": "sgd"})
    del config[name]
    Run.create(tmp_path / "run", config)
    assert f"config.json is broken: {name}: None" in refused(capsys, "train", "lenet", "--resume", tmp_path / "run")


def test_divergence_says_where(folder, tmp_path, capsys):
    code = main(words_of("charlm", folder, "--lr", "1e30", "--out", tmp_path / "run", "--quiet"))
    assert code == 1 and re.search(r"a smaller --lr may help", capsys.readouterr().err)
