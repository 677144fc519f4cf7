"""Attention, encoder and decoder beside PyTorch's: keys, outputs, weights, gradients of inputs and parameters."""

import itertools

import numpy as np
import pytest

import minidl
from minidl import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")


def build(kind, *args, **options):
    theirs = getattr(torch.nn, kind)(*args, **options).double()
    ours = getattr(nn, kind)(*args, **options).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    rng = np.random.default_rng(0)
    state = {k: rng.standard_normal(tuple(v.shape)) * 0.5 for k, v in theirs.state_dict().items()}
    ours.load_state_dict(state)
    theirs.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    assert repr(ours) == repr(theirs).replace("NonDynamicallyQuantizable", "").replace(", inplace=False", "")
    return ours, theirs


def compare(ours, theirs, arrays, **options):
    """Outputs and all gradients; `options` are arrays (masks) or plain values."""
    inputs, outputs = [], []
    ours.zero_grad()
    theirs.zero_grad()
    for library, module in ((minidl, ours), (torch, theirs)):
        xs = [library.tensor(a, requires_grad=True) for a in arrays]
        keywords = {k: library.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        y = module(*(xs if len(xs) != 1 or "Multihead" not in type(module).__name__ else xs * 3), **keywords)
        inputs.append(xs)
        outputs.append([t for t in (y if isinstance(y, tuple) else (y,)) if t is not None])
    for a, b in zip(*outputs, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-8, atol=1e-10)
    g = [np.random.default_rng(1).standard_normal(t.shape) for t in outputs[0]]
    minidl.autograd.backward(outputs[0], [minidl.tensor(c) for c in g])
    torch.autograd.backward(outputs[1], [torch.tensor(c) for c in g])
    pairs = zip([*inputs[0], *ours.parameters()], [*inputs[1], *theirs.parameters()], strict=True)
    for p, q in pairs:
        np.testing.assert_allclose(np.asarray(p.grad), q.grad.numpy(), rtol=1e-6, atol=1e-9)


def upper(n, m, kind, rng):
    """A mask with an open place in every row, boolean or added."""
    forbidden = rng.random((n, m)) < 0.4
    forbidden[np.arange(n), rng.integers(m, size=n)] = False
    return forbidden if kind == "boolean" else np.where(forbidden, -np.inf, rng.standard_normal((n, m)))


@pytest.mark.parametrize("masks", ["none", "boolean", "added"])
@pytest.mark.parametrize(
    ("options", "widths"),
    [
        ({}, (6, 6, 6)),
        ({"bias": False, "batch_first": True}, (6, 6, 6)),
        ({"add_bias_kv": True, "add_zero_attn": True}, (6, 6, 6)),
        ({"kdim": 5, "vdim": 7, "batch_first": True}, (6, 5, 7)),
        ({"kdim": 5, "bias": False, "add_zero_attn": True}, (6, 5, 6)),
    ],
)
def test_multihead_attention(options, widths, masks):
    rng = np.random.default_rng(0)
    first, N, L, S = options.get("batch_first"), 3, 4, 5
    for batched, need_weights, average in itertools.product((True, False), (True, False), (True, False)):
        ours, theirs = build("MultiheadAttention", 6, 3, **options)
        lengths = (L, S, S)
        shapes = [(N, T, w) if first else (T, N, w) for T, w in zip(lengths, widths, strict=True)]
        if not batched:
            shapes = [(T, w) for T, w in zip(lengths, widths, strict=True)]
        given = {}
        if masks != "none":
            given = {"attn_mask": upper(L, S, masks, rng), "key_padding_mask": np.zeros((N, S), bool)}
            if batched:  # one mask for each head
                given["attn_mask"] = np.stack([upper(L, S, masks, rng) for _ in range(N * 3)])
            if masks == "added":
                given["key_padding_mask"] = rng.standard_normal((N, S))
            given["key_padding_mask"] = given["key_padding_mask"] if batched else given["key_padding_mask"][0]
        arrays = [rng.standard_normal(shape) for shape in shapes]
        compare(ours, theirs, arrays, need_weights=need_weights, average_attn_weights=average, **given)


def test_of_one_input():
    for first in (True, False):
        ours, theirs = build("MultiheadAttention", 6, 2, batch_first=first)
        compare(ours, theirs, [np.random.default_rng(0).standard_normal((4, 5, 6))])


LAYERS = [
    {},
    {"norm_first": True, "batch_first": True},
    {"activation": "gelu", "bias": False, "layer_norm_eps": 0.1},
]


@pytest.mark.parametrize("options", LAYERS)
@pytest.mark.parametrize("masks", ["none", "boolean", "added"])
def test_encoder_and_decoder(options, masks):
    rng = np.random.default_rng(0)
    E, N, T, S = 6, 3, 4, 5
    first = options.get("batch_first")
    source, target = (rng.standard_normal((N, n, E) if first else (n, N, E)) for n in (S, T))
    padding = np.arange(S) >= np.array([5, 3, 4])[:, None]
    if masks == "added":
        padding = np.where(padding, -np.inf, 0.0)
    own, other = (None, None) if masks == "none" else (upper(T, T, masks, rng), upper(T, S, masks, rng))
    np.fill_diagonal(own, 0) if own is not None else None
    if masks != "none":
        other[:, :3] = 0  # a key that is no padding stays open
    layer = (E, 2, 8, 0.0)
    ours, theirs = build("TransformerEncoderLayer", *layer, **options)
    compare(ours, theirs, [source], src_key_padding_mask=None if masks == "none" else padding)
    compare(ours, theirs, [target], src_mask=own)
    stack = (
        nn.TransformerEncoder(ours, 2, nn.LayerNorm(E).double()),
        torch.nn.TransformerEncoder(theirs, 2, torch.nn.LayerNorm(E).double()),
    )
    compare(*stack, [target], mask=own)
    given = {"tgt_mask": own, "memory_mask": other}
    if masks != "none":
        given["memory_key_padding_mask"] = padding
    ours, theirs = build("TransformerDecoderLayer", *layer, **options)
    compare(ours, theirs, [target, source], **given)
    ours, theirs = build("Transformer", E, 2, 2, 1, 8, 0.0, **options)
    compare(ours, theirs, [source, target], src_key_padding_mask=None if masks == "none" else padding, **given)


def test_causal_masks_are_found():
    ours, theirs = build("Transformer", 4, 2, 1, 1, 8, 0.0)
    rng = np.random.default_rng(0)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(5).double().numpy()
    np.testing.assert_array_equal(nn.Transformer.generate_square_subsequent_mask(5), mask)
    compare(ours, theirs, [rng.standard_normal((3, 2, 4)), rng.standard_normal((5, 2, 4))], tgt_mask=mask)


def test_initial_values_are_spread_as_in_pytorch():
    minidl.manual_seed(0)
    torch.manual_seed(0)
    pairs = [
        (nn.MultiheadAttention(64, 4, add_bias_kv=True), torch.nn.MultiheadAttention(64, 4, add_bias_kv=True)),
        (nn.Transformer(64, 4, 1, 1, 96), torch.nn.Transformer(64, 4, 1, 1, 96)),
        (nn.Embedding(100, 64, 3), torch.nn.Embedding(100, 64, 3)),
    ]
    for ours, theirs in pairs:
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            assert p.detach().numpy().std() == pytest.approx(float(q.detach().std()), rel=0.35, abs=1e-9), name
