"""Attribution of a GPU's energy to those that held its memory (pure): estimates within bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from aiidpd.components.thermal.energy.counter import CARD_ACCURACY
from aiidpd.components.thermal.gpu import GpuProcess

HOST: Final = "(host)"
"""Holder: processes outside of containers."""

IDLE: Final = "(nobody)"
"""Holder of the energy of a GPU while no process held it."""

UNKNOWN: Final = "(unknown)"
"""Holder of the energy of a GPU while the driver did not list its processes."""

OTHERS: Final = "(others)"
"""Holder: containers beyond those that have a share of their own."""


class Sharing(StrEnum):
    """Rule by which the energy between two readings was shared."""

    ALONE = "alone"  # one holder: all of it is its own
    MEMORY = "memory"  # by the memory that each holds
    EQUAL = "equal"  # in equal parts, where the memory is not known


@dataclass(frozen=True, slots=True)
class Share:
    """Energy of one holder in joules.

    ``joules`` is the estimate. ``certain`` is of the time in which no other held the GPU, and ``possible`` of
    all time in which this one did: whatever the truth, it lies between them (the card's own error apart).
    ``shared`` is how the part between was shared last.
    """

    joules: float = 0.0
    certain: float = 0.0
    possible: float = 0.0
    shared: Sharing = Sharing.ALONE

    def low(self) -> float:
        """Return the least that it can be, in joules."""
        return self.certain * (1 - CARD_ACCURACY)

    def high(self) -> float:
        """Return the most that it can be, in joules."""
        return self.possible * (1 + CARD_ACCURACY)


Shares = Mapping[str, Share]


def share_out(
    shares: Shares, joules: float, processes: Sequence[GpuProcess] | None, names: Mapping[str, str]
) -> Shares:
    """Return ``shares`` with ``joules`` more, shared among those that held the GPU meanwhile.

    By the memory that each holds: the driver does not report how much of the work was whose. Equally where
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
    """Return the memory that each holder has, infinity where that of any of its processes is not known."""
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
    remaining = {name: share for name, share in shares.items() if name not in small}
    sums = [shares[name] for name in small] + ([shares[OTHERS]] if OTHERS in shares else [])
    remaining[OTHERS] = Share(
        sum(share.joules for share in sums),
        sum(share.certain for share in sums),
        sum(share.possible for share in sums),
        Sharing.MEMORY,
    )
    return MappingProxyType(remaining)
