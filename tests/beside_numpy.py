"""What the tests of operators share: a Tensor that requires a gradient, and equality with NumPy's array."""

import numpy as np

from minidl.tensor import Tensor


def same(got: Tensor, expected: np.ndarray) -> None:
    """Equal values, shape and dtype."""
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-12, atol=1e-14)


def leaf(a: np.ndarray) -> Tensor:
    return Tensor(a).requires_grad_()
