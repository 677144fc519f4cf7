"""Modules beside PyTorch's: names of the state, outputs, gradients, `repr`, and the spread of initial values."""

import inspect
import math

import numpy as np
import pytest

import minidl
from minidl import nn

torch = pytest.importorskip("torch")

IMAGES = (3, 4, 7, 6)
FRAMES = ("Reflection", "Replication", "Circular")
LAYERS = [
    ("Linear", (6, 5), {}, IMAGES),
    ("Linear", (6, 5, False), {}, (6,)),
    ("Identity", (), {}, IMAGES),
    ("Flatten", (), {}, IMAGES),
    ("Flatten", (0, 2), {}, IMAGES),
    ("Unflatten", (1, (2, -1)), {}, IMAGES),
    ("Conv2d", (4, 6, 3), {}, IMAGES),
    ("Conv2d", (4, 6, (3, 2), (2, 1), (1, 2), (1, 2), 2, False), {}, IMAGES),
    ("Conv2d", (4, 6, (4, 3)), {"padding": "same", "dilation": (1, 2)}, IMAGES),
    ("Conv2d", (4, 4, 3), {"padding": "valid", "groups": 4}, IMAGES),
    *(("Conv2d", (4, 2, (3, 5)), {"padding": (1, 2), "padding_mode": m}, IMAGES) for m in ("reflect", "replicate")),
    *(("Conv2d", (4, 2, (4, 3)), {"padding": "same", "padding_mode": m}, IMAGES) for m in ("reflect", "circular")),
    ("Conv1d", (4, 6, 3), {}, (3, 4, 7)),
    ("Conv1d", (4, 6, (2,), 2, (3,), 2, 2, False), {}, (3, 4, 9)),
    ("Conv1d", (4, 4, 4), {"padding": "same", "dilation": 2, "groups": 4}, (2, 4, 11)),
    ("Conv1d", (4, 2, 3), {"padding": "valid"}, (4, 7)),
    *(("Conv1d", (4, 2, 4), {"padding": 2, "padding_mode": m}, (2, 4, 7)) for m in ("reflect", "replicate")),
    *(("Conv1d", (4, 2, 4), {"padding": "same", "padding_mode": m}, (4, 7)) for m in ("reflect", "circular")),
    ("ConvTranspose2d", (4, 6, 3), {}, IMAGES),
    ("ConvTranspose2d", (4, 6, (3, 2), (2, 3), (1, 0), (1, 2), 2, False, (1, 2)), {}, IMAGES),
    ("ConvTranspose2d", (4, 6, 1, 2), {"padding": 3, "output_padding": 1}, IMAGES[1:]),
    ("ConvTranspose1d", (4, 6, 4, 2, 1), {}, (2, 4, 7)),
    ("ConvTranspose1d", (4, 6, 2, 1, 1, 2), {"dilation": 3, "groups": 2}, (4, 5)),
    ("MaxPool2d", (2,), {}, IMAGES),
    ("MaxPool2d", ((3, 2), (2, 1), (1, 0), (1, 2)), {"ceil_mode": True}, IMAGES),
    ("AvgPool2d", (2,), {}, IMAGES),
    ("AvgPool2d", ((3, 2), 2, 1, True, False), {}, IMAGES),
    ("AvgPool2d", (3,), {"divisor_override": 5}, IMAGES),
    *(("Upsample", (s, f, m), {}, IMAGES) for m in ("nearest", "area", "bilinear") for s, f in ((9, None), (None, 2))),
    *(("Upsample", (None, (1.7, 0.6), m), {}, IMAGES) for m in ("nearest", "nearest-exact", "bilinear")),
    *(("Upsample", (None, (1.1, 2.15), m), {}, IMAGES) for m in ("nearest", "nearest-exact", "bilinear")),
    ("Upsample", ((4, 13), None, "bilinear", True), {}, IMAGES),
    ("Upsample", (1, None, "bilinear", True), {}, IMAGES),
    ("Upsample", (None, (1.7, 0.6), "bilinear", False, True), {}, IMAGES),
    *(("Upsample", (None, 2.3, m), {}, (2, 4, 7)) for m in ("nearest", "nearest-exact", "linear")),
    ("Unfold", ((2, 3),), {}, IMAGES),
    ("Unfold", (2, (1, 2), (1, 0), (2, 1)), {}, IMAGES[1:]),
    ("Fold", ((3, 4), 2), {}, (2, 12, 6)),
    ("Fold", ((5, 4), (3, 2), 1, 1, 2), {}, (6, 9)),
    ("PixelShuffle", (2,), {}, IMAGES),
    ("PixelUnshuffle", (3,), {}, (2, 4, 9, 6)),
    *((f"{n}Pad2d", (p,), {}, IMAGES) for n in ("Zero", *FRAMES) for p in (2, (1, 2, 0, 3), (-1, 2, 1, -2))),
    *((f"{n}Pad1d", (p,), {}, (2, 4, 5)) for n in ("Zero", *FRAMES) for p in (2, (1, -2))),
    *((f"{n}Pad2d", (1,), {}, IMAGES[1:]) for n in FRAMES),
    *((f"ConstantPad{n}d", (1, 3.5), {}, (2, 4, 5)) for n in (1, 2)),
    ("AdaptiveAvgPool2d", (2,), {}, IMAGES),
    ("AdaptiveAvgPool2d", ((None, 4),), {}, IMAGES),
    ("AdaptiveAvgPool1d", (3,), {}, (2, 4, 7)),
    ("AdaptiveAvgPool1d", (5,), {}, (4, 3)),
    ("AdaptiveMaxPool2d", (2,), {}, IMAGES),
    ("AdaptiveMaxPool2d", ((None, 4),), {}, IMAGES),
    ("AdaptiveMaxPool1d", (3,), {}, (2, 4, 7)),
    ("AdaptiveMaxPool1d", (5,), {}, (4, 3)),
    ("MaxPool1d", (2,), {}, (2, 4, 7)),
    ("MaxPool1d", (3, 2, 1, 2), {"ceil_mode": True}, (4, 11)),
    ("AvgPool1d", (2,), {}, (2, 4, 7)),
    ("AvgPool1d", ((3,), 2, 1, True, False), {}, (4, 11)),
    ("BatchNorm1d", (4,), {}, (5, 4)),
    ("BatchNorm1d", (4,), {"momentum": None, "eps": 0.1}, (5, 4, 3)),
    ("BatchNorm2d", (4,), {"momentum": 0.3}, IMAGES),
    ("BatchNorm2d", (4,), {"affine": False, "track_running_stats": False}, IMAGES),
    ("BatchNorm2d", (4,), {"bias": False}, IMAGES),
    ("GroupNorm", (2, 4), {}, IMAGES),
    ("GroupNorm", (4, 4, 0.1), {"bias": False}, (5, 4)),
    ("GroupNorm", (1, 4), {"affine": False}, (2, 4, 3)),
    ("InstanceNorm1d", (4,), {"affine": True, "track_running_stats": True}, (3, 4, 5)),
    ("InstanceNorm1d", (4,), {"track_running_stats": True}, (4, 5)),
    ("InstanceNorm1d", (4, 0.1, 0.3), {}, (4, 5)),
    ("InstanceNorm2d", (4, 1e-5, None), {"track_running_stats": True}, IMAGES),
    ("InstanceNorm2d", (4,), {"affine": True, "bias": False}, IMAGES[1:]),
    ("RMSNorm", (6,), {}, IMAGES),
    ("RMSNorm", ((7, 6), 0.1), {}, IMAGES),
    ("RMSNorm", ([6], 0.1, False), {}, IMAGES),
    ("Dropout", (0.0,), {}, IMAGES),
    ("Dropout2d", (0.0,), {}, IMAGES),
    *(
        (name, (), {}, IMAGES)
        for name in ("ReLU", "LeakyReLU", "PReLU", "ReLU6", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish")
    ),
    *((name, (), {}, IMAGES) for name in ("Sigmoid", "LogSigmoid", "Hardsigmoid", "Hardswish", "Tanh", "Hardtanh")),
    *((name, (), {}, IMAGES) for name in ("Softplus", "Softsign", "Tanhshrink", "Softshrink", "Hardshrink")),
    ("LeakyReLU", (0.3,), {}, IMAGES),
    ("PReLU", (4, 0.1), {}, IMAGES),
    ("LayerNorm", (6,), {}, IMAGES),
    ("LayerNorm", ((7, 6), 0.1), {"bias": False}, IMAGES),
    ("LayerNorm", ([6], 0.1, False), {}, IMAGES),
    ("ELU", (0.5,), {}, IMAGES),
    ("CELU", (0.5,), {}, IMAGES),
    ("GELU", ("tanh",), {}, IMAGES),
    ("Hardtanh", (-0.5, 0.7), {}, IMAGES),
    ("Softplus", (2.0, 1.0), {}, IMAGES),
    ("Softshrink", (0.1,), {}, IMAGES),
    ("Hardshrink", (0.1,), {}, IMAGES),
    ("Threshold", (0.1, 20.0), {}, IMAGES),
    ("GLU", (1,), {}, IMAGES),
    *((name, (), {"dim": 1}, IMAGES) for name in ("Softmax", "LogSoftmax", "Softmin")),
]


def build(name, args, kwargs):
    """Both modules with the same values, in float64."""
    ours, theirs = getattr(nn, name)(*args, **kwargs).double(), getattr(torch.nn, name)(*args, **kwargs).double()
    rng = np.random.default_rng(0)
    state = {
        k: (rng.uniform(0.5, 1.5, v.shape) if v.is_floating_point() else np.asarray(3))
        for k, v in theirs.state_dict().items()
    }
    assert list(ours.state_dict()) == list(state)
    for key, value in theirs.state_dict().items():
        assert ours.state_dict()[key].shape == tuple(value.shape), key
    ours.load_state_dict(state)
    theirs.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    return ours, theirs


def compare(ours, theirs, *arrays, targets=(), rtol=1e-8):
    """Outputs, gradients of inputs and parameters, and the state afterwards."""
    xs = [minidl.tensor(a, requires_grad=True) for a in arrays]
    ys = [torch.tensor(a, requires_grad=True) for a in arrays]
    a, b = ours(*xs, *map(minidl.tensor, targets)), theirs(*ys, *map(torch.tensor, targets))
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-11)
    g = np.random.default_rng(1).standard_normal(a.shape)
    a.backward(minidl.tensor(g))
    b.backward(torch.tensor(g))
    for p, q in zip([*xs, *ours.parameters()], [*ys, *theirs.parameters()], strict=True):
        np.testing.assert_allclose(np.asarray(p.grad), q.grad.numpy(), rtol=rtol, atol=1e-10)
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(np.asarray(ours.state_dict()[key]), value.numpy(), rtol=1e-10, err_msg=key)


