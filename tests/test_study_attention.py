"""Attention maps, nearest words, layers beside stored ones, pictures."""

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.io import save
from minidl.models import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel
from minidl.study import attention_maps, heat_map, nearest, parity
from minidl.text import BertTokenizer

CONFIG = BertConfig(30, 12, 2, 3, 20, max_position_embeddings=10)
IDS = minidl.tensor([[2, 7, 9, 3], [2, 8, 3, 0]])
MASK = minidl.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


def test_maps_are_what_the_model_computed():
    model = BertModel(CONFIG).train()
    maps = attention_maps(model, IDS, attention_mask=MASK)
    expected = model.eval()(IDS, MASK, output_attentions=True).attentions
    assert list(maps) == ["encoder.layer.0.attention.self", "encoder.layer.1.attention.self"]
    for found, weights in zip(maps.values(), expected, strict=True):
        np.testing.assert_allclose(found, weights.detach(), rtol=1e-5, atol=1e-6)
        assert not found[1, :, :, 3].any()
    assert not model._forward_hooks and not any(m._forward_pre_hooks for m in model.modules())


def test_maps_of_every_kind_of_model():
    gpt = attention_maps(GPT2LMHeadModel(GPT2Config(30, 8, 8, 2, 2)).train(), minidl.tensor([[1, 2, 3]]))
    assert [w.shape for w in gpt.values()] == [(1, 2, 3, 3)] * 2
    model = nn.Transformer(8, 2, 1, 1, 8, batch_first=True)
    maps = attention_maps(model, minidl.randn(2, 5, 8), minidl.randn(2, 4, 8), tgt_is_causal=True)
    assert {path: w.shape for path, w in maps.items()} == {
        "encoder.layers.0.self_attn": (2, 2, 5, 5),
        "decoder.layers.0.self_attn": (2, 2, 4, 4),
        "decoder.layers.0.multihead_attn": (2, 2, 4, 5),
    }
    assert not np.triu(maps["decoder.layers.0.self_attn"][0, 0], 1).any()
    for weights in maps.values():
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    assert model.training
    with pytest.raises(ValueError, match="attention_maps: Linear has no module with need_weights"):
        attention_maps(nn.Linear(2, 2), minidl.zeros(1, 2))


def test_an_error_in_the_model_leaves_no_hooks():
    model = BertModel(CONFIG)
    with pytest.raises(IndexError):
        attention_maps(model, minidl.tensor([[99]]))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()) and model.training


def test_a_long_text_makes_no_endless_picture(tmp_path):
    pytest.importorskip("matplotlib")
    heat_map(np.eye(600), tmp_path / "long.png")
    header = (tmp_path / "long.png").read_bytes()[16:24]  # width and height, of four bytes each
    assert max(int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")) < 4000


def test_heat_map(tmp_path):
    pytest.importorskip("matplotlib")
    words = ["[CLS]", "it's", "$5", "[SEP]"]
    heat_map(np.random.default_rng(0).random((1, 5, 4, 4)), tmp_path / "heads.png", words, title="layer 0")
    heat_map(np.eye(3, 4), tmp_path / "one.png", ["a", "b", "c"], words)
    for name in ("heads.png", "one.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    for weights, rows, message in (
        (np.zeros((2, 3, 4, 4)), None, "of one text"),
        (np.zeros(3), None, "of one text"),
        (np.zeros((4, 4)), ["a"], "1 rows for weights"),
        (np.zeros((0, 4, 4)), None, "of one text"),
    ):
        with pytest.raises(ValueError, match=message):
            heat_map(weights, tmp_path / "bad.png", rows)
    assert not (tmp_path / "bad.png").exists()


def test_nearest_words():
    tokenizer = BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "cat", "dog", "car"])
    table = np.array([[0, 0], [0, -1], [-1, 0], [-1, -1], [1, 0], [2, 0.1], [0, 1]])
    for embedding in (table, minidl.tensor(table), nn.Embedding.from_pretrained(minidl.tensor(table))):
        found = nearest(embedding, tokenizer, "cat", 2)
        assert [word for word, _ in found] == ["dog", "[PAD]"]
        assert found[0][1] == pytest.approx(2 / np.hypot(2, 0.1)) and found[1][1] == 0
    assert len(nearest(table, tokenizer, "dog", 99)) == 6
    for word, k, message in (("horse", 1, "'horse' is not a token"), ("cat", 0, "k must be at least 1")):
        with pytest.raises(ValueError, match=message):
            nearest(table, tokenizer, word, k)
    with pytest.raises(ValueError, match="only 3 rows"):
        nearest(table[:3], tokenizer, "cat")


def test_parity_finds_the_layer_that_differs(tmp_path, capsys):
    model = BertModel(CONFIG).eval()
    with minidl.no_grad():
        states = model(IDS, MASK, output_hidden_states=True).hidden_states
    stored = {"embeddings": states[0], "encoder.layer.0": states[1], "encoder.layer.1": states[2]}
    rows = parity(model, (IDS, MASK), stored)
    assert [row.name for row in rows] == list(stored) and not any(row.difference for row in rows)
    assert "encoder.layer.1" in capsys.readouterr().out
    weight = model.encoder.layer[1].output.dense.weight.detach()
    weight[0, 0] = weight[0, 0] + 0.5
    save({key: value.contiguous() for key, value in stored.items()}, tmp_path / "stored.npz")
    rows = parity(model, {"input_ids": IDS, "attention_mask": MASK}, tmp_path / "stored.npz", verbose=False)
    assert [row.difference > 1e-3 for row in rows] == [False, False, True]
    assert not capsys.readouterr().out
    wrong = {"embeddings": np.zeros((2, 3)), "": np.full(states[2].shape, np.nan)}
    assert [row.difference for row in parity(model, (IDS,), wrong, False)] == [np.inf, np.inf]
    for names, message in ((["nothing"], "has no module 'nothing'"), (["encoder.layer"], "were not called")):
        with pytest.raises(KeyError, match=message):
            parity(model, IDS, dict.fromkeys(names, 0.0))
    assert not model._forward_hooks
