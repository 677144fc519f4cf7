"""`minidl train bert`, `minidl predict`: from scratch, on pretrained weights, frozen, in folds, and with bad input."""

import io
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl.cli import main
from minidl.io import load
from minidl.models import BertConfig, BertModel
from minidl.text import BertTokenizer

os.environ["MINIDL_QUIET"] = "1"
SUBJECTS = ("film", "phone", "meal", "book", "place", "song", "game", "show", "car", "room", "trip", "plot")
GOOD, BAD = ("a wonderful {}", "i loved this {} so much", "great {} !"), ("an awful {}", "i hated this {}", "dull {} .")
ROWS = [
    f"{label}\t{line.format(s)}" for label, lines in (("yes", GOOD), ("no", BAD)) for line in lines for s in SUBJECTS
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """72 texts as `texts.tsv`, a small encoder with its tokenizer as `encoder`, and a finished run from scratch."""
    path = tmp_path_factory.mktemp("bert")
    (path / "texts.tsv").write_text("\n".join(ROWS) + "\n")
    tokenizer = BertTokenizer.train([row.partition("\t")[2] for row in ROWS], 120)
    tokenizer.save_pretrained(path / "encoder")
    minidl.manual_seed(0)
    config = BertConfig(len(tokenizer), 16, 1, 2, 32, max_position_embeddings=12)
    BertModel(config).save_pretrained(path / "encoder")
    assert train(path, "run") == 0
    return path


def train(folder, out, *words, epochs=3):
    data = str(folder / "texts.tsv")
    return main(
        ["train", "bert", "--data", data, "--epochs", str(epochs), "--out", str(folder / out), *map(str, words)]
    )


def weights(run):
    return (run / "model.safetensors").read_bytes()


# What a run does


def test_a_run_from_scratch_learns_and_predicts(folder, tmp_path, capsys):
    assert train(folder, tmp_path / "run", epochs=8) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "52 training, 6 validation and 14 held-out texts, 2 classes" in lines[0]
    last = re.fullmatch(r"held-out accuracy (\d\.\d{4}) \(weights of epoch \d\) after \d epochs .*run", lines[-1])
    assert float(last[1]) > 0.85
    (tmp_path / "some.txt").write_text("i hated this\tshow\n\ufeffgreat book\n")
    assert main(["predict", str(tmp_path / "run"), "a wonderful car", "--file", str(tmp_path / "some.txt")]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(label, text) for label, _, text in rows] == [
        ("yes", "a wonderful car"), ("no", "i hated this show"), ("yes", "\ufeffgreat book")
    ]  # fmt: skip
    assert all(0.5 <= float(p) <= 1 for _, p, _ in rows)


def test_a_prediction_does_not_depend_on_the_others(folder, capsys):
    texts = ["dull plot .", "great trip ! " * 20, "a"]
    assert main(["predict", str(folder / "run"), *texts]) == 0
    together = capsys.readouterr().out
    for text in texts:
        assert main(["predict", str(folder / "run"), text]) == 0
    assert capsys.readouterr().out == together


def test_the_same_seed_gives_the_same_bits(folder):
    assert train(folder, "again") == 0
    assert weights(folder / "again") == weights(folder / "run")
    assert train(folder, "other", "--seed", 1) == 0
    assert weights(folder / "other") != weights(folder / "run")


@pytest.mark.parametrize("options", [[], ["--freeze"], ["--pooling", "cls"]])
def test_pretrained_weights(folder, tmp_path, options):
    assert train(folder, tmp_path / "run", "--weights", folder / "encoder", "--lr", "1e-3", *options, epochs=2) == 0
    before, after = load(folder / "encoder" / "model.safetensors"), load(tmp_path / "run" / "model.safetensors")
    key = "embeddings.position_embeddings.weight"
    assert np.array_equal(before[key], after[f"encoder.{key}"]) == ("--freeze" in options)
    assert any(name.startswith("encoder.pooler") for name in after) == ("cls" in options)
    assert main(["predict", str(tmp_path / "run"), "great film"]) == 0


def test_interrupted_it_goes_on_to_the_same_bits(folder, tmp_path, monkeypatch, capsys):
    steps = []

    def interrupt(self):
        steps.append(0)
        if len(steps) == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("minidl.cli.interruption.Interruptible.check", interrupt)
        assert train(folder, tmp_path / "run") == 130
    assert "minidl train bert --resume" in capsys.readouterr().err
    assert main(["predict", str(tmp_path / "run"), "great film"]) == 2
    assert "is not finished" in capsys.readouterr().err
    assert main(["train", "bert", "--resume", str(tmp_path / "run")]) == 0
    assert weights(tmp_path / "run") == weights(folder / "run")


def test_interrupted_before_it_is_furnished_it_can_be_used_in_the_end(folder, tmp_path, monkeypatch, capsys):
    def interrupt(self, where):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BertTokenizer, "save_pretrained", interrupt)
        assert train(folder, tmp_path / "run") == 130
    assert main(["train", "bert", "--resume", str(tmp_path / "run")]) == 0
    assert main(["predict", str(tmp_path / "run"), "great film"]) == 0


