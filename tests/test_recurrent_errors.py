"""Recurrent layers and cells: what makes no sense is refused by name, and what PyTorch's users expect is there."""

import copy
import pickle

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.nn import functional as F
from minidl.nn.utils.rnn import pack_padded_sequence

X = minidl.tensor(np.random.default_rng(0).standard_normal((4, 3, 2)).astype(np.float32))
H = minidl.zeros(1, 3, 5)
LAYERS = [nn.LSTM, nn.GRU, nn.RNN]


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_layers": 0}, ValueError, "num_layers must be at least 1"),
        ({"num_layers": 1.5}, TypeError, "num_layers must be an int, not 1.5"),
        ({"input_size": 2.0}, TypeError, "input_size must be an int, not 2.0"),
        ({"hidden_size": "5"}, TypeError, "hidden_size must be an int, not '5'"),
        ({"bias": None}, TypeError, "bias must be True or False, not None"),
        ({"bias": np.ones(2)}, TypeError, "bias must be True or False"),
        ({"batch_first": 0.5}, TypeError, "batch_first must be True or False, not 0.5"),
        ({"bidirectional": "yes"}, TypeError, "bidirectional must be True or False, not 'yes'"),
        ({"num_layers": 2, "dropout": 1.1}, ValueError, "dropout must be in 0..1, but is 1.1"),
        ({"num_layers": 2, "dropout": float("nan")}, ValueError, "dropout must be in 0..1, but is nan"),
        ({"num_layers": 2, "dropout": "x"}, TypeError, "dropout must be a number, not 'x'"),
        ({"num_layers": 2, "dropout": True}, TypeError, "dropout must be a number, not True"),
    ],
)
def test_arguments_of_layers(kind, arguments, error, message):
    """A dropout in batch_first's place would otherwise be taken for True."""
    with pytest.raises(error, match=f"{kind.__name__}: {message}"):
        kind(**{"input_size": 2, "hidden_size": 5, **arguments})


def test_numpys_bools_are_bools():
    assert nn.GRU(2, 5, bidirectional=np.bool_(True)).bidirectional is True
    assert nn.GRUCell(2, 5, np.bool_(False)).bias_ih is None


@pytest.mark.parametrize("kind", LAYERS)
def test_states_that_are_none(kind):
    layer, name = kind(2, 5), kind.__name__
    pair = (lambda h: (h, h)) if kind is nn.LSTM else (lambda h: h)
    for x, hx, error, message in (
        (X, pair(H.numpy()), TypeError, "h must be a Tensor, not ndarray"),
        (X, pair(H[:, :1]), ValueError, r"h must have shape \(1, 3, 5\), not \(1, 1, 5\) \(input \(4, 3, 2\)\)"),
        (X, pair(H.long()), TypeError, "h is int64, but input is float32"),
        (X[:, 0], pair(H), ValueError, r"h must have shape \(1, 5\), not \(1, 3, 5\) \(input \(4, 2\)\)"),
        (X[:, 0], pair(H[:, 0, :2]), ValueError, r"h must have shape \(1, 5\), not \(1, 2\)"),
        (X[:, 0], pair([[1.0], [2.0, 3.0]]), TypeError, "h must be a Tensor, not list"),
        (X[:, 0], pair(None) if kind is nn.LSTM else "ab", TypeError, "h must be a Tensor, not"),
        (X[:, 0, :1], None, ValueError, r"expects input \(T, I\) with I=2, not \(4, 1\)"),
        (X[:0, 0], None, ValueError, r"no time steps: input \(0, 2\)"),
        (X[0, 0], None, ValueError, r"expects input \(T, N, I\) with I=2, not \(2,\)"),
    ):
        with pytest.raises(error, match=f"{name}: .*{message}"):
            layer(x, hx)
    with pytest.raises(ValueError, match=f"{name}: lengths must be in 1..4"):
        layer(X, lengths=[4, 5, 1])
    with pytest.raises(ValueError, match=rf"{name}: expects input \(T, N, I\) with I=2, not \(4, 2\)"):
        layer(X[:, 0], lengths=[4])


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells(kind):
    cell, name, h = kind(2, 5), kind.__name__, H[0]
    pair = (lambda h: (h, h)) if kind is nn.LSTMCell else (lambda h: h)
    for call, error, message in (
        (lambda: kind(2, 5, "no"), TypeError, "bias must be True or False, not 'no'"),
        (lambda: kind(2, 5, np.ones(2)), TypeError, "bias must be True or False"),
        (lambda: cell(X[0].numpy()), TypeError, "input must be a Tensor, not ndarray"),
        (lambda: cell(X), ValueError, r"expects input \(N, I\) or \(I\) with I=2, not \(4, 3, 2\)"),
        (lambda: cell(X[0].double()), TypeError, "input is float64, but the parameters are float32"),
        (lambda: cell(X[0], pair(h.double())), TypeError, "h is float64, but input is float32"),
        (lambda: cell(X[0], pair(h.numpy())), TypeError, "h must be a Tensor, not ndarray"),
        (lambda: cell(X[0], pair([[1.0], [2.0, 3.0]])), TypeError, "h must be a Tensor, not list"),
        (lambda: cell(X[0], pair(h[:2])), ValueError, r"h must have shape \(3, 5\), not \(2, 5\)"),
        (lambda: cell(X[0, 0], pair(h)), ValueError, r"h must have shape \(5,\), not \(3, 5\)"),
        (lambda: cell(X[0], (h, None)), TypeError, ("c" if kind is nn.LSTMCell else "h") + " must be a Tensor"),
    ):
        with pytest.raises(error, match=f"{name}: {message}"):
            call()


