"""Recurrent layers: packing, lengths, states as values, the textbook's form, long float32 runs, bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import nn
from minidl.nn import functional as F
from minidl.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpad_sequence,
)
from minidl.ops.cells import joined, sums

KINDS = ("LSTM", "GRU", "RNN")
LAYERS = {kind: getattr(nn, kind) for kind in KINDS}
LAYERS["projected LSTM"] = lambda I, H, *args, **options: nn.LSTM(I, H, *args, proj_size=-(-H // 3), **options)


def listed(states):
    return list(states) if isinstance(states, tuple) else [states]


def random(rng, *shape):
    return minidl.tensor(rng.standard_normal(shape), requires_grad=True)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.booleans(), st.integers(0, 9))
def test_packing_and_padding_undo_each_other(lengths, batch_first, seed):
    rng = np.random.default_rng(seed)
    T, N = max(lengths), len(lengths)
    shape = (N, T, 2) if batch_first else (T, N, 2)
    x = minidl.tensor(rng.standard_normal(shape), requires_grad=True)
    packed = pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False)
    assert packed.data.shape == (sum(lengths), 2)
    padded, back = pad_packed_sequence(packed, batch_first, padding_value=7.0, total_length=T + 1)
    assert back.tolist() == lengths
    expected = np.full((N, T + 1, 2), 7.0)
    rows = x.detach().numpy() if batch_first else x.detach().numpy().swapaxes(0, 1)
    mask = np.zeros((N, T, 2))
    for n, length in enumerate(lengths):
        expected[n, :length] = rows[n, :length]
        mask[n, :length] = 1
    np.testing.assert_array_equal(
        padded.detach().numpy() if batch_first else padded.detach().numpy().swapaxes(0, 1), expected
    )
    padded.sum().backward()
    np.testing.assert_array_equal(np.asarray(x.grad) if batch_first else np.asarray(x.grad).swapaxes(0, 1), mask)


@settings(max_examples=25)
@given(
    st.sampled_from(list(LAYERS)),
    st.lists(st.integers(1, 5), min_size=1, max_size=9),
    st.booleans(),
    st.integers(1, 2),
    st.integers(2, 9),
    st.integers(0, 9),
)
def test_each_sequence_of_a_batch_is_as_if_alone(kind, lengths, bidirectional, layers, H, seed):
    """Outputs, last states and gradients: nothing is computed or differentiated for padding."""
    minidl.manual_seed(seed)
    rng = np.random.default_rng(seed)
    layer = LAYERS[kind](3, H, layers, bidirectional=bidirectional, batch_first=True).double()
    D, N, T, P = 1 + bidirectional, len(lengths), max(lengths), layer.proj_size or H
    x = random(rng, N, T, 3)
    states = [random(rng, layers * D, N, width) for width in (P, H)[: layer.STATES]]
    g = [rng.standard_normal((N, T, D * P)), *(rng.standard_normal(s.shape) for s in states)]
    output, last = layer(x, layer._together(states), lengths=lengths)
    minidl.autograd.backward([output, *listed(last)], [minidl.tensor(a) for a in g])
    got = [np.asarray(t.grad) for t in (x, *states, *layer.parameters())]
    layer.zero_grad()
    expected = [np.zeros(t.shape) for t in (x, *states)]
    for n, length in enumerate(lengths):
        alone = minidl.tensor(x.detach().numpy()[n : n + 1, :length], requires_grad=True)
        first = [minidl.tensor(s.detach().numpy()[:, n : n + 1], requires_grad=True) for s in states]
        y, end = layer(alone, layer._together(first))
        np.testing.assert_allclose(output.detach().numpy()[n, :length], y.detach().numpy()[0], atol=1e-12)
        assert not output.detach().numpy()[n, length:].any()
        for a, b in zip(listed(last), listed(end), strict=True):
            np.testing.assert_allclose(a.detach().numpy()[:, n], b.detach().numpy()[:, 0], atol=1e-12)
        seeds = [minidl.tensor(g[0][n : n + 1, :length]), *(minidl.tensor(a[:, n : n + 1]) for a in g[1:])]
        minidl.autograd.backward([y, *listed(end)], seeds)
        expected[0][n, :length] = np.asarray(alone.grad)[0]
        for k, s in enumerate(first):
            expected[1 + k][:, n] = np.asarray(s.grad)[:, 0]
    expected += [np.asarray(p.grad) for p in layer.parameters()]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(("N", "lengths"), [(1, None), (2, [200, 3]), (7, None), (33, None), (4, [9, 200, 1, 200])])
def test_float32_stays_near_float64_over_200_steps(kind, N, lengths):
    minidl.manual_seed(0)
    rng = np.random.default_rng(0)
    layer = LAYERS[kind](5, 37)
    x = rng.standard_normal((200, N, 5)).astype(np.float32)
    y, last = layer(minidl.tensor(x), lengths=lengths)
    layer = layer.double()
    with minidl.definitions():
        y64, last64 = layer(minidl.tensor(x.astype(np.float64)), lengths=lengths)
    for a, b in zip([y, *listed(last)], [y64, *listed(last64)], strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_in_two_pieces_is_the_whole(kind):
    """The state is a value; detached, gradients end there: truncated backpropagation."""
    rng = np.random.default_rng(0)
    layer = getattr(nn, kind)(3, 4, 2).double()
    x = random(rng, 6, 2, 3)
    whole, last = layer(x)
    first, middle = layer(x[:4])
    second, end = layer(x[4:], middle)
    np.testing.assert_allclose(
        whole.detach().numpy(), np.concatenate([first.detach().numpy(), second.detach().numpy()]), atol=1e-13
    )
    for a, b in zip(listed(last), listed(end), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), atol=1e-13)
    cut = tuple(s.detach() for s in listed(middle))
    layer(x[4:], cut if kind == "LSTM" else cut[0])[0].sum().backward()
    assert not np.asarray(x.grad)[:4].any()
    assert np.asarray(x.grad)[4:].any()


def test_the_textbooks_one_matrix_is_the_checkpoints_two():
    rng = np.random.default_rng(0)
    x, h, w_ih, w_hh = (random(rng, *shape) for shape in ((5, 3), (5, 4), (16, 3), (16, 4)))
    b_ih, b_hh = random(rng, 16), random(rng, 16)
    w = minidl.cat([w_hh, w_ih], dim=1)
    expected = sums(x, h, w_ih, w_hh, b_ih, b_hh)
    np.testing.assert_allclose(joined(x, h, w, b_ih + b_hh).detach().numpy(), expected.detach().numpy(), atol=1e-13)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("bias", [True, False])
def test_one_hot_rows_are_multiplied_as_others_are(kind, bias):
    """Rows with a single 1 look up columns of weight_ih; twice such rows half of it are a product, as any others."""
    rng = np.random.default_rng(3)
    results = []
    layer = LAYERS[kind](50, 64, bias=bias, dtype=minidl.float64)
    x, g = np.eye(50)[rng.integers(0, 50, (40, 9))], None
    for factor in (1, 2):
        layer.zero_grad()
        with minidl.no_grad():
            layer.weight_ih_l0 /= factor
        input = minidl.tensor(x * factor, requires_grad=True)
        output, _ = layer(input)
        g = random(rng, *output.shape) if g is None else g
        output.backward(g)
        results.append(
            (output.detach(), input.grad * factor, layer.weight_ih_l0.grad / factor, layer.weight_hh_l0.grad)
        )
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-11, atol=1e-12)


def test_weights_that_are_not_finite_show_in_every_row():
    layer = nn.RNN(3, 2)
    with minidl.no_grad():
        layer.weight_ih_l0[0, 2] = np.inf
    output, _ = layer(minidl.tensor(np.eye(3, dtype=np.float32)[[[0, 1]]]))
    assert output.isnan()[..., 0].all() and not output.isnan()[..., 1].any()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("lengths", [None, [40] * 5 + list(range(28, 0, -1)), [40, 30, 7]])
def test_any_number_of_threads_gives_the_same_bits(kind, lengths):
    """Whoever shares a thread, and so a tile, with a sequence."""
    minidl.manual_seed(0)
    layer, x = LAYERS[kind](16, 64, bidirectional=True), minidl.randn(40, 33 if lengths is None else len(lengths), 16)
    results, before = [], minidl.get_num_threads()
    try:
        for n in range(1, before + 1):
            minidl.set_num_threads(n)
            layer.zero_grad()
            y = layer(x, lengths=lengths)[0]
            (y * y).sum().backward()
            results.append([y.detach().numpy(), *(np.asarray(p.grad) for p in layer.parameters())])
    finally:
        minidl.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_nan_stays_in_its_sequence():
    x = np.zeros((3, 4, 2), np.float32)
    x[1, 2, 0] = np.nan
    for layer in LAYERS.values():
        y = layer(2, 5)(minidl.tensor(x))[0].detach().numpy()
        assert np.isnan(y[1:, 2]).all()
        assert np.isfinite(np.delete(y, 2, axis=1)).all()
        assert np.isfinite(y[0]).all()


def test_dropout_is_between_layers_and_only_in_training():
    minidl.manual_seed(0)
    layer, x = nn.GRU(3, 50, 2, dropout=0.5), minidl.ones(4, 2, 3)
    assert not np.array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())
    with pytest.warns(UserWarning, match="between layers"):
        nn.GRU(3, 4, dropout=0.5)


def test_lists_of_sequences():
    parts = [minidl.tensor([[1.0], [2.0]]), minidl.tensor([[3.0]]), minidl.tensor([[4.0], [5.0], [6.0]])]
    padded = pad_sequence(parts, batch_first=True, padding_value=-1.0)
    assert padded[:, :, 0].tolist() == [[1, 2, -1], [3, -1, -1], [4, 5, 6]]
    for a, b in zip(unpad_sequence(padded, [2, 1, 3], batch_first=True), parts, strict=True):
        assert a.tolist() == b.tolist()
    assert pack_sequence(parts, enforce_sorted=False).batch_sizes.tolist() == [3, 2, 1]
    with pytest.raises(ValueError, match="must not grow"):
        pack_sequence(parts)


X = np.zeros((4, 3, 2), np.float32)
BAD_LENGTHS = [
    ([4, 0, 2], ValueError, r"lengths must be in 1\.\.4"),
    ([5, 1, 1], ValueError, r"lengths must be in 1\.\.4"),
    ([4, 2], ValueError, "lengths of 3 sequences"),
    ([4.0, 2.0, 1.0], TypeError, "integers"),
    ("abc", TypeError, "integers"),
]


@pytest.mark.parametrize(("lengths", "error", "message"), BAD_LENGTHS)
def test_bad_lengths(lengths, error, message):
    with pytest.raises(error, match=message):
        nn.LSTM(2, 5)(minidl.tensor(X), lengths=lengths)


def test_bad_input():
    lstm, x = nn.LSTM(2, 5), minidl.tensor(X)
    h = minidl.zeros(1, 3, 5)
    for call, error, message in (
        (lambda: lstm(minidl.zeros(4, 3, 3)), ValueError, "expects input"),
        (lambda: lstm(x.double()), TypeError, "float64"),
        (lambda: lstm(x[:0]), ValueError, "no time steps"),
        (lambda: lstm(X), TypeError, "ndarray"),
        (lambda: lstm(x, h), TypeError, "pair"),
        (lambda: lstm(x, (h, h[:, :2])), ValueError, r"c must have shape \(1, 3, 5\)"),
        (lambda: lstm(x, (h.double(), h)), TypeError, "h is float64"),
        (lambda: nn.LSTM(2, 0), ValueError, "hidden_size"),
        (lambda: nn.LSTM(2, 4, proj_size=4), ValueError, "proj_size"),
        (lambda: nn.RNN(2, 4, nonlinearity="sin"), ValueError, "nonlinearity"),
        (lambda: nn.GRU(2, 4, dropout=2.0), ValueError, "dropout must be in"),
        (lambda: nn.LSTMCell(2, 4)(minidl.zeros(3, 2), (h, h)), ValueError, "h must have shape"),
        (lambda: pad_packed_sequence(x), TypeError, "PackedSequence"),
        (lambda: pack_padded_sequence(x, [1, 2, 3]), ValueError, "must not grow"),
        (lambda: lstm(PackedSequence(x[0], minidl.tensor([1, 2]))), ValueError, "batch_sizes"),
    ):
        with pytest.raises(error, match=message):
            call()


def test_operations_check_their_weights():
    x, h = minidl.zeros(4, 3, 2), minidl.zeros(3, 5)
    w_ih, w_hh = minidl.zeros(15, 2), minidl.zeros(15, 5)
    with pytest.raises(ValueError, match="weight_ih must have shape"):
        F.gru(x, h, w_ih[:, :1], w_hh)
    with pytest.raises(ValueError, match=r"weight_hh must be a matrix, not of shape \(\)"):
        F.gru(x, h, w_ih, minidl.tensor(1.0))
    with pytest.raises(ValueError, match=r"weight_hr must be a matrix, not of shape \(\)"):
        F.lstm(x, h, h, minidl.zeros(20, 2), minidl.zeros(20, 5), weight_hr=minidl.tensor(1.0))
    assert F.gru(x[:, :, :0], h, w_ih[:, :0], w_hh)[0].shape == (4, 3, 5), "a clock may be all that drives it"
    with pytest.raises(ValueError, match="given together"):
        F.gru(x, h, w_ih, w_hh, minidl.zeros(15))
    with pytest.raises(ValueError, match=r"weight_hr must have shape \(5, 6\)"):
        F.lstm(x, h, minidl.zeros(3, 6), minidl.zeros(24, 2), minidl.zeros(24, 5), weight_hr=minidl.zeros(4, 6))
    with pytest.raises(ValueError, match=r"c must have shape \(3, 6\)"):
        F.lstm(x, h, h, minidl.zeros(24, 2), minidl.zeros(24, 5), weight_hr=minidl.zeros(5, 6))
    with pytest.raises(ValueError, match="weight_hr must not be empty"):
        F.lstm(x, h[:, :0], h, minidl.zeros(20, 2), minidl.zeros(20, 0), weight_hr=minidl.zeros(0, 5))
    with pytest.raises(ValueError, match="never grow"):
        F.gru(x[0], h, w_ih, w_hh, batch_sizes=[1, 2])
    with pytest.raises(TypeError, match="integers"):
        F.gru(x[0], h, w_ih, w_hh, batch_sizes=[1.5, 1.5])


def test_an_empty_batch():
    output, h = nn.GRU(2, 5, bidirectional=True)(minidl.zeros(4, 0, 2))
    assert output.shape == (4, 0, 10)
    assert h.shape == (2, 0, 5)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("reverse", [False, True])
def test_an_empty_batch_sends_back_zeros(kind, reverse):
    layer, x = kind(2, 5, bidirectional=reverse), minidl.zeros(4, 0, 2, requires_grad=True)
    layer(x)[0].sum().backward()
    assert x.grad.shape == (4, 0, 2)
    for parameter in layer.parameters():
        assert parameter.grad.shape == parameter.shape and not parameter.grad.numpy().any()
