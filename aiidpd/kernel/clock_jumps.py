"""Trust in the wall clock, which may have been set (pure).

The wall clock is compared with one that nobody sets: seconds since the boot, suspended ones included, so that
a machine that slept has not jumped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

_MOST: Final = 32  # stretches that are remembered apart


@dataclass(frozen=True, slots=True)
class ClockPolicy:
    """Seconds. The wall clock has jumped where it is off by more than ``tolerance``.

    It is trusted again when it was not set for ``steady``, or is back where it was.
    """

    tolerance: float = 5.0
    steady: float = 3_600.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which nobody set the wall clock, in seconds since the boot.

    ``offset`` added to them gives Unix seconds; ``lowest`` is the least that it was, within the tolerance.
    ``since`` is the earliest that it can have begun, ``seen`` when it was seen first.
    """

    since: float
    seen: float
    until: float
    offset: float
    lowest: float


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump of the wall clock by ``seconds``, to ``to`` (Unix seconds)."""

    seconds: float
    to: float


@dataclass(frozen=True, slots=True)
class ClockState:
    """State of the wall clock, as far as it is known.

    ``stretches``: as the process has lived through them, the newest last. ``trusted``: the offset of the last
    trusted time, None where there was none yet. ``expected``: the offset that the clock would have without
    its jumps. ``jump``: the last one, None while the clock is where it is expected to be.
    """

    stretches: tuple[Stretch, ...]
    expected: float
    trusted: float | None = None
    jump: Jump | None = None

    @property
    def off(self) -> float:
        """Seconds by which the wall clock is ahead of what is expected."""
        return self.stretches[-1].offset - self.expected


def begin(wall: float, boot: float) -> ClockState:
    """Return the state of a clock that is read for the first time: it may be wrong from the start."""
    offset = wall - boot
    return ClockState((Stretch(boot, boot, boot, offset, offset),), offset)


def step(state: ClockState, wall: float, boot: float, policy: ClockPolicy) -> ClockState:
    """Return the state after the clocks were read: Unix seconds, and seconds since the boot."""
    *before, last = state.stretches
    offset = wall - boot
    moved = offset - last.offset
    last = replace(last, until=max(last.until, boot))
    if abs(moved) <= policy.tolerance:
        last = replace(last, lowest=min(last.lowest, offset))
        state = replace(state, stretches=(*before, last))
    else:
        # It happened some time since the clocks were read before: what was stamped meanwhile counts to both.
        new = Stretch(state.stretches[-1].until, boot, boot, offset, offset)
        state = replace(state, stretches=_bounded((*before, last, new)), jump=Jump(moved, wall))
    newest = state.stretches[-1]
    if abs(state.off) <= policy.tolerance:
        state = replace(state, jump=None)
    if newest.until - newest.seen >= policy.steady:
        return replace(state, trusted=newest.offset, expected=newest.offset, jump=None)
    return state


def cut(state: ClockState, age: float) -> float | None:
    """Return the Unix time before which whatever was stamped is older than ``age`` seconds.

    None where nothing is known to be. A stamp of an earlier process is measured by the trusted clock, and by
    no later a time than the wall clock shows; one of this process by the seconds that passed since.
    """
    newest = state.stretches[-1]
    if state.trusted is None:
        return None
    limit = newest.until + min(newest.lowest, state.trusted) - age
    young = newest.until - age
    for stretch in state.stretches:
        if stretch.until >= young:
            limit = min(limit, max(stretch.since, young) + stretch.lowest)
    return limit


def _bounded(stretches: tuple[Stretch, ...]) -> tuple[Stretch, ...]:
    """Make one of the oldest two where there are too many: the lower offset deletes less."""
    if len(stretches) <= _MOST:
        return stretches
    first, second, *rest = stretches
    lowest = min(first.lowest, second.lowest)
    one = Stretch(first.since, second.seen, max(first.until, second.until), lowest, lowest)
    return (one, *rest)
