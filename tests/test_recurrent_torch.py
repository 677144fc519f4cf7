"""Recurrent layers and cells beside PyTorch's: keys, `repr`, outputs, states and gradients, in float64."""

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.io import load
from minidl.nn.utils import rnn

torch = pytest.importorskip("torch")

LAYERS = [
    (kind, options)
    for kind in ("LSTM", "GRU", "RNN")
    for options in (
        {},
        {"bias": False, "batch_first": True},
        {"num_layers": 2, "bidirectional": True},
        {"num_layers": 3, "batch_first": True, "bidirectional": True, "bias": False},
    )
]
LAYERS += [("RNN", {"nonlinearity": "relu", "num_layers": 2}), ("LSTM", {"proj_size": 2})]
LAYERS += [("LSTM", {"proj_size": 3, "num_layers": 2, "bidirectional": True, "batch_first": True})]


def build(kind, options, I=3, H=5):
    theirs = getattr(torch.nn, kind)(I, H, **options).double()
    ours = getattr(nn, kind)(I, H, **options).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    assert repr(ours) == repr(theirs)
    return ours, theirs


def listed(states):
    return list(states) if isinstance(states, tuple) else [states]


def compare(ours, theirs, inputs, call):
    """Call both with the same inputs; hold all results, and all gradients for a random cotangent, together."""
    xs = [minidl.tensor(a, requires_grad=True) for a in inputs]
    ys = [torch.tensor(a, requires_grad=True) for a in inputs]
    a, b = call(ours, rnn, *xs), call(theirs, torch.nn.utils.rnn, *ys)
    g = [np.random.default_rng(1).standard_normal(t.shape) for t in a]
    for p, q in zip(a, b, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-9, atol=1e-11)
    minidl.autograd.backward(a, [minidl.tensor(c) for c in g])
    torch.autograd.backward(b, [torch.tensor(c) for c in g])
    for p, q in zip([*xs, *ours.parameters()], [*ys, *theirs.parameters()], strict=True):
        np.testing.assert_allclose(np.asarray(p.grad), q.grad.numpy(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("kind", "options"), LAYERS)
@pytest.mark.parametrize("how", ["batch", "single", "packed", "lengths"])
def test_layers(kind, options, how):
    ours, theirs = build(kind, options)
    rng = np.random.default_rng(0)
    first = options.get("batch_first", False)
    N, T, D = 4, 6, (1 + options.get("bidirectional", False)) * options.get("num_layers", 1)
    x = rng.standard_normal((N, T, 3) if first else (T, N, 3))
    widths = [options.get("proj_size") or 5, 5][: 2 if kind == "LSTM" else 1]
    states = [rng.standard_normal((D, N, w)) for w in widths]
    if how == "single":
        x, states = x[0] if first else x[:, 0], [s[:, 0] for s in states]
    lengths = [3, 6, 1, 6]

    def call(layer, library, x, *states):
        hx = states if len(states) == 2 else states[0]
        if how == "packed" or (how == "lengths" and library is torch.nn.utils.rnn):
            packed = library.pack_padded_sequence(x, lengths, first, enforce_sorted=False)
            y, last = layer(packed, hx)
            y = y.data if how == "packed" else library.pad_packed_sequence(y, first)[0]
        elif how == "lengths":
            y, last = layer(x, hx, lengths=lengths)
        else:
            y, last = layer(x, hx)
        return [y, *listed(last)]

    compare(ours, theirs, [x, *states], call)


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
@pytest.mark.parametrize("options", [{}, {"bias": False}])
@pytest.mark.parametrize("shape", [(4,), ()])
def test_cells(kind, options, shape):
    ours, theirs = build(kind, options)
    rng = np.random.default_rng(0)
    states = [rng.standard_normal((*shape, 5)) for _ in range(2 if kind == "LSTMCell" else 1)]

    def call(cell, library, x, *states):
        return listed(cell(x, states if len(states) == 2 else states[0]))

    compare(ours, theirs, [rng.standard_normal((*shape, 3)), *states], call)


@pytest.mark.parametrize(
    ("kind", "options"), [LAYERS[2], LAYERS[3], LAYERS[7], LAYERS[-3], LAYERS[-1], ("LSTMCell", {}), ("GRUCell", {})]
)
@pytest.mark.parametrize("new", [True, False])
def test_checkpoints(kind, options, new, tmp_path):
    """What PyTorch saved, between other things, makes the same outputs here."""
    theirs, ours = (getattr(library, kind)(3, 5, **options).double() for library in (torch.nn, nn))
    checkpoint = {"epoch": 3, "state_dict": theirs.state_dict(), "args": {"sizes": torch.Size([3, 5])}, 7: None}
    torch.save(checkpoint, tmp_path / "rnn.pt", _use_new_zipfile_serialization=new)
    ours.load_state_dict(load(tmp_path / "rnn.pt")["state_dict"])
    x = np.random.default_rng(0).standard_normal((4, 3) if "Cell" in kind else (4, 6, 3))
    for a, b in zip(flat(ours(minidl.tensor(x))), flat(theirs(torch.tensor(x))), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), atol=1e-12)


def flat(value):
    return [each for part in value for each in flat(part)] if isinstance(value, tuple) else [value]
