"""The suite tested by itself: every backward of the bank is wrong, and must be rejected for what it returns."""

from collections.abc import Callable
from unittest import mock

import pytest
from wrong_backwards import BANK, Wrong

from minidl.ops.table import OPERATIONS
from minidl.testing import CheckError, check_operation

# What the core, rather than a comparison, says of a backward that writes where it must not.
CAUGHT_WRITING = ("changed in place", "read-only")


def test_the_bank_is_large_and_covers_the_operations() -> None:
    assert len(BANK) >= 60
    assert len({entry.name for entry in BANK}) == len(BANK)
    for name in ("conv2d", "max_pool2d", "avg_pool2d", "linear", "batch_norm", "softmax", "cross_entropy", "relu"):
        assert sum(entry.operation == name for entry in BANK) >= 3


@pytest.mark.parametrize("entry", BANK, ids=lambda entry: entry.name)
def test_is_rejected(entry: Wrong, record_property: Callable[[str, object], None]) -> None:
    record_property("wrong backward", entry.name)  # conftest.py counts these tests
    with mock.patch.object(entry.passes, "backward", entry.backward), pytest.raises(CheckError) as caught:
        check_operation(OPERATIONS[entry.operation])
    crash = caught.value.__cause__
    assert crash is None or any(text in str(crash) for text in CAUGHT_WRITING), f"crashed rather than differed: {crash}"


@pytest.mark.parametrize("name", sorted({entry.operation for entry in BANK}))
def test_the_right_one_passes(name: str) -> None:
    assert check_operation(OPERATIONS[name])
