"""Polling rate of the GPUs (pure): higher while one of them is close to a limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aiidpd.components.thermal.gpu import Limit
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.components.thermal.signals.checked import CheckedGpu, CheckedSnapshot

RETRY_INTERVAL: Final = 2.0  # seconds after a reading that failed: each try then starts a process
# A GPU is near from so many degrees below any limit of the card, or the warning or critical limit that is its
# own, until it is the hysteresis further away.
_NEAR_CELSIUS: Final = 5.0
_HYSTERESIS_CELSIUS: Final = 2.0


@dataclass(frozen=True, slots=True)
class PollRate:
    """Rate after a reading: the seconds until the next one starts, and whether that is a fast one.

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


def _is_near(gpu: CheckedGpu, *, before: bool) -> bool:
    left = min(distances(gpu), default=None)
    if gpu.distrusted and (left is None or before):
        return before  # the memory's margin can bring it near, and not away
    within = _NEAR_CELSIUS + (_HYSTERESIS_CELSIUS if before else 0.0)
    return before if left is None else left <= within


def next_rate(rate: PollRate, snapshot: CheckedSnapshot, settings: GpuSettings) -> PollRate:
    """Return the rate after ``snapshot``, which was read as ``rate`` says.

    The starts of two readings are ``interval`` apart; while a GPU is near a limit ``fast_interval``, and then
    all but one in each ``interval`` are fast ones.

    A GPU of which nothing is known, or whose sensor is not believed, stays as near as it was.
    """
    near = frozenset(
        gpu.reading.uuid for gpu in snapshot.gpus if _is_near(gpu, before=gpu.reading.uuid in rate.near)
    )
    if not near or settings.fast_interval >= settings.interval:
        return PollRate(settings.interval, near)
    since_full = rate.since_full + 1 if rate.fast else 0
    fast = (since_full + 1) * settings.fast_interval < settings.interval
    return PollRate(settings.fast_interval, near, fast, since_full)
