"""Writes incidents to the disk and tells of it; a disk that refuses is told, and ends nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio.to_thread

from aiidpd.incidents.incident import identity_of, name_of
from aiidpd.incidents.recording import Recording
from aiidpd.incidents.store import IncidentStore, Series
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import describe
from aiidpd.kernel.events import Event, Severity

SOURCE: Final = "thermal"

Tell = Callable[[Recording, str], tuple[dict[str, Any], Sequence[Series]]]
"""Returns the document and the tables of a recording in a state."""


class IncidentWriter:
    """Writes what ``tell`` says of a recording into ``store``, in threads."""

    def __init__(self, store: IncidentStore, bus: EventBus, clock: Clock, tell: Tell) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._tell = tell
        self._recovered = False

    async def recover(self) -> None:
        """Clear up after the daemon before this one; with the first call only."""
        if not self._recovered:
            await self._in_thread(self._store.recover, "clear up")
            self._recovered = True

    async def announce(self, recording: Recording, before: float) -> None:
        """Write an incident that has just begun; ``before`` is how many seconds it reaches back."""
        recording.identity = identity_of(
            recording.event
        )  # were writing to fail, it is not tried at once again
        free = await self._in_thread(lambda: self._store.free(recording.identity), "name")
        recording.identity = free or recording.identity
        if await self._write(recording, "recording"):
            what = f"the last {before / 60:g} minutes and what follows are kept"
            self._publish("incident.recording", recording, f"{what}: {recording.event.reason}")

    async def finish(self, recording: Recording) -> None:
        """Write an incident that has ended, whole."""
        if await self._write(recording, "complete"):
            show = f"aiidpctl incidents show {recording.identity}"
            self._publish("incident.recorded", recording, f"recorded; to see it: {show}")

    async def _write(self, recording: Recording, state: str) -> bool:
        document, tables = self._tell(recording, state)
        identity = recording.identity

        def write() -> bool:
            self._store.write(identity, document, tables)
            return True

        return bool(await self._in_thread(write, f"write incident {identity}"))

    async def _in_thread(self, work: Callable[[], Any], what: str) -> Any:
        """Return what ``work`` returns, None where the disk refused."""
        try:
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        except OSError as error:
            reason = (
                f"cannot {what} in {self._store.folder}: {describe(error)}; free space or repair the disk"
            )
            self._bus.publish(
                Event(self._clock.time(), SOURCE, "incident.failed", reason, severity=Severity.ERROR)
            )
            return None

    def _publish(self, kind: str, recording: Recording, reason: str) -> None:
        self._bus.publish(
            Event(
                time=self._clock.time(),
                source=SOURCE,
                kind=kind,
                reason=reason,
                subject=recording.identity,
                evidence={
                    "trigger": name_of(recording.event),
                    "about": recording.event.subject,
                    "triggers": len(recording.triggers),
                    "seconds": round(recording.last - recording.first, 3),
                    "gpus": len(recording.rings),
                },
                simulated=recording.event.simulated,
            )
        )
