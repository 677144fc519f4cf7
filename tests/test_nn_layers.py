"""Layers: closed forms, training and evaluation, and bad input."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import nn
from minidl.nn import functional as F

RNG = np.random.default_rng(0)


def t(*values, dtype=np.float64):
    return minidl.tensor(np.array(values, dtype))


def assert_equal(found, expected, tolerance=1e-12):
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=tolerance, atol=tolerance)


# Linear and shapes


def test_linear():
    layer = nn.Linear(3, 2, dtype=minidl.float64)
    x = RNG.standard_normal((4, 5, 3))
    assert_equal(layer(minidl.tensor(x)), x @ layer.weight._array.T + layer.bias._array)
    layer = nn.Linear(3, 2, bias=False)
    assert layer.bias is None and list(layer.state_dict()) == ["weight"] and layer.weight.dtype == np.float32
    assert nn.Linear(0, 2)(minidl.zeros(3, 0)).shape == (3, 2)
    assert nn.Linear(2, 0)(minidl.zeros(3, 2)).shape == (3, 0)


def test_seeds_decide_on_initial_values():
    states = []
    for _ in range(2):
        minidl.manual_seed(5)
        states.append(nn.Sequential(nn.Linear(3, 2), nn.Conv2d(2, 3, 3)).state_dict())
    for a, b in zip(*(state.values() for state in states), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (states[0]["0.weight"] != nn.Linear(3, 2).weight.detach()).any()


@pytest.mark.parametrize(("layer", "fan_in"), [(nn.Linear(9, 400), 9), (nn.Conv2d(4, 200, (3, 2), groups=2), 12)])
def test_initial_values_fill_their_interval(layer, fan_in):
    layer.reset_parameters()  # from the test's own seed: one draw in eighty leaves an end of the interval empty
    bound = 1 / math.sqrt(fan_in)
    for p in layer.parameters():
        assert 0.95 * bound < p._array.max() <= bound and -0.95 * bound > p._array.min() >= -bound
    layer.weight._array[...] = 0
    layer.reset_parameters()
    assert (layer.weight != 0).any()


def test_flatten_and_unflatten():
    x = minidl.zeros(2, 3, 4, 5)
    assert nn.Flatten()(x).shape == (2, 60)
    assert nn.Flatten(0, -2)(x).shape == (24, 5)
    assert nn.Unflatten(1, (3, -1))(nn.Flatten()(x)).shape == (2, 3, 20)
    assert nn.Unflatten(-1, [5, 1])(x).shape == (2, 3, 4, 5, 1)
    assert nn.Identity(1, two=2)(x) is x


# Convolution


PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap", "zeros": "constant"}


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(list(PAD_MODES)),
    st.tuples(st.integers(1, 3), st.integers(1, 4)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.integers(0, 2), st.integers(0, 3)) | st.sampled_from(["same", "valid"]),
    st.integers(0, 2**31),
)
def test_padding_modes_are_numpys(mode, size, dilation, padding, seed):
    x = np.random.default_rng(seed).standard_normal((2, 4, 6, 7))
    conv = nn.Conv2d(4, 6, size, 1, padding, dilation, 2, padding_mode=mode, dtype=minidl.float64)
    if padding == "same":
        totals = [d * (n - 1) for n, d in zip(size, dilation, strict=True)]
        borders = [(total // 2, total - total // 2) for total in totals]
    else:
        borders = [(p, p) for p in ((0, 0) if padding == "valid" else padding)]
    padded = np.pad(x, [(0, 0), (0, 0), *borders], mode=PAD_MODES[mode])
    expected = F.conv2d(minidl.tensor(padded), conv.weight, conv.bias, dilation=dilation, groups=2)
    found = conv(minidl.tensor(x))
    assert_equal(found, expected.detach().numpy())
    if padding == "same":
        assert found.shape == (2, 6, 6, 7)


def test_conv_without_batch_and_with_an_empty_one():
    conv = nn.Conv2d(3, 4, 3)
    assert conv(minidl.zeros(3, 8, 8)).shape == (4, 6, 6)
    assert conv(minidl.zeros(0, 3, 8, 8)).shape == (0, 4, 6, 6)
    assert nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")(minidl.zeros(3, 8, 8)).shape == (4, 8, 8)


# Pooling


def test_pooling():
    x = minidl.tensor(np.arange(24.0).reshape(1, 1, 4, 6))
    assert nn.MaxPool2d(2)(x).tolist() == [[[[7, 9, 11], [19, 21, 23]]]]
    assert nn.AvgPool2d(2)(x).tolist() == [[[[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]]]
    assert nn.AvgPool2d((2, 6), divisor_override=1)(x).tolist() == [[[[66], [210]]]]
    assert nn.AdaptiveAvgPool2d((1, 2))(x).tolist() == [[[[10, 13]]]]
    values, indices = nn.MaxPool2d((4, 3), return_indices=True)(x)
    assert values.tolist() == [[[[20, 23]]]] and indices.tolist() == [[[[20, 23]]]]
    assert nn.MaxPool2d(3, 2, 1, ceil_mode=True)(x).shape == (1, 1, 3, 4)


# Batch norm


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([(nn.BatchNorm1d, (5, 3)), (nn.BatchNorm1d, (4, 3, 2)), (nn.BatchNorm2d, (2, 3, 4, 5))]),
    st.sampled_from([None, 0.1, 0.5, 1.0]),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_batch_norm(kind, momentum, affine, seed):
    cls, shape = kind
    rng = np.random.default_rng(seed)
    layer = cls(3, eps=0.01, momentum=momentum, affine=affine, dtype=minidl.float64)
    axes = (0, *range(2, len(shape)))
    column = (3, *(1,) * (len(shape) - 2))
    gamma, beta = np.ones(3), np.zeros(3)
    if affine:
        gamma, beta = rng.standard_normal((2, 3))
        layer.weight._array[...], layer.bias._array[...] = gamma, beta

    def normalised(x, mean, var):
        columns = (a.reshape(column) for a in (mean, var, gamma, beta))
        mean, var, scale, shift = columns
        return scale * (x - mean) / np.sqrt(var + 0.01) + shift

    running_mean, running_var = np.zeros(3), np.ones(3)
    for n in range(1, 4):
        x = rng.standard_normal(shape)
        mean, var = x.mean(axes), x.var(axes)
        assert_equal(layer(minidl.tensor(x)), normalised(x, mean, var), 1e-9)
        weight = 1 / n if momentum is None else momentum
        running_mean = (1 - weight) * running_mean + weight * mean
        running_var = (1 - weight) * running_var + weight * x.var(axes, ddof=1)
        assert_equal(layer.running_mean, running_mean, 1e-10)
        assert_equal(layer.running_var, running_var, 1e-10)
        assert layer.num_batches_tracked.item() == n
    layer.eval()
    x = rng.standard_normal(shape)
    assert_equal(layer(minidl.tensor(x)), normalised(x, running_mean, running_var), 1e-9)
    assert layer.num_batches_tracked.item() == 3
    layer.reset_running_stats()
    assert (layer.running_mean == 0).all() and (layer.running_var == 1).all() and not layer.num_batches_tracked.item()


def test_batch_norm_without_running_statistics_or_parameters():
    layer = nn.BatchNorm1d(2, affine=False, track_running_stats=False, dtype=minidl.float64).eval()
    assert list(layer.state_dict()) == []
    x = RNG.standard_normal((6, 2))
    assert_equal(layer(minidl.tensor(x)), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), 1e-9)
    assert list(nn.BatchNorm2d(2, bias=False).state_dict())[:2] == ["weight", "running_mean"]
    assert nn.BatchNorm2d(2).state_dict()["num_batches_tracked"].shape == ()


def test_a_batch_that_fails_is_not_counted():
    layer = nn.BatchNorm2d(3)
    for shape in ((2, 4, 5, 5), (1, 3, 1, 1)):
        with pytest.raises(ValueError, match="batch_norm"):
            layer(minidl.zeros(shape))
    with pytest.raises(ValueError, match="BatchNorm2d: expected x with 4 dimensions"):
        layer(minidl.zeros(2, 3))
    with pytest.raises(TypeError, match="BatchNorm2d: input must be a Tensor"):
        layer([1.0])
    assert layer.num_batches_tracked.item() == 0 and (layer.running_mean == 0).all()


# Dropout


@pytest.mark.parametrize("cls", [nn.Dropout, nn.Dropout2d])
def test_dropout(cls):
    layer = cls(0.25)
    x = minidl.ones(60, 60, 2, 3)
    minidl.manual_seed(0)
    y = layer(x).numpy()
    assert set(np.unique(y)) == {0, np.float32(4 / 3)}
    whole_channels = (y == y[:, :, :1, :1]).all()
    assert whole_channels == (cls is nn.Dropout2d)
    assert abs((y == 0).mean() - 0.25) < 0.04
    minidl.manual_seed(0)
    np.testing.assert_array_equal(layer(x).numpy(), y)
    assert not np.array_equal(layer(x).numpy(), y)
    assert (cls(1.0)(x) == 0).all() and (cls(0)(x) == 1).all()
    assert (layer.eval()(x) == 1).all()


# Activations


ACTIVATIONS = {
    nn.ReLU(): lambda x: max(x, 0),
    nn.LeakyReLU(0.2): lambda x: x if x > 0 else 0.2 * x,
    nn.PReLU(init=0.2, dtype=minidl.float64): lambda x: x if x > 0 else 0.2 * x,
    nn.ReLU6(): lambda x: min(max(x, 0), 6),
    nn.ELU(0.5): lambda x: x if x > 0 else 0.5 * math.expm1(x),
    nn.SELU(): lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    nn.CELU(0.5): lambda x: max(x, 0) + min(0, 0.5 * math.expm1(x / 0.5)),
    nn.GELU(): lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    nn.GELU("tanh"): lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    nn.SiLU(): lambda x: x / (1 + math.exp(-x)),
    nn.Mish(): lambda x: x * math.tanh(math.log1p(math.exp(x))),
    nn.Sigmoid(): lambda x: 1 / (1 + math.exp(-x)),
    nn.LogSigmoid(): lambda x: -math.log1p(math.exp(-x)),
    nn.Hardsigmoid(): lambda x: min(max(x + 3, 0), 6) / 6,
    nn.Hardswish(): lambda x: x * min(max(x + 3, 0), 6) / 6,
    nn.Tanh(): math.tanh,
    nn.Hardtanh(-0.5, 2): lambda x: min(max(x, -0.5), 2),
    nn.Softplus(): lambda x: math.log1p(math.exp(x)),
    nn.Softplus(2, 1): lambda x: x if 2 * x > 1 else math.log1p(math.exp(2 * x)) / 2,
    nn.Softsign(): lambda x: x / (1 + abs(x)),
    nn.Tanhshrink(): lambda x: x - math.tanh(x),
    nn.Softshrink(0.7): lambda x: math.copysign(max(abs(x) - 0.7, 0), x),
    nn.Hardshrink(0.7): lambda x: x if abs(x) > 0.7 else 0,
    nn.Threshold(0.3, 20): lambda x: x if x > 0.3 else 20,
}


@pytest.mark.parametrize(("layer", "formula"), ACTIVATIONS.items(), ids=map(repr, ACTIVATIONS))
def test_activations(layer, formula):
    x = np.array([-7.3, -2.9, -1.1, -0.6, -0.1, 0.2, 0.4, 0.9, 1.7, 3.1, 6.6])
    assert_equal(layer(minidl.tensor(x)), [formula(v) for v in x], 1e-9)


def test_prelu_and_glu():
    layer = nn.PReLU(2, 0.5)
    layer.weight._array[...] = [1, 2]
    assert layer(minidl.tensor([[-1.0, -1.0]])).tolist() == [[-1, -2]]
    layer.reset_parameters()
    assert layer.weight.tolist() == [0.5, 0.5]
    assert_equal(nn.GLU(0)(t(3, 0)), [1.5])


def test_softmaxes():
    x = RNG.standard_normal((3, 4))
    e = np.exp(x)
    assert_equal(nn.Softmax(1)(minidl.tensor(x)), e / e.sum(1, keepdims=True))
    assert_equal(nn.LogSoftmax(0)(minidl.tensor(x)), x - np.log(e.sum(0)))
    assert_equal(nn.Softmin(1)(minidl.tensor(x)), (1 / e) / (1 / e).sum(1, keepdims=True))


# Losses


def reduce(values, reduction):
    return {"none": values, "sum": values.sum(), "mean": values.mean()}[reduction]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses(reduction):
    x, y = RNG.standard_normal((2, 4, 3))
    p, q = RNG.uniform(0.1, 0.9, (2, 4, 3))
    d = np.abs(x - y)
    bce = -(q * np.log(p) + (1 - q) * np.log(1 - p))
    for loss, a, b, expected in (
        (nn.MSELoss, x, y, d**2),
        (nn.L1Loss, x, y, d),
        (nn.SmoothL1Loss, x, y, np.where(d < 1, d**2 / 2, d - 0.5)),
        (nn.HuberLoss, x, y, np.where(d <= 1, d**2 / 2, d - 0.5)),
        (nn.BCELoss, p, q, bce),
        (nn.BCEWithLogitsLoss, np.log(p / (1 - p)), q, bce),
    ):
        assert_equal(loss(reduction=reduction)(minidl.tensor(a), minidl.tensor(b)), reduce(expected, reduction), 1e-9)
    assert_equal(
        nn.SmoothL1Loss(reduction=reduction, beta=0.5)(minidl.tensor(x), minidl.tensor(y)),
        reduce(np.where(d < 0.5, d**2, d - 0.25), reduction),
    )
    assert_equal(
        nn.HuberLoss(reduction, 0.5)(minidl.tensor(x), minidl.tensor(y)),
        reduce(np.where(d <= 0.5, d**2 / 2, 0.5 * (d - 0.25)), reduction),
    )
    weight, positive = RNG.uniform(0.5, 2, (2, 3))
    bce = -weight * (positive * q * np.log(p) + (1 - q) * np.log(1 - p))
    loss = nn.BCEWithLogitsLoss(minidl.tensor(weight), reduction=reduction, pos_weight=minidl.tensor(positive))
    assert_equal(loss(minidl.tensor(np.log(p / (1 - p))), minidl.tensor(q)), reduce(bce, reduction), 1e-9)

    labels = np.array([2, 0, 1, 2])
    weight = np.array([1.0, 2.0, 0.5])
    logp = x - np.log(np.exp(x).sum(1, keepdims=True))
    picked = -logp[range(4), labels]
    target = minidl.tensor(labels)
    assert_equal(nn.CrossEntropyLoss(reduction=reduction)(minidl.tensor(x), target), reduce(picked, reduction))
    assert_equal(nn.NLLLoss(reduction=reduction)(minidl.tensor(logp), target), reduce(picked, reduction))
    smooth = 0.9 * picked + 0.1 * -logp.mean(1)
    found = nn.CrossEntropyLoss(reduction=reduction, label_smoothing=0.1)(minidl.tensor(x), target)
    assert_equal(found, reduce(smooth, reduction))
    counts = weight[labels] * (labels != 0)
    weighted = counts * picked
    expected = weighted.sum() / counts.sum() if reduction == "mean" else reduce(weighted, reduction)
    for cls, scores in ((nn.CrossEntropyLoss, x), (nn.NLLLoss, logp)):
        loss = cls(minidl.tensor(weight), ignore_index=0, reduction=reduction)
        assert_equal(loss(minidl.tensor(scores), target), expected)
        assert list(loss.state_dict()) == ["weight"]
