"""What every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import settings

from tests.fakes.clock import FakeClock

pytest_plugins = ["tests.fakes.nvml.fixtures"]

# An example that is slow says more about a busy machine than about the code; pytest-timeout bounds the whole.
settings.register_profile("aiidpd", deadline=None)
settings.load_profile("aiidpd")

REQUIRE_REAL = os.environ.get("AIIDPD_REQUIRE_REAL") == "1"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def missing() -> Callable[[str, str], None]:
    """Return what a fixture calls when its real part is not there: a skip, or a failure where CI asks."""

    def report(part: str, how: str) -> None:
        message = f"no {part} here: {how}"
        if REQUIRE_REAL:
            pytest.fail(f"{message} (AIIDPD_REQUIRE_REAL=1)")
        pytest.skip(message)

    return report
