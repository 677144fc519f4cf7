"""The recurrent models: shapes, what padding and the state do, writing, the training loop that carries a state."""

import math

import numpy as np
import pytest

import minidl
from benchmarks.models import charlm
from minidl import nn, optim
from minidl.data import DataLoader, NextCharacter, TensorDataset
from minidl.models import CharLM, SpeakerNet
from minidl.models.generation import draw, probabilities
from minidl.nn import functional as F
from minidl.training import fit
from minidl.training.evaluation import Carrying

LENGTHS = [5, 2, 7]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_an_utterance_scores_as_it_does_alone(cell):
    model = SpeakerNet(4, 3, 6, cell, dropout=0.5, dtype=minidl.float64).eval()
    x = minidl.randn(3, 7, 3, dtype=minidl.float64)
    scores = model(x, minidl.tensor(LENGTHS)).detach().numpy()
    for n, length in enumerate(LENGTHS):
        states = model.rnn(x[n, :length])[0]
        np.testing.assert_allclose(scores[n], model.output(states.mean(0)).detach().numpy(), rtol=1e-10)
        x[n, length:].fill_(math.nan)
    assert (model(x, minidl.tensor(LENGTHS)).detach().numpy() == scores).all()
    assert (model.train()(x, minidl.tensor(LENGTHS)).detach().numpy() != scores).any()


@pytest.mark.parametrize("model", [SpeakerNet, lambda **cell: CharLM(5, **cell)])
def test_unknown_cells(model):
    with pytest.raises(ValueError, match="cell must be one of lstm, gru, not 'rnn'"):
        model(cell="rnn")


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_text_in_pieces_scores_as_a_whole(cell):
    model = CharLM(9, 6, 2, cell, dtype=minidl.float64)
    x = minidl.randint(0, 9, (3, 8))
    whole, _ = model(x)
    first, state = model(x[:, :3])
    rest, _ = model(x[:, 3:], state)
    assert whole.shape == (3, 8, 9)
    np.testing.assert_allclose(minidl.cat([first, rest], 1).detach().numpy(), whole.detach().numpy(), rtol=1e-12)
    alone, _ = model(x[1:2])
    np.testing.assert_allclose(alone[0].detach().numpy(), whole[1].detach().numpy(), rtol=1e-12)
    with pytest.raises(IndexError):
        model(minidl.tensor([[9]]))


def test_the_benchmarks_twin():
    model, twin = CharLM(9, 6), charlm(nn, F, 9, 6)
    twin.load_state_dict(model.state_dict())
    x = minidl.randint(0, 9, (4, 7))
    scores, (h, c) = model(x)
    again, (h2, c2) = twin(x.T, None)
    np.testing.assert_array_equal(again.transpose(0, 1).detach().numpy(), scores.detach().numpy())
    assert (h == h2).all() and (c == c2).all()


# Writing


def test_draw_goes_by_probability():
    scores = np.log(np.array([[0.1, 0.6, 0.3]], np.float32)).repeat(20000, 0)
    chance = np.random.default_rng(0)
    for temperature, expected in ((1, [0.1, 0.6, 0.3]), (0.5, [1 / 46, 36 / 46, 9 / 46])):
        drawn = np.bincount(draw(probabilities(scores, temperature), chance), minlength=3) / 20000
        np.testing.assert_allclose(drawn, expected, atol=0.015)
    for temperature in (0, 1e-300, 1e-320, 1e-9):
        assert set(draw(probabilities(scores[:20], temperature), chance)) == {1}
    assert set(draw(probabilities(scores[:200], 1e300), chance)) == {0, 1, 2}


def test_write():
    minidl.manual_seed(0)
    model = CharLM(9, 6, dropout=0.5)
    prompt = np.array([1, 2, 3])
    g = minidl.Generator()
    text = model.write(prompt, 20, 1.0, g.manual_seed(1))
    assert text.shape == (20,) and text.dtype == np.int64 and model.training
    assert (model.write(prompt, 20, 1.0, g.manual_seed(1)) == text).all()
    assert (model.write(prompt, 20, 1.0, g.manual_seed(2)) != text).any()
    assert len(model.write(prompt, 0)) == 0
    for bad in ((prompt[:0], 5), (prompt, -1), (prompt, 5, -0.1), (prompt, 5, math.nan), (prompt, 5, math.inf)):
        with pytest.raises(ValueError, match="write: "):
            model.write(*bad)
    for bad in (([1.5], 5), ("abc", 5), (None, 5), ([True], 5), (prompt, 1.5), (prompt, "3")):
        with pytest.raises(TypeError, match=r"write: (prompt|length) must be"):
            model.write(*bad)
    model.dropout.eval()  # and stays so, though the rest is in training
    model.write(prompt, 1)
    assert model.training and model.rnn.training and not model.dropout.training
    with pytest.raises(ValueError, match="write: prompt must have one dimension"):
        model.write([[1], [1, 2]], 5)


