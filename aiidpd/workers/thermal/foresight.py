"""Where a GPU's temperature is heading, and how well it gets rid of heat compared to how it did (pure).

*Time to the threshold* is the distance to the next one over the heating rate. A GPU heats ever slower towards
where it settles, so this is the earliest that it can be at a steady power, and it may settle short of it.

*Thermal resistance* is (temperature - ambient) / power once a GPU has settled. The ambient isn't measured;
it is estimated as the lowest temperature at which the GPU lately idled, which moves with the seasons as the
ambient does, or assumed where it never idles. What either is off by is off in the baseline too. Because
more air lowers the resistance, there is one baseline for each band of fan speed and source of the ambient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from aiidpd.workers.thermal.alarms.subject import Look
from aiidpd.workers.thermal.alarms.windowed import Means, spread
from aiidpd.workers.thermal.gpu import GpuReading, Limit, degrees_left

_HOUR = 3600.0
_DAY = 24
_BANDS = 20  # of fan speed: 5 % each
_LEAST_WATTS = 40.0
_UNLIMITED = 160.0  # watts, for a card that does not tell its limit
_NO_HEAT = Means(2.0, 15)
_NO_STEPS = Means(10.0, 30)
_ROUNDING = 1e-9  # 0.15 * 20 is a little less than 3
_IDLE_SPREAD = 1.0  # degrees within which an idle GPU has settled


@dataclass(frozen=True, slots=True)
class ForesightPolicy:
    """How foresight judges. Temperatures in Celsius, times in seconds.

    A GPU heats where it gained ``least_rise`` and ``least_rate`` a second over half a minute; a threshold
    further away than ``horizon`` is not told. It has settled where for ``settle`` its temperature stayed
    within ``settled_celsius``, its power within ``settled_power_ratio`` and its fan within 5 %, at
    ``loaded_ratio`` of the power limit or more; at ``idle_ratio`` or less it idles. ``ambient_celsius`` is
    assumed where it never did. A baseline counts once it was learnt for ``learn`` seconds of settled time;
    then it follows a rising resistance with the time constant ``rises``, long compared to how dust gathers,
    and a falling one with ``falls``, since a card that was cleaned is the better reference.
    """

    least_rise: float = 1.0
    least_rate: float = 0.02
    horizon: float = 3600.0
    settle: float = 120.0
    settled_celsius: float = 2.0
    settled_power_ratio: float = 0.1
    loaded_ratio: float = 0.3
    idle_ratio: float = 0.2
    ambient_celsius: float = 25.0
    learn: float = 1800.0
    rises: float = 180 * 86400.0
    falls: float = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """The usual resistance in one band, in Celsius per watt, and for how many seconds it was learnt."""

    resistance: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Baselines:
    """What is known of one GPU for good: its bands by name, and the drift that was last seen."""

    bands: Mapping[str, Baseline] = field(default_factory=lambda: MappingProxyType({}))
    drift_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class GpuCourse:
    """What is remembered of one GPU lately.

    ``heat`` has temperatures in stretches of 2 s, ``steps`` (temperature, power, fan) in stretches of 10 s.
    ``idle`` has the lowest settled idle temperature of each of the last hours.
    """

    heat: Means = _NO_HEAT
    steps: Means = _NO_STEPS
    idle: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Foresight:
    """What is foreseen for one GPU; None is "not known" or, for the time to a threshold, "not heating".

    ``threshold`` names the one that is next. Resistance and baseline are in Celsius per watt.
    """

    index: int
    uuid: str
    seconds_to_threshold: float | None = None
    threshold: str = ""
    heating_celsius_per_second: float | None = None
    resistance: float | None = None
    baseline: float | None = None
    drift_ratio: float | None = None


def foresee(
    course: GpuCourse, known: Baselines, look: Look, policy: ForesightPolicy
) -> tuple[GpuCourse, Baselines, Foresight]:
    """Return what is remembered after ``look``, what is known for good, and what is foreseen."""
    reading, temperature = look.reading, look.temperature
    foresight = Foresight(reading.index, reading.uuid)
    if temperature is None:
        return course, known, foresight
    course = replace(course, heat=course.heat.add(look.now, temperature))
    foresight = _predict(foresight, course, look, temperature, policy)
    if reading.power_watts is None:
        return course, known, foresight
    before = course.steps.done
    # A card without fans has one band; its air comes from elsewhere.
    fan = 0.0 if reading.fan_ratio is None else reading.fan_ratio
    course = replace(course, steps=course.steps.add(look.now, temperature, reading.power_watts, fan))
    means = Settling.of(course, policy.settle)
    if means is None:
        return course, known, foresight
    fresh = course.steps.done is not before
    if fresh and _idles(means, reading, policy):
        course = replace(course, idle=_coldest(course.idle, min(means.temperatures), look.now))
    if not _loaded(means, reading, policy):
        return course, known, foresight
    place = _place(means, course, policy)
    if place is None:
        return course, known, foresight
    known, ratio, baseline = _learn(known, place, course.steps.width if fresh else 0.0, policy)
    return (
        course,
        known,
        replace(foresight, resistance=place.resistance, baseline=baseline, drift_ratio=ratio),
    )


def _predict(
    foresight: Foresight, course: GpuCourse, look: Look, temperature: float, policy: ForesightPolicy
) -> Foresight:
    rate = course.heat.slope()
    if rate is None:
        return foresight
    foresight = replace(foresight, heating_celsius_per_second=rate)
    risen = temperature - course.heat.done[0][1][0]
    if rate < policy.least_rate or risen < policy.least_rise:
        return foresight
    left = {
        "warning": look.limits.warning_celsius - temperature,
        "critical": look.limits.critical_celsius - temperature,
    }
    own = degrees_left(look.reading, Limit.SLOWDOWN)
    if own is not None:
        left["slowdown"] = own
    ahead = {name: degrees for name, degrees in left.items() if degrees > 0}
    if not ahead:
        return foresight
    name = min(ahead, key=lambda each: ahead[each])
    seconds = ahead[name] / rate
    if seconds > policy.horizon:
        return foresight
    return replace(foresight, seconds_to_threshold=seconds, threshold=name)


@dataclass(frozen=True, slots=True)
class Settling:
    """The stretches in which a GPU may have settled, figure by figure."""

    temperatures: list[float]
    powers: list[float]
    fans: list[float]

    @classmethod
    def of(cls, course: GpuCourse, seconds: float) -> Settling | None:
        """Return those of the last ``seconds``, None where they are not all there."""
        stretches = course.steps.last(seconds)
        if not stretches:
            return None
        temperatures, powers, fans = zip(*(figures for _, figures in stretches), strict=True)
        return cls(list(temperatures), list(powers), list(fans))

    @property
    def power(self) -> float:
        """The mean power in watts."""
        return sum(self.powers) / len(self.powers)


def _idles(means: Settling, reading: GpuReading, policy: ForesightPolicy) -> bool:
    idle = policy.idle_ratio * (reading.power_limit_watts or _UNLIMITED)
    return max(means.powers) <= idle and spread(means.temperatures) <= _IDLE_SPREAD


def _coldest(
    hours: tuple[tuple[float, float], ...], lowest: float, now: float
) -> tuple[tuple[float, float], ...]:
    hours = tuple(each for each in hours if each[0] > now - _DAY * _HOUR)
    if hours and now - hours[-1][0] < _HOUR:
        return (*hours[:-1], (hours[-1][0], min(lowest, hours[-1][1])))
    return (*hours, (now, lowest))


def _loaded(means: Settling, reading: GpuReading, policy: ForesightPolicy) -> bool:
    least = max(_LEAST_WATTS, policy.loaded_ratio * (reading.power_limit_watts or _UNLIMITED))
    return (
        means.power >= least
        and spread(means.powers) <= policy.settled_power_ratio * means.power
        and spread(means.temperatures) <= policy.settled_celsius
        and spread(means.fans) <= 1 / _BANDS
    )


@dataclass(frozen=True, slots=True)
class Place:
    """A resistance that was measured, and the band that it belongs to."""

    source: str
    band: int
    resistance: float

    @property
    def name(self) -> str:
        """The band's name among the baselines."""
        return f"{self.source}/{self.band:02d}"


