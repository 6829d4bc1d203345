"""One look at all GPUs: whom to believe, what is foreseen, how every alert stands (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from aiidpd.alerts.state import Observation
from aiidpd.components.thermal.alerts import xid
from aiidpd.components.thermal.alerts.cooling import cooling
from aiidpd.components.thermal.alerts.presence import PresenceMemory, absent, present
from aiidpd.components.thermal.alerts.temperature import TemperatureMemory, heat
from aiidpd.components.thermal.alerts.throttling import ThrottleMemory, throttle
from aiidpd.components.thermal.faults import IMPLAUSIBLE
from aiidpd.components.thermal.forecast.baseline import Bands
from aiidpd.components.thermal.forecast.forecast import Forecast, ForecastPolicy, GpuCourse, forecast
from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.components.thermal.signals.checked import CheckedGpu
from aiidpd.components.thermal.signals.thresholds import AlertSettings
from aiidpd.components.thermal.signals.validate import SensorMemory, validate
from aiidpd.components.thermal.xid import XidEvent
from aiidpd.kernel.errors import Unavailable

_TEMPERATURE = "temperature_celsius "


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """What is remembered of one GPU, by group."""

    at: float
    sensor: SensorMemory = field(default_factory=SensorMemory)
    heat: TemperatureMemory = field(default_factory=TemperatureMemory)
    throttle: ThrottleMemory = field(default_factory=ThrottleMemory)
    course: GpuCourse = field(default_factory=GpuCourse)


@dataclass(frozen=True, slots=True)
class Memory:
    """What one look leaves to the next. ``baselines`` is what must survive a restart too."""

    presence: PresenceMemory = field(default_factory=PresenceMemory)
    xids: xid.XidMemory = field(default_factory=xid.XidMemory)
    gpus: Mapping[str, GpuMemory] = field(default_factory=lambda: MappingProxyType({}))
    baselines: Mapping[str, Bands] = field(default_factory=lambda: MappingProxyType({}))
    simulated: bool | None = None


@dataclass(frozen=True, slots=True)
class Policies:
    """Both policies."""

    alarms: AlertSettings = field(default_factory=AlertSettings)
    foresight: ForecastPolicy = field(default_factory=ForecastPolicy)


def look(
    memory: Memory, snapshot: GpuSnapshot, now: float, policies: Policies
) -> tuple[Memory, tuple[Observation, ...], tuple[Forecast, ...]]:
    """Return what is remembered after ``snapshot``, how the alerts stand, and what is foreseen.

    GPUs that are made up and real ones have nothing to do with each other: a change between them begins
    a new memory, and only the baselines stay.
    """
    if memory.simulated not in (None, snapshot.simulated):
        memory = Memory(baselines=memory.baselines)
    presence, told = present(memory.presence, snapshot, policies.alarms)
    last_xids = xid.after(memory.xids, snapshot.xids, now)
    reporting = (gpu.uuid for gpu in snapshot.gpus if gpu.xids is not None)
    observed = [*told, *xid.about(last_xids, reporting, presence.gpus, now, policies.alarms)]
    gpus, baselines, foreseen = dict(memory.gpus), dict(memory.baselines), []
    for reading in snapshot.gpus:
        refused = any(
            fault.index == reading.index and fault.name == IMPLAUSIBLE and fault.call.startswith(_TEMPERATURE)
            for fault in snapshot.faults
        )
        before = gpus.get(reading.uuid) or GpuMemory(now)
        known = baselines.get(reading.uuid) or MappingProxyType({})
        gpus[reading.uuid], baselines[reading.uuid], about, foresight = _look_at(
            before, known, _look(before, reading, now, policies.alarms, refused=refused), policies
        )
        observed += about
        foreseen.append(foresight)
    after = Memory(
        presence, last_xids, MappingProxyType(gpus), MappingProxyType(baselines), snapshot.simulated
    )
    return after, tuple(observed), tuple(foreseen)


def miss(
    memory: Memory, error: Unavailable, events: Iterable[XidEvent], now: float, policies: Policies
) -> tuple[Memory, tuple[Observation, ...]]:
    """Return what is remembered after a try that read nothing, and which alerts are known all the same."""
    last_xids = xid.after(memory.xids, events, now)
    about = xid.about(last_xids, (), memory.presence.gpus, now, policies.alarms)
    return replace(memory, xids=last_xids), (*absent(memory.presence, error), *about)


def _look(
    before: GpuMemory, reading: GpuReading, now: float, policy: AlertSettings, *, refused: bool
) -> CheckedGpu:
    elapsed = now - before.at
    if elapsed > policy.longest_gap:
        elapsed = 0.0
    limits = policy.for_gpu(reading.index, reading.uuid)
    return CheckedGpu(reading, now, elapsed, limits, refused=refused)


def _look_at(
    before: GpuMemory, known: Bands, seen: CheckedGpu, policies: Policies
) -> tuple[GpuMemory, Bands, list[Observation], Forecast]:
    sensor, seen, about_sensor = validate(before.sensor, seen, policies.alarms)
    warm, about_heat = heat(before.heat, seen, policies.alarms)
    throttled, about_throttling = throttle(before.throttle, seen, policies.alarms)
    course, known, foresight = forecast(before.course, known, seen, policies.foresight)
    about_cooling = cooling(course, foresight, seen, policies.alarms)
    after = GpuMemory(seen.now, sensor, warm, throttled, course)
    return after, known, [*about_sensor, *about_heat, *about_throttling, *about_cooling], foresight
