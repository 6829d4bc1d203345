"""Evaluation of all alert rules on a snapshot, with the forecast of each GPU (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from aiidpd.alerts.state import Observation
from aiidpd.components.thermal.alerts import cooling, presence, sensor, temperature, throttling, xid
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

    temperature: temperature.TemperatureMemory = field(default_factory=temperature.TemperatureMemory)
    throttling: throttling.ThrottleMemory = field(default_factory=throttling.ThrottleMemory)
    forecast: ForecastState = field(default_factory=ForecastState)


@dataclass(frozen=True, slots=True)
class Memory:
    """State that one snapshot leaves to the next. Only ``baselines`` must survive a restart too."""

    presence: presence.PresenceMemory = field(default_factory=presence.PresenceMemory)
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
    known, about_presence = presence.evaluate(memory.presence, snapshot, settings.alerts)
    xids = xid.update(memory.xids, snapshot.xids, now)
    reporting = (reading.uuid for reading in snapshot.readings if reading.xids is not None)
    observed = [*about_presence, *xid.evaluate(xids, reporting, known.gpus, now)]
    gpus, baselines, forecasts = dict(memory.gpus), dict(memory.baselines), []
    for gpu in snapshot.gpus:
        uuid = gpu.reading.uuid
        before = gpus.get(uuid) or GpuMemory()
        bands = baselines.get(uuid) or MappingProxyType({})
        gpus[uuid], baselines[uuid], about, forecast = _evaluate_gpu(before, bands, gpu, settings, policy)
        observed += about
        forecasts.append(forecast)
    after = Memory(known, xids, MappingProxyType(gpus), MappingProxyType(baselines), snapshot.simulated)
    return after, tuple(observed), tuple(forecasts)


def evaluate_failure(
    memory: Memory, error: Unavailable, events: Iterable[XidEvent], now: float
) -> tuple[Memory, tuple[Observation, ...]]:
    """Return the state after a pass that read nothing, and what is known of the alerts all the same."""
    xids = xid.update(memory.xids, events, now)
    about_presence = presence.evaluate_failure(memory.presence, error)
    return replace(memory, xids=xids), (
        *about_presence,
        *xid.evaluate(xids, (), memory.presence.gpus, now),
    )


def _evaluate_gpu(
    before: GpuMemory, bands: Bands, gpu: CheckedGpu, settings: GpuSettings, policy: ForecastPolicy
) -> tuple[GpuMemory, Bands, list[Observation], Forecast]:
    hot, about_temperature = temperature.evaluate(before.temperature, gpu, settings.alerts)
    throttled, about_throttling = throttling.evaluate(before.throttling, gpu, settings.alerts)
    state, bands, forecast = predict(before.forecast, bands, gpu, settings.ambient_celsius, policy)
    observed = [
        *sensor.evaluate(gpu),
        *about_temperature,
        *about_throttling,
        *cooling.evaluate(state, forecast, gpu, settings.alerts),
    ]
    return GpuMemory(hot, throttled, state), bands, observed, forecast
