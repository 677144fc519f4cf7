"""What all tests share: hypothesis' profile, fresh random numbers, and the count of wrong backwards at the end."""

import os

import pytest
from hypothesis import HealthCheck, settings

import minidl

collect_ignore = ["simd_paths.py"]  # a script with kernels of its own

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("default", deadline=None, max_examples=40, derandomize=True, suppress_health_check=SLOW)
settings.register_profile("thorough", deadline=None, max_examples=1000, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers, whatever ran before it."""
    minidl.manual_seed(0)


WRONG_BACKWARD = "wrong backward"  # a test that tries one has this property: reports carry it between processes


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many wrong backwards were tried, and how many of these tests passed: were rejected."""
    tried = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call" and any(name == WRONG_BACKWARD for name, _ in report.user_properties)
    ]
    if tried:
        rejected = sum(report.passed for report in tried)
        terminalreporter.write_line(f"wrong backwards tried: {len(tried)}, rejected: {rejected}")
