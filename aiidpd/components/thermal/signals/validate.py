"""Whether a temperature can be believed (pure).

A sensor that lies must neither raise the critical alarm nor keep it quiet: a temperature that is not
believed counts as not known, and an alert of its own says so.

A jump may be true: a pump that stops lets a core rise by ten degrees a second. Heat needs watts, rises no
faster than that and comes to stay. So a jump upwards is believed soon where the readings after it agree with
it while the GPU burns power; one downwards, which could call off an alarm, has to last.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from aiidpd.alerts.state import Observation, Status
from aiidpd.components.thermal.alerts import rules
from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.signals.checked import CheckedGpu
from aiidpd.components.thermal.signals.rolling import BucketedMeans, RollingSum
from aiidpd.components.thermal.signals.thresholds import AlertSettings

_ABOVE_SHUTDOWN = 10.0  # degrees: a card that hot has turned itself off
_SAME_LEVEL = 10.0  # degrees within which suspicious readings confirm each other
_SAME_SOON = 5.0  # and where they are to confirm each other soon
_FASTEST = 10.0  # degrees a second: what a core without any cooling rises by
_BUSY_RATIO = 0.2  # of the power limit: an idle GPU burns less
_LEAST_WATTS = 40.0
_UNLIMITED = 160.0  # watts, for a card that does not tell its limit
_NO_EFFORT = BucketedMeans(15.0, 1)  # averaged over 15 s: shorter peaks don't move a heatsink


@dataclass(frozen=True, slots=True)
class SensorMemory:
    """What is remembered of one sensor: the last believed value, a suspect, and how long it stands still.

    ``judged_at`` is when a value was last looked at, believed or not; ``agreed`` is how many suspicious
    readings in a row, from ``agreed_since`` on, are such as heat would give.
    """

    believed: float | None = None
    suspect: float | None = None
    suspect_since: float = 0.0
    agreed_since: float = 0.0
    agreed: int = 0
    judged_at: float = 0.0
    implausible: RollingSum = field(default_factory=RollingSum)
    still: float | None = None
    still_since: float = 0.0
    effort: BucketedMeans = _NO_EFFORT
    effort_low: float | None = None
    effort_high: float | None = None


def validate(
    memory: SensorMemory, look: CheckedGpu, policy: AlertSettings
) -> tuple[SensorMemory, CheckedGpu, tuple[Observation, ...]]:
    """Return ``look`` with the temperature that is believed, and what there is to say about the sensor."""
    value = look.reading.temperature_celsius
    if value is None:
        count = 1.0 if look.refused else 0.0
        memory = replace(
            memory,
            implausible=memory.implausible.add(look.now, count, policy.implausible_window),
            judged_at=look.now if look.refused else memory.judged_at,
        )
        about = (_believable(memory, look, policy),) if look.refused else ()
        return memory, replace(look, doubted=look.refused), about
    memory, good = _plausible(memory, value, look, policy)
    count = 0.0 if good else 1.0
    implausible = memory.implausible.add(look.now, count, policy.implausible_window)
    if implausible is not memory.implausible:
        memory = replace(memory, implausible=implausible)
    memory = _still(memory, value, look)
    frozen = _frozen(memory, look, policy)
    trusted = good and frozen is not Status.TRUE
    unchanged = round(look.now - memory.still_since, 3)
    told = (
        _believable(memory, look, policy),
        look.says(rules.SENSOR_FROZEN, frozen, temperature_celsius=value, unchanged_seconds=unchanged),
    )
    believed = value if trusted else None
    seen = CheckedGpu(look.reading, look.now, look.elapsed, look.limits, believed, not trusted, look.refused)
    return memory, seen, told


def _believable(memory: SensorMemory, look: CheckedGpu, policy: AlertSettings) -> Observation:
    count = memory.implausible.total
    condition = Status.BETWEEN if count else Status.FALSE
    if count >= policy.implausible_count:
        condition = Status.TRUE
    window = policy.implausible_window
    return look.says(rules.IMPLAUSIBLE, condition, implausible_count=count, window_seconds=window)


def _plausible(
    memory: SensorMemory, value: float, look: CheckedGpu, policy: AlertSettings
) -> tuple[SensorMemory, bool]:
    top = policy.plausible_max
    if look.reading.shutdown_celsius is not None and look.reading.shutdown_celsius > policy.plausible_min:
        top = min(top, look.reading.shutdown_celsius + _ABOVE_SHUTDOWN)
    elapsed = look.now - memory.judged_at
    if not policy.plausible_min < value <= top:
        return replace(memory, judged_at=look.now, suspect=None), False
    fresh = memory.believed is not None and elapsed <= policy.jump_within
    near = memory.believed is None or abs(value - memory.believed) <= policy.jump_celsius
    if near or (memory.suspect is None and not fresh):  # near a believed one: the suspect was a glitch
        return replace(memory, judged_at=look.now, believed=value, suspect=None), True
    memory = replace(_suspect(memory, value, look, elapsed), judged_at=look.now)
    lasts = look.now - memory.suspect_since >= policy.jump_settles
    if lasts or _is_heat(memory, value, look, policy):
        return replace(memory, believed=value, suspect=None), True
    return memory, False


def _suspect(memory: SensorMemory, value: float, look: CheckedGpu, elapsed: float) -> SensorMemory:
    """Return the memory with ``value`` as its suspect, which goes on or begins."""
    now, before = look.now, memory.suspect
    after = replace(memory, suspect=value)
    if before is None or abs(value - before) > _SAME_LEVEL:
        return replace(after, suspect_since=now, agreed_since=now, agreed=1)
    may_rise = max(_SAME_SOON, _FASTEST * elapsed)
    if _busy(look.reading) and -_SAME_SOON <= value - before <= may_rise:
        return replace(after, agreed=memory.agreed + 1)
    return replace(after, agreed_since=now, agreed=1)


def _is_heat(memory: SensorMemory, value: float, look: CheckedGpu, policy: AlertSettings) -> bool:
    """Return whether ``value`` is a jump upwards which the readings since then confirm."""
    return (
        memory.believed is not None
        and value > memory.believed
        and memory.agreed >= policy.jump_readings
        and look.now - memory.agreed_since >= policy.jump_confirms
        and _busy(look.reading)
    )


def _busy(reading: GpuReading) -> bool:
    """Return whether the GPU burns more than an idle one does; what does not tell its power may be idle."""
    least = max(_LEAST_WATTS, _BUSY_RATIO * (reading.power_limit_watts or _UNLIMITED))
    return reading.power_watts is not None and reading.power_watts >= least


def _still(memory: SensorMemory, value: float, look: CheckedGpu) -> SensorMemory:
    if memory.still is None or value != memory.still or not look.elapsed:
        return replace(
            memory,
            still=value,
            still_since=look.now,
            effort=_NO_EFFORT,
            effort_low=None,
            effort_high=None,
        )
    effort = _effort(look.reading)
    if effort is None:
        return memory
    means = memory.effort.add(look.now, effort)
    if means.done and means.done is not memory.effort.done:
        mean = means.done[-1][1][0]
        low = mean if memory.effort_low is None else min(mean, memory.effort_low)
        high = mean if memory.effort_high is None else max(mean, memory.effort_high)
        return replace(memory, effort=means, effort_low=low, effort_high=high)
    return replace(memory, effort=means)


def _effort(reading: GpuReading) -> float | None:
    return reading.utilisation_ratio if reading.power_watts is None else reading.power_watts


def _frozen(memory: SensorMemory, look: CheckedGpu, policy: AlertSettings) -> Status:
    if look.now == memory.still_since:
        return Status.FALSE
    if memory.effort_low is None or memory.effort_high is None:
        return Status.BETWEEN
    if look.reading.power_watts is None:
        much = policy.frozen_load_ratio
    else:
        much = max(_LEAST_WATTS, policy.frozen_power_ratio * (look.reading.power_limit_watts or _UNLIMITED))
    frozen = (
        look.now - memory.still_since >= policy.frozen_after
        and memory.effort_high - memory.effort_low >= much
    )
    return Status.TRUE if frozen else Status.BETWEEN
