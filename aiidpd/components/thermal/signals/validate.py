"""Validation of a snapshot: decides whether each temperature is believed (pure).

A faulty sensor must neither raise the critical alert nor hold it back, and must move nothing that is set:
a temperature that is not believed counts as not known, and has an alert of its own. That is decided here,
once for each reading.

A jump may be true: a pump that stops lets a core rise by ten degrees a second. Heat needs watts, rises no
faster than that and comes to stay. So a jump upwards is believed soon where the readings after it agree with
it while the GPU burns power; one downwards, which could call off an alert, has to last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from aiidpd.components.thermal.faults import IMPLAUSIBLE
from aiidpd.components.thermal.gpu import BUSY_WATTS, GpuReading, GpuSnapshot, power_limit
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.components.thermal.signals import thresholds
from aiidpd.components.thermal.signals.checked import CheckedGpu, CheckedSnapshot, Trust
from aiidpd.components.thermal.signals.rolling import BucketedMeans, RollingSum
from aiidpd.components.thermal.signals.thresholds import GpuLimits

_ABOVE_SHUTDOWN = 10.0  # degrees: a card that hot has turned itself off
_SAME_LEVEL = 10.0  # degrees within which candidates confirm each other
_SAME_SOON = 5.0  # and where they are to confirm each other soon
_FASTEST = 10.0  # degrees a second: what a core without any cooling rises by
_BUSY_RATIO = 0.2  # of the power limit: an idle GPU burns less
_NO_FAULTS = RollingSum()
_NO_EFFORT = BucketedMeans(15.0, 1)  # means over 15 s: shorter peaks don't move a heatsink
_TEMPERATURE = "temperature_celsius "  # the beginning of a fault that is about it


class SensorMemory(NamedTuple):
    """State of one sensor: the last believed value, a candidate to follow it, and since when it is unchanged.

    A tuple, since each reading makes new ones.

    ``read_at`` is when the GPU was last read, ``valued_at`` when that gave a temperature, believed or not;
    ``agreed`` is how many candidates in a row, from ``agreed_since`` on, are such as heat would give.
    ``effort`` is the power or load of the GPU since the value last changed.
    """

    read_at: float
    believed: float | None = None
    candidate: float | None = None
    candidate_since: float = 0.0
    agreed_since: float = 0.0
    agreed: int = 0
    valued_at: float = 0.0
    implausible: RollingSum = _NO_FAULTS
    last_value: float | None = None
    unchanged_since: float = 0.0
    effort: BucketedMeans = _NO_EFFORT
    effort_low: float | None = None
    effort_high: float | None = None


@dataclass(frozen=True, slots=True)
class Sensors:
    """State that one snapshot leaves to the next: the sensors by UUID."""

    gpus: Mapping[str, SensorMemory] = field(default_factory=lambda: MappingProxyType({}))
    simulated: bool | None = None


@dataclass(frozen=True, slots=True)
class _Pass:
    """One reading, and the limits and settings that it is validated by."""

    reading: GpuReading
    now: float
    seconds: float
    limits: GpuLimits


def validate(
    sensors: Sensors, snapshot: GpuSnapshot, at: float, now: float, settings: GpuSettings
) -> tuple[Sensors, CheckedSnapshot]:
    """Return the state after ``snapshot`` and the snapshot with the temperatures that are believed.

    It was read at ``at`` (Unix seconds) and ``now`` (monotonic seconds). Simulated GPUs and real ones have
    nothing to do with each other: a change between them begins anew.
    """
    known = {} if sensors.simulated not in (None, snapshot.simulated) else dict(sensors.gpus)
    refused = {
        fault.index
        for fault in snapshot.faults
        if fault.name == IMPLAUSIBLE and fault.call.startswith(_TEMPERATURE)
    }
    gpus, gap = [], thresholds.longest_gap(settings)
    for reading in snapshot.gpus:
        before = known.get(reading.uuid) or SensorMemory(now)
        elapsed = now - before.read_at
        seconds = elapsed if elapsed <= gap else 0.0
        limits = thresholds.gpu_limits(settings, reading.index, reading.uuid)
        seen = _Pass(reading, now, seconds, limits)
        known[reading.uuid], checked = _validated(before, seen, refused=reading.index in refused)
        gpus.append(checked)
    after = Sensors(MappingProxyType(known), snapshot.simulated)
    return after, CheckedSnapshot(
        tuple(gpus),
        at,
        now,
        snapshot.driver_version,
        snapshot.simulated,
        snapshot.faults,
        snapshot.xids,
    )


class SnapshotValidator:
    """Validates one snapshot after the other. Outlives the worker: a new one goes on from there."""

    def __init__(self) -> None:
        self._sensors = Sensors()

    def check(self, snapshot: GpuSnapshot, at: float, now: float, settings: GpuSettings) -> CheckedSnapshot:
        """Return ``snapshot``, read at ``at`` (Unix seconds) and ``now`` (monotonic seconds), validated."""
        self._sensors, checked = validate(self._sensors, snapshot, at, now, settings)
        return checked


def _validated(memory: SensorMemory, seen: _Pass, *, refused: bool) -> tuple[SensorMemory, CheckedGpu]:
    value, now = seen.reading.temperature_celsius, seen.now
    good, frozen, unchanged = False, False, 0.0
    if value is not None:
        memory, good = _plausible(memory, value, seen)
    else:
        memory = memory._replace(read_at=now, valued_at=now if refused else memory.valued_at)
    bad = refused if value is None else not good
    implausible = memory.implausible.add(now, float(bad), thresholds.IMPLAUSIBLE_WINDOW)
    if implausible is not memory.implausible:
        memory = memory._replace(implausible=implausible)
    if value is not None:
        memory = _unchanged(memory, value, seen)
        frozen = _frozen(memory, seen)
        unchanged = now - memory.unchanged_since
    if value is None:
        trust = Trust.REFUSED if refused else Trust.UNKNOWN
    elif good:
        trust = Trust.FROZEN if frozen else Trust.BELIEVED
    else:
        trust = Trust.DOUBTED
    checked = CheckedGpu(
        seen.reading,
        seen.now,
        seen.seconds,
        seen.limits,
        value if trust is Trust.BELIEVED else None,
        trust,
        implausible.total,
        unchanged,
        frozen,
    )
    return memory, checked


def _plausible(memory: SensorMemory, value: float, seen: _Pass) -> tuple[SensorMemory, bool]:
    top = thresholds.PLAUSIBLE_MAX_CELSIUS
    if (
        seen.reading.shutdown_celsius is not None
        and seen.reading.shutdown_celsius > thresholds.PLAUSIBLE_ABOVE_CELSIUS
    ):
        top = min(top, seen.reading.shutdown_celsius + _ABOVE_SHUTDOWN)
    now, elapsed = seen.now, seen.now - memory.valued_at
    if not thresholds.PLAUSIBLE_ABOVE_CELSIUS < value <= top:
        return memory._replace(read_at=now, valued_at=now, candidate=None), False
    fresh = memory.believed is not None and elapsed <= thresholds.JUMP_WITHIN
    near = memory.believed is None or abs(value - memory.believed) <= thresholds.JUMP_CELSIUS
    if near or (memory.candidate is None and not fresh):  # near a believed one: the candidate was a glitch
        return memory._replace(read_at=now, valued_at=now, believed=value, candidate=None), True
    memory = _offered(memory, value, seen, elapsed)._replace(read_at=now, valued_at=now)
    lasts = now - memory.candidate_since >= thresholds.JUMP_SETTLES
    if lasts or _is_heat(memory, value, seen):
        return memory._replace(believed=value, candidate=None), True
    return memory, False


def _offered(memory: SensorMemory, value: float, seen: _Pass, elapsed: float) -> SensorMemory:
    """Return the memory with ``value`` as its candidate: one that goes on, or a new one."""
    now, before = seen.now, memory.candidate
    after = memory._replace(candidate=value)
    if before is None or abs(value - before) > _SAME_LEVEL:
        return after._replace(candidate_since=now, agreed_since=now, agreed=1)
    may_rise = max(_SAME_SOON, _FASTEST * elapsed)
    if _busy(seen.reading) and -_SAME_SOON <= value - before <= may_rise:
        return after._replace(agreed=memory.agreed + 1)
    return after._replace(agreed_since=now, agreed=1)


def _is_heat(memory: SensorMemory, value: float, seen: _Pass) -> bool:
    """Return whether ``value`` is a jump upwards which the readings since then confirm."""
    return (
        memory.believed is not None
        and value > memory.believed
        and memory.agreed >= thresholds.JUMP_READINGS
        and seen.now - memory.agreed_since >= thresholds.JUMP_CONFIRMS
        and _busy(seen.reading)
    )


def _busy(reading: GpuReading) -> bool:
    """Return whether the GPU draws more than an idle one; one that does not report its power may be idle."""
    least = max(BUSY_WATTS, _BUSY_RATIO * power_limit(reading))
    return reading.power_watts is not None and reading.power_watts >= least


def _unchanged(memory: SensorMemory, value: float, seen: _Pass) -> SensorMemory:
    """Return the memory with the time since when the value is ``value``, and the GPU's effort meanwhile."""
    if memory.last_value is None or value != memory.last_value or not seen.seconds:
        return memory._replace(
            last_value=value,
            unchanged_since=seen.now,
            effort=_NO_EFFORT,
            effort_low=None,
            effort_high=None,
        )
    effort = _effort(seen.reading)
    if effort is None:
        return memory
    means = memory.effort.add(seen.now, effort)
    if means.done and means.done is not memory.effort.done:
        mean = means.done[-1][1][0]
        low = mean if memory.effort_low is None else min(mean, memory.effort_low)
        high = mean if memory.effort_high is None else max(mean, memory.effort_high)
        return memory._replace(effort=means, effort_low=low, effort_high=high)
    return memory._replace(effort=means)


def _effort(reading: GpuReading) -> float | None:
    """Return the GPU's power, or its load where the power is not known: what heats it."""
    return reading.utilisation_ratio if reading.power_watts is None else reading.power_watts


def _frozen(memory: SensorMemory, seen: _Pass) -> bool:
    """Return whether the value has been the same for so long though the GPU's effort changed a lot."""
    if memory.effort_low is None or memory.effort_high is None:
        return False
    if seen.reading.power_watts is None:
        much = thresholds.FROZEN_LOAD_RATIO
    else:
        much = max(BUSY_WATTS, thresholds.FROZEN_POWER_RATIO * power_limit(seen.reading))
    return (
        seen.now - memory.unchanged_since >= thresholds.FROZEN_AFTER
        and memory.effort_high - memory.effort_low >= much
    )
