"""An incident that goes on, and what its files tell of it (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.incidents.incident import FORMAT, name_of
from aiidpd.incidents.requests import COLUMNS, RequestCount, rows
from aiidpd.incidents.ring_buffer import RingBuffer
from aiidpd.incidents.store import Series
from aiidpd.kernel.events import Event

_LIMITS: Final = (
    "gpu_max_celsius",
    "slowdown_celsius",
    "shutdown_celsius",
    "memory_max_celsius",
    "power_limit_default_watts",
    "power_limit_max_watts",
)
_MOST_LOOKS: Final = 4096
_NO_INDEX: Final = 1 << 16  # behind every card that has one


@dataclass(slots=True)
class Recording:
    """An incident that goes on, or waits to be written. Times are monotonic seconds, ``offset`` to Unix.

    ``requests`` is what ran when it began, ``requests_at_end`` when it ended, ``looks`` from before to after.
    """

    event: Event
    first: float
    last: float
    offset: float
    rings: dict[str, RingBuffer]
    before: list[dict[str, Any]]
    containers: Mapping[str, Any]
    requests: Mapping[str, Any]
    looks: list[RequestCount]
    requests_at_end: Mapping[str, Any] | None = None
    triggers: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    not_told: int = 0
    identity: str = ""

    def look(self, looks: list[RequestCount]) -> None:
        """Take what engines told meanwhile."""
        self.looks.extend(looks[: max(0, _MOST_LOOKS - len(self.looks))])

    def told(
        self, state: str, seen: Mapping[str, GpuReading], driver: str
    ) -> tuple[dict[str, Any], list[Series]]:
        """Return the document and the tables; ``seen`` has the last reading of each GPU, by UUID."""
        order = sorted(self.rings, key=lambda uuid: (seen[uuid].index if uuid in seen else _NO_INDEX, uuid))
        tables = [
            Series(f"gpu-{place}.csv", self.rings[uuid].rows(), self.offset)
            for place, uuid in enumerate(order)
        ]
        event = self.event
        document = {
            "format": FORMAT,
            "id": self.identity,
            "kind": name_of(event),
            "state": state,
            "subject": event.subject,
            "severity": event.severity.name.lower(),
            "reason": event.reason,
            "simulated": event.simulated,
            "started_at": self.offset + self.first,
            "last_trigger_at": self.offset + self.last,
            "triggers": list(self.triggers),
            "events": [*self.before, *self.events],
            "events_not_told": self.not_told,
            "containers": dict(self.containers),
            "requests": dict(self.requests),
            "requests_at_end": None if self.requests_at_end is None else dict(self.requests_at_end),
            "requests_track": {"columns": list(COLUMNS), "data": rows(self.looks, self.offset)},
            "driver_version": driver,
            "gpus": [
                self._gpu(uuid, table.file, seen.get(uuid)) for uuid, table in zip(order, tables, strict=True)
            ],
        }
        return document, tables

    def _gpu(self, uuid: str, file: str, seen: GpuReading | None) -> dict[str, Any]:
        ring = self.rings[uuid]
        about: dict[str, Any] = {"uuid": uuid, "file": file, "rows": len(ring)}
        newest = ring.newest
        about["last_read_at"] = self.offset + newest if math.isfinite(newest) else None
        about["index"] = seen.index if seen else None
        about["name"] = seen.name if seen else ""
        about["limits"] = {limit: getattr(seen, limit) if seen else None for limit in _LIMITS}
        processes = seen.processes if seen else None
        about["processes"] = processes and [
            {
                "pid": each.pid,
                "name": each.name,
                "used_memory_bytes": each.used_memory_bytes,
                "container_id": each.container_id,
            }
            for each in processes
        ]
        return about
