"""Checks for gradients and operations: for minidl's own tests, for yours, and for grading assignments.

`gradcheck` holds any function's gradient against finite differences. `check_function` holds a hand-written Function
against a definition, and `check_operation`, `check_all` do so for the op table. `minidl.testing.strategies`, which
needs the hypothesis package, draws arrays and arguments.
"""

from minidl.ops.table import Sample
from minidl.testing.factory import CheckError, check_all, check_function, check_operation, check_sample
from minidl.testing.gradcheck import GradientError, gradcheck, gradgradcheck

__all__ = [
    "CheckError",
    "GradientError",
    "Sample",
    "check_all",
    "check_function",
    "check_operation",
    "check_sample",
    "gradcheck",
    "gradgradcheck",
]
