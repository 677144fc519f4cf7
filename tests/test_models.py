"""LeNet and ResNet: the figures' shapes, images of other sizes, gradients, wrong shapes, the benchmark's twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from benchmarks.models import lenet, resnet
from minidl import nn
from minidl.models import LeNet, ResNet, ResNet20
from minidl.models.resnet import Block
from minidl.nn import functional as F


def test_the_figure():
    """Figure 2 of the paper, layer by layer; its C3 is sparse and its S2, S4 have weights, so those counts differ."""
    model = LeNet()
    shapes = {name: t.shape for name, t in model.state_dict().items()}
    assert shapes == {
        "c1.weight": (6, 1, 5, 5),
        "c1.bias": (6,),
        "c3.weight": (16, 6, 5, 5),
        "c3.bias": (16,),
        "c5.weight": (120, 16, 5, 5),
        "c5.bias": (120,),
        "f6.weight": (84, 120),
        "f6.bias": (84,),
        "output.weight": (10, 84),
        "output.bias": (10,),
    }
    size = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    count = {layer: size[f"{layer}.weight"] + size[f"{layer}.bias"] for layer in ("c1", "c5", "f6")}
    assert count == {"c1": 156, "c5": 48120, "f6": 10164}  # as the paper counts
    x = F.max_pool2d(F.relu(model.c1(minidl.zeros(3, 1, 32, 32))), 2)
    assert x.shape == (3, 6, 14, 14)
    x = F.max_pool2d(F.relu(model.c3(x)), 2)
    assert x.shape == (3, 16, 5, 5) and model.c5(x).shape == (3, 120, 1, 1)


def test_mnist_takes_the_figure_from_c1_on():
    assert {name: t.shape for name, t in LeNet(image_size=28).state_dict().items()} == {
        name: t.shape for name, t in LeNet().state_dict().items()
    }


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 40), st.integers(4, 40), st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_images_of_any_size(height, width, channels, classes, n):
    model = LeNet(classes, channels, (height, width))
    assert model(minidl.zeros(n, channels, height, width)).shape == (n, classes)


def test_every_parameter_gets_a_gradient():
    minidl.manual_seed(0)
    model = LeNet(image_size=8, dtype=minidl.float64)
    logits = model(minidl.randn(16, 1, 8, 8, dtype=minidl.float64))
    F.cross_entropy(logits, minidl.arange(16) % 10).backward()
    for name, parameter in model.named_parameters():
        assert parameter.dtype == np.float64 and float(abs(parameter.grad).sum()) > 0, name


@pytest.mark.parametrize(
    "options", [{"image_size": 3}, {"image_size": (32, 2)}, {"in_channels": 0}, {"num_classes": 0}]
)
def test_refused(options):
    with pytest.raises(ValueError, match="LeNet: expects images of at least 4×4, a channel and a class"):
        LeNet(**options)


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 3, 32, 32), (2, 1, 28, 28)])
def test_wrong_images(shape):
    with pytest.raises(ValueError, match=r"LeNet: expects images \(N, 1, 32, 32\), got"):
        LeNet()(minidl.zeros(*shape))


# ResNet


@pytest.mark.parametrize(("n", "millions"), [(3, 0.27), (5, 0.46), (7, 0.66), (9, 0.85), (18, 1.7)])
def test_parameters_as_in_table_6(n, millions):
    count = sum(p.numel() for p in ResNet(n).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.05 if n == 18 else 0.006)


def test_resnet20_layer_by_layer():
    model = ResNet20()
    weights = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weights) == 20
    assert sum(p.numel() for p in model.parameters()) == 269_722
    assert all(not m.bias for m in weights[:-1]), "batch norm would take it away again"
    x = model.bn(model.conv(minidl.zeros(2, 3, 32, 32)))
    for stage, shape in (
        (model.stage1, (2, 16, 32, 32)),
        (model.stage2, (2, 32, 16, 16)),
        (model.stage3, (2, 64, 8, 8)),
    ):
        assert len(stage) == 3
        x = stage(x)
        assert x.shape == shape


def test_shortcut_takes_every_second_pixel_and_adds_empty_channels():
    block = Block(2, 5, stride=2)
    x = minidl.randn(3, 2, 5, 6)
    y = block.shortcut(x)
    assert y.shape == (3, 5, 3, 3) == block(x).shape
    np.testing.assert_array_equal(y[:, :2].numpy(), x.numpy()[:, :, ::2, ::2])
    assert not y[:, 2:].numpy().any()
    assert Block(4, 4).shortcut(x) is x


def test_block_is_its_formula():
    """y = relu(x + bn(conv(relu(bn(conv(x)))))): of x alone if the second batch norm scales by 0."""
    block = Block(4, 4)
    nn.init.zeros_(block.bn2.weight)
    x = minidl.randn(2, 4, 5, 5)
    np.testing.assert_allclose(block(x).detach().numpy(), np.maximum(x.numpy(), 0))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 2), st.integers(1, 13), st.integers(1, 13), st.integers(1, 4), st.integers(1, 5))
def test_resnet_takes_images_of_any_size(n, height, width, channels, classes):
    model = ResNet(n, classes, channels)
    assert model.eval()(minidl.zeros(2, channels, height, width)).shape == (2, classes)


def test_every_parameter_of_resnet_gets_a_gradient():
    model = ResNet(1, dtype=minidl.float64)
    x = minidl.randn(8, 3, 8, 8, dtype=minidl.float64)
    F.cross_entropy(model(x), minidl.arange(8) % 10).backward()
    for name, parameter in model.named_parameters():
        assert parameter.dtype == np.float64 and float(abs(parameter.grad).sum()) > 0, name


def test_training_and_evaluation_differ_until_the_statistics_are_known():
    model = ResNet(1)
    x = minidl.randn(16, 3, 8, 8)
    with minidl.no_grad():
        before = model.eval()(x).numpy()
        trained = model.train()(x).numpy()
        assert not np.allclose(before, trained, rtol=1e-2)
        for _ in range(150):
            model(x)
        np.testing.assert_allclose(model.eval()(x).numpy(), trained, rtol=0.05, atol=0.05)
        np.testing.assert_array_equal(model(x).numpy(), model(x).numpy())
        one = model(x[:1]).numpy()
        np.testing.assert_allclose(one, model(x).numpy()[:1], rtol=1e-4, atol=1e-5)  # images do not see each other


def test_resnet_starts_as_the_paper_has_it():
    minidl.manual_seed(0)
    for module in ResNet20().modules():
        if isinstance(module, nn.Conv2d):
            fan_in = int(np.prod(module.weight.shape[1:]))
            assert module.weight.detach().numpy().std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.15)


@pytest.mark.parametrize("options", [{"n": 0}, {"in_channels": 0}, {"num_classes": 0}])
def test_resnet_refused(options):
    with pytest.raises(ValueError, match="ResNet: expects at least a block, a class and a channel, got n="):
        ResNet(**options)
    with pytest.raises(ValueError, match="Block: a shortcut cannot drop channels, but 4 should become 2"):
        Block(4, 2)


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 1, 32, 32)])
def test_wrong_images_for_resnet(shape):
    with pytest.raises(ValueError, match=r"ResNet: expects images \(N, 3, height, width\), got"):
        ResNet(1)(minidl.zeros(*shape))


# The twins that the benchmark builds of minidl's and of PyTorch's modules

TWINS = [(lenet, LeNet, {"image_size": 28}, (4, 1, 28, 28)), (resnet, ResNet20, {}, (4, 3, 16, 16))]


def state_of(model, seed=0):
    """Weights of the size that they start with."""
    rng = np.random.default_rng(seed)
    return {
        key: np.asarray(0)
        if key.endswith("tracked")
        else rng.standard_normal(shape) / np.prod(shape[1:]) ** 0.5
        if len(shape := tuple(value.shape)) > 1
        else rng.uniform(0.5, 1.5, shape)
        for key, value in model.state_dict().items()
    }


@pytest.mark.parametrize(("twin", "model", "options", "shape"), TWINS)
def test_twin_of_minidl(twin, model, options, shape):
    ours, theirs = model(**options, dtype=minidl.float64), twin(nn, F).double()
    state = state_of(ours)
    x = minidl.randn(*shape, dtype=minidl.float64)
    for module in (ours, theirs):
        module.load_state_dict(state)
    for training in (True, False):
        np.testing.assert_array_equal(
            ours.train(training)(x).detach().numpy(), theirs.train(training)(x).detach().numpy()
        )


@pytest.mark.parametrize(("twin", "model", "options", "shape"), TWINS)
def test_twin_of_pytorch(twin, model, options, shape):
    torch = pytest.importorskip("torch")
    ours, theirs = model(**options, dtype=minidl.float64), twin(torch.nn, torch.nn.functional).double()
    state = state_of(ours)
    ours.load_state_dict(state)
    theirs.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
    x = np.random.default_rng(0).standard_normal(shape)
    labels = np.arange(len(x))
    a, b = ours(minidl.tensor(x)), theirs(torch.tensor(x))
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-7, atol=1e-9)
    F.cross_entropy(a, minidl.tensor(labels)).backward()
    torch.nn.functional.cross_entropy(b, torch.tensor(labels)).backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(np.asarray(p.grad), q.grad.numpy(), rtol=1e-6, atol=1e-8, err_msg=name)
    with minidl.no_grad(), torch.no_grad():
        a, b = ours.eval()(minidl.tensor(x)), theirs.eval()(torch.tensor(x))
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-7, atol=1e-9)
