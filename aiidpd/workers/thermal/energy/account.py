"""Where a GPU's energy went (pure): joules per GPU, their share of each container, what a token costs.

A figure that is estimated comes with the bounds that hold for certain, so that nobody takes it for more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from aiidpd.workers.thermal.gpu import GpuProcess, GpuReading

CARD_ACCURACY: Final = 0.05
"""How far off a card's own figures may be: nvidia-smi(1) says plus or minus 5 % for power."""

POWER_ACCURACY: Final = 0.10
"""How far off energy may be that was added up from power: what happens between two readings is not seen."""

HOST: Final = "(host)"
"""The share of processes outside of containers."""

IDLE: Final = "(nobody)"
"""The energy of a GPU while no process held it."""

UNKNOWN: Final = "(unknown)"
"""The energy of a GPU while the driver did not tell its processes."""

OTHERS: Final = "(others)"
"""Containers beyond those that are told apart."""

_JOULES_PER_KWH = 3.6e6
_WRAP: Final = 2**32 / 1000  # joules: a counter of millijoules in 32 bits begins anew here
_MOST_WATTS: Final = 2500.0  # more than any card: what a counter may grow by where the card names no limit


class Method(StrEnum):
    """How energy is known."""

    COUNTER = "counter"  # the card counts it
    POWER = "power"  # its power, added up


class Sharing(StrEnum):
    """How the energy of a stretch was shared out."""

    ALONE = "alone"  # one holder: all of it is his
    MEMORY = "memory"  # by the memory that each holds
    EQUAL = "equal"  # by heads, where the memory is not known


@dataclass(frozen=True, slots=True)
class Meter:
    """The energy of one GPU in joules, since it was first read; ``at`` and ``power`` are of the last reading.

    ``joules`` is the sum of what the card counted and what was added up from its power. For ``unknown``
    seconds neither was known, and they are not filled in. ``at`` is in the seconds of whoever calls.
    ``counter`` is the last one that was believed, at ``counter_at``; ``bridged`` is what was added up since.
    """

    counted: float = 0.0
    integrated: float = 0.0
    unknown: float = 0.0
    resets: int = 0
    counter: float | None = None
    counter_at: float = 0.0
    bridged: float = 0.0
    power: float | None = None
    at: float | None = None

    @property
    def joules(self) -> float:
        """All energy that is known of."""
        return self.counted + self.integrated

    @property
    def error(self) -> float:
        """How many joules it may be off by."""
        return self.counted * CARD_ACCURACY + self.integrated * POWER_ACCURACY

    @property
    def method(self) -> Method | None:
        """How most of it is known; None before the first stretch."""
        if not self.joules:
            return None
        return Method.COUNTER if self.counted >= self.integrated else Method.POWER


def advance(
    meter: Meter, reading: GpuReading, at: float, *, longest_gap: float = 10.0
) -> tuple[Meter, float]:
    """Return the meter after ``reading``, made at ``at`` (seconds), and the joules since the one before.

    Where the card counts, what it counted is taken, over any gap; a counter that fell began anew with the
    driver (or after 2^32 millijoules), and one that grew by more than the card can draw is not believed.
    Else the power is added up (trapezoids), and a gap longer than ``longest_gap`` is not bridged.
    """
    if meter.at is not None and at <= meter.at:
        return meter, 0.0
    first = meter.at is None
    elapsed = 0.0 if meter.at is None else at - meter.at
    after = replace(meter, at=at, power=_power(reading))
    grown = _grown(meter, reading, at)
    if grown is not None:
        joules, anew = max(0.0, grown[0] - meter.bridged), grown[1]
        after = replace(after, counter=reading.energy_joules, counter_at=at, bridged=0.0)
        return replace(after, counted=meter.counted + joules, resets=meter.resets + anew), joules
    if meter.counter is None and _is_count(reading.energy_joules):
        after = replace(after, counter=reading.energy_joules, counter_at=at, bridged=0.0)
    if first:
        return after, 0.0
    if meter.power is None or after.power is None or elapsed > longest_gap:
        return replace(after, unknown=meter.unknown + elapsed), 0.0
    joules = elapsed * (meter.power + after.power) / 2
    bridged = 0.0 if meter.counter is None else meter.bridged + joules
    return replace(after, integrated=meter.integrated + joules, bridged=bridged), joules


def _grown(meter: Meter, reading: GpuReading, at: float) -> tuple[float, int] | None:
    """Return by how much the card's counter grew and whether it began anew, None where it tells nothing."""
    before, now = meter.counter, reading.energy_joules
    if before is None or now is None or not _is_count(now):
        return None
    # Twice the card's limit, for peaks; and a second more, because drivers renew the counter now and then.
    watts = 2 * (reading.power_limit_max_watts or _MOST_WATTS / 2)
    most = watts * (at - meter.counter_at + 1.0)
    if before <= now:
        return (now - before, 0) if now - before <= most else None
    for since in (now + _WRAP - before, now):
        if 0 <= since <= most:
            return since, 1
    # It began anew before we were there: what it counted since is not ours to tell.
    return 0.0, 1


