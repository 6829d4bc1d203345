"""How often the GPUs are read (pure): more often while one of them is close to a limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot, Limit, degrees_left
from aiidpd.components.thermal.policy import ThermalPolicy


@dataclass(frozen=True, slots=True)
class PollSettings:
    """When a GPU is near a limit, and how often it is read then.

    A GPU is near from ``near_celsius`` degrees below any limit of the card, or the warning or critical
    limit that is this GPU's own, until it is ``hysteresis_celsius`` further away. The readings then lie
    ``near_interval`` seconds apart. All but one in each of the policy's intervals are fast ones.
    """

    near_interval: float = 0.25
    near_celsius: float = 5.0
    hysteresis_celsius: float = 2.0

    def __post_init__(self) -> None:
        if self.near_interval <= 0:
            raise ValueError("near_interval must be longer than 0 s")
        if self.near_celsius < 0 or self.hysteresis_celsius < 0:
            raise ValueError("near_celsius and hysteresis_celsius must not be negative")


@dataclass(frozen=True, slots=True)
class PollRate:
    """What one reading leaves to the next: how long to wait for it (seconds), and whether it is a fast one.

    ``since_full`` is how many fast readings were made since the last full one.
    """

    interval: float
    near: bool = False
    fast: bool = False
    since_full: int = 0


def distances(reading: GpuReading, policy: ThermalPolicy) -> Iterator[float]:
    """Yield how many degrees ``reading`` lies below each limit that is known; negative is above.

    Our limit of the memory is not among them: a fast reading repeats the memory's temperature.
    """
    for limit in Limit:
        left = degrees_left(reading, limit)
        if left is not None:
            yield left
    if reading.temperature_celsius is not None:
        limits = policy.alarms.for_gpu(reading.index, reading.uuid)
        yield limits.warning_celsius - reading.temperature_celsius
        yield limits.critical_celsius - reading.temperature_celsius


def next_rate(
    pace: PollRate, snapshot: GpuSnapshot, policy: ThermalPolicy, cadence: PollSettings
) -> PollRate:
    """Return the pace after ``snapshot``, which was read as ``pace`` asked for."""
    known = [left for gpu in snapshot.gpus for left in distances(gpu, policy)]
    within = cadence.near_celsius + (cadence.hysteresis_celsius if pace.near else 0.0)
    near = min(known) <= within if known else pace.near
    if not near or cadence.near_interval >= policy.interval:
        return PollRate(policy.interval, near)
    since_full = pace.since_full + 1 if pace.fast else 0
    fast = (since_full + 1) * cadence.near_interval < policy.interval
    return PollRate(cadence.near_interval, near, fast, since_full)
