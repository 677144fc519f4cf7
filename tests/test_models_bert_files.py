"""BERT and its kin through files and back: names of parameters, and what does not fit."""

import json
import os

import numpy as np
import pytest
from bert_samples import SMALL, outputs, randomised, rewrite

import minidl
from minidl import nn
from minidl.io import load, save
from minidl.models import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    DistilBertModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaModel,
)

MODELS = [
    (BertModel, BertConfig),
    (BertForSequenceClassification, BertConfig),
    (BertForMaskedLM, BertConfig),
    (RobertaModel, RobertaConfig),
    (RobertaForSequenceClassification, RobertaConfig),
    (RobertaForMaskedLM, RobertaConfig),
    (DistilBertModel, DistilBertConfig),
    (DistilBertForSequenceClassification, DistilBertConfig),
    (DistilBertForMaskedLM, DistilBertConfig),
]


@pytest.mark.parametrize(("kind", "config"), MODELS)
def test_through_a_folder_and_back(kind, config, tmp_path):
    model = randomised(kind(config(**SMALL, num_labels=3, pad_token_id=1)))
    ids = minidl.tensor(np.random.default_rng(0).integers(2, 40, size=(2, 6)))
    model.save_pretrained(tmp_path)
    again, report = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not report and "all keys matched" in str(report)
    assert not again.training and again.config == config.from_pretrained(tmp_path)
    np.testing.assert_array_equal(outputs(again, ids), outputs(model, ids))
    names = list(load(tmp_path / "model.safetensors"))
    assert len(names) == len({id(t) for t in model.state_dict(keep_vars=True).values()}), "tied ones are written once"
    said = json.loads((tmp_path / "config.json").read_text())
    assert said["architectures"] == [kind.__name__] and len(said["id2label"]) == 3
    if config is DistilBertConfig:
        assert "dim" in said and "hidden_size" not in said
        assert any("transformer.layer.1.attention.q_lin.weight" in name for name in names)
        assert any("transformer.layer.0.sa_layer_norm.bias" in name for name in names)
        assert any("transformer.layer.0.output_layer_norm.bias" in name for name in names)
        assert not any("self" in name or "encoder" in name for name in names)
    with np.errstate(all="raise"):  # nothing is made of what happens to lie in memory
        in_64 = kind.from_pretrained(tmp_path, dtype=minidl.float64)
    assert {p.dtype for p in in_64.parameters()} == {np.dtype("float64")}
    np.testing.assert_allclose(outputs(in_64, ids), outputs(model, ids), rtol=1e-4, atol=1e-5)


# Names


def renamed(state, rename):
    return {rename(key): value for key, value in state.items()}


@pytest.mark.parametrize("prefix", ["", "bert."])
@pytest.mark.parametrize("old", [False, True])
def test_prefixes_and_old_names(tmp_path, prefix, old):
    model = randomised(BertModel(BertConfig(**SMALL)))
    model.save_pretrained(tmp_path)

    def rename(key):
        if old and "LayerNorm" in key:
            key = key.replace("weight", "gamma").replace("bias", "beta")
        return prefix + key

    state = renamed(model.state_dict(), rename)
    state[f"{prefix}embeddings.position_ids"] = minidl.arange(10).reshape(1, 10)
    state["cls.predictions.bias"] = minidl.zeros(40)
    save(state, tmp_path / "model.safetensors")
    ids = minidl.tensor([[3, 4, 5]])
    again, report = BertModel.from_pretrained(tmp_path, output_loading_info=True, verbose=False)
    assert (report.missing_keys, report.unexpected_keys) == ([], ["cls.predictions.bias"])
    np.testing.assert_array_equal(outputs(again, ids), outputs(model, ids))
    headed, report = BertForSequenceClassification.from_pretrained(
        tmp_path, output_loading_info=True, verbose=False, num_labels=5
    )
    assert report.missing_keys == ["classifier.weight", "classifier.bias"]
    assert headed(ids).shape == (1, 5)
    np.testing.assert_array_equal(outputs(headed.bert, ids), outputs(model, ids))


def test_nothing_is_drawn_for_what_the_file_has(tmp_path):
    config = BertConfig(**SMALL, num_labels=4)
    BertModel(config).save_pretrained(tmp_path)
    generator = minidl.random.default_generator
    before = generator.get_state()
    BertModel.from_pretrained(tmp_path)
    assert generator.get_state() == before
    minidl.manual_seed(5)
    headed = BertForSequenceClassification.from_pretrained(tmp_path, verbose=False, num_labels=4)
    minidl.manual_seed(5)
    new = BertForSequenceClassification(config)  # whose classifier is what a new head is
    np.testing.assert_array_equal(headed.classifier.weight.detach(), new.classifier.weight.detach())
    assert not headed.classifier.bias.detach().numpy().any()
    assert not np.array_equal(nn.Linear(3, 3).weight.detach(), nn.Linear(3, 3).weight.detach())  # drawn again


