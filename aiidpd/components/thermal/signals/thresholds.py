"""Thresholds: the limits of each GPU, and constants for too much, too long and implausible (pure).

Limits come from the settings; the constants are not configurable. Seconds, unless a name says
otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from aiidpd.components.thermal.settings import GpuOverride, GpuSettings

HOT_WINDOW: Final = 3600.0  # in which gpu.alerts.hot_limit is too much; clear at four fifths of that

# Throttling in the window: by the hardware gpu.alerts.throttle_limit is too much; clear at a fifth.
THROTTLE_WINDOW: Final = 600.0
SOFTWARE_THROTTLE_LIMIT: Final = 60.0  # by the driver
POWER_BRAKE_LIMIT: Final = 1.0

XID_WINDOW: Final = 3600.0  # for so long an event counts

# Believable is above the one and up to the other, at most 10 above the card's own shutdown point, and
PLAUSIBLE_ABOVE_CELSIUS: Final = 0.0
PLAUSIBLE_MAX_CELSIUS: Final = 125.0
# so near to the last believed temperature, if the reading before is not older than that.
JUMP_CELSIUS: Final = 30.0
JUMP_WITHIN: Final = 5.0
# A new level that lasts so long is believed after all; a higher one already after so many readings in a row
# that span a shorter time, where the GPU burns enough to be that hot.
JUMP_SETTLES: Final = 10.0
JUMP_CONFIRMS: Final = 2.0
JUMP_READINGS: Final = 3
# So many unbelievable readings in the window are an alert.
IMPLAUSIBLE_COUNT: Final = 3
IMPLAUSIBLE_WINDOW: Final = 60.0
# A temperature that did not change by a digit for so long, while the mean power moved by that ratio of the
# limit (or the load by that ratio), is frozen.
FROZEN_AFTER: Final = 120.0
FROZEN_POWER_RATIO: Final = 0.25
FROZEN_LOAD_RATIO: Final = 0.6

# A fan whose intended speed is so high does not help where the GPU heats by so much (Celsius a second, over
# half a minute) at a power that stayed within the ratio for so long.
FAN_INTENDED_RATIO: Final = 0.5
FAN_HEATING_RATE: Final = 0.15
FAN_STEADY: Final = 300.0
STEADY_POWER_RATIO: Final = 0.15

_OVERRIDABLE: Final = (
    "warning_celsius",
    "critical_celsius",
    "memory_warning_celsius",
    "slowdown_margin_celsius",
)
_GAP_READINGS: Final = 3  # that may be missing
_LEAST_GAP: Final = 10.0


@dataclass(frozen=True, slots=True)
class GpuLimits:
    """Limits of one GPU, in degrees Celsius.

    Each alert is entered at its limit and left ``hysteresis_celsius`` short of it, so that noise does not
    flap. ``slowdown_margin_celsius`` is how near to the card's own slowdown point is too near. Memory is
    too hot at ``memory_warning_celsius``, or that far below the card's own limit where that is lower.
    """

    warning_celsius: float = 85.0
    critical_celsius: float = 90.0
    memory_warning_celsius: float = 100.0
    slowdown_margin_celsius: float = 5.0
    hysteresis_celsius: float = 3.0


def gpu_limits(settings: GpuSettings, index: int, uuid: str) -> GpuLimits:
    """Return the limits of one GPU: the override for its UUID, else for its index, else those of all."""
    own = _override(settings.overrides, index, uuid) if settings.overrides else None
    return _made(*(_limit(name, settings, own) for name in _OVERRIDABLE), settings.hysteresis_celsius)


def longest_gap(settings: GpuSettings) -> float:
    """Return how far apart two readings may lie (seconds) with the time between still known."""
    return max(_LEAST_GAP, _GAP_READINGS * settings.interval)


def _override(overrides: Sequence[GpuOverride], index: int, uuid: str) -> GpuOverride | None:
    by_uuid = (each for each in overrides if not each.gpu.isdigit() and uuid.startswith(each.gpu))
    return next(by_uuid, None) or next((each for each in overrides if each.gpu == str(index)), None)


def _limit(name: str, settings: GpuSettings, own: GpuOverride | None) -> float:
    value: float | None = getattr(own, name, None)
    common: float = getattr(settings, name)
    return common if value is None else value


@lru_cache(maxsize=64)  # the same for every reading
def _made(*limits: float) -> GpuLimits:
    return GpuLimits(*map(float, limits))
