"""What all tests share: hypothesis' profile, fresh random numbers, and the count of wrong backwards at the end."""

import os

import pytest
from hypothesis import HealthCheck, settings

import minidl

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("default", deadline=None, max_examples=40, derandomize=True, suppress_health_check=SLOW)
settings.register_profile("thorough", deadline=None, max_examples=1000, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

WRONG_BACKWARDS = pytest.StashKey[dict[str, bool]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[WRONG_BACKWARDS] = {}


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers, whatever ran before it."""
    minidl.manual_seed(0)


@pytest.fixture
def wrong_backwards(request: pytest.FixtureRequest) -> dict[str, bool]:
    """Which wrong backwards were tried, and whether they were rejected."""
    return request.config.stash[WRONG_BACKWARDS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tried = config.stash[WRONG_BACKWARDS]
    if tried:
        terminalreporter.write_line(f"wrong backwards tried: {len(tried)}, rejected: {sum(tried.values())}")