@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), LAYERS)
@pytest.mark.filterwarnings("ignore:Using padding:UserWarning")
def test_layers(name, args, kwargs, shape):
    ours, theirs = build(name, args, kwargs)
    rtol = 1e-7 if name == "Hardsigmoid" else 1e-8  # PyTorch's slope is 1/6 in float32, even of float64
    for seed in range(2):
        compare(ours, theirs, np.random.default_rng(seed).standard_normal(shape), rtol=rtol)
    ours.eval(), theirs.eval()
    compare(ours, theirs, np.random.default_rng(2).standard_normal(shape), rtol=rtol)


def test_size_of_a_transposed_convolution():
    x = np.zeros((2, 4, 5, 6), np.float32)
    ours, theirs = (library.ConvTranspose2d(4, 3, 3, 2, 1) for library in (nn, torch.nn))
    for size in ([9, 12], (10, 11), (2, 3, 10, 12)):
        assert ours(minidl.tensor(x), size).shape == tuple(theirs(torch.tensor(x), size).shape)
    for size in ((8, 11), (9, 13), (9,), (3, 9, 12)):
        with pytest.raises(ValueError, match="output_size"):
            ours(minidl.tensor(x), size)
        with pytest.raises(ValueError, match=r"output.size"):
            theirs(torch.tensor(x), size)


