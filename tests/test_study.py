"""Inside recurrent layers: gates and gradients over time, against loops written out here."""

import inspect
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import nn
from minidl.models import CharLM, SpeakerNet
from minidl.nn.utils.rnn import pack_padded_sequence
from minidl.study import gate_map, gates, gradient_norms

NAMES = {"LSTM": ["input", "forget", "cell", "output"], "GRU": ["reset", "update", "new"], "RNN": ["hidden"]}
LENGTHS = [4, 7, 1]


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def by_hand(layer, x):
    """Gates (T, H) of one sequence (T, I), one layer in one direction, by the formulas."""
    w_ih, w_hh, b_ih, b_hh = (p.detach().numpy() for p in layer.parameters())
    H = w_hh.shape[1]
    h, c, found = np.zeros(H), np.zeros(H), {name: [] for name in NAMES[type(layer).__name__]}
    for row in x:
        a, b = w_ih @ row + b_ih, w_hh @ h + b_hh
        if isinstance(layer, nn.LSTM):
            i, f, g, o = np.split(a + b, 4)
            now = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
            c = now[1] * c + now[0] * now[2]
            h = now[3] * np.tanh(c)
        elif isinstance(layer, nn.GRU):
            r, z = sigmoid((a + b)[:H]), sigmoid((a + b)[H : 2 * H])
            n = np.tanh(a[2 * H :] + r * b[2 * H :])
            h = (1 - z) * n + z * h
            now = r, z, n
        else:
            h = np.tanh(a + b)
            now = (h,)
        for name, values in zip(found, now, strict=True):
            found[name].append(values)
    return {name: np.array(values) for name, values in found.items()}


def layer_of(kind, **options):
    minidl.manual_seed(1)
    return getattr(nn, kind)(3, 5, dtype=minidl.float64, **options)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("how", ["whole", "lengths", "packed", "packed in order"])
def test_gates_are_the_formulas(kind, batch_first, how):
    layer = layer_of(kind, batch_first=batch_first)
    x = np.random.default_rng(0).standard_normal((3, 7, 3))
    lengths = [7] * 3 if how == "whole" else sorted(LENGTHS, reverse=True) if "order" in how else LENGTHS
    for row, length in zip(x, lengths, strict=True):
        row[length:] = np.nan  # must not be looked at
    given_x = minidl.tensor(x if batch_first else x.swapaxes(0, 1).copy())
    if "packed" in how:
        packed = pack_padded_sequence(given_x, lengths, batch_first, enforce_sorted="order" in how)
        seen = gates(layer, packed)
    else:
        seen = gates(layer, given_x, lengths if how == "lengths" else None)
    assert list(seen) == [f"{name}_l0" for name in NAMES[kind]]
    for n, length in enumerate(lengths):
        for name, expected in by_hand(layer, x[n, :length]).items():
            assert seen[f"{name}_l0"].shape == (3, 7, 5)
            np.testing.assert_allclose(seen[f"{name}_l0"][n, :length], expected, rtol=1e-12)
            assert np.isnan(seen[f"{name}_l0"][n, length:]).all()


@pytest.mark.parametrize("kind", NAMES)
def test_layers_and_directions(kind):
    """The upper layer's gates are those of a layer alone that reads the lower one's outputs; backwards likewise."""
    layer = layer_of(kind, num_layers=2, bidirectional=True, dropout=0.5)
    x = minidl.randn(6, 1, 3, dtype=minidl.float64)
    seen = gates(layer, x[:, 0])  # one sequence, without a batch
    ends = ["_l0", "_l0_reverse", "_l1", "_l1_reverse"]
    assert list(seen) == [name + end for end in ends for name in NAMES[kind]]
    lower, upper = (getattr(nn, kind)(I, 5, dtype=minidl.float64) for I in (3, 10))
    outputs = []
    with minidl.no_grad():
        for alone, end in zip((lower, lower, upper, upper), ends, strict=True):
            inputs = x if alone is lower else minidl.cat(outputs[:2], 2)
            alone.load_state_dict({key[:-3] + "_l0": getattr(layer, key[:-3] + end) for key in alone.state_dict()})
            inputs = inputs.flip(0) if end.endswith("reverse") else inputs
            y = alone(inputs)[0]
            outputs.append(y.flip(0) if end.endswith("reverse") else y)
            for name, values in by_hand(alone, inputs[:, 0].numpy()).items():
                expected = values[::-1] if end.endswith("reverse") else values
                np.testing.assert_allclose(seen[name + end][0], expected, rtol=1e-10)
    assert layer.training


