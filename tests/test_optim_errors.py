"""Optimisers refuse what makes no sense."""

import math

import numpy as np
import pytest

import minidl
from minidl import nn, optim

CLASSES = [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad]


def parameter(array):
    return nn.Parameter(minidl.tensor(array))


@pytest.mark.parametrize("cls", CLASSES)
def test_parameters_are_checked(cls):
    p = parameter(np.ones(2))
    for params, error, message in (
        ([], ValueError, "no parameters"),
        (p, TypeError, "must be a list"),
        (3, TypeError, "must be a list"),
        ({"params": [p]}, TypeError, "must be a list"),
        ([p, 3], TypeError, "number 1 is a int"),
        ([("name", p)], TypeError, "number 0 is a tuple"),
        ([p, p], ValueError, "parameter 1, of shape .2,., appears twice"),
        ([{"params": [p]}, {"params": [p]}], ValueError, "appears twice"),
        ([p * 2], ValueError, "not a leaf"),
        ([minidl.tensor([1])], TypeError, "floating-point, but number 0 is int64"),
        ([{"params": {p}}], TypeError, "a set has none"),
        ([{"lr": 1}], TypeError, "a dict with 'params'"),
    ):
        with pytest.raises(error, match=message):
            cls(params, lr=0.1)


@pytest.mark.parametrize(
    ("cls", "options", "error"),
    [
        *((cls, {"lr": lr}, ValueError) for cls in CLASSES for lr in (-1, math.nan, math.inf)),
        *((cls, {"lr": lr}, TypeError) for cls in CLASSES for lr in ("0.1", None, True, minidl.ones(1))),
        *((cls, {"weight_decay": -1}, ValueError) for cls in CLASSES),
        *((cls, {"eps": -1}, ValueError) for cls in CLASSES[1:]),
        (optim.SGD, {"momentum": -1}, ValueError),
        (optim.SGD, {"nesterov": True}, ValueError),
        (optim.SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, ValueError),
        *((cls, {"betas": b}, ValueError) for cls in CLASSES[1:3] for b in ((1, 0.9), (-0.1, 0.9), (0.9, 1.0))),
        *((cls, {"betas": b}, TypeError) for cls in CLASSES[1:3] for b in (0.9, (0.9,), ("a", "b"))),
        (optim.RMSprop, {"alpha": -1}, ValueError),
        (optim.RMSprop, {"momentum": -1}, ValueError),
        (optim.Adagrad, {"lr_decay": -1}, ValueError),
        (optim.Adagrad, {"initial_accumulator_value": -1}, ValueError),
    ],
)
def test_options_are_checked_everywhere(cls, options, error):
    with pytest.raises(error, match=cls.__name__):
        cls([parameter(np.ones(2))], **options)
    with pytest.raises(error, match=cls.__name__):
        cls([{"params": [parameter(np.ones(2))], **options}], lr=0.1) if "lr" in options else cls(
            [{"params": [parameter(np.ones(2))], **options}]
        )


def test_a_gradient_that_does_not_fit_is_refused():
    p = parameter(np.ones(2))
    optimizer = optim.SGD([p], lr=1, momentum=0.9)
    for g in (minidl.ones(3, dtype=minidl.float64), minidl.ones(2)):
        p.grad = g
        with pytest.raises(ValueError, match="but its gradient"):
            optimizer.step()
    p.grad = minidl.ones(2, dtype=minidl.float64)
    optimizer.step()
    p.data = p.data.float()
    p.grad = minidl.ones(2)
    with pytest.raises(ValueError, match=r"but its momentum_buffer .* was the module cast"):
        optimizer.step()
