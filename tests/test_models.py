"""LeNet: the figure's shapes, images of other sizes, gradients, wrong shapes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl.models import LeNet
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
