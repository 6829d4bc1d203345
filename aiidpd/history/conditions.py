"""Conditions of the history itself: one while writing fails, an event for a file set aside."""

from __future__ import annotations

from typing import Final, Protocol

from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Severity
from aiidpd.kernel.publisher import Publisher

SOURCE: Final = "history"
CONDITION: Final = "history"


class Watched(Protocol):
    """Part of the history that is observed."""

    @property
    def problem(self) -> str | None:
        """Reason why writing fails now."""

    def take_notices(self) -> list[str]:
        """Return what happened to the file, each once."""


def update_conditions(history: Watched, publish: Publisher, conditions: Conditions) -> None:
    """Bring the condition up to date and publish what happened to the file."""
    for notice in history.take_notices():
        publish.event("history.set_aside", notice, severity=Severity.ERROR)
    problem = history.problem
    if problem is None:
        conditions.clear(CONDITION, "")
    else:
        remedy = "free space or repair the disk, and writing resumes by itself"
        conditions.set(Condition(CONDITION, "", Severity.ERROR, problem, remedy, source=SOURCE))
