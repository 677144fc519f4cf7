"""Sequences of different lengths, padded and packed: what is empty, put together by hand, of another kind, or wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import nn
from minidl.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
    unpad_sequence,
)

ROWS = np.arange(12.0, dtype=np.float32).reshape(6, 2)


def by_hand(sizes=(3, 2, 1), there=None, back=None, data=ROWS):
    parts = (None if part is None else minidl.tensor(part) for part in (data, list(sizes), there, back))
    return PackedSequence(*parts)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5), st.booleans(), st.sampled_from(["left", "right"]))
def test_sequences_are_padded_on_either_side(lengths, batch_first, side):
    """Empty ones too, which PyTorch pads as any other; and gradients come back, the padding's are lost."""
    rng = np.random.default_rng(sum(lengths))
    parts = [minidl.tensor(rng.standard_normal((n, 2)), requires_grad=True) for n in lengths]
    T = max(lengths)
    expected = np.full((len(lengths), T, 2), 7.0)
    for n, part in enumerate(parts):
        expected[n, T - len(part) if side == "left" else 0 :][: len(part)] = part.detach().numpy()
    padded = pad_sequence(parts, batch_first, 7.0, side)
    array = padded.detach().numpy()
    np.testing.assert_array_equal(array if batch_first else array.swapaxes(0, 1), expected)
    g = rng.standard_normal(padded.shape)
    padded.backward(minidl.tensor(g))
    for n, part in enumerate(parts):
        own = g[n] if batch_first else g[:, n]
        first = T - len(part) if side == "left" else 0
        np.testing.assert_array_equal(part.grad.numpy(), own[first:][: len(part)])
    if side == "right":
        for a, b in zip(unpad_sequence(padded, lengths, batch_first), parts, strict=True):
            np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_sequences_may_come_from_anywhere():
    parts = (minidl.tensor([float(n)]) for n in range(2))
    assert pad_sequence(parts).tolist() == [[0.0, 1.0]]
    assert pack_sequence(minidl.tensor([[1], [2]])).data.tolist() == [1, 2]
    assert unpad_sequence(minidl.zeros(3, 0), []) == []


def test_packing_sends_gradients_back():
    parts = [minidl.tensor(np.ones((n, 2)) * n, requires_grad=True) for n in (1, 3, 2)]
    packed = pack_sequence(parts, enforce_sorted=False)
    assert packed.data[:, 0].tolist() == [3, 2, 1, 3, 2, 3]
    packed.data.backward(minidl.tensor(np.arange(12.0).reshape(6, 2)))
    assert [part.grad[:, 0].tolist() for part in parts] == [[4], [0, 6, 10], [2, 8]]
    assert [part.shape for part in unpack_sequence(packed)] == [(1, 2), (3, 2), (2, 2)]


@pytest.mark.parametrize(
    ("dtype", "value", "found"),
    [
        ("float32", 1, 1.0),
        ("float32", True, 1.0),
        ("float32", float("-inf"), float("-inf")),
        ("float64", 1e300, 1e300),
        ("float32", np.float64(0.5), 0.5),
        ("float32", minidl.tensor(0.25), 0.25),
        ("int64", -100, -100),
        ("int64", 2.9, 2),
        ("uint8", 255, 255),
        ("bool", 3, True),
    ],
)
def test_a_padding_value_of_the_dtype(dtype, value, found):
    parts = [minidl.zeros(2, dtype=dtype), minidl.zeros(1, dtype=dtype)]
    padded = pad_sequence(parts, padding_value=value)
    assert padded.dtype == dtype and padded[1, 1].item() == found
    assert pad_packed_sequence(pack_sequence(parts), padding_value=value)[0][1, 1].item() == found