def test_the_report_is_printed(tmp_path, capsys):
    BertModel(BertConfig(**SMALL), add_pooling_layer=False).save_pretrained(tmp_path)
    BertModel.from_pretrained(tmp_path)
    told = capsys.readouterr().err
    assert "these start at random: pooler.dense.weight, pooler.dense.bias" in told
    BertModel.from_pretrained(tmp_path, verbose=False)
    BertForMaskedLM(BertConfig(**SMALL)).save_pretrained(tmp_path)
    BertForMaskedLM.from_pretrained(tmp_path)
    assert not capsys.readouterr().err


def test_files_of_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    model = randomised(BertModel(BertConfig(**SMALL)))
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    state = {f"bert.{key}": torch.tensor(value.numpy()) for key, value in model.state_dict().items()}
    torch.save(state, tmp_path / "pytorch_model.bin")
    ids = minidl.tensor([[3, 4, 5]])
    np.testing.assert_array_equal(outputs(BertModel.from_pretrained(tmp_path), ids), outputs(model, ids))
    torch.save([1, 2], tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="expected arrays by name"):
        BertModel.from_pretrained(tmp_path)


# What does not fit


@pytest.fixture
def folder(tmp_path):
    BertModel(BertConfig(**SMALL)).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 41}, r"word_embeddings.weight: config says \(41, 12\), weights have \(40, 12\)"),
        ({"vocab_size": 10**13}, "config says"),
        ({"max_position_embeddings": 512}, r"position_embeddings.weight: config says \(512, 12\)"),
        ({"intermediate_size": 24}, r"intermediate.dense.weight: config says \(24, 12\), weights have \(20, 12\)"),
        ({"num_hidden_layers": 3}, "there is no encoder.layer.2.intermediate.dense.weight"),
        ({"num_hidden_layers": 1}, None),
        ({"hidden_size": 15}, r"config says \(40, 15\), weights have \(40, 12\)"),
        ({"type_vocab_size": 3}, r"token_type_embeddings.weight: expected \(3, 12\) float32, found \(2, 12\)"),
        ({"num_attention_heads": 5}, "config.json: num_attention_heads=5 does not divide hidden_size=12"),
        ({"hidden_act": "mish"}, "hidden_act must be one of gelu, .*, but is 'mish'"),
        ({"hidden_size": "12"}, "hidden_size must be a positive integer, but is '12'"),
        ({"hidden_dropout_prob": 2}, "hidden_dropout_prob must be a number"),
        ({"layer_norm_eps": -1}, "layer_norm_eps must be a number"),
        ({"model_type": "gpt2"}, "expected model_type bert, found 'gpt2'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key' is not supported"),
    ],
)
def test_configs_that_do_not_fit(folder, changes, message):
    rewrite(folder, **changes)
    if message is None:  # fewer layers than there are: said, not refused
        _, report = BertModel.from_pretrained(folder, output_loading_info=True, verbose=False)
        assert len(report.unexpected_keys) == 16 and not report.missing_keys
        return
    with pytest.raises(ValueError, match=message):
        BertModel.from_pretrained(folder)


def test_weights_that_do_not_fit(folder):
    state = load(folder / "model.safetensors")
    lost = {key: value for key, value in state.items() if "layer.0.attention.self.query" not in key}
    save(lost, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"do not fit BertModel:\s+not in the file: .*query.weight \(12, 12\)"):
        BertModel.from_pretrained(folder)
    save({"a": minidl.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"not the weights of a BertModel: there is no embeddings.word_embeddings"):
        BertModel.from_pretrained(folder)
    BertForSequenceClassification(BertConfig(**SMALL)).save_pretrained(folder)
    with pytest.raises(ValueError, match=r"classifier.weight: expected \(4, 12\) float32, found \(2, 12\)"):
        BertForSequenceClassification.from_pretrained(folder, num_labels=4)


def test_broken_files(folder):
    whole = (folder / "model.safetensors").read_bytes()
    for content in (whole[:-9], whole[:100], b"", whole[:8] + b"x" * 40):
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match=r"model.safetensors"):
            BertModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no model.safetensors and no pytorch_model.bin"):
        BertModel.from_pretrained(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="weights in several files"):
        BertModel.from_pretrained(folder)
    for text in ("{", "[1]", "\udcff"):
        (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(ValueError, match=r"config.json"):
            BertModel.from_pretrained(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config.json: there is no such file"):
        BertModel.from_pretrained(folder)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        BertModel.from_pretrained(folder / "nothing")


def test_a_model_that_cannot_be_saved_leaves_the_old_one(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(os, "replace", lambda *args: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        BertModel(BertConfig(**SMALL)).save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