def _place(means: Settling, course: GpuCourse, policy: ForesightPolicy) -> Place | None:
    idle = min((lowest for _, lowest in course.idle), default=None)
    ambient, source = (policy.ambient_celsius, "assumed") if idle is None else (idle, "idle")
    resistance = (sum(means.temperatures) / len(means.temperatures) - ambient) / means.power
    if resistance <= 0:
        return None  # colder than the room: the ambient is wrong
    return Place(source, int(sum(means.fans) / len(means.fans) * _BANDS + _ROUNDING), resistance)


def _learn(
    known: Baselines, place: Place, elapsed: float, policy: ForesightPolicy
) -> tuple[Baselines, float | None, float | None]:
    """Return the baselines after ``elapsed`` seconds in ``place``; drift and baseline where learnt."""
    base = known.bands.get(place.name) or _first(known, place, policy)
    learnt = base.seconds >= policy.learn
    if elapsed:
        slow = policy.rises if place.resistance > base.resistance else policy.falls
        share = elapsed / slow if learnt else elapsed / (base.seconds + elapsed)
        moved = base.resistance + (place.resistance - base.resistance) * share
        base = Baseline(moved, base.seconds + elapsed)
    bands = MappingProxyType({**known.bands, place.name: base})
    if not learnt:
        return replace(known, bands=bands), None, None
    ratio = place.resistance / base.resistance
    return Baselines(bands, ratio), ratio, base.resistance


def _first(known: Baselines, place: Place, policy: ForesightPolicy) -> Baseline:
    """Return what a band that was never used begins with.

    A card that slowly gathers dust turns its fans up and so comes into bands that it never used; what
    drift is known is taken along, or each new band would learn the dust as usual. More air never makes
    the resistance larger, so a slower band's baseline is the most that it can be: a dead fan shows.
    """
    learnt = {
        int(name.rpartition("/")[2]): base.resistance
        for name, base in known.bands.items()
        if base.seconds >= policy.learn and name.startswith(f"{place.source}/")
    }
    if not learnt:
        return Baseline(place.resistance, 0.0)
    begin = place.resistance / max(known.drift_ratio, 1.0)
    slower = [resistance for band, resistance in learnt.items() if band < place.band]
    return Baseline(min([begin, *slower]), policy.learn)
