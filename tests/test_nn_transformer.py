"""Attention, encoder and decoder, embedding, positions, the cache: beside NumPy, and beside themselves."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import nn
from minidl.nn import functional as F
from minidl.nn.attention import attention_weights
from minidl.nn.transformer import says_causal


def randn(*shape, **options):
    return minidl.randn(*shape, dtype=minidl.float64, **options)


def same(a, b, **options):
    np.testing.assert_allclose(
        np.asarray(a.detach() if isinstance(a, minidl.Tensor) else a),
        np.asarray(b.detach() if isinstance(b, minidl.Tensor) else b),
        **{"rtol": 1e-9, "atol": 1e-11, **options},
    )


# MultiheadAttention


def by_hand(layer, query, key, value, allowed):
    """Head by head, query by query, in NumPy: arrays (N, L, E) and allowed (N, H, L, S) -> output, weights."""
    E, H = layer.embed_dim, layer.num_heads
    d = E // H
    state = {name: np.asarray(t) for name, t in layer.state_dict().items()}
    projected = []
    for i, x in enumerate((query, key, value)):
        rows = slice(i * E, (i + 1) * E)
        projected.append(x @ state["in_proj_weight"][rows].T + state["in_proj_bias"][rows])
    q, k, v = projected
    N, L, S = len(q), q.shape[1], k.shape[1]
    weights, heads = np.zeros((N, H, L, S)), np.zeros((N, L, E))
    for n in range(N):
        for h in range(H):
            part = slice(h * d, (h + 1) * d)
            for i in range(L):
                open_keys = np.flatnonzero(allowed[n, h, i])
                if len(open_keys):
                    e = np.exp(k[n, open_keys][:, part] @ q[n, i, part] / math.sqrt(d))
                    weights[n, h, i, open_keys] = e / e.sum()
                heads[n, i, part] = weights[n, h, i] @ v[n][:, part]
    return heads @ state["out_proj.weight"].T + state["out_proj.bias"], weights


@given(st.data())
def test_attention_is_its_formula(data):
    N, L, S = (data.draw(st.integers(1, 4)) for _ in range(3))
    H, d = data.draw(st.sampled_from([(1, 3), (2, 2), (3, 1)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    layer = nn.MultiheadAttention(H * d, H, batch_first=True, dtype=minidl.float64)
    nn.init.normal_(layer.in_proj_bias)
    query, key, value = (rng.standard_normal((N, n, H * d)) for n in (L, S, S))
    forbidden, padding = rng.random((N * H, L, S)) < 0.3, rng.random((N, S)) < 0.3
    expected, weights = by_hand(
        layer, query, key, value, ~(forbidden.reshape(N, H, L, S) | padding.reshape(N, 1, 1, S))
    )
    tensors = [minidl.tensor(x) for x in (query, key, value)]
    options = {"key_padding_mask": minidl.tensor(padding), "attn_mask": minidl.tensor(forbidden)}
    output, found = layer(*tensors, average_attn_weights=False, **options)
    same(output, expected)
    same(found, weights)
    same(layer(*tensors, **options)[1], weights.mean(1))
    fused, none = layer(*tensors, need_weights=False, **options)
    assert none is None
    same(fused, expected)


def test_a_query_without_keys_gets_nothing_and_its_gradient_is_finite():
    layer = nn.MultiheadAttention(4, 2, batch_first=True, dtype=minidl.float64)
    padding = minidl.tensor([[False, True, False], [True, True, True]])
    added = minidl.zeros(2, 3, dtype=minidl.float64).masked_fill(padding, -math.inf)
    for mask in (padding, added):
        for need_weights in (True, False):
            x = randn(2, 3, 4, requires_grad=True)
            output, weights = layer(x, x, x, mask, need_weights)
            same(output[1], layer.out_proj.bias.expand(3, 4))
            if need_weights:
                assert not np.asarray(weights[1].detach()).any()
            output.backward(randn(2, 3, 4))
            assert np.isfinite(np.asarray(x.grad)).all() and not np.asarray(x.grad[1]).any()
            layer.zero_grad()


def test_causal_with_and_without_its_mask():
    layer = nn.MultiheadAttention(6, 3, batch_first=True, dtype=minidl.float64)
    x, mask = randn(2, 5, 6), nn.Transformer.generate_square_subsequent_mask(5, minidl.float64)
    padding = minidl.tensor(np.array([[False] * 4 + [True], [False] * 5]))
    for need_weights in (True, False):
        for extra in ({}, {"key_padding_mask": padding}):
            expected = layer(x, x, x, attn_mask=mask, **extra)[0]
            same(layer(x, x, x, need_weights=need_weights, is_causal=True, **extra)[0], expected)
            same(layer(x, x, x, need_weights=need_weights, is_causal=True, attn_mask=mask, **extra)[0], expected)
    first = layer(x[:, :2], x[:, :2], x[:, :2], is_causal=True)[0]
    same(layer(x, x, x, is_causal=True)[0][:, :2], first)  # what comes later changes nothing


def test_rows_that_are_appended_may_always_be_attended_to():
    layer = nn.MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True, batch_first=True, dtype=minidl.float64)
    x = randn(2, 3, 4)
    output, weights = layer(x, x, x, minidl.ones(2, 3, dtype=minidl.bool), is_causal=True)
    assert weights.shape == (2, 3, 5)
    assert not np.asarray(weights.detach())[..., :3].any()
    same(weights.sum(-1), np.ones((2, 3)))
    same(layer(x, x, x, is_causal=True, need_weights=False)[0], layer(x, x, x, is_causal=True)[0])


def test_attention_learns_through_every_parameter():
    layer = nn.MultiheadAttention(4, 2, 0.0, True, True, True, kdim=3, vdim=5, dtype=minidl.float64)
    assert layer.in_proj_weight is None
    layer(randn(6, 2, 4), randn(7, 2, 3), randn(7, 2, 5))[0].backward(randn(6, 2, 4))
    for name, parameter in layer.named_parameters():
        assert np.abs(np.asarray(parameter.grad)).max() > 0, name


def test_dropout_of_weights_only_in_training():
    layer = nn.MultiheadAttention(4, 2, dropout=0.5)
    x = minidl.randn(20, 2, 4)
    weights = layer(x, x, x, average_attn_weights=False)[1]
    assert 0.4 < float((weights == 0).float().mean()) < 0.6
    a, b = (layer(x, x, x, need_weights=False)[0] for _ in range(2))
    assert not np.allclose(a.detach(), b.detach())
    layer.eval()
    same(layer(x, x, x, need_weights=False)[0], layer(x, x, x)[0], rtol=1e-4, atol=1e-5)


def test_weights_match_the_fused_operation():
    q, k, v = randn(2, 3, 4, 5), randn(2, 3, 6, 5), randn(2, 3, 6, 2)
    for mask in (None, minidl.rand(2, 1, 4, 6) < 0.5, randn(4, 6)):
        same(attention_weights(q, k, mask) @ v, F.scaled_dot_product_attention(q, k, v, mask))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (((5, 2, 4),) * 2 + ((5, 4),), {}, "must all have 3 dimensions"),
        (((5, 2, 3),) * 3, {}, "expects widths 4, 4 and 4"),
        (((5, 2, 4), (6, 2, 4), (5, 2, 4)), {}, "key and value differ in length or batch"),
        (((5, 2, 4), (6, 3, 4), (6, 3, 4)), {}, "query and key differ in their batch"),
        (((5, 2, 4),) * 3, {"key_padding_mask": (5, 2)}, r"key_padding_mask must have shape \(2, 5\), not \(5, 2\)"),
        (((5, 4),) * 3, {"key_padding_mask": (1, 5)}, r"key_padding_mask must have shape \(5,\)"),
        (((5, 2, 4),) * 3, {"attn_mask": (2, 5, 5)}, r"attn_mask must have shape \(5, 5\) or \(4, 5, 5\), not \(2,"),
    ],
)
def test_inputs_that_do_not_fit(arguments, options, message):
    layer = nn.MultiheadAttention(4, 2)
    with pytest.raises(ValueError, match=f"MultiheadAttention: .*{message}"):
        layer(*(minidl.zeros(shape) for shape in arguments), **{k: minidl.zeros(s) for k, s in options.items()})


def test_layers_that_cannot_be():
    with pytest.raises(ValueError, match="MultiheadAttention: num_heads=3 does not divide embed_dim=4"):
        nn.MultiheadAttention(4, 3)
    with pytest.raises(ValueError, match="activation must be 'relu', 'gelu' or a function, not 'tanh'"):
        nn.TransformerEncoderLayer(4, 2, activation="tanh")
    with pytest.raises(TypeError, match="TransformerEncoder: expects a layer to copy, not a type"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer, 2)
    with pytest.raises(TypeError, match="Transformer: src must be a Tensor, not ndarray"):
        nn.Transformer(4, 2, 1, 1, 8)(np.zeros((2, 1, 4)), np.zeros((2, 1, 4)))
    with pytest.raises(ValueError, match=r"Transformer: .* must be 4 wide"):
        nn.Transformer(4, 2, 1, 1, 8)(minidl.tensor(1.0), minidl.tensor(1.0))
    with pytest.raises(TypeError, match="attn_mask must be boolean or float32 as query, not int64"):
        nn.MultiheadAttention(4, 2)(*[minidl.zeros(3, 4)] * 3, attn_mask=minidl.zeros(3, 3, dtype=minidl.int64))
    for source, target, message in (((4, 2, 8), (4, 3, 8), "differ in their batch"), ((4, 8), (4, 7), "8 wide")):
        with pytest.raises(ValueError, match=f"Transformer: .*{message}"):
            nn.Transformer(8, 2, 1, 1, 8)(minidl.zeros(source), minidl.zeros(target))


# Encoder and decoder


def test_a_sequence_does_not_see_its_padding_nor_its_neighbours():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.3, batch_first=True, dtype=minidl.float64)
    model = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8, dtype=minidl.float64)).eval()
    x, lengths = randn(3, 6, 8), [4, 6, 1]
    padding = minidl.tensor(np.arange(6) >= np.array(lengths)[:, None])
    y = model(x, src_key_padding_mask=padding)
    for n, length in enumerate(lengths):
        same(y[n, :length], model(x[n, :length]))


def test_order_does_not_matter_without_positions():
    model = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=True, dtype=minidl.float64)
    x, order = randn(2, 5, 8), [3, 0, 4, 1, 2]
    same(model(x)[:, order], model(x[:, order]))


def test_copies_are_independent_and_start_alike():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2)
    a, b = (layer.linear1.weight for layer in model.layers)
    same(a, b)
    nn.init.zeros_(a)
    assert np.asarray(b.detach()).any()


def test_custom_stacks_and_causal_hints():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8, 0.0, dtype=minidl.float64), 1)
    model = nn.Transformer(8, 2, 1, 2, 8, 0.0, custom_encoder=encoder, dtype=minidl.float64)
    assert model.encoder is encoder
    source, target = randn(5, 3, 8), randn(4, 3, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(4, minidl.float64)
    expected = model(source, target, tgt_mask=mask)
    same(model(source, target, tgt_is_causal=True), expected)
    same(model(source, target, tgt_mask=mask, tgt_is_causal=False), expected)
    same(model(source, target, tgt_mask=mask == -math.inf), expected)
    assert not np.allclose(model(source, target).detach(), expected.detach())
    almost = minidl.tensor(np.where(np.tri(4, dtype=bool), 0.5, -math.inf))  # adds the same to every score
    same(model(source, target, tgt_mask=almost), expected)


# Embedding


def test_embedding_is_a_table():
    layer = nn.Embedding(6, 3, padding_idx=-1, dtype=minidl.float64)
    assert layer.padding_idx == 5 and not np.asarray(layer.weight.detach()[5]).any()
    x = minidl.tensor([[1, 5, 1], [0, 2, 5]])
    same(layer(x), np.asarray(layer.weight.detach())[np.asarray(x)])
    layer(x).backward(minidl.ones(2, 3, 3, dtype=minidl.float64))
    same(layer.weight.grad[:, 0], [1, 2, 1, 0, 0, 0])
    frozen = nn.Embedding.from_pretrained(layer.weight.detach())
    assert not frozen.weight.requires_grad and np.shares_memory(frozen.weight._array, layer.weight._array)
    assert nn.Embedding.from_pretrained(layer.weight.detach(), freeze=False).weight.requires_grad
    long = nn.Embedding.from_pretrained(minidl.tensor([[3.0, 4.0], [0.3, 0.4]]), max_norm=1.0)
    same(long(minidl.tensor([0, 1])), [[0.6, 0.8], [0.3, 0.4]], rtol=1e-5)


def test_embedding_refuses():
    for bad in (6, -1):
        with pytest.raises(IndexError):
            nn.Embedding(6, 3)(minidl.tensor([0, bad]))
    with pytest.raises(ValueError, match="padding_idx must be one of 6 rows, but is 6"):
        nn.Embedding(6, 3, 6)
    with pytest.raises(ValueError, match="sparse gradients"):
        nn.Embedding(6, 3, sparse=True)
    with pytest.raises(ValueError, match=r"embeddings must be \(V, D\), not \(3,\)"):
        nn.Embedding.from_pretrained(minidl.zeros(3))


# Positions


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 300))
def test_sinusoidal_positions(T, D, offset):
    y = np.asarray(nn.SinusoidalPositions(D)(minidl.zeros(2, T, D, dtype=minidl.float64), offset))
    for t in range(T):
        for i in range(D):
            angle = (offset + t) / 10000 ** (2 * (i // 2) / D)
            assert y[1, t, i] == pytest.approx(math.cos(angle) if i % 2 else math.sin(angle), abs=1e-12)


@given(st.integers(1, 5), st.integers(0, 50), st.booleans(), st.integers(0, 20))
def test_rotary_positions_depend_on_distances_alone(pairs, offset, interleaved, shift):
    rotary = nn.RotaryPositions(2 * pairs, interleaved=interleaved)
    q, k = randn(3, 4, 2 * pairs), randn(3, 6, 2 * pairs)
    scores = rotary(q, offset) @ rotary(k).mT
    same(rotary(q, offset + shift) @ rotary(k, shift).mT, scores, rtol=1e-7, atol=1e-9)
    same((rotary(q, offset) ** 2).sum(-1), (q**2).sum(-1))  # a rotation keeps lengths
    same(rotary(q)[:, 0], q[:, 0])


def test_the_two_pairings_of_rotary_positions():
    x, theta = randn(1, 5, 4), np.arange(5)[:, None] * np.array([1, 0.01])
    a, b = np.asarray(x)[0, :, 0::2], np.asarray(x)[0, :, 1::2]
    turned = np.stack([a * np.cos(theta) - b * np.sin(theta), a * np.sin(theta) + b * np.cos(theta)], -1)
    same(nn.RotaryPositions(4)(x)[0], turned.reshape(5, 4))
    halves = x[..., [0, 2, 1, 3]]
    same(nn.RotaryPositions(4, interleaved=False)(halves)[..., [0, 2, 1, 3]], nn.RotaryPositions(4)(x))


def test_positions_that_are_learnt_and_positions_that_do_not_exist():
    layer = nn.LearnedPositions(5, 3)
    same(layer(minidl.zeros(2, 2, 3), offset=3)[0], layer.weight[3:])
    with pytest.raises(ValueError, match="LearnedPositions: x has rows up to position 6, but there are only 5"):
        layer(minidl.zeros(2, 3), offset=4)
    for module in (layer, nn.SinusoidalPositions(3), nn.RotaryPositions(4)):
        with pytest.raises(ValueError, match=f"{type(module).__name__}: offset must not be negative"):
            module(minidl.zeros(2, 4 if isinstance(module, nn.RotaryPositions) else 3), -1)
        with pytest.raises(
            ValueError, match=rf"{type(module).__name__}: expects x \(\.\.\., T, ., not \(2, 5\)|expects"
        ):
            module(minidl.zeros(2, 5))
    with pytest.raises(ValueError, match="dim must be even"):
        nn.RotaryPositions(3)


# The cache


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.booleans())
def test_a_cache_holds_all_rows_and_never_changes(steps, recorded):
    parts = [(randn(2, n, 3, requires_grad=recorded), randn(2, n, 5, requires_grad=recorded)) for n in steps]
    caches = [nn.KeyValueCache()]
    for key, value in parts:
        caches.append(caches[-1].append(key, value))
    for i, (end, cache) in enumerate(zip(np.cumsum([0, *steps]), caches, strict=True)):
        assert len(cache) == end
        if i:
            same(cache.key, np.concatenate([np.asarray(k.detach()) for k, _ in parts[:i]], 1))
            same(cache.value, np.concatenate([np.asarray(v.detach()) for _, v in parts[:i]], 1))
            assert cache.key.requires_grad == recorded


def test_two_sequences_that_begin_alike():
    first = nn.KeyValueCache().append(minidl.zeros(2, 3), minidl.zeros(2, 3))
    ones, twos = (first.append(minidl.full((1, 3), n), minidl.full((1, 3), n)) for n in (1.0, 2.0))
    assert ones.key.tolist() == [[0] * 3, [0] * 3, [1] * 3] and twos.value.tolist() == [[0] * 3, [0] * 3, [2] * 3]
    with pytest.raises(ValueError, match=r"key \(1, 4\) and value \(1, 4\) do not continue \(2, 3\)"):
        first.append(minidl.zeros(1, 4), minidl.zeros(1, 4))


@given(st.lists(st.integers(1, 3), min_size=1, max_size=5), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_attention_with_a_cache_is_causal_attention(steps, batch_first, need_weights, more_keys, recorded):
    minidl.manual_seed(len(steps))
    options = {"add_bias_kv": more_keys, "add_zero_attn": more_keys, "batch_first": batch_first}
    layer = nn.MultiheadAttention(6, 2, dtype=minidl.float64, **options)
    x = randn(2, sum(steps), 6, requires_grad=recorded)
    time = 1 if batch_first else 0
    x = x if batch_first else x.transpose(0, 1)
    whole, weights = layer(x, x, x, need_weights=need_weights, is_causal=True)
    cache, rows, end = nn.KeyValueCache(), [], 0
    for part in x.split(steps, time):
        end += part.shape[time]
        row, seen, cache = layer(part, part, part, need_weights=need_weights, is_causal=True, cache=cache)
        rows.append(row)
        assert len(cache) == end and (seen is None) == (not need_weights)
    same(minidl.cat(rows, time), whole)
    if need_weights and not more_keys:
        same(seen, weights[:, -steps[-1] :])


def test_a_cache_counts_for_masks():
    layer, x = nn.MultiheadAttention(6, 2, batch_first=True, dtype=minidl.float64), randn(2, 5, 6)
    padding = minidl.tensor([[False, True, False, False, False], [True, False, False, False, False]])
    mask = minidl.tensor(np.random.default_rng(0).random((5, 5)) < 0.4)
    whole = layer(x, x, x, padding, attn_mask=mask)[0]
    first, last = x[:, :3], x[:, 3:]
    _, _, cache = layer(first, first, first, cache=nn.KeyValueCache())
    same(layer(last, last, last, padding, attn_mask=mask[3:], cache=cache)[0], whole[:, 3:])
    with pytest.raises(ValueError, match=r"attn_mask must have shape \(2, 5\) or \(4, 2, 5\), not \(2, 2\)"):
        layer(last, last, last, attn_mask=mask[3:, 3:], cache=cache)
    with pytest.raises(ValueError, match="do not continue"):
        layer(x[:1], x[:1], x[:1], cache=cache)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("steps", [[1] * 6, [2, 3, 1], [6]])
def test_a_decoder_with_caches_is_causal(norm_first, steps):
    layer = nn.TransformerDecoderLayer(6, 2, 8, norm_first=norm_first, dtype=minidl.float64)
    decoder = nn.TransformerDecoder(layer, 2, nn.LayerNorm(6, dtype=minidl.float64)).eval()
    tgt, memory = randn(6, 2, 6), randn(4, 2, 6)
    caches, rows = decoder.new_caches(), []
    for part in tgt.split(steps, 0):
        row, caches = decoder(part, memory, caches=caches)
        rows.append(row)
    same(minidl.cat(rows, 0), decoder(tgt, memory, tgt_is_causal=True))
    assert [len(cache) for cache in caches] == [6, 6]
    with pytest.raises(ValueError, match="TransformerDecoder: 1 caches for 2 layers"):
        decoder(tgt, memory, caches=caches[:1])


def test_which_masks_are_causal():
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    assert says_causal(mask) and says_causal(mask.isinf()) and not says_causal(mask.T)
    for place, value in (((1, 0), 1.0), ((1, 0), math.nan), ((0, 1), 0.0), ((0, 1), math.nan)):
        other = mask.clone()
        other[place] = value
        assert not says_causal(other)
    assert says_causal(minidl.zeros(0, 0)) and not says_causal(minidl.zeros(2, 3)) and not says_causal(None)
