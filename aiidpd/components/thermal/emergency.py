"""The last resort: when the containers that the config names are to be stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.components.thermal.signals.checked import CheckedGpu
from aiidpd.components.thermal.signals.thresholds import AlertSettings
from aiidpd.components.thermal.signals.validate import SensorMemory, validate
from aiidpd.contracts.messages import EmergencyStop
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.inbox import Messages

SOURCE: Final = "thermal"


@dataclass(frozen=True, slots=True)
class EmergencyPolicy:
    """When and what to stop; off where ``containers`` is empty.

    ``readings`` in a row at or above the critical limit that ``alarms`` has for the GPU are an emergency.
    Of readings closer than ``spacing`` seconds only the first counts: a watch at four a second is no reason
    to wait less. After ``longest_gap`` seconds without one the row is broken, and so it is by a reading
    that is not believed. It is over where an alert would be: some degrees under the limit.
    """

    containers: tuple[str, ...] = ()
    alarms: AlertSettings = field(default_factory=AlertSettings)
    readings: int = 3
    spacing: float = 0.9
    longest_gap: float = 10.0


@dataclass(frozen=True, slots=True)
class Row:
    """How many critical readings one GPU had in a row, the last at ``counted``; ``seen`` is that of any."""

    count: int = 0
    counted: float = 0.0
    seen: float = 0.0
    holds: bool = False
    sensor: SensorMemory = field(default_factory=SensorMemory)


@dataclass(frozen=True, slots=True)
class EmergencyState:
    """The rows by UUID."""

    rows: Mapping[str, Row] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Emergency:
    """A GPU that is critically hot for good. ``readings`` is how many in a row said so."""

    reading: GpuReading
    critical_celsius: float
    readings: int


def step(
    state: EmergencyState, snapshot: GpuSnapshot, now: float, policy: EmergencyPolicy
) -> tuple[EmergencyState, tuple[Emergency, ...]]:
    """Return the state after ``snapshot``, read at ``now`` (monotonic seconds), and what began with it."""
    rows = {
        uuid: row for uuid, row in state.rows.items() if row.holds or now - row.seen <= policy.longest_gap
    }
    began = []
    for reading in snapshot.gpus:
        before = rows.get(reading.uuid, Row(seen=now))
        look = _look(before, reading, now, policy)
        sensor, look, _ = validate(before.sensor, look, policy.alarms)
        after = replace(_next(before, look, policy), sensor=sensor, seen=now)
        rows[reading.uuid] = after
        if after.holds and not before.holds:
            began.append(Emergency(reading, look.limits.critical_celsius, after.count))
    return EmergencyState(MappingProxyType(rows)), tuple(began)


def _look(before: Row, reading: GpuReading, now: float, policy: EmergencyPolicy) -> CheckedGpu:
    elapsed = now - before.seen if now - before.seen <= policy.alarms.longest_gap else 0.0
    return CheckedGpu(reading, now, elapsed, policy.alarms.for_gpu(reading.index, reading.uuid))


def _next(row: Row, look: CheckedGpu, policy: EmergencyPolicy) -> Row:
    limits, now = look.limits, look.now
    if look.temperature is None:
        return replace(row, count=0)
    if look.temperature < limits.critical_celsius:
        over = look.temperature <= limits.critical_celsius - limits.clear_below
        return replace(row, count=0, holds=row.holds and not over)
    if row.count and now - row.seen > policy.longest_gap:
        row = replace(row, count=0)
    if row.count and now - row.counted < policy.spacing:
        return row
    count = row.count + 1
    return replace(row, count=count, counted=now, holds=row.holds or count >= policy.readings)


class EmergencyWatch:
    """Publishes ``gpu.emergency`` and sends :class:`EmergencyStop`, once for as long as it holds.

    ``policy`` is asked anew at each snapshot, so that a reload counts at once.
    """

    def __init__(self, bus: EventBus, messages: Messages, policy: Callable[[], EmergencyPolicy]) -> None:
        self._bus = bus
        self._messages = messages
        self._policy = policy
        self._state = EmergencyState()

    def observe(self, snapshot: GpuSnapshot, at: float, now: float) -> None:
        """See :class:`~aiidpd.components.thermal.observer.SnapshotListener`."""
        policy = self._policy()
        if not policy.containers:
            self._state = EmergencyState()
            return
        self._state, began = step(self._state, snapshot, now, policy)
        for emergency in began:
            event = self._bus.publish(_event(emergency, policy, at, simulated=snapshot.simulated))
            self._messages.send(
                EmergencyStop(
                    reason=event.reason,
                    event_id=event.id,
                    simulated=event.simulated,
                    gpu=emergency.reading.uuid,
                    containers=policy.containers,
                )
            )


def _event(emergency: Emergency, policy: EmergencyPolicy, at: float, *, simulated: bool) -> Event:
    reading = emergency.reading
    names = ", ".join(policy.containers)
    return Event(
        time=at,
        source=SOURCE,
        kind="gpu.emergency",
        subject=reading.uuid,
        severity=Severity.ERROR,
        reason=f"GPU {reading.index} ({reading.name}) is at {reading.temperature_celsius:g} °C, at or above "
        f"{emergency.critical_celsius:g} °C in {emergency.readings} readings in a row: "
        f"containers are stopped: {names}",
        evidence={
            "gpu": reading.index,
            "temperature_celsius": reading.temperature_celsius,
            "critical_celsius": emergency.critical_celsius,
            "readings": emergency.readings,
            "containers": names,
            "remedy": "find out why it is that hot; what was stopped, and how to start it again, "
            "is told by events container.emergency_stopped",
        },
        simulated=simulated,
    )