def _is_count(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value >= 0


def _power(reading: GpuReading) -> float | None:
    power = reading.power_watts if reading.power_watts is not None else reading.power_instant_watts
    return power if power is not None and math.isfinite(power) and power >= 0 else None


@dataclass(frozen=True, slots=True)
class Share:
    """The energy of one holder in joules.

    ``joules`` is the estimate. ``certain`` is of the time in which nobody else held the GPU, and
    ``possible`` of all time in which he did: whatever the truth, it lies between them (the card's own error
    apart). ``shared`` is how the part between was shared out last.
    """

    joules: float = 0.0
    certain: float = 0.0
    possible: float = 0.0
    shared: Sharing = Sharing.ALONE

    def low(self) -> float:
        """The least that it can be."""
        return self.certain * (1 - CARD_ACCURACY)

    def high(self) -> float:
        """The most that it can be."""
        return self.possible * (1 + CARD_ACCURACY)


Shares = Mapping[str, Share]


def share_out(
    shares: Shares, joules: float, processes: Sequence[GpuProcess] | None, names: Mapping[str, str]
) -> Shares:
    """Return ``shares`` with the ``joules`` of a stretch shared among those who held the GPU in it.

    By the memory that each holds: the driver does not tell how much of the work was whose. Equally where
    the memory of any is not known. ``names`` has the containers' names by id.
    """
    if joules <= 0:
        return shares
    holders = _holders(processes, names)
    whole = sum(holders.values())
    known = math.isfinite(whole) and whole > 0
    alone = len(holders) == 1
    method = Sharing.ALONE if alone else Sharing.MEMORY if known else Sharing.EQUAL
    found = dict(shares)
    for name, weight in holders.items():
        part = weight / whole if known else 1 / len(holders)
        before = found.get(name, Share())
        found[name] = Share(
            before.joules + joules * part,
            before.certain + (joules if alone else 0.0),
            before.possible + joules,
            before.shared if alone else method,
        )
    return MappingProxyType(found)


def _holders(processes: Sequence[GpuProcess] | None, names: Mapping[str, str]) -> dict[str, float]:
    """Return the memory that each holder has, infinity where that of any of his processes is not known."""
    if processes is None:
        return {UNKNOWN: 1.0}
    if not processes:
        return {IDLE: 1.0}
    found: dict[str, float] = {}
    for process in {each.pid: each for each in processes}.values():
        key = process.container_id
        name = HOST if key is None else names.get(key) or names.get(key[:12]) or key[:12]
        weight = math.inf if process.used_memory_bytes is None else process.used_memory_bytes
        found[name] = found.get(name, 0.0) + weight
    return found


def bounded(shares: Shares, most: int) -> Shares:
    """Return ``shares`` of at most ``most`` holders: the smallest beyond that become :data:`OTHERS`."""
    if len(shares) <= most:
        return shares
    special = {HOST, IDLE, UNKNOWN, OTHERS}
    order = sorted((name for name in shares if name not in special), key=lambda name: shares[name].joules)
    small = order[: len(shares) - most + (OTHERS not in shares)]
    kept = {name: share for name, share in shares.items() if name not in small}
    sums = [shares[name] for name in small] + ([shares[OTHERS]] if OTHERS in shares else [])
    kept[OTHERS] = Share(
        sum(share.joules for share in sums),
        sum(share.certain for share in sums),
        sum(share.possible for share in sums),
        Sharing.MEMORY,
    )
    return MappingProxyType(kept)


@dataclass(frozen=True, slots=True)
class Generation:
    """Tokens that somebody counted: ``tokens`` generated between two moments (Unix seconds).

    ``source`` is the endpoint, ``counted_by`` says who counted (a bench probe, the engine's own counter).
    """

    source: str
    started_at: float
    ended_at: float
    tokens: int
    counted_by: str
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class TokenEnergy:
    """What one generated token took, in joules, with its least and its most.

    All energy of the machine's GPUs in that time is laid on these tokens: other work at the same time
    makes the figure too high, never too low.
    """

    generation: Generation
    joules: float
    low: float
    high: float

    def cost(self, price_per_kwh: float) -> tuple[float, float, float]:
        """Return what a million tokens cost at ``price_per_kwh``: the estimate, the least, the most."""
        factor = 1e6 / _JOULES_PER_KWH * price_per_kwh
        return self.joules * factor, self.low * factor, self.high * factor


@dataclass(frozen=True, slots=True)
class Trace:
    """The sum of all GPUs' joules over the last while, as (Unix seconds, joules)."""

    points: tuple[tuple[float, float], ...] = field(default=())

    def between(self, start: float, end: float) -> tuple[float, float] | None:
        """Return the joules from ``start`` to ``end`` and how far off that can be; None where it is unknown.

        Between two points it is interpolated. How far off: the energy of the stretches that are cut.
        """
        if len(self.points) < 2 or not self.points[0][0] <= start < end <= self.points[-1][0]:  # noqa: PLR2004
            return None
        (low, cut_low), (high, cut_high) = self._at(start), self._at(end)
        return high - low, cut_low + cut_high

    def _at(self, moment: float) -> tuple[float, float]:
        """Return the sum at ``moment``, and how much of the stretch around it can lie on its other side."""
        for (before, below), (after, above) in zip(self.points, self.points[1:], strict=False):
            if before <= moment <= after:
                ratio = (moment - before) / (after - before) if after > before else 1.0
                return below + ratio * (above - below), max(ratio, 1 - ratio) * (above - below) * (
                    0 < ratio < 1
                )
        return self.points[-1][1], 0.0


def per_token(generation: Generation, trace: Trace) -> TokenEnergy | None:
    """Return what a token of ``generation`` took; None where the energy of that time is not known."""
    if generation.tokens <= 0:
        return None
    found = trace.between(generation.started_at, generation.ended_at)
    if found is None:
        return None
    joules, error = found
    low = max(0.0, joules - error) * (1 - CARD_ACCURACY)
    high = (joules + error) * (1 + CARD_ACCURACY)
    return TokenEnergy(
        generation, joules / generation.tokens, low / generation.tokens, high / generation.tokens
    )
