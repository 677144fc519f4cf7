"""BERT and its kin: beside a BERT written in NumPy here, through files and back, and what does not fit."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import models, nn
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
    SentenceEncoder,
    TextClassifier,
)
from minidl.models.sentences import pooled
from minidl.nn import functional as F
from minidl.text import BertTokenizer

SMALL = {
    "vocab_size": 40,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 10,
}


def randomised(model, seed=0):
    """Every parameter away from what it starts as, so that none can be left out unnoticed."""
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.detach()[...] = minidl.tensor(rng.standard_normal(parameter.shape) * 0.4 + 0.1).to(parameter.dtype)
    return model.eval()


# BERT in NumPy


def norm(x, state, name, eps):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def dense(x, state, name):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


GELU = {
    "gelu": np.vectorize(lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2)))),
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
}


def bert_by_hand(config, state, ids, tokens, types, positions):
    """Text by text, without padding at all: (hidden states of each text, pooled rows)."""
    eps, H, d = config.layer_norm_eps, config.num_attention_heads, config.hidden_size // config.num_attention_heads
    texts, firsts = [], []
    for n in range(len(ids)):
        here = tokens[n].astype(bool)
        x = state["embeddings.word_embeddings.weight"][ids[n, here]]
        x = x + state["embeddings.position_embeddings.weight"][positions[n, here]]
        if config.type_vocab_size:
            x = x + state["embeddings.token_type_embeddings.weight"][types[n, here]]
        x = norm(x, state, "embeddings.LayerNorm", eps)
        states = [x]
        for i in range(config.num_hidden_layers):
            layer = f"encoder.layer.{i}"
            q, k, v = (dense(x, state, f"{layer}.attention.self.{part}") for part in ("query", "key", "value"))
            heads = []
            for h in range(H):
                part = slice(h * d, (h + 1) * d)
                e = np.exp(q[:, part] @ k[:, part].T / math.sqrt(d))
                heads.append(e / e.sum(1, keepdims=True) @ v[:, part])
            attended = dense(np.concatenate(heads, 1), state, f"{layer}.attention.output.dense")
            x = norm(x + attended, state, f"{layer}.attention.output.LayerNorm", eps)
            inner = GELU[config.hidden_act](dense(x, state, f"{layer}.intermediate.dense"))
            x = norm(x + dense(inner, state, f"{layer}.output.dense"), state, f"{layer}.output.LayerNorm", eps)
            states.append(x)
        texts.append(np.stack(states))
        firsts.append(np.tanh(dense(x[0], state, "pooler.dense")) if "pooler.dense.bias" in state else x[0])
    return texts, np.stack(firsts)


@settings(max_examples=20)
@given(st.data())
def test_bert_is_its_figure(data):
    act = data.draw(st.sampled_from(sorted(GELU)))
    config = BertConfig(**SMALL, hidden_act=act, layer_norm_eps=data.draw(st.sampled_from([1e-12, 0.1])))
    model = randomised(BertModel(config).double(), data.draw(st.integers(0, 9)))
    N, T = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 10))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    ids, types = rng.integers(40, size=(N, T)), rng.integers(2, size=(N, T))
    tokens = (rng.random((N, T)) < 0.7).astype(np.int64)
    tokens[:, 0] = 1
    state = {key: np.asarray(t) for key, t in model.state_dict().items()}
    texts, firsts = bert_by_hand(config, state, ids, tokens, types, np.tile(np.arange(T), (N, 1)))
    found = model(minidl.tensor(ids), minidl.tensor(tokens), minidl.tensor(types), output_hidden_states=True)
    for n, states in enumerate(texts):
        for ours, theirs in zip(found.hidden_states, states, strict=True):
            np.testing.assert_allclose(ours[n].detach().numpy()[tokens[n] == 1], theirs, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.pooler_output.detach().numpy(), firsts, rtol=1e-9, atol=1e-9)
    skipping = model(
        minidl.tensor(ids), minidl.tensor(tokens), minidl.tensor(types), output_hidden_states=True, skip_padding=True
    )
    for ours, theirs in zip(skipping.hidden_states, found.hidden_states, strict=True):
        kept = theirs.detach().numpy() * tokens[..., None]
        np.testing.assert_allclose(ours.detach().numpy() * tokens[..., None], kept, rtol=1e-9, atol=1e-9)
    if not tokens.all():
        assert not skipping.last_hidden_state.detach().numpy()[tokens == 0].any()
    asked = model(minidl.tensor(ids), minidl.tensor(tokens), minidl.tensor(types), output_attentions=True)
    np.testing.assert_allclose(asked[0].detach().numpy(), found[0].detach().numpy(), rtol=1e-9, atol=1e-9)
    assert len(asked.attentions) == 2 and asked.attentions[0].shape == (N, 3, T, T)


@pytest.mark.parametrize("kind", ["roberta", "distilbert"])
def test_the_relatives_are_the_same_figure(kind):
    rng = np.random.default_rng(0)
    ids = rng.integers(2, 40, size=(2, 7))
    tokens = np.array([[1] * 7, [1] * 4 + [0] * 3])
    if kind == "roberta":
        model = RobertaModel(RobertaConfig(**SMALL, pad_token_id=1)).double()
        ids[tokens == 0] = 1
        positions = np.tile(np.arange(7) + 2, (2, 1))
    else:
        model = DistilBertModel(DistilBertConfig(**SMALL)).double()
        assert not [key for key in model.state_dict() if "token_type" in key or "pooler" in key]
        positions = np.tile(np.arange(7), (2, 1))
    randomised(model)
    state = {key: np.asarray(t) for key, t in model.state_dict().items()}
    texts, firsts = bert_by_hand(model.config, state, ids, tokens, ids * 0, positions)
    found = model(minidl.tensor(ids), minidl.tensor(tokens))
    for n in range(2):
        rows = found.last_hidden_state[n].detach().numpy()[tokens[n] == 1]
        np.testing.assert_allclose(rows, texts[n][-1], rtol=1e-9, atol=1e-9)
    assert found.pooler_output is None or np.allclose(found.pooler_output.detach(), firsts)


def test_base_has_as_many_parameters_as_the_paper_says():
    """110 million, and 22.7 million for MiniLM: counted from shapes."""
    config = BertConfig()
    D, I = config.hidden_size, config.intermediate_size
    layer = 4 * (D * D + D) + 2 * D * I + D + I + 4 * D
    total = (30522 + 512 + 2) * D + 2 * D + 12 * layer + D * D + D
    assert total == 109_482_240
    small = BertModel(BertConfig(**SMALL))
    D, I = 12, 20
    layer = 4 * (D * D + D) + 2 * D * I + D + I + 4 * D
    assert sum(p.numel() for p in small.parameters()) == (40 + 10 + 2) * D + 2 * D + 2 * layer + D * D + D


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


def outputs(model, ids):
    y = model(ids)
    return (y if isinstance(y, minidl.Tensor) else y.last_hidden_state).detach().numpy()


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


def test_masked_words_are_scored_with_the_table_itself():
    model = BertForMaskedLM(BertConfig(**SMALL))
    predictions = model.cls["predictions"]
    assert predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert predictions.decoder.bias is predictions.bias
    assert len(list(model.parameters())) == len(model.state_dict()) - 2
    logits = model(minidl.tensor([[1, 2, 3]]))
    F.cross_entropy(logits[0], minidl.tensor([4, 5, 6])).backward()
    assert all(np.abs(np.asarray(p.grad)).max() > 0 for p in [predictions.bias, predictions.decoder.weight])


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


def rewrite(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


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


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"input_ids": [[1, 40]]}, IndexError, r"input_ids has 40, but must be in 0..39 \(vocab_size=40\)"),
        ({"input_ids": [[1, -1]]}, IndexError, "input_ids has -1"),
        ({"input_ids": minidl.zeros(2, 0, dtype=minidl.int64)}, ValueError, "nothing to pool in texts without tokens"),
        ({"input_ids": [[1] * 11]}, ValueError, "11 tokens a text, but there are only 10 positions"),
        ({"input_ids": [1, 2]}, ValueError, r"input_ids must be \(N, T\), not \(2,\)"),
        ({"input_ids": [[1.0, 2.0]]}, TypeError, "input_ids must be integers, not float32"),
        ({"input_ids": [[1, 2]], "token_type_ids": [[0, 2]]}, IndexError, "token_type_ids has 2, but must be in 0..1"),
        ({"input_ids": [[1, 2]], "token_type_ids": [[0]]}, ValueError, r"token_type_ids must have shape \(1, 2\)"),
        ({"input_ids": [[1, 2]], "position_ids": [9, 10]}, IndexError, "position_ids has 10, but must be in 0..9"),
        (
            {"input_ids": [[1, 2]], "attention_mask": [[1, 1, 1]]},
            ValueError,
            r"attention_mask must have shape \(1, 2\)",
        ),
    ],
)
def test_inputs_that_do_not_fit(call, error, message):
    model = BertModel(BertConfig(**SMALL))
    with pytest.raises(error, match=f"BertModel: {message}"):
        model(**{name: minidl.tensor(value) for name, value in call.items()})


def test_positions_of_roberta():
    model = RobertaModel(RobertaConfig(**SMALL, pad_token_id=1))
    model(minidl.tensor([[3] * 8]))
    with pytest.raises(ValueError, match="9 tokens a text, but there are only 8 positions"):
        model(minidl.tensor([[3] * 9]))
    assert model.embeddings.positions(minidl.tensor([[1, 5, 1, 6, 1]])).tolist() == [[1, 2, 1, 3, 1]]
    with pytest.raises(TypeError, match="BertModel: expects a BertConfig, not a GPT2Config"):
        BertModel(models.GPT2Config())


def test_fine_tuning_reaches_every_parameter():
    model = BertForSequenceClassification(BertConfig(**SMALL)).train()
    ids = minidl.tensor(np.random.default_rng(0).integers(1, 40, size=(6, 10)))
    types = minidl.arange(10).expand(6, 10) % 2
    F.cross_entropy(model(ids, token_type_ids=types), minidl.arange(6) % 2).backward()
    for name, parameter in model.named_parameters():
        assert np.abs(np.asarray(parameter.grad)).max() > 0, name
    assert not np.allclose(model(ids).detach(), model(ids).detach()), "there is dropout"


def test_gradients_with_and_without_padding():
    model = randomised(BertModel(BertConfig(**SMALL)).double())
    ids, tokens = minidl.tensor([[3, 4, 5, 0], [6, 7, 8, 9]]), minidl.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    g = minidl.randn(2, 4, 12, dtype=minidl.float64) * tokens.to(minidl.float64).unsqueeze(-1)
    found = []
    for skip_padding in (True, False):
        model.zero_grad()
        output = model(ids, tokens, skip_padding=skip_padding)
        minidl.autograd.backward([output[0], output[1]], [g, g[:, 0]])
        found.append([np.asarray(p.grad) for p in model.parameters()])
    for skipping, whole in zip(*found, strict=True):
        np.testing.assert_allclose(skipping, whole, rtol=1e-9, atol=1e-12)


# Sentences


def test_pooling():
    rows, mask = minidl.randn(3, 4, 5), minidl.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    x = rows.numpy()
    np.testing.assert_allclose(pooled(rows, mask).numpy()[:2], [x[0, :2].mean(0), x[1].mean(0)], rtol=1e-5)
    np.testing.assert_array_equal(pooled(rows, mask, "max").numpy()[:2], [x[0, :2].max(0), x[1].max(0)])
    np.testing.assert_array_equal(pooled(rows, mask, "cls").numpy(), x[:, 0])
    assert not pooled(rows, mask).numpy()[2].any() and not pooled(rows, mask, "max").numpy()[2].any()
    with pytest.raises(ValueError, match="pooling must be one of mean, cls, max"):
        pooled(rows, mask, "sum")


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "man", "is", "eating", "pasta", "##s", ".", "horse"]


def test_sentences_do_not_depend_on_their_batch(folder):
    BertModel(BertConfig(**{**SMALL, "vocab_size": len(WORDS)})).save_pretrained(folder)
    BertTokenizer(WORDS).save_pretrained(folder)
    encoder = SentenceEncoder.from_pretrained(folder)
    texts = ["a man is eating pasta.", "", "horse horses", "is " * 30, "a man", "x"]
    together = encoder.encode(texts, batch_size=4)
    np.testing.assert_allclose(together, [encoder.encode(text) for text in texts], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose((together**2).sum(1), 1, rtol=1e-5)
    assert encoder.encode([]).shape == (0, 12)
    ids, mask = minidl.tensor([[2, 5, 6, 3]]), minidl.ones(1, 4, dtype=minidl.int64)
    np.testing.assert_allclose(encoder(ids, mask)[0].detach().numpy(), encoder.encode("a man"), rtol=1e-5)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "modules.json").write_text("[]")
    plain = SentenceEncoder.from_pretrained(folder)
    assert plain.pooling == "cls" and not plain.normalize
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_weightedmean_tokens": true}')
    with pytest.raises(ValueError, match=r"1_Pooling.config.json: expected one of mean, cls, max"):
        SentenceEncoder.from_pretrained(folder)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "modules.json").write_text("[1, null]")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": "many"}')
    with pytest.raises(ValueError, match="max_seq_length must be an integer, but is 'many'"):
        SentenceEncoder.from_pretrained(folder)
    with pytest.raises(ValueError, match="batch_size must be at least 1, but is 0"):
        encoder.encode(texts, 0)
    for kind in ("t5", ["bert"]):
        rewrite(folder, model_type=kind)
        with pytest.raises(ValueError, match=r"model_type must be one of bert, .*, but is "):
            SentenceEncoder.from_pretrained(folder)


@pytest.mark.skipif("MINIDL_TEST_WEIGHTS" not in os.environ, reason="MINIDL_TEST_WEIGHTS names no folder of MiniLM")
def test_real_weights():
    """all-MiniLM-L6-v2: the cosines that the documentation of Sentence-Transformers prints."""
    encoder = SentenceEncoder.from_pretrained(Path(os.environ["MINIDL_TEST_WEIGHTS"]))
    query, *others = encoder.encode(
        [
            "A man is eating pasta.",
            "A man is eating food.",
            "A man is eating a piece of bread.",
            "A man is riding a horse.",
            "A man is riding a white horse on an enclosed ground.",
            "A cheetah is running behind its prey.",
        ]
    )
    np.testing.assert_allclose(others @ query, [0.7035, 0.5272, 0.1889, 0.1047, 0.0980], atol=6e-5)


def test_a_classifier_checks_its_numbers():
    encoder = BertModel(BertConfig(**SMALL))
    with pytest.raises(ValueError, match="TextClassifier: num_classes must be at least 1, but is 0"):
        TextClassifier(encoder, 0)
    with pytest.raises(TypeError, match="TextClassifier: lengths must be integers, not float32"):
        TextClassifier(encoder, 2)(minidl.tensor([[1, 2]]), minidl.tensor([1.5]))