@pytest.mark.parametrize(
    ("dtype", "value", "error"),
    [
        ("float32", 1e300, ValueError),
        ("float32", 10**400, ValueError),
        ("int64", float("nan"), ValueError),
        ("int64", float("inf"), ValueError),
        ("int64", 2**63, ValueError),
        ("uint8", -1, ValueError),
        ("uint8", 1e10, ValueError),
        ("float32", None, TypeError),
        ("float32", "0", TypeError),
        ("float32", 1j, TypeError),
        ("float32", [0.0], TypeError),
        ("float32", np.zeros(2), TypeError),
    ],
)
def test_a_padding_value_that_is_none(dtype, value, error):
    parts = [minidl.zeros(2, dtype=dtype), minidl.zeros(1, dtype=dtype)]
    with pytest.raises(error, match=r"pad_sequence: padding_value .*"):
        pad_sequence(parts, padding_value=value)
    with pytest.raises(error, match=r"pad_packed_sequence: padding_value .*"):
        pad_packed_sequence(pack_sequence(parts), padding_value=value)


X = minidl.zeros(4, 3, 2)
A = minidl.zeros(2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pad_sequence([]), ValueError, "pad_sequence: expected at least one sequence"),
        (lambda: pad_sequence(None), TypeError, "pad_sequence: expected a list of Tensors, not NoneType"),
        (lambda: pad_sequence([A, np.zeros(2)]), TypeError, "pad_sequence: .* but one is ndarray"),
        (lambda: pad_sequence([A, A.double()]), TypeError, "pad_sequence: dtypes differ: float32, float64"),
        (lambda: pad_sequence([A, X]), ValueError, "pad_sequence: shapes must agree"),
        (lambda: pad_sequence([A[0]]), ValueError, "pad_sequence: shapes must agree"),
        (lambda: pad_sequence([A], padding_side="up"), ValueError, "padding_side must be 'right' or 'left', not 'up'"),
        (lambda: pad_sequence([A], 7.0), TypeError, "pad_sequence: batch_first must be True or False, not 7.0"),
        (lambda: pack_sequence([]), ValueError, "pack_sequence: expected at least one sequence"),
        (lambda: pack_sequence([A, A[:0]]), ValueError, r"pack_sequence: a sequence is empty: .* \[2, 0\]"),
        (lambda: pack_sequence([A[:1], A]), ValueError, "pack_sequence: lengths must not grow"),
        (lambda: pack_sequence([A, A.long()]), TypeError, "pack_sequence: dtypes differ"),
        (lambda: pack_padded_sequence(A, [2]), ValueError, r"input must have time and batch dimensions, not .* \(2,\)"),
        (lambda: pack_padded_sequence(X.numpy(), [2]), TypeError, "input must be a Tensor, not ndarray"),
        (lambda: pack_padded_sequence(X, [[4, 1], [2]]), ValueError, "lengths must have one dimension, not those of"),
        (lambda: pack_padded_sequence(X, [[4, 1, 2]]), ValueError, r"lengths must have one dimension, not .*\(1, 3\)"),
        (lambda: pack_padded_sequence(X, 4), ValueError, r"lengths must have one dimension, not shape \(\)"),
        (lambda: pack_padded_sequence(X, []), ValueError, "expected the lengths of 3 sequences, got 0"),
        (lambda: pack_padded_sequence(X, None), TypeError, "lengths must be integers"),
        (lambda: pack_padded_sequence(X, [True] * 3), TypeError, "lengths must be integers, not bool"),
        (lambda: pack_padded_sequence(X, [2**70, 1, 1]), TypeError, "lengths must be integers"),
        (lambda: pack_padded_sequence(X, np.array([2**63] * 3, np.uint64)), ValueError, r"lengths must be in 1\.\.4"),
        (lambda: pack_padded_sequence(X[:, :0], []), ValueError, "expected at least one sequence"),
        (lambda: pack_padded_sequence(X, [4, 1, 1], 0), TypeError, "batch_first must be True or False"),
        (lambda: unpad_sequence(X, [4, -1, 0]), ValueError, r"unpad_sequence: lengths must be in 0\.\.4"),
        (lambda: unpad_sequence(X, [4, 5, 0]), ValueError, r"unpad_sequence: lengths must be in 0\.\.4"),
        (lambda: unpad_sequence(A, [1]), ValueError, "padded_sequences must have time and batch dimensions"),
        (lambda: unpack_sequence(X), TypeError, "unpack_sequence: expected a PackedSequence, not Tensor"),
        (lambda: pad_packed_sequence(by_hand(), total_length=2), ValueError, "total_length 2 is below"),
        (lambda: pad_packed_sequence(by_hand(), total_length=7.9), TypeError, "total_length must be an int, not 7.9"),
        (lambda: pad_packed_sequence(by_hand(), total_length="5"), TypeError, "total_length must be an int"),
        (lambda: pad_packed_sequence(by_hand(), total_length=float("inf")), TypeError, "total_length must be an int"),
        (lambda: pad_packed_sequence(by_hand(), -1.0), TypeError, "batch_first must be True or False, not -1.0"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("sequence", "error", "message"),
    [
        (by_hand((1, 2, 3)), ValueError, r"batch_sizes must .* are \[1, 2, 3\] for data of shape \(6, 2\)"),
        (by_hand((3, 2)), ValueError, "batch_sizes must"),
        (by_hand((4, 3, -1)), ValueError, "batch_sizes must"),
        (by_hand(()), (TypeError, ValueError), "batch_sizes must"),
        (by_hand()._replace(data=minidl.zeros(5, 2)), ValueError, r"batch_sizes must .* of shape \(5, 2\)"),
        (by_hand((3.0, 2.0, 1.0)), TypeError, "batch_sizes must be integers, not float32"),
        (by_hand([[3, 2, 1]]), ValueError, "batch_sizes must have one dimension"),
        (by_hand()._replace(batch_sizes=None), TypeError, "batch_sizes must be integers"),
        (by_hand()._replace(data=ROWS), TypeError, "data must be a Tensor, not ndarray"),
        (by_hand(there=[2, 0, 7]), ValueError, r"indices must order 3 rows, not be \[2, 0, 7\]"),
        (by_hand(there=[0, 0, 0]), ValueError, "indices must order 3 rows"),
        (by_hand(back=[1, 0]), ValueError, "indices must order 3 rows"),
        (by_hand(there=[2.0, 0.0, 1.0]), TypeError, "sorted_indices must be integers, not float32"),
        (
            by_hand(there=[2, 0, 1], back=[0, 1, 2]),
            ValueError,
            r"\[0, 1, 2\] do not undo its sorted_indices \[2, 0, 1\]",
        ),
    ],
)
def test_a_packed_sequence_whose_parts_do_not_belong_together(sequence, error, message):
    """Nothing is read from rows that are another sequence's, or that are not there."""
    for call in (pad_packed_sequence, unpack_sequence, nn.LSTM(2, 3), nn.GRU(2, 3)):
        with pytest.raises(error, match=message):
            call(sequence)


def test_one_order_of_the_two_is_enough():
    both = by_hand(there=[2, 0, 1], back=[1, 2, 0])
    layer, h = nn.GRU(2, 3), minidl.randn(1, 3, 3)
    for one in (by_hand(there=[2, 0, 1]), by_hand(back=[1, 2, 0])):
        for a, b in zip(pad_packed_sequence(one), pad_packed_sequence(both), strict=True):
            assert a.tolist() == b.tolist()
        for a, b in zip(layer(one, h)[1], layer(both, h)[1], strict=True):
            assert a.tolist() == b.tolist()
    assert pad_packed_sequence(both)[1].tolist() == [2, 1, 3]


def test_a_packed_sequence_of_another_dtype():
    packed = by_hand(there=[2, 0, 1], back=[1, 2, 0])
    assert packed.double().data.dtype == np.float64 and packed.double().float().data.dtype == np.float32
    assert packed.to(minidl.int64).data.tolist() == ROWS.tolist() and packed.double().unsorted_indices.tolist() == [
        1,
        2,
        0,
    ]
    assert nn.LSTM(2, 3).double()(packed.double())[0].data.dtype == np.float64
