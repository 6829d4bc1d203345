"""The last resort: stops the containers that the config names, where a GPU stays critically hot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.signals.checked import CheckedGpu, CheckedSnapshot
from aiidpd.contracts.messages import EmergencyStop
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.inbox import Messages

SOURCE: Final = "thermal"


@dataclass(frozen=True, slots=True)
class EmergencyPolicy:
    """When and what to stop; off where ``containers`` is empty.

    ``readings`` in a row at or above the GPU's critical limit are an emergency. Of readings closer than
    ``spacing`` seconds only the first counts: polling four times a second is no reason to wait less. A gap
    breaks the row, and so does a temperature that is not believed. It is over where an alert would be: some
    degrees under the limit.
    """

    containers: tuple[str, ...] = ()
    readings: int = 3
    spacing: float = 0.9


@dataclass(frozen=True, slots=True)
class Row:
    """How many critical readings one GPU had in a row, the last at ``counted``, and whether it is one."""

    count: int = 0
    counted: float = 0.0
    active: bool = False


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
    state: EmergencyState, snapshot: CheckedSnapshot, policy: EmergencyPolicy
) -> tuple[EmergencyState, tuple[Emergency, ...]]:
    """Return the state after ``snapshot``, and what began with it."""
    rows = dict(state.rows)
    began = []
    for gpu in snapshot.gpus:
        before = rows.get(gpu.reading.uuid, Row())
        after = rows[gpu.reading.uuid] = _next(before, gpu, policy)
        if after.active and not before.active:
            began.append(Emergency(gpu.reading, gpu.limits.critical_celsius, after.count))
    return EmergencyState(MappingProxyType(rows)), tuple(began)


def _next(row: Row, gpu: CheckedGpu, policy: EmergencyPolicy) -> Row:
    limits = gpu.limits
    if gpu.temperature is None:
        return replace(row, count=0)
    if gpu.temperature < limits.critical_celsius:
        over = gpu.temperature <= limits.critical_celsius - limits.clear_below
        return replace(row, count=0, active=row.active and not over)
    if not gpu.seconds:
        row = replace(row, count=0)
    if row.count and gpu.now - row.counted < policy.spacing:
        return row
    count = row.count + 1
    return replace(row, count=count, counted=gpu.now, active=row.active or count >= policy.readings)


class EmergencyWatch:
    """Publishes ``gpu.emergency`` and sends :class:`EmergencyStop`, once for as long as it holds.

    ``policy`` is read anew at each snapshot, so that a reload counts at once.
    """

    def __init__(self, bus: EventBus, messages: Messages, policy: Callable[[], EmergencyPolicy]) -> None:
        self._bus = bus
        self._messages = messages
        self._policy = policy
        self._state = EmergencyState()

    def on_snapshot(self, snapshot: CheckedSnapshot) -> None:
        """See :class:`~aiidpd.components.thermal.worker.SnapshotListener`."""
        policy = self._policy()
        if not policy.containers:
            self._state = EmergencyState()
            return
        self._state, began = step(self._state, snapshot, policy)
        for emergency in began:
            event = self._bus.publish(_event(emergency, policy, snapshot.at, simulated=snapshot.simulated))
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