def test_a_projection():
    if "weight_hr" not in inspect.signature(nn.functional.lstm).parameters:
        pytest.skip("projections do not go through the layer's operation")
    layer = layer_of("LSTM", proj_size=2)
    x = minidl.randn(6, 2, 3, dtype=minidl.float64)
    seen = gates(layer, x)
    with minidl.no_grad():
        states = None
        for t in range(6):
            h = minidl.zeros(2, 2, dtype=minidl.float64) if states is None else states[0][0]
            a = x[t] @ layer.weight_ih_l0.T + layer.bias_ih_l0 + h @ layer.weight_hh_l0.T + layer.bias_hh_l0
            np.testing.assert_allclose(seen["forget_l0"][:, t], sigmoid(a.numpy()[:, 5:10]), rtol=1e-10)
            states = layer(x[t : t + 1], states)[1]


def test_models_that_contain_layers():
    x = minidl.randn(3, 7, 12)
    for cell, kind in (("lstm", "LSTM"), ("gru", "GRU")):
        model = SpeakerNet(cell=cell, hidden_size=4)
        before = model(x, minidl.tensor(LENGTHS)).detach().numpy()
        seen = gates(model, x, minidl.tensor(LENGTHS))
        assert list(seen)[: len(NAMES[kind])] == [f"rnn.{name}_l0" for name in NAMES[kind]]
        np.testing.assert_array_equal(np.isnan(seen[f"rnn.{NAMES[kind][0]}_l0"]).any((1, 2)), [True, False, True])
        assert (model(x, minidl.tensor(LENGTHS)).detach().numpy() == before).all()  # all is as it was
        assert "_operation" not in vars(model.rnn) and model.training
    assert gates(CharLM(5, 4), minidl.tensor([[1, 2, 3]]))["rnn.cell_l0"].shape == (1, 3, 4)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.unused = nn.GRU(3, 4), nn.RNN(4, 2), nn.LSTM(1, 1)

        def forward(self, x):
            return self.b(self.a(self.a(x)[0][..., :3])[0])[0]

    model, x = Twice(), minidl.randn(5, 2, 3)
    seen = gates(model, x)
    assert list(seen) == ["a.reset_l0", "a.update_l0", "a.new_l0", "b.hidden_l0"]
    np.testing.assert_allclose(seen["a.new_l0"], gates(model.a, x)["new_l0"], rtol=1e-6)


# Gradients over time


@pytest.mark.parametrize("kind", NAMES)
def test_gradient_norms(kind):
    """That of h_t is the gradient of a state given to the steps after it."""
    layer = layer_of(kind)
    x = minidl.randn(6, 3, 3, dtype=minidl.float64)
    weights = minidl.randn(6, 3, 5, dtype=minidl.float64)
    norms = gradient_norms(layer, x, lambda result: (result[0] * weights).sum())
    assert list(norms) == ["l0"] and norms["l0"].shape == (6,)
    assert all(parameter.grad is None for parameter in layer.parameters())
    for t in range(6):
        _, state = layer(x[: t + 1])
        h, *c = (s.detach() for s in (state if kind == "LSTM" else (state,)))
        h.requires_grad_()
        loss = (h[0] * weights[t]).sum()
        if t < 5:
            loss = loss + (layer(x[t + 1 :], (h, *c) if c else h)[0] * weights[t + 1 :]).sum()
        loss.backward()
        assert norms["l0"][t] == pytest.approx(np.linalg.norm(h.grad.numpy()), rel=1e-10)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.sampled_from(list(NAMES)))
def test_nothing_comes_back_from_where_nothing_depends(lengths, kind):
    """The loss sees the outputs of step 2, so states after it get nothing, forward; backward, those before it."""
    layer = layer_of(kind, bidirectional=True)
    x = minidl.randn(6, len(lengths), 3, dtype=minidl.float64)
    norms = gradient_norms(layer, x, lambda result: result[0][2].square().sum(), lengths)
    T = max(lengths)
    assert list(norms) == ["l0", "l0_reverse"] and norms["l0"].shape == norms["l0_reverse"].shape == (T,)
    assert (norms["l0"][3:] == 0).all() and (norms["l0_reverse"][:2] == 0).all()
    assert T < 3 or ((norms["l0"][:3] > 0).all() and (norms["l0_reverse"][2:] > 0).all())


