"""What layers say to arguments that make no sense: the layer or the operation, the argument, and the shapes."""

import math

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.nn import functional as F


def t(*values, dtype=np.float64):
    return minidl.tensor(np.array(values, dtype))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: nn.Linear(-1, 2), ValueError, "Linear: in_features must be at least 0, but is -1"),
        (lambda: nn.Linear(1.5, 2), TypeError, "Linear: in_features must be an int"),
        (lambda: nn.Linear(1, 2, dtype=minidl.int64), TypeError, "floating-point"),
        (lambda: nn.Flatten("x"), TypeError, "Flatten: start_dim"),
        (lambda: nn.Unflatten(1, 3), TypeError, "Unflatten: unflattened_size"),
        (lambda: nn.Unflatten(1, (-1, -1)), ValueError, "at most one -1"),
        (lambda: nn.Unflatten(1, (2, 2))(minidl.zeros(2, 5)), ValueError, "unflatten"),
        (lambda: nn.Conv2d(4, 6, 3, groups=3), ValueError, "Conv2d: groups=3 must divide in_channels=4"),
        (lambda: nn.Conv2d(4, 6, 3, groups=4), ValueError, "Conv2d: groups=4 must divide"),
        (lambda: nn.Conv2d(4, 6, 3, groups=0), ValueError, "Conv2d: groups must be at least 1"),
        (lambda: nn.Conv2d(0, 6, 3), ValueError, "Conv2d: in_channels must be at least 1"),
        (lambda: nn.Conv2d(4, 6, 0), ValueError, "Conv2d: kernel_size must be at least 1"),
        (lambda: nn.Conv2d(4, 6, 3, stride=0), ValueError, "Conv2d: stride must be at least 1"),
        (lambda: nn.Conv2d(4, 6, 3, padding=-1), ValueError, "Conv2d: padding must be at least 0"),
        (lambda: nn.Conv2d(4, 6, 3, padding="full"), ValueError, "'same', 'valid' or numbers"),
        (lambda: nn.Conv2d(4, 6, 3, stride=2, padding="same"), ValueError, "needs stride 1"),
        (lambda: nn.Conv2d(4, 6, 3, dilation=0), ValueError, "Conv2d: dilation must be at least 1"),
        (lambda: nn.Conv2d(4, 6, (3, 3, 3)), ValueError, "Conv2d: kernel_size"),
        (lambda: nn.Conv2d(4, 6, 3, padding_mode="mirror"), ValueError, "padding_mode must be one of"),
        (lambda: nn.Conv1d(4, 6, 3, groups=3), ValueError, "Conv1d: groups=3 must divide in_channels=4"),
        (lambda: nn.Conv1d(4, 6, (3, 3)), ValueError, "Conv1d: kernel_size must be an int or a sequence of one"),
        (lambda: nn.Conv1d(4, 6, 3, padding="full"), ValueError, "'same', 'valid' or numbers"),
        (lambda: nn.Conv1d(4, 6, 3, stride=2, padding="same"), ValueError, "needs stride 1"),
        (lambda: nn.Conv1d(4, 6, 3, padding_mode="mirror"), ValueError, "padding_mode must be one of"),
        (lambda: nn.Conv1d(4, 6, 3)(minidl.zeros(2, 3, 5)), ValueError, "conv1d: weight expects 4 input channels"),
        (lambda: nn.Conv1d(4, 6, 3)(minidl.zeros(2, 4, 2)), ValueError, "conv1d: the kernel"),
        (lambda: nn.Conv1d(4, 6, 3)(minidl.zeros(2, 4, 5, 5)), ValueError, r"conv1d: input must be \(N, C, T\)"),
        (lambda: nn.MaxPool2d(0), ValueError, "MaxPool2d: kernel_size must be at least 1"),
        (lambda: nn.MaxPool2d(2, 0), ValueError, "MaxPool2d: stride must be at least 1"),
        (lambda: nn.MaxPool2d(2, padding=2), ValueError, "MaxPool2d: padding=2 is more than half"),
        (lambda: nn.MaxPool2d(2, dilation=0), ValueError, "MaxPool2d: dilation"),
        (lambda: nn.AvgPool2d((2, 4), padding=(2, 0)), ValueError, "AvgPool2d: padding"),
        (lambda: nn.AvgPool2d(2, divisor_override=0), ValueError, "divisor_override must not be 0"),
        (lambda: nn.AdaptiveAvgPool2d(-1), ValueError, "AdaptiveAvgPool2d: output_size"),
        (lambda: nn.BatchNorm2d(-1), ValueError, "BatchNorm2d: num_features"),
        (lambda: nn.BatchNorm1d(3, eps=-1), ValueError, "BatchNorm1d: eps must not be negative"),
        (lambda: nn.BatchNorm1d(3, momentum="x"), TypeError, "BatchNorm1d: momentum must be a number"),
        (lambda: nn.Dropout(1.5), ValueError, "Dropout: p must be in 0..1, but is 1.5"),
        (lambda: nn.Dropout2d(-0.1), ValueError, "Dropout2d: p must be in 0..1"),
        (lambda: nn.Dropout("x"), TypeError, "Dropout: p must be a number"),
        (lambda: nn.Dropout(math.nan), ValueError, "Dropout: p must be"),
        (lambda: nn.CELU(0), ValueError, "CELU: alpha"),
        (lambda: nn.GELU("fast"), ValueError, "GELU: approximate"),
        (lambda: nn.Hardtanh(1, 1), ValueError, "Hardtanh: min_val=1"),
        (lambda: nn.Softshrink(-1), ValueError, "Softshrink: lambd"),
        (lambda: nn.PReLU(0), ValueError, "PReLU: num_parameters"),
        (lambda: nn.MSELoss(reduction="average"), ValueError, "MSELoss: reduction must be one of"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=2), ValueError, "label_smoothing must be in 0..1"),
        (lambda: nn.CrossEntropyLoss([1.0]), TypeError, "weight must be a Tensor"),
        (lambda: nn.HuberLoss(delta=0), ValueError, "delta must be positive"),
        (
            lambda: nn.KLDivLoss(reduction="all"),
            ValueError,
            r"KLDivLoss: reduction must be one of .*, batchmean",
        ),
        (lambda: nn.MSELoss(reduction="batchmean"), ValueError, "MSELoss: reduction must be one of mean, sum, none,"),
        (lambda: nn.Upsample(2, mode="bicubic"), ValueError, "Upsample: mode must be one of nearest"),
        (lambda: nn.Upsample(2, mode="linear")(minidl.zeros(1, 1, 2, 2)), ValueError, r"takes \(N, C, T\), not"),
        (lambda: F.interpolate(minidl.zeros(1, 1, 2), 2, 2.0), ValueError, "interpolate: give either size or scale"),
        (lambda: F.interpolate(minidl.zeros(1, 1, 2), 2, align_corners=True), ValueError, "interpolate: align_corn"),
        (lambda: F.interpolate(minidl.zeros(1, 1, 2), scale_factor=-1), ValueError, "interpolate: scale_factor must"),
        (lambda: F.interpolate(minidl.zeros(1, 1, 2), scale_factor=0.1), ValueError, "interpolate: size must be at le"),
        (lambda: F.interpolate(minidl.zeros(1, 1, 2), 2**50), ValueError, "interpolate: an input of"),
        (lambda: nn.ZeroPad2d((1, 2)), ValueError, "ZeroPad2d: padding must be an int or 4 of them"),
        (lambda: nn.ReflectionPad1d(1)(minidl.zeros(4)), ValueError, r"ReflectionPad1d: x must be \(N, C, T\)"),
        (lambda: nn.Unfold(2, stride=0), ValueError, "Unfold: stride must be at least 1"),
        (lambda: F.unfold(minidl.zeros(1, 1, 2), 2), ValueError, "unfold: the kernel"),
        (lambda: F.fold(minidl.zeros(4, 3), (2, 3), 2), ValueError, r"fold: expects \(N, a multiple of 4, 2\)"),
        (lambda: nn.PixelShuffle(2)(minidl.zeros(2, 6, 1, 1)), ValueError, "pixel_shuffle: upscale_factor 2 squared"),
        (lambda: nn.PixelUnshuffle(2)(minidl.zeros(2, 6, 1, 2)), ValueError, "pixel_unshuffle: downscale_factor 2 mus"),
        (lambda: nn.TripletMarginLoss(0), ValueError, "TripletMarginLoss: margin must be positive"),
        (lambda: F.cosine_similarity(t(1, 2), t(1, 2, 3)), ValueError, r"cosine_similarity: shapes \(2,\) and \(3,\)"),
        (lambda: F.cosine_embedding_loss(t(1), t(1), t(1)), ValueError, "cosine_embedding_loss: expects"),
        (lambda: nn.GroupNorm(2, 3), ValueError, "GroupNorm: num_groups=2 must divide num_channels=3"),
        (lambda: nn.GroupNorm(2, 4)(minidl.zeros(2, 6)), ValueError, r"group_norm: weight must have shape \(6,\)"),
        (lambda: F.group_norm(minidl.zeros(1, 2), 2), ValueError, "group_norm: a group needs more than one value"),
        (lambda: nn.InstanceNorm1d(2)(minidl.zeros(2)), ValueError, "InstanceNorm1d: expected x with 2 or 3"),
        (lambda: nn.InstanceNorm2d(2)(minidl.zeros(1, 2, 1, 1)), ValueError, "instance_norm: a channel needs more"),
        (lambda: nn.RMSNorm(3)(minidl.zeros(2, 4)), ValueError, r"rms_norm: input of shape \(2, 4\) does not end in"),
        (lambda: nn.ConvTranspose2d(2, 3, 3, padding_mode="same"), ValueError, "ConvTranspose2d: padding_mode"),
        (lambda: nn.SmoothL1Loss(beta=-1), ValueError, "beta must not be negative"),
        (lambda: nn.ReLU(inplace=True), TypeError, "inplace"),
    ],
)
def test_bad_arguments_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_no_image_at_all_leaves_running_statistics_alone():
    layer = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)
    assert layer(minidl.zeros(0, 4, 3, 3)).shape == (0, 4, 3, 3)
    assert layer.running_mean.tolist() == [0.0] * 4 and layer.running_var.tolist() == [1.0] * 4
