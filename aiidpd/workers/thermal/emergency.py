"""The last resort: when the containers that the config names are to be stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from aiidpd.kernel.events import Event, EventBus, Severity
from aiidpd.workers.thermal.gpu import GpuReading, GpuSnapshot

SOURCE: Final = "thermal"
KIND: Final = "gpu.emergency"
_HOTTEST: Final = 150.0  # no GPU runs at this temperature: a sensor that says so is broken


def _nothing() -> Mapping[str, Row]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class EmergencyPolicy:
    """When and what to stop; off where ``containers`` is empty.

    ``readings`` at or above ``critical_celsius`` in a row are an emergency (``overrides`` has that threshold
    by UUID, where a GPU has one of its own). Of readings closer than ``spacing`` seconds only the first
    counts: a watch at four a second is no reason to wait less. After ``longest_gap`` seconds without one
    the row is broken, and so it is by a reading that can't be true: one more than ``beyond_shutdown``
    degrees over the point at which the card turns itself off. It is over ``clear_below`` degrees under
    the threshold.
    """

    containers: tuple[str, ...] = ()
    critical_celsius: float = 90.0
    overrides: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    clear_below: float = 3.0
    readings: int = 3
    spacing: float = 0.9
    longest_gap: float = 10.0
    beyond_shutdown: float = 15.0

    def critical(self, reading: GpuReading) -> float:
        """Return the threshold of the GPU of ``reading``."""
        return self.overrides.get(reading.uuid, self.critical_celsius)


@dataclass(frozen=True, slots=True)
class Row:
    """How many critical readings one GPU had in a row, the last at ``counted``; ``seen`` is that of any."""

    count: int = 0
    counted: float = 0.0
    seen: float = 0.0
    holds: bool = False


@dataclass(frozen=True, slots=True)
class EmergencyState:
    """The rows by UUID."""

    rows: Mapping[str, Row] = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True)
class Emergency:
    """A GPU that is critically hot for good. ``readings`` is how many in a row said so."""

    reading: GpuReading
    critical_celsius: float
    readings: int


def plausible(reading: GpuReading, policy: EmergencyPolicy) -> bool:
    """Return whether the temperature of ``reading`` can be true."""
    temperature, shutdown = reading.temperature_celsius, reading.shutdown_celsius
    if temperature is None or not 0 < temperature < _HOTTEST:
        return False
    return shutdown is None or temperature <= shutdown + policy.beyond_shutdown


def step(
    state: EmergencyState, snapshot: GpuSnapshot, now: float, policy: EmergencyPolicy
) -> tuple[EmergencyState, tuple[Emergency, ...]]:
    """Return the state after ``snapshot``, read at ``now`` (monotonic seconds), and what began with it."""
    rows = {
        uuid: row for uuid, row in state.rows.items() if row.holds or now - row.seen <= policy.longest_gap
    }
    began = []
    for reading in snapshot.gpus:
        before = rows.get(reading.uuid, Row())
        after = _next(before, reading, now, policy)
        rows[reading.uuid] = after
        if after.holds and not before.holds:
            began.append(Emergency(reading, policy.critical(reading), after.count))
    return EmergencyState(MappingProxyType(rows)), tuple(began)


def _next(row: Row, reading: GpuReading, now: float, policy: EmergencyPolicy) -> Row:
    if reading.temperature_celsius is None or not plausible(reading, policy):
        return replace(row, count=0, seen=now)
    critical = policy.critical(reading)
    if reading.temperature_celsius < critical:
        over = reading.temperature_celsius <= critical - policy.clear_below
        return Row(seen=now, holds=row.holds and not over)
    if row.count and now - row.seen > policy.longest_gap:
        row = replace(row, count=0)
    if row.count and now - row.counted < policy.spacing:
        return replace(row, seen=now)
    count = row.count + 1
    return Row(count, now, now, holds=row.holds or count >= policy.readings)


class EmergencyWatch:
    """Publishes ``gpu.emergency``, once for as long as it holds; outlives the worker.

    ``policy`` is asked anew at each snapshot, so that a reload counts at once.
    """

    def __init__(self, bus: EventBus, policy: Callable[[], EmergencyPolicy]) -> None:
        self._bus = bus
        self._policy = policy
        self._state = EmergencyState()

    def observe(self, snapshot: GpuSnapshot, at: float, now: float) -> None:
        """See :class:`~aiidpd.workers.thermal.observer.Observer`."""
        policy = self._policy()
        if not policy.containers:
            self._state = EmergencyState()
            return
        self._state, began = step(self._state, snapshot, now, policy)
        for emergency in began:
            self._bus.publish(_event(emergency, policy, at, simulated=snapshot.simulated))


def _event(emergency: Emergency, policy: EmergencyPolicy, at: float, *, simulated: bool) -> Event:
    reading = emergency.reading
    names = ", ".join(policy.containers)
    return Event(
        time=at,
        source=SOURCE,
        kind=KIND,
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
            "containers": ",".join(policy.containers),
            "remedy": "find out why it is that hot; what was stopped, and how to start it again, "
            "is told by events container.emergency_stopped",
        },
        simulated=simulated,
    )
