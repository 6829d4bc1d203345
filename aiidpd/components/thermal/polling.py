"""The rate at which the GPUs are read (pure): higher while one of them is close to a limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aiidpd.components.thermal.gpu import Limit
from aiidpd.components.thermal.signals.checked import CheckedGpu, CheckedSnapshot


@dataclass(frozen=True, slots=True)
class PollSettings:
    """Seconds between the starts of two readings, and when a GPU is near a limit.

    They are ``interval`` apart; after one that could read no GPU ``retry_interval``, because each try then
    starts a process. A GPU is near from ``near_celsius`` degrees below any limit of the card, or the warning
    or critical limit that is this GPU's own, until it is ``hysteresis_celsius`` further away. While one is,
    the readings are ``near_interval`` apart, and all but one in each ``interval`` are fast ones.
    """

    interval: float = 1.0
    retry_interval: float = 2.0
    near_interval: float = 0.25
    near_celsius: float = 5.0
    hysteresis_celsius: float = 2.0

    def __post_init__(self) -> None:
        if min(self.interval, self.retry_interval, self.near_interval) <= 0:
            raise ValueError("the intervals must be longer than 0 s")
        if self.near_celsius < 0 or self.hysteresis_celsius < 0:
            raise ValueError("near_celsius and hysteresis_celsius must not be negative")


@dataclass(frozen=True, slots=True)
class PollRate:
    """What one reading leaves to the next: the seconds until it starts, and whether it is a fast one.

    ``near`` has the GPUs (UUIDs) that are near a limit, ``since_full`` how many fast readings were made since
    the last full one.
    """

    interval: float
    near: frozenset[str] = frozenset()
    fast: bool = False
    since_full: int = 0


def distances(gpu: CheckedGpu) -> Iterator[float]:
    """Yield how many degrees ``gpu`` lies below each limit that is known; negative is above.

    Our limit of the memory is not among them: a fast reading repeats the memory's temperature.
    """
    for limit in Limit:
        left = gpu.degrees_left(limit)
        if left is not None:
            yield left
    if gpu.temperature is not None:
        yield gpu.limits.warning_celsius - gpu.temperature
        yield gpu.limits.critical_celsius - gpu.temperature


def _is_near(gpu: CheckedGpu, settings: PollSettings, *, before: bool) -> bool:
    left = min(distances(gpu), default=None)
    if gpu.distrusted and (left is None or before):
        return before  # what the memory says can bring it near, and not away
    within = settings.near_celsius + (settings.hysteresis_celsius if before else 0.0)
    return before if left is None else left <= within


def next_rate(rate: PollRate, snapshot: CheckedSnapshot, settings: PollSettings) -> PollRate:
    """Return the rate after ``snapshot``, which was read as ``rate`` says.

    A GPU of which nothing is known, or whose sensor is not believed, stays as near as it was.
    """
    near = frozenset(
        gpu.reading.uuid
        for gpu in snapshot.gpus
        if _is_near(gpu, settings, before=gpu.reading.uuid in rate.near)
    )
    if not near or settings.near_interval >= settings.interval:
        return PollRate(settings.interval, near)
    since_full = rate.since_full + 1 if rate.fast else 0
    fast = (since_full + 1) * settings.near_interval < settings.interval
    return PollRate(settings.near_interval, near, fast, since_full)
