from __future__ import annotations

import pytest

from aiidpd.components.containers.phase import Phase, phase
from aiidpd.components.containers.runtime import ContainerReading


@pytest.mark.parametrize(
    ("state", "health", "checked", "expected"),
    [
        ("running", None, False, Phase.NO_HEALTHCHECK),
        ("running", None, True, Phase.RUNNING),
        ("running", "starting", True, Phase.STARTING),
        ("running", "healthy", True, Phase.HEALTHY),
        ("running", "unhealthy", True, Phase.UNHEALTHY),
        ("paused", None, True, Phase.PAUSED),
        ("restarting", None, True, Phase.RESTARTING),
        ("exited", None, True, Phase.EXITED),
        ("dead", None, False, Phase.DEAD),
        ("created", None, False, Phase.CREATED),
        ("removing", None, False, Phase.REMOVING),
    ],
)
def test_a_state_is_one_word(state: str, health: str | None, checked: bool, expected: Phase) -> None:
    assert phase(ContainerReading("c", "n", "i", state, health=health, checked=checked)) is expected


def test_one_that_does_not_exist_is_gone() -> None:
    assert phase(None) is Phase.GONE