@pytest.mark.parametrize(
    ("name", "args", "shape"),
    [
        *(("MaxPool2d", (3, 2, 1), shape) for shape in (IMAGES, IMAGES[1:])),
        *(("MaxPool1d", (3, 2, 1), shape) for shape in ((2, 4, 7), (4, 7))),
        *(("AdaptiveMaxPool2d", ((3, 5),), shape) for shape in (IMAGES, IMAGES[1:])),
        *(("AdaptiveMaxPool1d", (5,), shape) for shape in ((2, 4, 7), (4, 3))),
    ],
)
def test_indices_of_maxima(name, args, shape):
    x = np.random.default_rng(0).integers(0, 4, shape) * 1.0  # with ties, where the first counts
    a = getattr(nn, name)(*args, return_indices=True)(minidl.tensor(x))
    b = getattr(torch.nn, name)(*args, return_indices=True)(torch.tensor(x))
    for ours, theirs in zip(a, b, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


WEIGHT = np.array([0.5, 2.0, 1.0, 0.1])
LABELS = np.array([3, 0, -1, 1, 2])
LOSSES = [
    *(("CrossEntropyLoss", o, "labels") for o in ({}, {"label_smoothing": 0.2})),
    *((name, {"weight": WEIGHT, "ignore_index": -1}, "labels") for name in ("CrossEntropyLoss", "NLLLoss")),
    *((name, {}, "values") for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCEWithLogitsLoss")),
    ("SmoothL1Loss", {"beta": 0.3}, "values"),
    ("HuberLoss", {"delta": 0.3}, "values"),
    ("BCEWithLogitsLoss", {"weight": WEIGHT, "pos_weight": WEIGHT[::-1].copy()}, "values"),
    ("BCELoss", {}, "probabilities"),
    ("BCELoss", {"weight": WEIGHT}, "probabilities"),
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("name", "options", "kind"), LOSSES)
def test_losses(name, options, kind, reduction):
    modules = []
    for library, tensor in ((nn, minidl.tensor), (torch.nn, torch.tensor)):
        converted = {k: tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        modules.append(getattr(library, name)(reduction=reduction, **converted))
    ours, theirs = modules
    assert list(ours.state_dict()) == list(theirs.state_dict())
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 0.9, (5, 4)) if kind == "probabilities" else rng.standard_normal((5, 4))
    labels = LABELS if "ignore_index" in options else LABELS % 4
    target = labels if kind == "labels" else rng.uniform(0, 1, (5, 4))
    compare(ours, theirs, x, targets=[target])


SIGNS = np.array([1.0, -1, -1, 1, -1])


@pytest.mark.parametrize(
    ("name", "options", "count", "targets"),
    [
        *(("KLDivLoss", {"reduction": r}, 1, [np.full((5, 4), 0.25)]) for r in ("batchmean", "sum", "none")),
        *(("KLDivLoss", {"reduction": r, "log_target": True}, 2, []) for r in ("batchmean", "none")),
        ("CosineSimilarity", {}, 2, []),
        ("CosineSimilarity", {"dim": 0}, 2, []),
        ("PairwiseDistance", {}, 2, []),
        ("PairwiseDistance", {"p": 3.0, "eps": 0.1, "keepdim": True}, 2, []),
        *(("TripletMarginLoss", {"reduction": r}, 3, []) for r in ("mean", "sum", "none")),
        ("TripletMarginLoss", {"margin": 0.3, "p": 1.0, "swap": True}, 3, []),
        *(("CosineEmbeddingLoss", {"reduction": r}, 2, [SIGNS]) for r in ("mean", "sum", "none")),
        ("CosineEmbeddingLoss", {"margin": -0.5}, 2, [SIGNS]),
        *(("MarginRankingLoss", {"reduction": r, "margin": 0.2}, 2, [SIGNS[:, None]]) for r in ("mean", "none")),
    ],
)
def test_distributions_and_vectors(name, options, count, targets):
    rng = np.random.default_rng(0)
    ours, theirs = (getattr(library, name)(**options) for library in (nn, torch.nn))
    compare(ours, theirs, *(rng.standard_normal((5, 4)) for _ in range(count)), targets=targets)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("options", [{}, {"p": 1}, {"p": 3.0, "dim": -1}, {"dim": 0, "eps": 5.0}])
def test_normalize(options):
    x = np.random.default_rng(0).standard_normal((5, 4))
    x[2] = 0
    functions = nn.functional.normalize, torch.nn.functional.normalize
    a, b = (f(tensor(x), **options) for f, tensor in zip(functions, (minidl.tensor, torch.tensor), strict=True))
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


@pytest.mark.parametrize(("name", "args", "kwargs"), [(n, a, k) for n, a, k, _ in LAYERS])
def test_reprs(name, args, kwargs):
    ours, theirs = repr(getattr(nn, name)(*args, **kwargs)), repr(getattr(torch.nn, name)(*args, **kwargs))
    assert ours == theirs.replace(", inplace=False", "")


@pytest.mark.parametrize(
    ("name", "args", "fan_in"),
    [
        ("Linear", (400, 300), 400),
        ("Conv1d", (64, 96, 15), 64 * 15),
        ("Conv2d", (64, 96, (3, 5)), 64 * 15),
        ("Conv2d", (64, 96, 3, 1, 0, 1, 4), 16 * 9),
        ("ConvTranspose2d", (64, 96, 3, 1, 0, 0, 4), 24 * 9),
    ],
)
def test_initial_values_are_spread_as_in_pytorch(name, args, fan_in):
    minidl.manual_seed(0)
    torch.manual_seed(0)
    bound = 1 / math.sqrt(fan_in)
    for layer in (getattr(nn, name)(*args), getattr(torch.nn, name)(*args)):
        for p, near in ((layer.weight, 0.999), (layer.bias, 0.9)):
            values = p.detach().numpy()
            assert near * bound < np.abs(values).max() <= bound * (1 + 1e-6)
            assert abs(values.std() / (bound / math.sqrt(3)) - 1) < 0.1
            assert abs(values.mean()) < 0.15 * bound


@pytest.mark.parametrize("name", [name for name in nn.__all__ if hasattr(torch.nn, name)])
def test_signatures(name):
    """Ours are PyTorch's, in its order, without what minidl does not have."""
    ours, theirs = (getattr(library, name) for library in (nn, torch.nn))
    if not inspect.isclass(ours) or name in ("Module", "Parameter", "Sequential", "Identity", "LSTM", "GRU", "RNN"):
        return
    left_out = {"device", "inplace", "size_average", "reduce", "min_value", "max_value", "dtype", "args", "kwargs"}
    left_out |= {"_weight", "_freeze"}
    pairs = [inspect.signature(cls).parameters for cls in (ours, theirs)]
    mine, expected = ([p for p in parameters if p not in left_out] for parameters in pairs)
    assert mine == expected
    assert ("dtype" in pairs[0]) == ("dtype" in pairs[1])
    for argument in mine:
        ours, theirs = (parameters[argument].default for parameters in pairs)
        if callable(ours) and not inspect.isclass(ours):
            ours, theirs = ours.__name__, theirs.__name__
        assert ours == theirs or ours is theirs, argument
