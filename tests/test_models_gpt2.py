"""GPT-2: beside one written in NumPy here, through files and back, and writing with and without a cache."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.io import load, save
from minidl.models import GPT2Config, GPT2LMHeadModel, GPT2Model
from minidl.models.generation import draw, probabilities
from minidl.nn import functional as F

SMALL = {"vocab_size": 30, "n_positions": 12, "n_embd": 8, "n_layer": 2, "n_head": 2}


def randomised(model, seed=0):
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.detach()[...] = minidl.tensor(rng.standard_normal(parameter.shape) * 0.4 + 0.1).to(parameter.dtype)
    return model.eval()


def by_hand(config, state, ids):
    """One text (T,) -> hidden states after the embeddings, each layer, and the last norm in place of the last layer."""
    E, H = config.n_embd, config.n_head
    d = E // H

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + config.layer_norm_epsilon)
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    def conv(x, name):
        return x @ state[f"{name}.weight"] + state[f"{name}.bias"]

    x = state["wte.weight"][ids] + state["wpe.weight"][: len(ids)]
    states = [x]
    for i in range(config.n_layer):
        q, k, v = np.split(conv(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn"), 3, axis=1)
        out = np.zeros_like(x)
        for h in range(H):
            part = slice(h * d, (h + 1) * d)
            for t in range(len(ids)):
                scale = math.sqrt(d) * (i + 1 if config.scale_attn_by_inverse_layer_idx else 1)
                e = np.exp(k[: t + 1, part] @ q[t, part] / scale)
                out[t, part] = e / e.sum() @ v[: t + 1, part]
        x = x + conv(out, f"h.{i}.attn.c_proj")
        inner = conv(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")
        inner = 0.5 * inner * (1 + np.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
        x = x + conv(inner, f"h.{i}.mlp.c_proj")
        states.append(x)
    states[-1] = norm(x, "ln_f")
    return states


@given(st.integers(1, 12), st.integers(0, 99), st.booleans())
def test_gpt2_is_its_figure(T, seed, inverse):
    config = GPT2Config(**SMALL, n_inner=None if inverse else 10, scale_attn_by_inverse_layer_idx=inverse)
    model = randomised(GPT2LMHeadModel(config).double(), seed)
    ids = np.random.default_rng(seed).integers(30, size=(2, T))
    state = {key: np.asarray(t) for key, t in model.transformer.state_dict().items()}
    expected = [by_hand(config, state, row) for row in ids]
    found = model.transformer(minidl.tensor(ids), output_hidden_states=True)
    for n in range(2):
        for ours, theirs in zip(found.hidden_states, expected[n], strict=True):
            np.testing.assert_allclose(ours[n].detach().numpy(), theirs, rtol=1e-9, atol=1e-9)
    logits = model(minidl.tensor(ids)).detach().numpy()
    np.testing.assert_allclose(logits[0], expected[0][-1] @ state["wte.weight"].T, rtol=1e-9, atol=1e-9)
    attentions = model.transformer(minidl.tensor(ids), output_attentions=True).attentions
    assert attentions[1].shape == (2, 2, T, T) and not np.triu(attentions[1][0, 0].detach().numpy(), 1).any()


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 9))
def test_words_one_by_one_or_many_at_a_time(steps, seed):
    model = randomised(GPT2Model(GPT2Config(**SMALL)).double(), seed)
    steps = steps if sum(steps) <= 12 else [1, 2]
    ids = minidl.tensor(np.random.default_rng(seed).integers(30, size=(2, sum(steps))))
    whole = model(ids).last_hidden_state.detach().numpy()
    caches, parts = model.new_caches(), []
    with minidl.no_grad():
        for part in ids.split(steps, 1):
            output = model(part, caches)
            caches = output.caches
            parts.append(output.last_hidden_state.numpy())
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=1e-9, atol=1e-9)
    assert [len(cache) for cache in caches] == [sum(steps)] * 2


@pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": 0.7, "top_k": 5}, {"top_p": 0.8}, {}])
def test_the_same_text_with_and_without_a_cache(options):
    model = randomised(GPT2LMHeadModel(GPT2Config(**SMALL)).double()).train()
    ids = minidl.tensor([[3, 4, 5], [6, 7, 8]])
    texts = [
        model.generate(ids, 9, use_cache=use_cache, generator=minidl.Generator().manual_seed(1), **options).tolist()
        for use_cache in (True, False, True)
    ]
    assert texts[0] == texts[1] == texts[2]
    assert np.shape(texts[0]) == (2, 12) and [row[:3] for row in texts[0]] == ids.tolist()
    assert model.training, "as it was"
    other = model.generate(ids, 9, generator=minidl.Generator().manual_seed(2), **options).tolist()
    assert (other == texts[0]) == (options.get("temperature") == 0)


def test_greedy_is_the_likeliest_word_each_time():
    model = randomised(GPT2LMHeadModel(GPT2Config(**SMALL)).double())
    ids = minidl.tensor([[1, 2]])
    for _ in range(6):
        best = model(ids)[:, -1].argmax(-1).tolist()
        longer = model.generate(ids, 1, temperature=0)
        assert longer.tolist() == [ids.tolist()[0] + best]
        ids = longer
    eos = ids.tolist()[0][3]
    ended = model.generate(minidl.tensor([[1, 2]]), 6, temperature=0, eos_token_id=eos).tolist()[0]
    assert ended == ids.tolist()[0][: len(ended)] and ended[-1] == eos and eos not in ended[2:-1]


def test_numbers_of_numpy_are_numbers():
    model, ids = GPT2LMHeadModel(GPT2Config(**SMALL)), minidl.tensor([[1]])
    for options in ({"temperature": np.float32(0.5)}, {"top_k": np.int64(3)}, {"top_p": np.float64(0.9)}):
        assert model.generate(ids, np.int64(2), **options).shape == (1, 3)
    with pytest.raises(ValueError, match="top_k must be a positive integer, but is True"):
        model.generate(ids, 2, top_k=True)


def test_small_integers_as_ids_leave_room_for_every_word():
    model = GPT2LMHeadModel(GPT2Config(**SMALL | {"vocab_size": 300}))
    model.transformer.wte.weight.detach()[:299] = 0.0  # the last word is the likeliest, or the first
    texts = [
        model.generate(minidl.tensor(np.array([[1]], dtype)), 5, temperature=0) for dtype in (np.int8, np.uint8, int)
    ]
    assert texts[0].tolist() == texts[1].tolist() == texts[2].tolist() and texts[0].dtype == minidl.int64


# Choosing words


def test_probabilities():
    logits = np.log(np.array([[0.5, 0.1, 0.15, 0.25]]))
    np.testing.assert_allclose(probabilities(logits), [[0.5, 0.1, 0.15, 0.25]])
    np.testing.assert_allclose(probabilities(logits, top_k=2), [[2 / 3, 0, 0, 1 / 3]])
    np.testing.assert_allclose(probabilities(logits, top_p=0.5), [[1, 0, 0, 0]])
    np.testing.assert_allclose(probabilities(logits, top_p=0.51), [[2 / 3, 0, 0, 1 / 3]])
    np.testing.assert_allclose(probabilities(logits, top_p=1e-9), [[1, 0, 0, 0]])
    squares = np.array([[0.25, 0.01, 0.0225, 0.0625]])
    np.testing.assert_allclose(probabilities(logits, temperature=0.5), squares / squares.sum())
    np.testing.assert_allclose(probabilities(logits * 1e6), [[1, 0, 0, 0]])
    np.testing.assert_allclose(probabilities(logits, top_k=99, top_p=1), [[0.5, 0.1, 0.15, 0.25]])


def test_words_are_drawn_as_often_as_they_are_likely():
    p = np.tile([0.0, 0.2, 0.0, 0.5, 0.3, 0.0], (20000, 1))
    counts = np.bincount(draw(p, np.random.default_rng(0)), minlength=6) / len(p)
    np.testing.assert_allclose(counts, p[0], atol=0.015)
    assert not counts[[0, 2, 5]].any()


# Files


@pytest.mark.parametrize("kind", [GPT2Model, GPT2LMHeadModel])
@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_through_a_folder_and_back(kind, prefix, tmp_path):
    model = randomised(kind(GPT2Config(**SMALL)))
    model.save_pretrained(tmp_path)
    state = {prefix + key.removeprefix("transformer."): t for key, t in load(tmp_path / "model.safetensors").items()}
    for i in range(2):  # masks that old files hold
        state[f"{prefix}h.{i}.attn.bias"] = minidl.ones(1, 1, 12, 12)
        state[f"{prefix}h.{i}.attn.masked_bias"] = minidl.tensor(-1e4)
    save(state, tmp_path / "model.safetensors")
    again, report = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not report and again.config == model.config
    ids = minidl.tensor([[1, 2, 3]])
    a, b = (m(ids) if kind is GPT2LMHeadModel else m(ids).last_hidden_state for m in (model, again))
    np.testing.assert_array_equal(a.detach(), b.detach())
    assert state[f"{prefix}h.0.mlp.c_fc.weight"].shape == (8, 32)


def test_what_does_not_fit(tmp_path):
    GPT2Model(GPT2Config(**SMALL)).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    said = json.loads(path.read_text())
    for changes, message in (
        ({"n_positions": 13}, r"wpe.weight: config says \(13, 8\), weights have \(12, 8\)"),
        ({"n_layer": 3}, "there is no h.2.mlp.c_fc.weight"),
        ({"n_head": 3}, "n_head=3 does not divide n_embd=8"),
        ({"n_inner": 0}, "n_inner must be a positive integer"),
        ({"activation_function": "x"}, "activation_function must be one of"),
        ({"add_cross_attention": True}, "add_cross_attention is not supported"),
    ):
        path.write_text(json.dumps(said | changes))
        with pytest.raises(ValueError, match=message):
            GPT2LMHeadModel.from_pretrained(tmp_path)
    path.write_text(json.dumps(said))
    state = load(tmp_path / "model.safetensors")
    state["h.0.attn.c_attn.weight"] = state["h.0.attn.c_attn.weight"].T  # as a Linear would have it
    save(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"c_attn.weight: expected \(8, 24\) float32, found \(24, 8\)"):
        GPT2Model.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 10}, "3 words and 10 new ones, but positions are for 1 to 12"),
        ({"max_new_tokens": -1}, "max_new_tokens must be an integer from 0 on"),
        ({"temperature": -0.1}, "temperature must be a number from 0 on"),
        ({"top_k": 0}, "top_k must be a positive integer"),
        ({"top_p": 0.0}, "top_p must be in 0 < top_p <= 1"),
        ({"ids": minidl.zeros(1, 0, dtype=minidl.int64)}, "0 words and 2 new ones"),
        ({"ids": minidl.tensor([1, 2])}, r"input_ids must be \(N, T\)"),
    ],
)
def test_generation_refuses(options, message):
    model = GPT2LMHeadModel(GPT2Config(**SMALL))
    with pytest.raises(ValueError, match=f"generate: {message}"):
        model.generate(**{"ids": minidl.tensor([[1, 2, 3]]), "max_new_tokens": 2} | options)


def test_inputs_that_do_not_fit():
    model = GPT2Model(GPT2Config(**SMALL))
    with pytest.raises(IndexError, match=r"GPT2Model: input_ids has 30, but must be in 0..29"):
        model(minidl.tensor([[30]]))
    with pytest.raises(ValueError, match="13 tokens a text, but there are only 12 positions"):
        model(minidl.zeros(1, 13, dtype=minidl.int64))
    caches = model(minidl.zeros(1, 7, dtype=minidl.int64), model.new_caches()).caches
    with pytest.raises(ValueError, match="13 words, but there are only 12 positions"):
        model(minidl.zeros(1, 6, dtype=minidl.int64), caches)
    with pytest.raises(ValueError, match="1 caches for 2 layers"):
        model(minidl.zeros(1, 1, dtype=minidl.int64), caches[:1])
    with pytest.raises(ValueError, match="0 caches for 2 layers"):
        model(minidl.zeros(1, 1, dtype=minidl.int64), ())
    with pytest.raises(ValueError, match=r"KeyValueCache: key .* do not continue"):
        model(minidl.zeros(2, 1, dtype=minidl.int64), caches)


def test_training_reaches_every_parameter():
    model = GPT2LMHeadModel(GPT2Config(**SMALL))
    ids = minidl.tensor(np.random.default_rng(0).integers(30, size=(2, 12)))
    F.cross_entropy(model(ids)[:, :-1].reshape(-1, 30), ids[:, 1:].reshape(-1)).backward()
    for name, parameter in model.named_parameters():
        assert np.abs(np.asarray(parameter.grad)).max() > 0, name
