"""Evidence of GPUs for incidents: the readings of each around it, its limits and its processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from aiidpd.components.thermal.figures import RECORDED
from aiidpd.components.thermal.gpu import GpuReading, clock_event_names
from aiidpd.components.thermal.rollup import KIND as MINUTE
from aiidpd.components.thermal.signals.checked import CheckedSnapshot
from aiidpd.incidents.evidence import Evidence
from aiidpd.incidents.incident import BEFORE, Trigger
from aiidpd.incidents.ring_buffer import RingBuffers, Window
from aiidpd.incidents.series import Column, Flags, Number, Series, Value

NAME: Final = "gpus"

TRIGGERS: Final = (
    Trigger("gpu.disappeared"),
    Trigger("gpu.xid", evidence=MappingProxyType({"class": frozenset({"driver", "hardware"})})),
    Trigger("gpu.emergency"),
)
"""Events of GPUs that begin an incident."""

NOISE: Final = (MINUTE,)
"""Events of GPUs that come all the time: an incident has the readings themselves."""

LIMITS: Final = (
    "gpu_max_celsius",
    "slowdown_celsius",
    "shutdown_celsius",
    "memory_max_celsius",
    "power_limit_default_watts",
    "power_limit_max_watts",
)
"""Figures of the last reading that the recorded ones are drawn against."""

_DIGITS: Final = {"celsius": 1, "watts": 2, "ratio": 3, "bytes": 0, "hertz": 0}
COLUMNS: Final[tuple[Column, ...]] = (
    *(Number(figure, _DIGITS[figure.rpartition("_")[2]]) for figure in RECORDED),
    Flags("clock_events", clock_event_names),
)

_NO_INDEX: Final = 1 << 16  # behind every card that has one


class GpuEvidence(Evidence):
    """Records every snapshot, by UUID, since an index can name another card later.

    A :class:`~aiidpd.components.thermal.worker.SnapshotListener`. ``fastest`` is the shortest time between
    two readings, ``reach`` the seconds that are recorded; 32 GPUs at most.
    """

    def __init__(self, *, fastest: float = 0.25, reach: float = BEFORE) -> None:
        self._rings = RingBuffers("uuid", COLUMNS, reach=reach, fastest=fastest)
        self._last: dict[str, GpuReading] = {}
        self._driver = ""

    @property
    def rings(self) -> RingBuffers:
        """Readings of each GPU."""
        return self._rings

    def on_snapshot(self, snapshot: CheckedSnapshot) -> None:
        """Record ``snapshot``; see :class:`~aiidpd.components.thermal.worker.SnapshotListener`."""
        self._driver = snapshot.driver_version
        for gpu in snapshot.readings:
            # The time of a row is monotonic: a clock that is set leaves no fold in the curve.
            self._rings.add(gpu.uuid, snapshot.now, values(gpu))
        held = set(self._rings.subjects)
        self._last = {uuid: last for uuid, last in self._last.items() if uuid in held} | {
            gpu.uuid: gpu for gpu in snapshot.readings
        }

    def summary(self, window: Window) -> tuple[Mapping[str, Any], Sequence[Series]]:
        """Return the driver, each GPU with its limits and processes, and a file of readings for each."""
        entries, files = window.files("gpu", sorted(window.subjects, key=self._place), self._describe)
        return {"driver_version": self._driver, NAME: entries}, files

    def _place(self, uuid: str) -> tuple[int, str]:
        last = self._last.get(uuid)
        return (last.index if last else _NO_INDEX, uuid)

    def _describe(self, uuid: str) -> dict[str, Any]:
        last = self._last.get(uuid)
        processes = last.processes if last else None
        return {
            "index": last.index if last else None,
            "name": last.name if last else "",
            "limits": {limit: getattr(last, limit) if last else None for limit in LIMITS},
            "processes": processes
            and [
                {
                    "pid": each.pid,
                    "name": each.name,
                    "used_memory_bytes": each.used_memory_bytes,
                    "container_id": each.container_id,
                }
                for each in processes
            ],
        }


def values(reading: GpuReading) -> tuple[Value, ...]:
    """Return ``reading`` as a row of :data:`COLUMNS`."""
    return (*(getattr(reading, figure) for figure in RECORDED), reading.clock_event_bits)
