"""Initial values, and what is done with all parameters at once."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import nn
from minidl.nn import init

N = 200_000  # samples; tolerances below are five standard errors


@pytest.fixture
def generator():
    return minidl.Generator().manual_seed(0)


def moments(t):
    return float(t._array.mean()), float(t._array.std())


DRAWS = [
    init.uniform_,
    init.normal_,
    init.trunc_normal_,
    init.xavier_uniform_,
    init.xavier_normal_,
    init.kaiming_uniform_,
    init.kaiming_normal_,
    init.orthogonal_,
]


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("dtype", [minidl.float32, minidl.float64])
def test_draws_are_in_place_repeatable_and_keep_the_dtype(draw, dtype):
    p = nn.Parameter(minidl.zeros(6, 4, dtype=dtype))
    array, version = p._array, p._version.changed
    assert draw(p, generator=minidl.Generator().manual_seed(3)) is p
    assert p._array is array and p.dtype == dtype and p.is_leaf and p._version.changed > version
    first = array.copy()
    draw(p, generator=minidl.Generator().manual_seed(3))
    np.testing.assert_array_equal(p._array, first)
    minidl.manual_seed(3)
    draw(p)
    np.testing.assert_array_equal(p._array, first)
    draw(p)
    assert not np.array_equal(p._array, first)
    with pytest.raises(TypeError, match="floating-point"):
        draw(minidl.zeros(6, 4, dtype=minidl.int64))
    with pytest.raises(TypeError, match="expected a Tensor, got a ndarray"):
        draw(np.zeros((6, 4)))
    assert draw(minidl.zeros(0, 4)).shape == (0, 4)


def test_uniform_and_normal(generator):
    t = init.uniform_(minidl.empty(N, dtype=minidl.float64), -1, 3, generator)
    assert t._array.min() >= -1 and t._array.max() < 3
    np.testing.assert_allclose(moments(t), (1, 4 / math.sqrt(12)), atol=0.015)
    t = init.normal_(minidl.empty(N, dtype=minidl.float64), 2, 3, generator)
    np.testing.assert_allclose(moments(t), (2, 3), atol=0.035)
    with pytest.raises(ValueError, match="a <= b"):
        init.uniform_(t, 1, 0)
    with pytest.raises(ValueError, match="std must not be negative"):
        init.normal_(t, 0, -1)


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [(0, 1, -2, 2), (1, 2, 0, 100), (0, 1, 1, 1.5), (5, 0.1, 4.9, 4.95), (0, 1, 2, 9), (0, 1, -1, math.inf)],
)
def test_trunc_normal_has_the_moments_of_the_truncated_distribution(mean, std, a, b, generator):
    t = init.trunc_normal_(minidl.empty(N, dtype=minidl.float64), mean, std, a, b, generator)
    assert t._array.min() >= a and t._array.max() <= b
    x = np.linspace(a, min(b, mean + 12 * std), 200_001)  # the moments by the trapezoidal rule
    density = np.exp(-(((x - mean) / std) ** 2) / 2)
    density /= np.trapezoid(density, x)
    expected = np.trapezoid(density * x, x)
    spread = math.sqrt(np.trapezoid(density * (x - expected) ** 2, x))
    np.testing.assert_allclose(moments(t), (expected, spread), atol=0.012 * spread)


def test_trunc_normal_refuses_nonsense():
    t = minidl.zeros(3)
    for options in ({"std": 0}, {"a": 1, "b": 1}, {"a": 5, "b": 9}, {"a": math.nan}):
        with pytest.raises(ValueError, match="trunc_normal_"):
            init.trunc_normal_(t, **options)


def test_constants():
    t = minidl.empty(2, 3)
    assert (init.constant_(t, 2.5) == 2.5).all() and (init.ones_(t) == 1).all() and (init.zeros_(t) == 0).all()
    assert init.eye_(t).tolist() == [[1, 0, 0], [0, 1, 0]]
    with pytest.raises(ValueError, match="eye_: expected a matrix"):
        init.eye_(minidl.zeros(3))


def test_dirac_passes_channels_on():
    weight = init.dirac_(minidl.empty(4, 2, 3, 3), groups=2)
    x = minidl.randn(1, 4, 5, 5)
    y = nn.functional.conv2d(x, weight, padding=1, groups=2)
    np.testing.assert_array_equal(np.asarray(y), np.asarray(x))
    with pytest.raises(ValueError, match="does not divide"):
        init.dirac_(weight, groups=3)
    with pytest.raises(ValueError, match="three to five"):
        init.dirac_(minidl.zeros(3, 3))


def test_gains():
    assert init.calculate_gain("linear") == init.calculate_gain("conv2d") == init.calculate_gain("sigmoid") == 1
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("leaky_relu", 3) == math.sqrt(2 / 10)
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2))
    assert init.calculate_gain("selu") == 0.75
    for arguments in (("swish",), ("leaky_relu", "x"), ("leaky_relu", True)):
        with pytest.raises(ValueError, match="calculate_gain"):
            init.calculate_gain(*arguments)


@pytest.mark.parametrize("shape", [(300, 500), (40, 30, 5, 7)])
def test_xavier_and_kaiming(shape, generator):
    window = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * window, shape[0] * window
    t = minidl.empty(shape, dtype=minidl.float64)
    for draw, std in (
        (lambda: init.xavier_uniform_(t, 2, generator), 2 * math.sqrt(2 / (fan_in + fan_out))),
        (lambda: init.xavier_normal_(t, 2, generator), 2 * math.sqrt(2 / (fan_in + fan_out))),
        (lambda: init.kaiming_uniform_(t, generator=generator), math.sqrt(2 / fan_in)),
        (lambda: init.kaiming_normal_(t, 1, "fan_out", generator=generator), math.sqrt(1 / fan_out)),
        (lambda: init.kaiming_normal_(t, nonlinearity="tanh", generator=generator), 5 / 3 / math.sqrt(fan_in)),
    ):
        draw()
        mean, found = moments(t)
        assert abs(mean) < 5 * std / math.sqrt(t.numel()) and abs(found / std - 1) < 5 / math.sqrt(2 * t.numel())
    bound = math.sqrt(6 / fan_in)
    largest = np.abs(init.kaiming_uniform_(t, generator=generator)._array).max()
    assert 0.999 * bound < largest <= bound
    for draw in (init.xavier_uniform_, init.xavier_normal_, init.kaiming_uniform_, init.kaiming_normal_):
        with pytest.raises(ValueError, match="two dimensions"):
            draw(minidl.zeros(3))
    with pytest.raises(ValueError, match="fan_in"):
        init.kaiming_normal_(t, mode="fan")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.floats(0.1, 3))
def test_orthogonal(shape, gain):
    t = init.orthogonal_(minidl.empty(shape, dtype=minidl.float64), gain)
    q = t._array.reshape(shape[0], -1)
    product = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), atol=1e-12)


def test_orthogonal_has_no_preferred_sign(generator):
    corners = [init.orthogonal_(minidl.empty(2, 2), generator=generator)[0, 0].item() for _ in range(200)]
    assert 60 < sum(corner > 0 for corner in corners) < 140


# nn.utils


def with_gradients(*gradients, dtype=np.float64):
    parameters = [nn.Parameter(np.zeros(np.shape(g), dtype)) for g in gradients]
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = minidl.tensor(np.asarray(g, dtype))
    return parameters


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.floats(-10, 10), min_size=1, max_size=4), min_size=1, max_size=3),
    st.floats(0.1, 20),
    st.sampled_from([1, 2, 3, math.inf]),
)
def test_clip_grad_norm(gradients, max_norm, order):
    parameters = [*with_gradients(*gradients), nn.Parameter(minidl.zeros(2))]
    everything = np.concatenate(gradients)
    norm = np.linalg.norm(everything, order)
    found = nn.utils.clip_grad_norm_(parameters, max_norm, order)
    np.testing.assert_allclose(found.item(), norm, rtol=1e-12)
    factor = min(1, max_norm / (norm + 1e-6))
    clipped = np.concatenate([p.grad._array for p in parameters[:-1]])
    np.testing.assert_allclose(clipped, everything * factor, rtol=1e-12)
    assert parameters[-1].grad is None


def test_clip_grad_norm_keeps_float32_and_sees_what_is_not_finite():
    (p,) = with_gradients([3.0, 4.0], dtype=np.float32)
    assert nn.utils.clip_grad_norm_(p, 1).dtype == np.float32 and p.grad.dtype == np.float32
    (p,) = with_gradients([3.0, math.inf])
    with pytest.raises(RuntimeError, match="norm of the gradients is inf"):
        nn.utils.clip_grad_norm_([p], 1, error_if_nonfinite=True)
    assert p.grad.tolist() == [3, math.inf]
    assert nn.utils.clip_grad_norm_([], 1).item() == 0
    with pytest.raises(ValueError, match="norm_type"):
        nn.utils.clip_grad_norm_([p], 1, 0)
    with pytest.raises(TypeError, match="expected Tensors, got a str"):
        nn.utils.clip_grad_norm_(["x"], 1)


def test_clip_grad_value():
    a, b = with_gradients([3.0, -0.5], [-7.0])
    nn.utils.clip_grad_value_([a, b], 2)
    assert a.grad.tolist() == [2, -0.5] and b.grad.tolist() == [-2]
    with pytest.raises(ValueError, match="clip_value must not be negative"):
        nn.utils.clip_grad_value_(a, -1)


def test_parameters_to_vector_and_back():
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    vector = nn.utils.parameters_to_vector(source.parameters())
    assert vector.shape == (8,) and vector.requires_grad
    (vector * vector / 2).sum().backward()
    np.testing.assert_array_equal(source.weight.grad, source.weight.detach())
    nn.utils.vector_to_parameters(vector, target.parameters())
    for a, b in zip(source.parameters(), target.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach(), b.detach())
    with pytest.raises(ValueError, match=r"have 8 values, the vector has shape \(7,\)"):
        nn.utils.vector_to_parameters(vector[:7], target.parameters())
    with pytest.raises(TypeError, match="float64"):
        nn.utils.vector_to_parameters(vector.double(), target.parameters())
    with pytest.raises(ValueError, match="no parameters"):
        nn.utils.parameters_to_vector([])
    with pytest.raises(TypeError, match="dtypes differ: float32, float64"):
        nn.utils.parameters_to_vector([minidl.zeros(1), minidl.zeros(1, dtype=minidl.float64)])
