"""Every operation of the op table, by the one factory that checks them all."""

import inspect

import numpy as np
import pytest

import minidl
from minidl.function import Function
from minidl.nn import functional as F
from minidl.ops.table import OPERATIONS, Operation, Sample, operation
from minidl.primitives import Sum
from minidl.testing import check_operation

EXPECTED = [
    *("conv2d", "max_pool2d", "avg_pool2d", "linear", "relu", "leaky_relu", "batch_norm", "dropout", "softmax"),
    *(
        "log_softmax",
        "cross_entropy",
        "nll_loss",
        "mse_loss",
        "matmul",
        "einsum",
        "sum",
        "mean",
        "max",
        "sort",
        "cumsum",
    ),
    *("pad", "cat", "stack", "where", "clamp", "gather"),
]


@pytest.mark.parametrize("op", OPERATIONS.values(), ids=lambda op: op.name)
def test_operation(op: Operation) -> None:
    assert check_operation(op) > 0


@pytest.mark.parametrize("name", EXPECTED)
def test_is_in_the_table(name: str) -> None:
    assert name in OPERATIONS


@pytest.mark.parametrize("op", OPERATIONS.values(), ids=lambda op: op.name)
def test_is_public_typed_and_says_what_it_does(op: Operation) -> None:
    assert op.function in (getattr(F, op.name, None), getattr(minidl, op.name, None))
    assert op.function.__doc__
    signature = inspect.signature(op.function)
    assert all(p.annotation is not p.empty for p in signature.parameters.values())
    assert signature.return_annotation is not signature.empty


@pytest.mark.parametrize("op", [op for op in OPERATIONS.values() if op.passes], ids=lambda op: op.name)
def test_passes_have_a_derivation_and_a_definition(op: Operation) -> None:
    assert op.definition is not None
    assert len(op.passes.__doc__ or "") > 40


@pytest.mark.parametrize("op", OPERATIONS.values(), ids=lambda op: op.name)
def test_none_is_refused_by_name_where_a_tensor_is_needed(op: Operation) -> None:
    def as_given(x: object) -> object:
        return minidl.tensor(x) if isinstance(x, np.ndarray) else x

    sample = next(iter(op.try_on(np.random.default_rng(0))))
    args, kwargs = list(map(as_given, sample.args)), {name: as_given(x) for name, x in sample.kwargs.items()}
    for place, parameter in enumerate(list(inspect.signature(op.function).parameters.values())[: len(args)]):
        if parameter.annotation == "Tensor" and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            with pytest.raises(TypeError, match=f"{op.name}: {parameter.name} must be a Tensor, not NoneType"):
                op.function(*args[:place], None, *args[place + 1 :], **kwargs)


def test_no_operation_without_samples_or_definition() -> None:
    with pytest.raises(TypeError, match="samples"):
        operation()

    class Bare(Function):
        pass

    with pytest.raises(TypeError, match="Bare has no definition"):
        operation(samples=lambda rng: [], passes=Bare)
    with pytest.raises(ValueError, match="registered twice"):
        operation(samples=lambda rng: [])(minidl.exp)


def test_a_sample_reads_well() -> None:
    assert repr(Sample(np.zeros((2, 3)), 2, mode="x")) == "Sample(float64[2, 3], 2, mode='x')"


def test_definitions_run_on_primitives_alone() -> None:
    x = minidl.randn(1, 1, 4, 4, requires_grad=True)
    w = minidl.randn(1, 1, 2, 2)
    assert F.conv2d(x, w).grad_fn.name == "conv2d"
    with minidl.definitions():
        assert F.conv2d(x, w).grad_fn.name != "conv2d"
    assert isinstance(x.sum().grad_fn, Sum)


def test_the_mean_over_no_labels_is_nan_but_sends_no_nan_back() -> None:
    x = minidl.randn(2, 3, requires_grad=True)
    for smoothing in (0.0, 0.1):
        loss = F.cross_entropy(x, minidl.tensor([1, 1]), ignore_index=1, label_smoothing=smoothing)
        loss.backward()
        assert np.isnan(loss.item()) and x.grad.abs().max().item() == 0
