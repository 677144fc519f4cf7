"""Optimisers and schedules step by step beside PyTorch's, where that is installed."""

import copy
import functools
import itertools

import numpy as np
import pytest

import minidl
from minidl import nn, optim

torch = pytest.importorskip("torch")

STEPS = 20
SHAPES = [(3, 4), (5,), ()]


def combinations(**choices):
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


ADAM = combinations(betas=[(0.9, 0.999), (0.0, 0.5)], weight_decay=[0, 0.1], amsgrad=[False, True], eps=[1e-8, 0.1])
CASES = [
    *(("SGD", o) for o in combinations(momentum=[0, 0.9], dampening=[0, 0.3], weight_decay=[0, 0.1])),
    *(("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": w}) for w in (0, 0.1)),
    *(("Adam", o) for o in ADAM),
    *(("AdamW", o) for o in ADAM),
    *(("RMSprop", o) for o in combinations(momentum=[0, 0.9], centered=[False, True], weight_decay=[0, 0.1])),
    ("RMSprop", {"alpha": 0.5, "eps": 0.1}),
    *(
        ("Adagrad", o)
        for o in combinations(lr_decay=[0, 0.1], weight_decay=[0, 0.1], initial_accumulator_value=[0, 0.5])
    ),
    *((name, {"maximize": True}) for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad")),
    *((name, {}) for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad")),
]


def start(dtype=np.float64):
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(s).astype(dtype) for s in SHAPES]
    gradients = [[rng.standard_normal(s).astype(dtype) for s in SHAPES] for _ in range(STEPS)]
    ours = [nn.Parameter(minidl.tensor(v)) for v in values]
    theirs = [torch.nn.Parameter(torch.tensor(v)) for v in values]
    return ours, theirs, gradients


def step(ours, theirs, optimizers, gradients):
    for p, q, g in zip(ours, theirs, gradients, strict=True):
        p.grad, q.grad = minidl.tensor(g), torch.tensor(g)
    for optimizer in optimizers:
        optimizer.step()


def assert_close(ours, theirs, rtol=1e-12, atol=1e-12):
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=rtol, atol=atol)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_every_option_follows_pytorch(name, options):
    ours, theirs, gradients = start()
    optimizers = (
        getattr(optim, name)([{"params": ours[:1], "lr": 0.3}, {"params": ours[1:]}], **options),
        getattr(torch.optim, name)([{"params": theirs[:1], "lr": 0.3}, {"params": theirs[1:]}], **options),
    )
    for g in gradients:
        step(ours, theirs, optimizers, g)
        assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_float32_follows_pytorch(name):
    ours, theirs, gradients = start(np.float32)
    optimizers = getattr(optim, name)(ours, lr=0.1), getattr(torch.optim, name)(theirs, lr=0.1)
    for g in gradients:
        step(ours, theirs, optimizers, g)
    assert_close(ours, theirs, 2e-5, 2e-6)


def converted(state):
    """PyTorch's state with ndarrays for its tensors."""
    return {
        "state": {
            i: {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in s.items()}
            for i, s in state["state"].items()
        },
        "param_groups": state["param_groups"],
    }


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"momentum": 0.9}),
        ("SGD", {}),
        ("Adam", {"amsgrad": True}),
        ("AdamW", {}),
        ("RMSprop", {"momentum": 0.5, "centered": True}),
        ("Adagrad", {"lr_decay": 0.1}),
    ],
)
def test_a_state_of_pytorch_is_gone_on_with(name, options):
    ours, theirs, gradients = start()
    optimizers = getattr(optim, name)(ours, lr=0.1, **options), getattr(torch.optim, name)(theirs, lr=0.1, **options)
    for g in gradients[:5]:
        step(ours, theirs, optimizers, g)
    mine, pytorchs = optimizers[0].state_dict(), converted(optimizers[1].state_dict())
    for i, entries in pytorchs["state"].items():  # the same names and values
        entries = {k: v for k, v in entries.items() if v is not None}
        assert mine["state"].get(i, {}).keys() == entries.keys()
        for key, value in entries.items():
            np.testing.assert_allclose(np.asarray(mine["state"][i][key]), value, rtol=1e-12)
    assert mine["param_groups"][0].items() <= pytorchs["param_groups"][0].items()

    optimizers = getattr(optim, name)(ours, lr=7), optimizers[1]
    optimizers[0].load_state_dict(copy.deepcopy(pytorchs))
    for g in gradients[5:]:
        step(ours, theirs, optimizers, g)
    assert_close(ours, theirs)


