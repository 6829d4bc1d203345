"""Evaluation of all alert rules on a snapshot, with the forecast of each GPU (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from aiidpd.alerts.state import Observation
from aiidpd.components.thermal.alerts import xid
from aiidpd.components.thermal.alerts.cooling import cooling
from aiidpd.components.thermal.alerts.presence import PresenceMemory, absent, present
from aiidpd.components.thermal.alerts.sensor import sensor
from aiidpd.components.thermal.alerts.temperature import TemperatureMemory, heat
from aiidpd.components.thermal.alerts.throttling import ThrottleMemory, throttle
from aiidpd.components.thermal.forecast.baseline import Bands
from aiidpd.components.thermal.forecast.forecast import (
    USUAL_FORECAST,
    Forecast,
    ForecastPolicy,
    ForecastState,
    predict,
)
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.components.thermal.signals.checked import CheckedGpu, CheckedSnapshot
from aiidpd.components.thermal.xid import XidEvent
from aiidpd.kernel.errors import Unavailable


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """State of one GPU, by group."""

    heat: TemperatureMemory = field(default_factory=TemperatureMemory)
    throttle: ThrottleMemory = field(default_factory=ThrottleMemory)
    forecast: ForecastState = field(default_factory=ForecastState)


@dataclass(frozen=True, slots=True)
class Memory:
    """State that one snapshot leaves to the next. Only ``baselines`` must survive a restart too."""

    presence: PresenceMemory = field(default_factory=PresenceMemory)
    xids: xid.XidMemory = field(default_factory=xid.XidMemory)
    gpus: Mapping[str, GpuMemory] = field(default_factory=lambda: MappingProxyType({}))
    baselines: Mapping[str, Bands] = field(default_factory=lambda: MappingProxyType({}))
    simulated: bool | None = None


def evaluate(
    memory: Memory,
    snapshot: CheckedSnapshot,
    settings: GpuSettings,
    policy: ForecastPolicy = USUAL_FORECAST,
) -> tuple[Memory, tuple[Observation, ...], tuple[Forecast, ...]]:
    """Return the state after ``snapshot``, the status of every alert's condition, and the forecasts.

    Simulated GPUs and real ones have nothing to do with each other: a change between them begins
    a new memory, and only the baselines stay.
    """
    if memory.simulated not in (None, snapshot.simulated):
        memory = Memory(baselines=memory.baselines)
    now = snapshot.now
    presence, observed_presence = present(memory.presence, snapshot, settings.alerts)
    last_xids = xid.after(memory.xids, snapshot.xids, now)
    reporting = (reading.uuid for reading in snapshot.readings if reading.xids is not None)
    about_xids = xid.about(last_xids, reporting, presence.gpus, now)
    observed = [*observed_presence, *about_xids]
    gpus, baselines, forecasts = dict(memory.gpus), dict(memory.baselines), []
    for gpu in snapshot.gpus:
        uuid = gpu.reading.uuid
        before = gpus.get(uuid) or GpuMemory()
        bands = baselines.get(uuid) or MappingProxyType({})
        gpus[uuid], baselines[uuid], about, forecast = _evaluate_gpu(before, bands, gpu, settings, policy)
        observed += about
        forecasts.append(forecast)
    after = Memory(
        presence, last_xids, MappingProxyType(gpus), MappingProxyType(baselines), snapshot.simulated
    )
    return after, tuple(observed), tuple(forecasts)


def miss(
    memory: Memory, error: Unavailable, events: Iterable[XidEvent], now: float
) -> tuple[Memory, tuple[Observation, ...]]:
    """Return the state after a pass that read nothing, and what is known of the alerts all the same."""
    last_xids = xid.after(memory.xids, events, now)
    about = xid.about(last_xids, (), memory.presence.gpus, now)
    return replace(memory, xids=last_xids), (*absent(memory.presence, error), *about)


def _evaluate_gpu(
    before: GpuMemory, bands: Bands, gpu: CheckedGpu, settings: GpuSettings, policy: ForecastPolicy
) -> tuple[GpuMemory, Bands, list[Observation], Forecast]:
    about_sensor = sensor(gpu)
    warm, about_heat = heat(before.heat, gpu, settings.alerts)
    throttled, about_throttling = throttle(before.throttle, gpu, settings.alerts)
    state, bands, forecast = predict(before.forecast, bands, gpu, settings.ambient_celsius, policy)
    about_cooling = cooling(state, forecast, gpu, settings.alerts)
    after = GpuMemory(warm, throttled, state)
    return after, bands, [*about_sensor, *about_heat, *about_throttling, *about_cooling], forecast