def test_scores_that_are_not_numbers_choose_nothing():
    """A model that has diverged does not write as if nothing had happened."""
    for broken in ([math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]):
        for temperature in (0, 0.7):
            with pytest.raises(FloatingPointError, match="NaN or infinite: the model's weights are broken"):
                probabilities(np.array([[0.0, 1.0], broken]), temperature)
    assert probabilities(np.array([[-math.inf, 0.0]])).tolist() == [[0.0, 1.0]]
    model = CharLM(9, 6)
    nn.init.constant_(model.output.weight, math.nan)
    with pytest.raises(FloatingPointError, match="the scores of the next word are NaN"):
        model.write([1, 2], 3)
    assert model.training


def test_what_models_refuse():
    x, ids = minidl.zeros(2, 5, 12), minidl.tensor([[1, 2]])
    for call, error, message in (
        (lambda: CharLM(0), ValueError, "CharLM: characters must be at least 1"),
        (lambda: CharLM(5, 4, cell=["lstm"]), ValueError, "CharLM: cell must be one of lstm, gru"),
        (lambda: CharLM(5, 4)(ids[0]), ValueError, r"CharLM: x must have shape \(N, T\), not \(2,\)"),
        (lambda: CharLM(5, 4)(ids.float()), TypeError, "CharLM: x must be a Tensor of integers, not float32"),
        (lambda: CharLM(5, 4)([[1]]), TypeError, "CharLM: x must be a Tensor of integers, not list"),
        (lambda: SpeakerNet(0), ValueError, "SpeakerNet: num_classes must be at least 1"),
        (lambda: SpeakerNet(cell={}), ValueError, "SpeakerNet: cell must be one of lstm, gru"),
        (lambda: SpeakerNet()(x, None), TypeError, "SpeakerNet: lengths must be integers"),
        (lambda: SpeakerNet()(x, [5, 6]), ValueError, r"lengths must be in 1\.\.5"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert SpeakerNet()(x, [5, 2]).shape == SpeakerNet()(x, np.array([5, 2])).shape == (2, 9)
    assert CharLM(5, 4)(ids.to(minidl.uint8))[0].shape == (1, 2, 5)


# Training with a state


def test_fit_carries_the_state_and_cuts_the_gradient():
    """Against the loop of truncated backpropagation through time, written out."""
    loader = NextCharacter(np.random.default_rng(0).integers(0, 5, 100), 3, 4)
    held_out = NextCharacter(np.random.default_rng(1).integers(0, 5, 50), 2, 6)

    def loss(scores, y):
        return F.cross_entropy(scores.flatten(0, 1), y.flatten())

    def fresh():
        minidl.manual_seed(0)
        model = CharLM(5, 6, dtype=minidl.float64)
        return model, optim.SGD(model.parameters(), lr=0.5)

    model, optimizer = fresh()
    options = {"loss": loss, "metric": lambda scores, y: 0.0, "stateful": True}
    history = fit(model, loader, optimizer, 2, held_out, max_norm=0.1, **options)

    twin, optimizer = fresh()
    for _ in range(2):
        state, total, count = None, 0.0, 0
        for x, y in loader:
            scores, (h, c) = twin(x, state)
            state = h.detach(), c.detach()
            value = loss(scores, y)
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(twin.parameters(), 0.1)
            optimizer.step()
            total, count = total + value.item() * y.numel(), count + y.numel()
    assert history[-1]["train_loss"] == pytest.approx(total / count, rel=1e-12)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    x, y = (minidl.cat([batch[k] for batch in held_out], 1) for k in (0, 1))
    assert history[-1]["test_loss"] == pytest.approx(loss(twin(x)[0], y).item(), rel=1e-10)


def test_a_carried_state_has_no_past():
    for cell in ("lstm", "gru"):
        run = Carrying(CharLM(5, 6, 2, cell))
        x = minidl.randint(0, 5, (2, 3))
        run(x)
        states = run.state if cell == "lstm" else (run.state,)
        assert all(not state.requires_grad and state.shape == (2, 2, 6) for state in states)
        assert (run(x) != Carrying(run.model)(x)).any()


def test_fit_takes_several_inputs():
    x, lengths = minidl.randn(12, 7, 3), minidl.randint(1, 8, (12,))
    loader = DataLoader(TensorDataset(x, lengths, minidl.randint(0, 2, (12,))), 5, shuffle=True)
    model = SpeakerNet(2, 3, 8)
    history = fit(model, loader, optim.Adam(model.parameters(), lr=0.05), 20, loader)
    assert history[-1]["train_loss"] < history[0]["train_loss"] and "test_accuracy" in history[-1]


@pytest.mark.parametrize("max_norm", [0, -1, math.nan])
def test_fit_refuses_a_norm_that_is_not_positive(max_norm):
    model = nn.Linear(2, 2)
    loader = DataLoader(TensorDataset(minidl.zeros(4, 2), minidl.zeros(4, dtype=minidl.int64)), 2)
    with pytest.raises(ValueError, match="fit: max_norm must be positive"):
        fit(model, loader, optim.SGD(model.parameters(), lr=0.1), max_norm=max_norm)