def plateau(library, optimizer, **options):
    scheduler = library.ReduceLROnPlateau(optimizer, **options)
    metrics = iter(np.random.default_rng(0).standard_normal(100).cumsum())
    scheduler_step = scheduler.step
    scheduler.step = lambda: scheduler_step(float(next(metrics)))
    return scheduler


def sequence(library, optimizer):
    parts = [
        library.LinearLR(optimizer, 0.1, total_iters=3),
        library.CosineAnnealingLR(optimizer, 4),
        library.MultiStepLR(optimizer, [2, 4]),
        library.LambdaLR(optimizer, lambda t: 1 / (1 + t)),
    ]
    return library.SequentialLR(optimizer, parts, [3, 9, 15])


SCHEDULES = {
    "lambda": lambda library, o: library.LambdaLR(o, lambda t: 0.9**t),
    "lambdas": lambda library, o: library.LambdaLR(o, [lambda t: 0.9**t, lambda t: t]),
    "step": lambda library, o: library.StepLR(o, 3, gamma=0.3),
    "milestones": lambda library, o: library.MultiStepLR(o, [2, 5, 5, 9], gamma=0.3),
    "exponential": lambda library, o: library.ExponentialLR(o, 0.9),
    "linear": lambda library, o: library.LinearLR(o),
    "linear down": lambda library, o: library.LinearLR(o, 1.0, 0.0, 7),
    "cosine": lambda library, o: library.CosineAnnealingLR(o, 6, 0.01),
    "cosine 1": lambda library, o: library.CosineAnnealingLR(o, 1),
    "sequence": sequence,
    "chain": lambda library, o: [library.ExponentialLR(o, 0.9), library.CosineAnnealingLR(o, 6, 0.01)],
    "chain of linear": lambda library, o: [library.LinearLR(o, 0.2), library.StepLR(o, 2), library.LinearLR(o, 0.5)],
    "plateau": lambda library, o: plateau(library, o, patience=1, factor=0.7),
    "plateau max": lambda library, o: plateau(library, o, mode="max", patience=0, cooldown=2, min_lr=[0.01, 0.2]),
    "plateau abs": lambda library, o: plateau(library, o, patience=0, threshold=0.5, threshold_mode="abs"),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_schedule_follows_pytorch(name):
    ours, theirs, _ = start()
    optimizers = (
        optim.SGD([{"params": ours[:1], "lr": 0.3}, {"params": ours[1:]}], lr=2.0),
        torch.optim.SGD([{"params": theirs[:1], "lr": 0.3}, {"params": theirs[1:]}], lr=2.0),
    )
    libraries = optim.lr_scheduler, torch.optim.lr_scheduler
    schedulers = [SCHEDULES[name](library, o) for library, o in zip(libraries, optimizers, strict=True)]
    for t in range(25):
        rates = [[group["lr"] for group in o.param_groups] for o in optimizers]
        np.testing.assert_allclose(*rates, rtol=1e-12, atol=1e-15, err_msg=f"epoch {t}")
        for o, s in zip(optimizers, schedulers, strict=True):
            o.step()
            for scheduler in s if isinstance(s, list) else [s]:
                scheduler.step()


@pytest.mark.parametrize("name", ["lambda", "step", "exponential", "linear", "cosine"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_last_epoch_follows_pytorch(name):
    """MultiStepLR is left out: at a milestone PyTorch's lowers the loaded learning rate a second time."""
    found = []
    for library, make, (p, *_) in (
        (optim.lr_scheduler, optim.SGD, start()[0]),
        (torch.optim.lr_scheduler, torch.optim.SGD, start()[1]),
    ):
        optimizer = make([{"params": [p], "lr": 0.5}])
        scheduler = SCHEDULES[name](library, optimizer)
        for _ in range(5):
            optimizer.step()
            scheduler.step()
        scheduler = SCHEDULES[name](Resumed(library, 4), optimizer)
        rates = [scheduler.last_epoch]
        for _ in range(8):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        found.append(rates)
    np.testing.assert_allclose(*found, rtol=1e-12)


class Resumed:
    """The schedules of a library, each with a `last_epoch`."""

    def __init__(self, library, last_epoch):
        self.library, self.last_epoch = library, last_epoch

    def __getattr__(self, name):
        return functools.partial(getattr(self.library, name), last_epoch=self.last_epoch)
