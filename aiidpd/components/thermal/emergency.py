"""Emergency stop: where a GPU stays critically hot, the containers that the config names are stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.signals.checked import CheckedGpu, CheckedSnapshot
from aiidpd.contracts.messages import EmergencyStop
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.publisher import Publisher

READINGS: Final = 3  # in a row at or above the critical limit are an emergency
# Of readings closer than so many seconds only the first counts: polling four times a second is no reason to
# wait less.
_SPACING: Final = 0.9


@dataclass(frozen=True, slots=True)
class Row:
    """Critical readings of one GPU in a row, the last at ``counted_at``; ``active`` in an emergency."""

    count: int = 0
    counted_at: float = 0.0
    active: bool = False


@dataclass(frozen=True, slots=True)
class EmergencyState:
    """Rows of critical readings, by UUID."""

    rows: Mapping[str, Row] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Emergency:
    """A GPU that stays critically hot. ``readings`` is how many in a row were critical."""

    reading: GpuReading
    critical_celsius: float
    readings: int


def step(state: EmergencyState, snapshot: CheckedSnapshot) -> tuple[EmergencyState, tuple[Emergency, ...]]:
    """Return the state after ``snapshot``, and the emergencies that began with it.

    A gap breaks the row of critical readings, and so does a temperature that is not believed. An emergency is
    over where an alert would be: some degrees under the limit.
    """
    rows = dict(state.rows)
    began = []
    for gpu in snapshot.gpus:
        before = rows.get(gpu.reading.uuid, Row())
        after = rows[gpu.reading.uuid] = _next(before, gpu)
        if after.active and not before.active:
            began.append(Emergency(gpu.reading, gpu.limits.critical_celsius, after.count))
    return EmergencyState(MappingProxyType(rows)), tuple(began)


def _next(row: Row, gpu: CheckedGpu) -> Row:
    limits = gpu.limits
    if gpu.temperature is None:
        return replace(row, count=0)
    if gpu.temperature < limits.critical_celsius:
        over = gpu.temperature <= limits.critical_celsius - limits.hysteresis_celsius
        return replace(row, count=0, active=row.active and not over)
    if not gpu.seconds:
        row = replace(row, count=0)
    if row.count and gpu.now - row.counted_at < _SPACING:
        return row
    count = row.count + 1
    return replace(row, count=count, counted_at=gpu.now, active=row.active or count >= READINGS)


class EmergencyWatch:
    """Publishes ``gpu.emergency`` and sends :class:`EmergencyStop`, once for as long as it holds.

    ``containers`` returns the names of those to stop; where there are none, no emergency begins.
    """

    def __init__(
        self, publish: Publisher, messages: Messages, containers: Callable[[], tuple[str, ...]]
    ) -> None:
        self._publish = publish
        self._messages = messages
        self._containers = containers
        self._state = EmergencyState()

    def on_snapshot(self, snapshot: CheckedSnapshot) -> None:
        """See :class:`~aiidpd.components.thermal.worker.SnapshotListener`."""
        containers = self._containers()
        if not containers:
            self._state = EmergencyState()
            return
        self._state, began = step(self._state, snapshot)
        for emergency in began:
            publish = self._publish.marked(simulated=snapshot.simulated).at(snapshot.at)
            event = _published(publish, emergency, containers)
            self._messages.send(
                EmergencyStop(
                    reason=event.reason,
                    event_id=event.id,
                    simulated=event.simulated,
                    gpu=emergency.reading.uuid,
                    containers=containers,
                )
            )


def _published(publish: Publisher, emergency: Emergency, containers: tuple[str, ...]) -> Event:
    """Publish ``emergency``; return the event."""
    reading = emergency.reading
    names = ", ".join(containers)
    return publish.event(
        "gpu.emergency",
        f"GPU {reading.index} ({reading.name}) is at {reading.temperature_celsius:g} °C, at or above "
        f"{emergency.critical_celsius:g} °C in {emergency.readings} readings in a row: "
        f"containers are stopped: {names}",
        about=reading.uuid,
        severity=Severity.ERROR,
        gpu=reading.index,
        temperature_celsius=reading.temperature_celsius,
        critical_celsius=emergency.critical_celsius,
        readings=emergency.readings,
        containers=names,
        remedy="find out why it is that hot; what was stopped, and how to start it again, "
        "is told by events container.emergency_stopped",
    )
