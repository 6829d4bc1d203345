"""Conditions of the history itself: one while writing fails, an event for a file set aside."""

from __future__ import annotations

from typing import Protocol

from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event, Severity

CODE = "history"


class Watched(Protocol):
    """What of the history is looked at."""

    @property
    def problem(self) -> str | None:
        """Why writing fails now."""

    def take_notices(self) -> list[str]:
        """Return what happened to the file, each once."""


def update_conditions(history: Watched, *, clock: Clock, bus: EventBus, health: Conditions) -> None:
    """Bring the finding up to date and publish what there is to tell."""
    for notice in history.take_notices():
        event = Event(clock.time(), "history", "history.set_aside", notice, severity=Severity.ERROR)
        bus.publish(event)
    problem = history.problem
    if problem is None:
        health.clear(CODE, "")
    else:
        remedy = "free space or repair the disk; rows wait in memory, and it goes on by itself"
        health.report(CODE, "", severity=Severity.ERROR, reason=problem, remedy=remedy)
