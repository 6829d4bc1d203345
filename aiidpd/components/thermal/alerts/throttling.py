"""Alerts about throttling, from counters that only grow (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from aiidpd.alerts.state import Observation, above
from aiidpd.components.thermal.alerts import rules
from aiidpd.components.thermal.figures import THROTTLE_REASONS
from aiidpd.components.thermal.settings import AlertSettings
from aiidpd.components.thermal.signals import thresholds
from aiidpd.components.thermal.signals.checked import CheckedGpu
from aiidpd.components.thermal.signals.rolling import RollingSum

_CLEAR = 0.2  # of the seconds that are too much


class _Brake(NamedTuple):
    alert: str
    counter: str  # the reading's figure
    limit: Callable[[AlertSettings], float]  # seconds in the window that are too much

    @property
    def event(self) -> str:
        """Clock event that replaces the counter on a card without it."""
        return THROTTLE_REASONS[self.counter]


_BRAKES = (
    _Brake(
        rules.HARDWARE_THROTTLING, "hw_thermal_throttle_seconds", lambda settings: settings.throttle_limit
    ),
    _Brake(
        rules.SOFTWARE_THROTTLING, "sw_thermal_throttle_seconds", lambda _: thresholds.SOFTWARE_THROTTLE_LIMIT
    ),
    _Brake(rules.POWER_BRAKE, "hw_power_brake_throttle_seconds", lambda _: thresholds.POWER_BRAKE_LIMIT),
)


@dataclass(frozen=True, slots=True)
class Count:
    """A counter's last value, when that was read, and its growth lately."""

    value: float | None
    at: float
    grown: RollingSum = field(default_factory=RollingSum)


@dataclass(frozen=True, slots=True)
class ThrottleMemory:
    """Counters by name."""

    counts: Mapping[str, Count] = field(default_factory=lambda: MappingProxyType({}))


def growth(before: float | None, value: float, elapsed: float) -> float:
    """Return by how many seconds a counter of seconds grew within ``elapsed``, never more than that.

    A counter that is lower than before began anew (the driver was loaded again), so all of it is growth.
    """
    if before is None:
        return 0.0
    grown = value - before if value >= before else value
    return min(max(grown, 0.0), elapsed)


def evaluate(
    memory: ThrottleMemory, gpu: CheckedGpu, settings: AlertSettings
) -> tuple[ThrottleMemory, tuple[Observation, ...]]:
    """Return the state after the reading, and the status of the alerts about throttling."""
    counts: dict[str, Count] = {}
    observed = []
    for brake in _BRAKES:
        before = memory.counts.get(brake.counter)
        value = getattr(gpu.reading, brake.counter)
        if value is not None:
            grown = growth(before.value, value, gpu.now - before.at) if before else 0.0
        elif gpu.reading.clock_events is not None:
            grown = gpu.seconds if brake.event in gpu.reading.clock_events else 0.0
        else:
            if before:
                counts[brake.counter] = before
            continue
        sums = (before.grown if before else RollingSum()).add(gpu.now, grown, thresholds.THROTTLE_WINDOW)
        counts[brake.counter] = Count(value, gpu.now, sums)
        much = brake.limit(settings)
        total = min(sums.total, thresholds.THROTTLE_WINDOW)
        observed.append(
            gpu.observation(
                brake.alert,
                above(total, much, _CLEAR * much),
                throttle_seconds=round(total, 3),
                window_seconds=thresholds.THROTTLE_WINDOW,
                limit_seconds=much,
            )
        )
    return ThrottleMemory(MappingProxyType(counts)), tuple(observed)
