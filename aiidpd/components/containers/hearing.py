"""Facts that only an event of the runtime shows, and no reading any more (pure)."""

from __future__ import annotations

from dataclasses import replace

from aiidpd.components.containers.events import ContainerPublisher
from aiidpd.components.containers.runtime import RuntimeEvent
from aiidpd.components.containers.state import Known

_ENDING_SIGNALS = frozenset({"2", "3", "6", "9", "15"})  # others, such as SIGHUP, ask for something else


def heard(publisher: ContainerPublisher, known: Known, event: RuntimeEvent) -> Known:
    """Return ``known`` after ``event``, which its last reading did not show; ``publisher`` says what."""
    at, action, detail = event.time, event.action, event.detail
    if action == "start" and not known.running and at > known.ended:
        return publisher.started(known, at, exact=False)
    if not known.running or (known.started is not None and at < known.started):
        return known  # of a run whose end is known already
    if action == "die":
        known = publisher.died(known, at, event.exit_code)
    elif action == "oom" and not known.oom:
        known = publisher.oom_killed(known, at)
    elif action == "kill" and detail in _ENDING_SIGNALS:
        known = replace(known, asked=detail, asked_at=at)
    elif action == "health_status" and detail in ("healthy", "unhealthy"):
        known = publisher.health(known, detail, at)
    return known