def test_folds(folder, tmp_path, monkeypatch, capsys):
    steps = []

    def interrupt(self):
        steps.append(0)
        if len(steps) == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("minidl.cli.interruption.Interruptible.check", interrupt)
        assert train(folder, tmp_path / "run", "--folds", 3, epochs=2) == 130
    assert main(["train", "bert", "--resume", str(tmp_path / "run"), "--folds", "4"]) == 2
    assert main(["train", "bert", "--resume", str(tmp_path / "run")]) == 0
    scores = json.loads((tmp_path / "run" / "folds.json").read_text())["held_out_accuracy"]
    assert len(scores) == 3
    assert re.match(r"held-out accuracy \d\.\d{4} ± \d\.\d{4} over 3 folds", capsys.readouterr().out.splitlines()[-1])
    assert train(folder, tmp_path / "one", "--folds", 3, "--fold", 2, epochs=2) == 0
    assert weights(tmp_path / "one") == weights(tmp_path / "run" / "fold-2")
    assert main(["predict", str(tmp_path / "run"), "great film"]) == 0
    assert main(["train", "bert", "--resume", str(tmp_path / "run")]) == 2
    broken_folds(tmp_path / "run", capsys)


def broken_folds(run, capsys):
    """What is said of a cross-validation, all but finished, whose files are damaged."""
    (run / "folds.json").unlink()
    resume = "train", "bert", "--resume", run
    config, history = run / "config.json", run / "fold-1" / "history.json"
    values, rows = json.loads(config.read_text()), history.read_text()
    for change, said in [({"epochs": "2"}, "epochs: '2'"), ({"folds": -1}, "is broken"), ({"folds": 1}, "is broken")]:
        config.write_text(json.dumps(values | change))
        assert said in complaint(capsys, *resume)
    for count in (-1, 1, 10**12):
        config.write_text(json.dumps(values | {"folds": count}))
        assert "fold" in complaint(capsys, "predict", run, "great film")
    config.write_text(json.dumps(values))
    for damaged in (rows[:-9], "[]", "{}", "[1]", '[{"epoch": 1}]'):
        history.write_text(damaged)
        assert f"{history} is broken" in complaint(capsys, *resume)
    history.write_text(rows)
    (run / "fold-1" / "config.json").write_text("{")
    assert f"{run / 'fold-1' / 'config.json'} is broken" in complaint(capsys, *resume)


# What is said when something is wrong


def complaint(capsys, *words):
    """The only line on stderr of a command that fails with code 2."""
    capsys.readouterr()
    assert main(list(map(str, words))) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"yes\tgreat\n" * 30, "all labels are 'yes'"),
        (b"yes\tgreat\nno\tdull\n", "too few texts"),
        (b"yes\tgreat\nno dull\n", "line 2: expected label<TAB>text"),
        (b"yes\tgreat\nno\tdull \xff\n", "line 2: not UTF-8"),
        (b"yes\tgreat\nno\t\n", "line 2: the text is empty"),
        (b"\tgreat\n", "line 1: the label is empty"),
        (b"", "there are no rows"),
    ],
)
def test_bad_data(tmp_path, capsys, content, said):
    (tmp_path / "bad.tsv").write_bytes(content)
    words = "train", "bert", "--data", tmp_path / "bad.tsv", "--out", tmp_path / "run"
    assert said in complaint(capsys, *words) and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--freeze"], "--freeze needs --weights"),
        (["--folds", "1"], "--folds must be at least 2"),
        (["--folds", "99"], "folds: expected 2 to 72"),
        (["--fold", "2"], "needs --folds"),
        (["--folds", "2", "--fold", "3"], "needs --folds"),
        (["--max-length", "1"], "max_length 1 leaves no place for a word"),
        (["--max-length", "2"], "max_length 2 leaves no place for a word"),
        (["--weights", "nowhere"], "no such folder"),
        (["--data", "nowhere.tsv"], "nowhere.tsv"),
        (["--pooling", "max"], "invalid choice"),
    ],
)
def test_bad_options(folder, tmp_path, capsys, options, said):
    words = "train", "bert", "--data", folder / "texts.tsv", "--out", tmp_path / "run", *options
    assert said in complaint(capsys, *words) and not (tmp_path / "run").exists()


