"""Where a GPU's temperature is heading (pure).

*Time to the threshold* is the distance to the next one over the heating rate. A GPU heats ever slower towards
where it settles, so this is the earliest that it can be at a steady power, and it may settle short of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiidpd.components.thermal.gpu import Limit
from aiidpd.components.thermal.signals.checked import CheckedGpu
from aiidpd.components.thermal.signals.rolling import BucketedMeans


@dataclass(frozen=True, slots=True)
class TimeToThresholdPolicy:
    """When a GPU heats. Temperatures in Celsius, times in seconds.

    ``windows`` has (seconds, degrees): a GPU heats where it gained so much in that time; the first that says
    so counts. A threshold further away than ``horizon`` is not told.
    """

    windows: tuple[tuple[float, float], ...] = ((12.0, 3.0), (30.0, 1.5), (300.0, 2.0))
    horizon: float = 3600.0


def ahead(
    heat: BucketedMeans,
    steps: BucketedMeans,
    look: CheckedGpu,
    temperature: float,
    policy: TimeToThresholdPolicy,
) -> tuple[float | None, str]:
    """Return in how many seconds the next threshold can be reached, and its name; None where not foreseen.

    ``heat`` and ``steps`` have the temperature first, in short stretches and in long ones.
    """
    rate = _rate(heat, steps, policy)
    if rate is None:
        return None, ""
    left = {
        "warning": look.limits.warning_celsius - temperature,
        "critical": look.limits.critical_celsius - temperature,
    }
    own = look.degrees_left(Limit.SLOWDOWN)
    if own is not None:
        left["slowdown"] = own
    further = {name: degrees for name, degrees in left.items() if degrees > 0}
    if not further:
        return None, ""
    name = min(further, key=lambda each: further[each])
    seconds = further[name] / rate
    return (seconds, name) if seconds <= policy.horizon else (None, "")


def _rate(heat: BucketedMeans, steps: BucketedMeans, policy: TimeToThresholdPolicy) -> float | None:
    """Return by how much a GPU heats a second, None where not: by the shortest window that is sure."""
    for seconds, rise in policy.windows:
        means = heat if seconds <= heat.width * heat.most else steps
        rate = means.slope(round(seconds / means.width))
        if rate is not None and rate * seconds >= rise:
            return rate
    return None
