"""Where a GPU's temperature is heading, and how well it gets rid of heat compared to how it did (pure).

:mod:`.foresight_heading` tells the time to the next threshold, :mod:`.foresight_settling` when a GPU can be
measured, :mod:`.foresight_baseline` what is usual, and :mod:`.foresight_conductance` what is to be expected.
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
    STRETCH,
    STRETCHES,
    Reference,
    SteadyStatePolicy,
    cooling,
    idle,
    loaded,
)
from aiidpd.components.thermal.forecast.time_to_threshold import TimeToThresholdPolicy, ahead
from aiidpd.components.thermal.signals.checked import CheckedGpu
from aiidpd.components.thermal.signals.rolling import BucketedMeans

_IDLE = "idle"
_ASSUMED = "assumed"
_NO_HEAT = BucketedMeans(2.0, 15)
_NO_STEPS = BucketedMeans(STRETCH, STRETCHES)


@dataclass(frozen=True, slots=True)
class ForecastPolicy:
    """How foresight judges."""

    heading: TimeToThresholdPolicy = field(default_factory=TimeToThresholdPolicy)
    settling: SteadyStatePolicy = field(default_factory=SteadyStatePolicy)
    learning: LearningPolicy = field(default_factory=LearningPolicy)


USUAL_FORECAST: Final = ForecastPolicy()


@dataclass(frozen=True, slots=True)
class GpuCourse:
    """What is remembered of one GPU lately.

    ``heat`` has temperatures in stretches of 2 s, ``steps`` (temperature, power, fan) in stretches of 10 s.
    Both begin anew after a gap of three stretches: readings 6 s apart or more tell no rate, 30 s apart or
    more no resistance. ``idle`` is when the GPU last idled, and how warm it was.
    """

    heat: BucketedMeans = _NO_HEAT
    steps: BucketedMeans = _NO_STEPS
    idle: Reference | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is foreseen for one GPU; None is "not known" or, for the time to a threshold, "not heating".

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


def forecast(
    course: GpuCourse,
    known: Bands,
    look: CheckedGpu,
    ambient_celsius: float,
    policy: ForecastPolicy = USUAL_FORECAST,
) -> tuple[GpuCourse, Bands, Forecast]:
    """Return what is remembered after ``look``, what is known for good, and what is foreseen.

    For a GPU that never idles the room is taken to have ``ambient_celsius``.
    """
    reading, temperature = look.reading, look.temperature
    if temperature is None:
        return course, known, Forecast(reading.index, reading.uuid)
    heat = course.heat.add(look.now, temperature)
    seconds, name = ahead(heat, course.steps, look, temperature, policy.heading)
    foresight = Forecast(reading.index, reading.uuid, seconds, name, heat.slope())
    if reading.power_watts is None:
        return replace(course, heat=heat), known, foresight
    # A card without fans has one band; its air comes from elsewhere.
    fan = 0.0 if reading.fan_ratio is None else reading.fan_ratio
    steps = course.steps.add(look.now, temperature, reading.power_watts, fan)
    fresh = steps.done is not course.steps.done
    idled = idle(steps, reading, look.now, policy.settling) if fresh else None
    course = GpuCourse(heat, steps, idled or course.idle)
    return _measure(course, known, look, foresight, policy, ambient_celsius=ambient_celsius, fresh=fresh)


def _measure(
    course: GpuCourse,
    known: Bands,
    look: CheckedGpu,
    foresight: Forecast,
    policy: ForecastPolicy,
    *,
    ambient_celsius: float,
    fresh: bool,
) -> tuple[GpuCourse, Bands, Forecast]:
    settling, learning = policy.settling, policy.learning
    reference, source, error = course.idle, _IDLE, 0.0
    if reference is None or look.now - reference.at > settling.reference_age:
        if reference is not None or learnt(known, _IDLE, learning):
            return course, known, foresight  # a GPU that idles is not measured against a guess
        reference, source = Reference(look.now, ambient_celsius), _ASSUMED
        error = settling.ambient_error
    elif fresh and (cools := cooling(course.steps, look.reading, reference, settling)) is not None:
        return course, learn_cooling(known, cools, course.steps.newest, learning), foresight
    seen = loaded(course.steps, look.reading, reference, settling)
    if seen is None:
        return course, known, foresight
    known, expected = learn(known, source, seen, course.steps.newest if fresh else 0.0, learning)
    foresight = replace(foresight, resistance=seen.rise / seen.power)
    if expected is not None:
        foresight = replace(
            foresight,
            baseline=expected / seen.power,
            drift_ratio=seen.rise / expected,
            drift_error=error / expected,
        )
    return course, known, foresight
