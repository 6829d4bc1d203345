"""Forecast of a GPU's temperature, and of how well it gets rid of heat compared to how it did (pure).

:mod:`.time_to_threshold` predicts when the next threshold is met, :mod:`.steady_state` finds when a GPU can
be measured, :mod:`.baseline` learns its usual thermal resistance, and :mod:`.resistance` compares with that.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from aiidpd.components.thermal.forecast.baseline import (
    Bands,
    LearningPolicy,
    learn,
    learn_cooling,
    learnt,
)
from aiidpd.components.thermal.forecast.steady_state import (
    BUCKET_SECONDS,
    BUCKETS,
    Reference,
    SteadyStatePolicy,
    cooling,
    idle,
    loaded,
)
from aiidpd.components.thermal.forecast.time_to_threshold import TimeToThresholdPolicy, time_to_threshold
from aiidpd.components.thermal.signals.checked import CheckedGpu
from aiidpd.components.thermal.signals.rolling import BucketedMeans

_IDLE = "idle"
_ASSUMED = "assumed"
_NO_TEMPERATURES = BucketedMeans(2.0, 15)
_NO_OPERATIONS = BucketedMeans(BUCKET_SECONDS, BUCKETS)


@dataclass(frozen=True, slots=True)
class ForecastPolicy:
    """Constants of the forecast, which tests shorten."""

    time_to_threshold: TimeToThresholdPolicy = field(default_factory=TimeToThresholdPolicy)
    steady_state: SteadyStatePolicy = field(default_factory=SteadyStatePolicy)
    learning: LearningPolicy = field(default_factory=LearningPolicy)


USUAL_FORECAST: Final = ForecastPolicy()


@dataclass(frozen=True, slots=True)
class ForecastState:
    """State of one GPU that one reading leaves to the next.

    ``temperatures`` has buckets of 2 s, ``operations`` (temperature, power, fan) buckets of 10 s. Both begin
    anew after a gap of three buckets: readings 6 s apart or more give no rate, 30 s apart or more no
    resistance. ``idle`` is the last time at which the GPU idled, and how warm it was.
    """

    temperatures: BucketedMeans = _NO_TEMPERATURES
    operations: BucketedMeans = _NO_OPERATIONS
    idle: Reference | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecast for one GPU; None is "not known" or, for the time to a threshold, "not heating".

    ``threshold`` names the one that is next. Resistance and baseline are in Celsius per watt. ``drift_error``
    is by how much the drift can be wrong because the room's temperature was assumed, 0 where it was not.
    """

    index: int
    uuid: str
    seconds_to_threshold: float | None = None
    threshold: str = ""
    heating_celsius_per_second: float | None = None
    resistance: float | None = None
    baseline: float | None = None
    drift_ratio: float | None = None
    drift_error: float = 0.0


def predict(
    state: ForecastState,
    bands: Bands,
    gpu: CheckedGpu,
    ambient_celsius: float,
    policy: ForecastPolicy = USUAL_FORECAST,
) -> tuple[ForecastState, Bands, Forecast]:
    """Return the state after ``gpu`` was read, the baselines learnt so far, and the forecast.

    For a GPU that never idles the room is taken to have ``ambient_celsius``.
    """
    reading, temperature = gpu.reading, gpu.temperature
    if temperature is None:
        return state, bands, Forecast(reading.index, reading.uuid)
    temperatures = state.temperatures.add(gpu.now, temperature)
    seconds, name = time_to_threshold(
        temperatures, state.operations, gpu, temperature, policy.time_to_threshold
    )
    forecast = Forecast(reading.index, reading.uuid, seconds, name, temperatures.slope())
    if reading.power_watts is None:
        return replace(state, temperatures=temperatures), bands, forecast
    # A card without fans has one band; its air comes from elsewhere.
    fan = 0.0 if reading.fan_ratio is None else reading.fan_ratio
    operations = state.operations.add(gpu.now, temperature, reading.power_watts, fan)
    fresh = operations.done is not state.operations.done
    idled = idle(operations, reading, gpu.now, policy.steady_state) if fresh else None
    state = ForecastState(temperatures, operations, idled or state.idle)
    bands, forecast = _with_resistance(
        state, bands, gpu, forecast, policy, ambient_celsius=ambient_celsius, fresh=fresh
    )
    return state, bands, forecast


def _with_resistance(
    state: ForecastState,
    bands: Bands,
    gpu: CheckedGpu,
    forecast: Forecast,
    policy: ForecastPolicy,
    *,
    ambient_celsius: float,
    fresh: bool,
) -> tuple[Bands, Forecast]:
    """Return the baselines after ``state``, and ``forecast`` with the resistance where it can be measured.

    ``fresh``: a bucket became full with this reading; only then is anything learnt.
    """
    steady_state, learning = policy.steady_state, policy.learning
    reference, source, error = state.idle, _IDLE, 0.0
    if reference is None or gpu.now - reference.at > steady_state.reference_age:
        if reference is not None or learnt(bands, _IDLE, learning):
            return bands, forecast  # a GPU that idles is not measured against a guess
        reference, source = Reference(gpu.now, ambient_celsius), _ASSUMED
        error = steady_state.ambient_error
    elif fresh and (cools := cooling(state.operations, gpu.reading, reference, steady_state)) is not None:
        return learn_cooling(bands, cools, state.operations.newest, learning), forecast
    operation = loaded(state.operations, gpu.reading, reference, steady_state)
    if operation is None:
        return bands, forecast
    elapsed = state.operations.newest if fresh else 0.0
    bands, expected = learn(bands, source, operation, elapsed, learning)
    forecast = replace(forecast, resistance=operation.rise / operation.power)
    if expected is not None:
        forecast = replace(
            forecast,
            baseline=expected / operation.power,
            drift_ratio=operation.rise / expected,
            drift_error=error / expected,
        )
    return bands, forecast
