"""Schedules against their closed forms."""

import json
import math

import numpy as np
import pytest

import minidl
from minidl import nn, optim
from minidl.optim import lr_scheduler as schedulers


def make(*rates):
    groups = [{"params": [nn.Parameter(minidl.zeros(1))], "lr": lr} for lr in rates or (0.5,)]
    return optim.SGD(groups)


def trace(scheduler, steps):
    """The first group's learning rate before each of some steps."""
    found = []
    for _ in range(steps):
        found.append(scheduler.optimizer.param_groups[0]["lr"])
        assert scheduler.get_last_lr()[0] == found[-1]
        scheduler.step()
    return found


CLOSED_FORMS = {
    "lambda": (lambda o, **k: schedulers.LambdaLR(o, lambda t: 1 / (1 + t), **k), lambda t: 1 / (1 + t)),
    "step": (lambda o, **k: schedulers.StepLR(o, 3, 0.5, **k), lambda t: 0.5 ** (t // 3)),
    "multi-step": (
        lambda o, **k: schedulers.MultiStepLR(o, [7, 2, 7], 0.5, **k),
        lambda t: 0.5 ** (1 * (t >= 2) + 2 * (t >= 7)),
    ),
    "exponential": (lambda o, **k: schedulers.ExponentialLR(o, 0.9, **k), lambda t: 0.9**t),
    "linear": (lambda o, **k: schedulers.LinearLR(o, 0.25, 0.75, 4, **k), lambda t: 0.25 + 0.5 * min(t / 4, 1)),
    "cosine": (
        lambda o, **k: schedulers.CosineAnnealingLR(o, 5, **k),
        lambda t: (1 + math.cos(math.pi * t / 5)) / 2,
    ),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms(name):
    schedule, factor = CLOSED_FORMS[name]
    optimizer = make(0.5, 2.0)
    scheduler = schedule(optimizer)
    for t in range(23):
        rates = [group["lr"] for group in optimizer.param_groups]
        np.testing.assert_allclose(rates, [0.5 * factor(t), 2 * factor(t)], rtol=1e-12, atol=1e-15)
        assert scheduler.last_epoch == t and scheduler.get_last_lr() == rates
        assert all(type(rate) is float for rate in rates)
        optimizer.step()
        scheduler.step()


def test_cosine_with_a_minimum():
    found = trace(schedulers.CosineAnnealingLR(make(), 4, eta_min=0.1), 10)
    expected = [0.1 + 0.4 * (1 + math.cos(math.pi * t / 4)) / 2 for t in range(10)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(trace(schedulers.CosineAnnealingLR(make(), 1), 4), [0.5, 0, 0.5, 0], atol=1e-15)


def test_two_schedules_multiply():
    optimizer = make()
    first, second = schedulers.ExponentialLR(optimizer, 0.9), schedulers.StepLR(optimizer, 2, 0.5)
    for t in range(7):
        np.testing.assert_allclose(optimizer.param_groups[0]["lr"], 0.5 * 0.9**t * 0.5 ** (t // 2))
        first.step()
        second.step()


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("way", ["state", "last_epoch"])
def test_going_on(name, way):
    schedule, factor = CLOSED_FORMS[name]
    optimizer = make()
    scheduler = schedule(optimizer)
    trace(scheduler, 4)
    state = optimizer.state_dict()
    if way == "state":
        saved = json.loads(json.dumps(scheduler.state_dict()))
        optimizer = make()
        scheduler = schedule(optimizer)
        scheduler.load_state_dict(saved)
        optimizer.load_state_dict(state)
    else:
        optimizer = make()
        optimizer.load_state_dict(state)
        scheduler = schedule(optimizer, last_epoch=3)
    assert scheduler.last_epoch == 4
    np.testing.assert_allclose(trace(scheduler, 8), [0.5 * factor(t) for t in range(4, 12)], rtol=1e-12, atol=1e-15)


def test_callable_objects_are_saved_by_their_attributes():
    class Decay:
        def __init__(self, rate):
            self.rate = rate

        def __call__(self, t):
            return self.rate**t

    saved = schedulers.LambdaLR(make(), Decay(0.5)).state_dict()
    assert saved["lr_lambdas"] == [{"rate": 0.5}]
    scheduler = schedulers.LambdaLR(make(), Decay(0.9))
    scheduler.load_state_dict(saved)
    np.testing.assert_allclose(trace(scheduler, 3), [0.5, 0.25, 0.125])
    scheduler = schedulers.LambdaLR(make(1, 1), [lambda t: 1, lambda t: 2])
    assert scheduler.get_last_lr() == [1, 2]


def sequence(optimizer, **options):
    parts = [
        schedulers.LinearLR(optimizer, 0.1, total_iters=3),
        schedulers.CosineAnnealingLR(optimizer, 4),
        schedulers.ExponentialLR(optimizer, 0.5),
    ]
    return schedulers.SequentialLR(optimizer, parts, [3, 7], **options)


def sequence_factor(t):
    if t < 3:
        return 0.1 + 0.3 * t
    return (1 + math.cos(math.pi * (t - 3) / 4)) / 2 if t < 7 else 0.5 ** (t - 7)


def test_sequence():
    expected = [0.5 * sequence_factor(t) for t in range(12)]
    np.testing.assert_allclose(trace(sequence(make()), 12), expected, rtol=1e-12)

    optimizer = make()
    scheduler = sequence(optimizer)
    trace(scheduler, 5)
    saved, state = json.loads(json.dumps(scheduler.state_dict())), optimizer.state_dict()
    optimizer = make()
    scheduler = sequence(optimizer)
    scheduler.load_state_dict(saved)
    optimizer.load_state_dict(state)
    np.testing.assert_allclose(trace(scheduler, 7), expected[5:], rtol=1e-12)


def plateau(metrics, lr=1.0, **options):
    optimizer = make(lr)
    scheduler = schedulers.ReduceLROnPlateau(optimizer, factor=0.5, **options)
    found = []
    for metric in metrics:
        scheduler.step(metric)
        found.append(optimizer.param_groups[0]["lr"])
    assert scheduler.get_last_lr() == found[-1:]
    return found


def test_plateau():
    assert plateau([5, 4, 4, 4, 4, 3], patience=1) == [1, 1, 1, 0.5, 0.5, 0.5]
    assert plateau([5, 5, 5], patience=0) == [1, 0.5, 0.25]
    assert plateau([1, 2, 3, 3], mode="max", patience=0) == [1, 1, 1, 0.5]
    assert plateau([5] * 6, patience=0, cooldown=2) == [1, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert plateau([5] * 4, patience=0, min_lr=0.3) == [1, 0.5, 0.3, 0.3]
    assert plateau([5] * 3, patience=0, eps=0.3) == [1, 0.5, 0.5]
    assert plateau([10, 9.5, 8.9], patience=0, threshold=0.1) == [1, 0.5, 0.5]
    assert plateau([10, 9.5, 8.9], patience=0, threshold=1, threshold_mode="abs") == [1, 0.5, 0.5]
    assert plateau([-10, -9.5], mode="max", patience=0, threshold=1, threshold_mode="abs") == [1, 0.5]
    assert plateau([1, math.nan, minidl.tensor(0.5)], patience=0) == [1, 0.5, 0.5]


def test_plateau_goes_on_from_a_state():
    metrics = [5, 5, 5, 4, 4, 4, 4]
    expected = plateau(metrics, patience=1)
    optimizer = make(1.0)
    scheduler = schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    for metric in metrics[:3]:
        scheduler.step(metric)
    saved, state = json.loads(json.dumps(scheduler.state_dict())), optimizer.state_dict()
    optimizer = make(1.0)
    scheduler = schedulers.ReduceLROnPlateau(optimizer)
    scheduler.load_state_dict(saved)
    optimizer.load_state_dict(state)
    for metric in metrics[3:]:
        scheduler.step(metric)
    assert optimizer.param_groups[0]["lr"] == expected[-1]


def test_bad_input():
    optimizer, other = make(), make()
    linear = schedulers.LinearLR(optimizer)
    for build, error, message in (
        (lambda: schedulers.StepLR(3, 1), TypeError, "StepLR: expected an Optimizer, got a int"),
        (lambda: schedulers.LambdaLR(3, abs), TypeError, "LambdaLR: expected an Optimizer"),
        (lambda: schedulers.LambdaLR(optimizer, 3), ValueError, "one function or 1"),
        (lambda: schedulers.LambdaLR(optimizer, [abs, abs]), ValueError, "one function or 1"),
        (lambda: schedulers.StepLR(optimizer, 0), ValueError, "step_size"),
        (lambda: schedulers.StepLR(optimizer, 1.5), TypeError, "step_size"),
        (lambda: schedulers.MultiStepLR(optimizer, [0.5]), TypeError, "milestones"),
        (lambda: schedulers.LinearLR(optimizer, 0), ValueError, "start_factor"),
        (lambda: schedulers.LinearLR(optimizer, 1, 2), ValueError, "end_factor"),
        (lambda: schedulers.LinearLR(optimizer, total_iters=0), ValueError, "total_iters"),
        (lambda: schedulers.CosineAnnealingLR(optimizer, 0), ValueError, "T_max"),
        (lambda: schedulers.ExponentialLR(other, 0.5, last_epoch=3), KeyError, "initial_lr"),
        (lambda: schedulers.ExponentialLR(optimizer, 0.5, last_epoch=-2), ValueError, "last_epoch"),
        (lambda: schedulers.SequentialLR(optimizer, [], []), ValueError, "SequentialLR"),
        (lambda: schedulers.SequentialLR(optimizer, [linear], [1]), ValueError, "one ascending milestone less"),
        (lambda: schedulers.SequentialLR(other, [linear], []), ValueError, "all be of the optimizer"),
        (lambda: schedulers.SequentialLR(optimizer, [3], []), TypeError, "int cannot be one"),
        (lambda: schedulers.ReduceLROnPlateau(optimizer, "least"), ValueError, "mode"),
        (lambda: schedulers.ReduceLROnPlateau(optimizer, factor=1), ValueError, "factor"),
        (lambda: schedulers.ReduceLROnPlateau(optimizer, threshold_mode="x"), ValueError, "threshold_mode"),
        (lambda: schedulers.ReduceLROnPlateau(optimizer, min_lr=[1, 2]), ValueError, "min_lr"),
        (lambda: linear.load_state_dict({"last_epoch": 3}), ValueError, "the state lacks"),
    ):
        with pytest.raises(error, match=message):
            build()


def test_a_schedule_of_ones_own():
    class Halves(schedulers.LRScheduler):
        def next_lr(self, lr, base):
            return base / (1 + self.last_epoch)

    assert trace(Halves(make()), 3) == [0.5, 0.25, 0.5 / 3]
