"""Time until a GPU meets its next threshold (pure).

It is the distance to the next threshold over the heating rate. A GPU heats ever slower towards
where it settles, so this is the earliest that it can be at a steady power, and it may settle short of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiidpd.components.thermal.gpu import Limit
from aiidpd.components.thermal.signals.checked import CheckedGpu
from aiidpd.components.thermal.signals.rolling import BucketedMeans


@dataclass(frozen=True, slots=True)
class TimeToThresholdPolicy:
    """Rates from which a GPU heats. Temperatures in Celsius, times in seconds.

    ``windows`` has (seconds, degrees): a GPU heats where it gained so much in that time; the first that is
    met counts. A threshold further away than ``horizon`` is left out.
    """

    windows: tuple[tuple[float, float], ...] = ((12.0, 3.0), (30.0, 1.5), (300.0, 2.0))
    horizon: float = 3600.0


def time_to_threshold(
    temperatures: BucketedMeans,
    operations: BucketedMeans,
    gpu: CheckedGpu,
    temperature: float,
    policy: TimeToThresholdPolicy,
) -> tuple[float | None, str]:
    """Return in how many seconds the next threshold can be met, and its name; None where it does not heat.

    ``temperatures`` and ``operations`` have the temperature first, in short buckets and in long ones.
    """
    rate = _rate(temperatures, operations, policy)
    if rate is None:
        return None, ""
    left = {
        "warning": gpu.limits.warning_celsius - temperature,
        "critical": gpu.limits.critical_celsius - temperature,
    }
    own = gpu.degrees_left(Limit.SLOWDOWN)
    if own is not None:
        left["slowdown"] = own
    further = {name: degrees for name, degrees in left.items() if degrees > 0}
    if not further:
        return None, ""
    name = min(further, key=lambda each: further[each])
    seconds = further[name] / rate
    return (seconds, name) if seconds <= policy.horizon else (None, "")


def _rate(
    temperatures: BucketedMeans, operations: BucketedMeans, policy: TimeToThresholdPolicy
) -> float | None:
    """Return the heating rate by the shortest window that is met, in Celsius a second; None without one."""
    for seconds, rise in policy.windows:
        means = temperatures if seconds <= temperatures.width * temperatures.most else operations
        rate = means.slope(round(seconds / means.width))
        if rate is not None and rate * seconds >= rise:
            return rate
    return None
