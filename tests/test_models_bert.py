"""BERT and its kin: beside a BERT written in NumPy here, what goes in, and what gradients reach."""

import math

import numpy as np
import pytest
from bert_samples import SMALL, randomised
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import models
from minidl.models import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaModel,
)
from minidl.nn import functional as F

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


def test_masked_words_are_scored_with_the_table_itself():
    model = BertForMaskedLM(BertConfig(**SMALL))
    predictions = model.cls["predictions"]
    assert predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert predictions.decoder.bias is predictions.bias
    assert len(list(model.parameters())) == len(model.state_dict()) - 2
    logits = model(minidl.tensor([[1, 2, 3]]))
    F.cross_entropy(logits[0], minidl.tensor([4, 5, 6])).backward()
    assert all(np.abs(np.asarray(p.grad)).max() > 0 for p in [predictions.bias, predictions.decoder.weight])


def test_positions_of_roberta():
    model = RobertaModel(RobertaConfig(**SMALL, pad_token_id=1))
    model(minidl.tensor([[3] * 8]))
    with pytest.raises(ValueError, match="9 tokens a text, but there are only 8 positions"):
        model(minidl.tensor([[3] * 9]))
    assert model.embeddings.positions(minidl.tensor([[1, 5, 1, 6, 1]])).tolist() == [[1, 2, 1, 3, 1]]
    with pytest.raises(TypeError, match="BertModel: expects a BertConfig, not a GPT2Config"):
        BertModel(models.GPT2Config())


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