def test_a_loss_that_depends_on_nothing():
    norms = gradient_norms(nn.GRU(3, 4), minidl.zeros(5, 1, 3), lambda result: minidl.tensor(1.0))
    assert norms["l0"].tolist() == [0.0] * 5


@pytest.mark.parametrize("kind", NAMES)
def test_frozen_parameters_hide_no_gradient(kind):
    """The loss depends on the states whether or not anything is to be trained."""
    layer, x = layer_of(kind, num_layers=2), minidl.randn(6, 2, 3, dtype=minidl.float64)
    expected = gradient_norms(layer, x, lambda result: result[0].square().sum())
    assert min(norms.min() for norms in expected.values()) > 0
    for frozen in ("_l0", "_l1", ""):
        for name, parameter in layer.named_parameters():
            parameter.requires_grad_(not name.endswith(frozen))
        norms = gradient_norms(layer, x, lambda result: result[0].square().sum())
        assert list(norms) == ["l0", "l1"] and all((norms[name] == expected[name]).all() for name in norms)
        assert all(parameter.grad is None for parameter in layer.parameters())


# What can be wrong


def test_bad_arguments():
    x = minidl.zeros(5, 1, 3)
    for study in (gates, lambda model, x: gradient_norms(model, x, lambda y: y[0].sum())):
        with pytest.raises(TypeError, match="model must be a Module, not function"):
            study(lambda x: x, x)
        with pytest.raises(ValueError, match=r"Linear contains no nn.LSTM, nn.GRU or nn.RNN"):
            study(nn.Linear(3, 3), x)
        layer = nn.GRU(3, 4)
        with pytest.raises(ValueError, match="GRU: expects input"):
            study(layer, minidl.zeros(5, 1, 2))
        assert "_operation" not in vars(layer) and layer.training and layer(x)[0].shape == (5, 1, 4)
    with pytest.raises(ValueError, match="lengths must be in"):
        gates(nn.GRU(3, 4), x, [6])
    with pytest.raises(ValueError, match=r"loss must give one number, got \(5, 1, 4\)"):
        gradient_norms(nn.GRU(3, 4), x, lambda y: y[0])
    with pytest.raises(TypeError, match="loss must be a function of what the model returns, not None"):
        gradient_norms(nn.GRU(3, 4), x, None)

    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(3, 4)

        def forward(self, x):
            return x

    with pytest.raises(ValueError, match="the model did not call its recurrent layers"):
        gates(Idle(), x)


# Pictures


def test_gate_map(tmp_path):
    pytest.importorskip("matplotlib")
    seen = gates(nn.LSTM(3, 4, num_layers=2), minidl.randn(5, 2, 3), [5, 3])
    for kept in (seen, {"forget_l0": seen["forget_l0"]}, dict(list(seen.items())[:5])):
        gate_map(kept, tmp_path / "gates.png", sequence=1, title="two layers")
        assert (tmp_path / "gates.png").read_bytes().startswith(b"\x89PNG")
    for bad in ({}, {"a": np.zeros((2, 3))}):
        with pytest.raises(ValueError, match="gate_map: expects at least one array"):
            gate_map(bad, tmp_path / "bad.png")
    gate_map({r"$\formula$": seen["forget_l0"].tolist()}, tmp_path / "gates.png", -1, title=r"5 $ or $\more$")
    a = np.zeros((2, 5, 3))
    for bad, sequence, error, message in (
        ([a], 0, TypeError, "gates must be a dict of arrays by name, not list"),
        ({"a": a[:, :0]}, 0, ValueError, r"expects at least one array \(N, T, H\), not empty"),
        ({"a": a.astype(str)}, 0, TypeError, "a must hold numbers, not <U32"),
        ({"a": a}, 2, IndexError, "sequence 2 is out of range for 2 sequences"),
        ({"a": a, "b": a[:1]}, -2, IndexError, "sequence -2 is out of range for 1 sequences"),
        ({"a": a}, 0.5, TypeError, "sequence must be an int, not 0.5"),
        ({"a": a}, slice(None), TypeError, "sequence must be an int"),
    ):
        with pytest.raises(error, match=f"gate_map: {message}"):
            gate_map(bad, tmp_path / "bad.png", sequence=sequence)
    assert not (tmp_path / "bad.png").exists()


def test_without_matplotlib(tmp_path, monkeypatch):
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"gate_map: needs matplotlib: pip install 'minidl\[plot\]'"):
        gate_map({"a": np.zeros((1, 2, 3))}, tmp_path / "a.png")
