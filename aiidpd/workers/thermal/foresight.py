"""Where a GPU's temperature is heading, and how well it gets rid of heat compared to how it did (pure).

*Time to the threshold* is the distance to the next one over the heating rate. A GPU heats ever slower towards
where it settles, so this is the earliest that it can be at a steady power, and it may settle short of it.

*Thermal resistance* is (temperature - ambient) / power once a GPU has settled. The ambient isn't measured;
it is estimated as the lowest temperature at which the GPU lately idled, which moves with the seasons as the
ambient does, or assumed where it never idles. What either is off by (an idle
GPU is some degrees warmer than its room) is off in the baseline too. Because
more air lowers the resistance, there is one baseline for each band of fan speed and source of the ambient.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

from aiidpd.workers.thermal.alarms.subject import Look
from aiidpd.workers.thermal.alarms.windowed import Means, spread
from aiidpd.workers.thermal.gpu import GpuReading, Limit, degrees_left

_HOUR = 3600.0
_DAY = 24
_BANDS = 20  # of fan speed: 5 % each
_LEAST_WATTS = 40.0
_UNLIMITED = 160.0  # watts, for a card that does not tell its limit
_STILL = 0.5  # what a heatsink without its fan is worth in fan speed, where it can't be seen
_APART = 0.05  # fan speeds closer than that tell nothing about the slope between them
_FAR = 1.0  # the distance in fan speed at which half of the slope is believed
_ODD = 1.3  # times what is expected: not worth learning even by a card that is new to us
_LEAST = 0.2  # of the nearest conductance
_NO_HEAT = Means(2.0, 15)
_NO_STEPS = Means(10.0, 30)
_ROUNDING = 1e-9  # 0.15 * 20 is a little less than 3
_IDLE_SPREAD = 1.0  # degrees within which an idle GPU has settled


@dataclass(frozen=True, slots=True)
class ForesightPolicy:
    """How foresight judges. Temperatures in Celsius, times in seconds.

    ``windows`` has (seconds, degrees): a GPU heats where it gained so much in that time; the first that says
    so counts. A threshold further away than ``horizon`` is not told.

    A GPU has settled where for ``settle`` its temperature stayed within ``settled_celsius``, its power within
    ``settled_power_ratio`` and its fan within 5 %, at ``loaded_ratio`` of the power limit or more; at
    ``idle_ratio`` or less it idles. ``ambient_celsius`` is assumed where it never did.

    A baseline counts once it was learnt for ``learn`` seconds of settled time. In the first ``young`` seconds
    of that each band learns its own; bands that are first used later begin with what the others lead one to
    expect. Then a baseline follows a rising resistance with the time constant ``rises``, long compared to how
    dust gathers, and a falling one with ``falls``, since a card that was cleaned is the better reference.
    """

    windows: tuple[tuple[float, float], ...] = ((12.0, 3.0), (30.0, 1.5), (300.0, 2.0))
    horizon: float = 3600.0
    settle: float = 120.0
    settled_celsius: float = 2.0
    settled_power_ratio: float = 0.1
    loaded_ratio: float = 0.3
    idle_ratio: float = 0.2
    ambient_celsius: float = 25.0
    learn: float = 1800.0
    young: float = 86400.0
    rises: float = 180 * 86400.0
    falls: float = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """The usual resistance in one band of fan speed, in Celsius per watt.

    It was learnt for ``seconds``, at the mean fan speed ``fan`` (a ratio).
    """

    resistance: float
    seconds: float
    fan: float


Baselines: TypeAlias = Mapping[str, Baseline]
"""What is known of one GPU for good: its bands by name."""


@dataclass(frozen=True, slots=True)
class GpuCourse:
    """What is remembered of one GPU lately.

    ``heat`` has temperatures in stretches of 2 s, ``steps`` (temperature, power, fan) in stretches of 10 s.
    ``idle`` has the lowest settled idle temperature of each of the last hours. Both begin anew after a gap of
    three stretches: readings 6 s apart or more tell no rate, 30 s apart or more no resistance.
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
    known, expected = _learn(known, place, course.steps.newest if fresh else 0.0, policy)
    foresight = replace(foresight, resistance=place.resistance)
    if expected is not None:
        ratio = place.resistance / expected
        foresight = replace(foresight, baseline=expected, drift_ratio=ratio)
    return course, known, foresight


