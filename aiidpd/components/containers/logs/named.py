"""Failures of containers that were named, and the deaths that wait for it; they outlive the task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio

from aiidpd.components.containers.logs.failures import LastFailure
from aiidpd.components.containers.runtime import RuntimeSnapshot
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.reading import Reading

_MOST: Final = 1000  # containers whose last failure is remembered
_MOST_WAITING: Final = 64
SHORT: Final = 12
"""Characters of an id that events have."""
_DIED: Final = "container.died"
_LOOPS: Final = "container.restart_loop"


@dataclass(frozen=True, slots=True)
class Death:
    """End of a run whose reason is to be read; times in Unix seconds.

    ``container`` is the full id where it is known, else its beginning. ``run`` is when the run started, None
    where that is not known.
    """

    container: str
    name: str
    at: float
    run: float | None
    exit_code: int | None
    out_of_memory: bool
    simulated: bool


class NamedFailures:
    """Last failure of each container, by its id; the least recent of more than 1000 is forgotten.

    ``counts`` are those since the start, by the name of the failure.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._by_id: dict[str, LastFailure] = {}

    def get(self, identity: str) -> LastFailure | None:
        """Return the last failure of a container; None where none has a name."""
        return self._by_id.get(identity[:SHORT])

    def sentence(self, identity: str) -> str:
        """Return the last failure of a container in words; empty where none has a name."""
        found = self.get(identity)
        return "" if found is None else found.sentence

    def put(self, found: LastFailure) -> None:
        """Remember ``found`` as the last of its container."""
        self.counts[found.named.failure.name] += 1
        short = found.container[:SHORT]
        self._by_id.pop(short, None)
        self._by_id[short] = found
        while len(self._by_id) > _MOST:
            del self._by_id[next(iter(self._by_id))]


class Deaths:
    """Deaths of containers that the bus reports and nobody asked for, each until its log was read.

    ``latest`` gives the last reading: while the event is published it still has the run that ended.
    """

    def __init__(self, latest: Callable[[], Reading[RuntimeSnapshot] | None]) -> None:
        self._latest = latest
        self._waiting: dict[str, Death] = {}
        self.arrived = anyio.Event()

    def on_event(self, event: Event) -> None:
        """Take an event of the bus; a later death of a container replaces an earlier one."""
        died = event.kind == _DIED and event.severity >= Severity.WARNING
        if not died and event.kind != _LOOPS:
            return
        short = str(event.evidence.get("id") or "")
        if not short or (not died and short in self._waiting):
            return
        full, run = self._run(short, event.time)
        code = event.evidence.get("exit_code")
        self._waiting.pop(short, None)
        self._waiting[short] = Death(
            full,
            event.subject,
            event.time,
            run,
            code if isinstance(code, int) else None,
            out_of_memory=bool(event.evidence.get("oom_claimed") or event.evidence.get("oom_kills")),
            simulated=event.simulated,
        )
        while len(self._waiting) > _MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self.arrived.set()

    def take(self) -> list[Death]:
        """Remove and return the deaths that wait."""
        taken = list(self._waiting.values())
        self._waiting.clear()
        self.arrived = anyio.Event()
        return taken

    def _run(self, short: str, at: float) -> tuple[str, float | None]:
        """Return the full id of a container, and when the run started that ended ``at``."""
        reading = self._latest()
        for each in reading.value.containers if reading is not None else ():
            if each.id.startswith(short):
                started = each.started_at
                return each.id, started if started is not None and started <= at else None
        return short, None