def test_a_layer_says_its_dropout_as_pytorch_does():
    assert repr(nn.LSTM(2, 5, 2, dropout=1)) == "LSTM(2, 5, num_layers=2, dropout=1.0)"


def test_a_cell_says_its_nonlinearity():
    assert repr(nn.RNNCell(2, 5, nonlinearity="relu")) == "RNNCell(2, 5, nonlinearity=relu)"
    assert repr(nn.RNNCell(2, 5, bias=False)) == "RNNCell(2, 5, bias=False)"


@pytest.mark.parametrize("kind", LAYERS)
def test_hooks_run_once_a_call(kind):
    """Whatever the sequences look like: a hook that changes what goes in, or out, would otherwise do so twice."""
    layer = kind(2, 5, batch_first=True)
    before, after = [], []
    layer.register_forward_pre_hook(lambda module, args: before.append(args[0]))
    layer.register_forward_hook(lambda module, args, output: after.append(output[0]))
    x = X.transpose(0, 1)
    packed = pack_padded_sequence(x, [4, 2, 1], batch_first=True)
    outputs = [layer(x)[0], layer(x[0])[0], layer(x, lengths=[2, 4, 1])[0], layer(packed)[0]]
    for given, seen in zip([x, x[0], x, packed], before, strict=True):
        assert getattr(given, "shape", "packed") == getattr(seen, "shape", "packed")
    assert len(after) == 4 and all(a is b for a, b in zip(after, outputs, strict=True))


@pytest.mark.parametrize("kind", LAYERS)
def test_code_written_for_pytorch_may_ask_to_flatten(kind):
    layer = kind(2, 5, 2, bidirectional=True)
    expected = layer(X)[0]
    for other in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.flatten_parameters() is None
        np.testing.assert_array_equal(other(X)[0].detach().numpy(), expected.detach().numpy())


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
def test_operations(name):
    gates = {"lstm": 4, "gru": 3}.get(name, 1)
    states = [minidl.zeros(3, 5) for _ in range(2 if name == "lstm" else 1)]
    tensors = [X, *states, minidl.zeros(gates * 5, 2), minidl.zeros(gates * 5, 5)]
    letters = ["input", *"hc"[: len(states)], "weight_ih", "weight_hh"]
    for k, letter in enumerate(letters):
        for wrong in (None, [1.0]):
            with pytest.raises(TypeError, match=f"{name}: {letter} must be a Tensor, not {type(wrong).__name__}"):
                getattr(F, name)(*tensors[:k], wrong, *tensors[k + 1 :])
    for sizes in ([[3, 3], [3]], [None], "3333", 12, [True] * 12):
        with pytest.raises(TypeError, match=f"{name}: batch_sizes must be a sequence of integers"):
            getattr(F, name)(X.reshape(12, 2), *tensors[1:], batch_sizes=sizes)