def _predict(
    foresight: Foresight, course: GpuCourse, look: Look, temperature: float, policy: ForesightPolicy
) -> Foresight:
    foresight = replace(foresight, heating_celsius_per_second=course.heat.slope())
    rate = _rate(course, policy)
    if rate is None:
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


def _rate(course: GpuCourse, policy: ForesightPolicy) -> float | None:
    """Return by how much a GPU heats a second, None where not: by the shortest window that is sure."""
    for seconds, rise in policy.windows:
        means = course.heat if seconds <= course.heat.width * course.heat.most else course.steps
        rate = means.slope(round(seconds / means.width))
        if rate is not None and rate * seconds >= rise:
            return rate
    return None


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
    """A resistance that was measured, at which fan speed, and where its ambient is from."""

    source: str
    fan: float
    resistance: float

    @property
    def name(self) -> str:
        """The band's name among the baselines."""
        return f"{self.source}/{int(self.fan * _BANDS + _ROUNDING):02d}"


def _place(means: Settling, course: GpuCourse, policy: ForesightPolicy) -> Place | None:
    idle = min((lowest for _, lowest in course.idle), default=None)
    ambient, source = (policy.ambient_celsius, "assumed") if idle is None else (idle, "idle")
    resistance = (sum(means.temperatures) / len(means.temperatures) - ambient) / means.power
    if resistance <= 0:
        return None  # colder than the room: the ambient is wrong
    return Place(source, sum(means.fans) / len(means.fans), resistance)


def _learn(
    known: Baselines, place: Place, elapsed: float, policy: ForesightPolicy
) -> tuple[Baselines, float | None]:
    """Return the baselines after ``elapsed`` seconds in ``place``, and what was expected there before."""
    nodes = tuple(_nodes(known, place, policy))
    expected = expect(nodes, place.fan) if nodes else None
    if not elapsed:
        return known, expected
    own = known.get(place.name)
    ratio = 1.0 if expected is None else place.resistance / expected
    young = sum(base.seconds for base in known.values()) < policy.young
    if expected is None or (young and ratio < _ODD and (own is None or own.seconds < policy.learn)):
        own = own or Baseline(place.resistance, 0.0, place.fan)
        share = elapsed / (own.seconds + elapsed)
        resistance = own.resistance + (place.resistance - own.resistance) * share
        own = Baseline(resistance, own.seconds + elapsed, own.fan + (place.fan - own.fan) * share)
    else:
        if own is None or own.seconds < policy.learn:
            own = Baseline(expected, policy.learn, place.fan)
        share = elapsed / (policy.rises if ratio > 1 else policy.falls)
        own = Baseline(own.resistance * (1 + (ratio - 1) * share), own.seconds + elapsed, own.fan)
    return MappingProxyType({**known, place.name: own}), expected


def _nodes(known: Baselines, place: Place, policy: ForesightPolicy) -> Iterator[tuple[float, float]]:
    """Yield fan speed and conductance of each baseline that is learnt, by the same kind of ambient."""
    for name, base in known.items():
        if base.seconds >= policy.learn and name.startswith(f"{place.source}/"):
            yield base.fan, 1 / base.resistance


def expect(nodes: Iterable[tuple[float, float]], fan: float) -> float:
    """Return the resistance to expect at the fan speed ``fan``, from ``nodes`` (fan speed, conductance).

    A card that gathers dust turns its fans up, and so comes to speeds that it never used: to learn these
    anew would be to learn the dust. So they are judged by what the nearest that are known lead one to expect:
    the conductance (one over the resistance) grows in a line with the fan speed, ever less with the
    distance, and never falls: a dead fan shows.
    """
    (near, conductance), *others = sorted(nodes, key=lambda node: abs(node[0] - fan))
    rise = conductance / (near + _STILL)
    apart = [node for node in others if abs(node[0] - near) >= _APART]
    if apart:
        other, its = apart[0]
        most = conductance / max(near, _APART)  # all of the cooling is the fan's
        rise = min(max((conductance - its) / (near - other), 0.0), most)
    distance = fan - near
    damped = distance / (1 + abs(distance) / _FAR)
    return 1 / max(conductance + rise * damped, conductance * _LEAST)