def test_bad_weights(folder, tmp_path, capsys):
    def copy(name, change):
        where = tmp_path / name
        where.mkdir()
        for path in (folder / "encoder").iterdir():
            (where / path.name).write_bytes(path.read_bytes())
        change(where)
        words = "train", "bert", "--data", folder / "texts.tsv", "--weights", where, "--out", tmp_path / "run"
        said = complaint(capsys, *words)
        assert not (tmp_path / "run").exists()
        return said

    def config(**changes):
        def change(where):
            values = json.loads((where / "config.json").read_text())
            (where / "config.json").write_text(json.dumps(values | changes))

        return change

    def truncated(where):
        (where / "model.safetensors").write_bytes((where / "model.safetensors").read_bytes()[:-100])

    assert "model.safetensors" in copy("truncated", truncated)
    assert "does not fit the weights" in copy("wider", config(hidden_size=32))
    assert "model_type 't5'" in copy("other", config(model_type="t5"))
    assert "model_type ['bert']" in copy("listed", config(model_type=["bert"]))
    assert "the tokenizer has" in copy("small", config(vocab_size=7))
    far = {"added_tokens_decoder": {"9999": {"content": "[FAR]"}}}
    assert "has a token 9999" in copy("far", lambda path: (path / "tokenizer_config.json").write_text(json.dumps(far)))
    assert "vocab.txt" in copy("mute", lambda where: (where / "vocab.txt").unlink())
    assert "config.json" in copy("bare", lambda where: (where / "config.json").write_text("{"))


def test_bad_predictions(folder, tmp_path, capsys):
    run = folder / "run"
    assert "expected a TEXT" in complaint(capsys, "predict", run)
    assert "argument TEXT: the text is empty" in complaint(capsys, "predict", run, " \n")
    (tmp_path / "gap.txt").write_text("fine\n\n")
    assert "line 2: the text is empty" in complaint(capsys, "predict", run, "--file", tmp_path / "gap.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    assert "line 1: not UTF-8" in complaint(capsys, "predict", run, "--file", tmp_path / "latin.txt")
    assert "not a run folder" in complaint(capsys, "predict", tmp_path, "text")
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in run.iterdir():
        if path.is_file():
            (broken / path.name).write_bytes(path.read_bytes())
    (broken / "model.safetensors").write_bytes(weights(run)[:-1])
    assert "model.safetensors" in complaint(capsys, "predict", broken, "text")


def test_nobody_reads_what_is_printed(folder, monkeypatch, capsys):
    def printed_to(stream, text="great film"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            return main(["predict", str(folder / "run"), text])

    ascii_only = io.TextIOWrapper(io.BytesIO(), "ascii")
    assert printed_to(ascii_only, "great caf\xe9 \udcff") == 0 and ascii_only.buffer.getvalue().endswith(b"caf? ?\n")
    assert printed_to(None) == 0, "closed"
    if Path("/dev/full").exists():
        with open("/dev/full", "w") as full:
            assert printed_to(full) == 1
        assert capsys.readouterr().err == "minidl predict: No space left on device\n"
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as broken:
        assert printed_to(broken) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("damage", ["gone", "half", "empty", "[1]", "folder"])
def test_no_damaged_file_of_a_run_is_a_traceback(folder, tmp_path, capsys, damage):
    for path in [path for path in (folder / "run").rglob("*") if path.is_file()]:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(folder / "run", tmp_path / "run")
        hurt = tmp_path / "run" / path.relative_to(folder / "run")
        if damage in ("gone", "folder"):
            hurt.unlink()
        if damage == "folder":
            hurt.mkdir()
        elif damage != "gone":
            content = path.read_bytes()
            hurt.write_bytes({"half": content[: len(content) // 2], "empty": b""}.get(damage, damage.encode()))
        code = main(["predict", str(tmp_path / "run"), "great film"])
        out, err = capsys.readouterr()
        unused = path.name in ("checkpoint.safetensors", "history.json", "curve.png")
        assert code in ((0,) if unused else (0, 2)) and (out.count("\n"), err.count("\n")) in ((1, 0), (0, 1)), hurt
        assert code == 0 or str(hurt.parent) in err, err
