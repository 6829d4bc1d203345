"""Circumstances of probes, and which of them changed with a shift (pure).

A circumstance is a name and a value: the driver's version, the engine's image, the power limit. Whatever
names a probe brings are compared; none is known here.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

Value: TypeAlias = str | int | float | bool | None
Circumstances: TypeAlias = Mapping[str, Value]
NONE: Final[Circumstances] = MappingProxyType({})
MOST_NAMES: Final = 64
LONGEST_NAME: Final = 60
LONGEST_VALUE: Final = 200
_MOST_CHANGES: Final = 12
_COMPARED: Final = 24  # samples on either side of the onset of which figures are compared
_SPREADS: Final = 4.0  # deviations of a figure before the onset by which it must differ after it
_LEAST_CHANGE: Final = 0.01  # share of itself by which a figure must differ
_NORMAL: Final = 1.4826


@dataclass(frozen=True, slots=True)
class Moment:
    """Circumstances of a probe at ``at`` (Unix seconds), as far as they ``changed`` since the one before.

    None is one that is not known any more.
    """

    at: float
    changed: Circumstances = field(default_factory=lambda: NONE)


@dataclass(frozen=True, slots=True)
class Change:
    """A circumstance that was another before a shift; ``at`` is when it was first seen as it is now."""

    name: str
    before: Value
    after: Value
    at: float


def bounded(circumstances: Circumstances) -> dict[str, Value]:
    """Return what may be stored of ``circumstances``: short texts, numbers that are any, not too many."""
    found: dict[str, Value] = {}
    for name, value in circumstances.items():
        if len(found) == MOST_NAMES:
            break
        if value is None or (isinstance(value, int | float) and not _is_number(value)):
            continue
        shown = value[:LONGEST_VALUE] if isinstance(value, str) else value
        found[name[:LONGEST_NAME]] = float(f"{shown:.6g}") if isinstance(shown, float) else shown
    return found


def difference(before: Circumstances, now: Circumstances) -> dict[str, Value]:
    """Return what of ``now`` is another than ``before``; None is what is gone."""
    gone = {name: None for name in before if name not in now}
    return gone | {name: value for name, value in now.items() if not _same(before.get(name), value)}


def applied(before: Circumstances, changed: Circumstances) -> dict[str, Value]:
    """Return ``before`` with ``changed``; the inverse of :func:`difference`."""
    merged = {**before, **changed}
    return {name: value for name, value in merged.items() if value is not None}


def changes(start: Circumstances, moments: Sequence[Moment], onset: float) -> tuple[Change, ...]:
    """Return what changed with a shift at ``onset``, what changed nearest to it first.

    ``start`` are the circumstances before the first of ``moments``. What varies anyway, such as a
    temperature, has changed where it differs by more than it varied before.
    """
    whole = [*_unfolded(start, moments)]
    names = sorted({name for _, known in whole for name in known} | {*start})
    found = [change for name in names if (change := _change(name, start, whole, onset)) is not None]
    found.sort(key=lambda each: (abs(each.at - onset), each.name))
    return tuple(found[:_MOST_CHANGES])


def _unfolded(start: Circumstances, moments: Sequence[Moment]) -> Iterator[tuple[float, Circumstances]]:
    known: Circumstances = start
    for each in moments:
        known = applied(known, each.changed)
        yield each.at, known


def _change(
    name: str, start: Circumstances, whole: Sequence[tuple[float, Circumstances]], onset: float
) -> Change | None:
    values = [(at, known.get(name)) for at, known in whole]
    before = [value for at, value in values if at < onset][-_COMPARED:] or [start.get(name)]
    later = [(at, value) for at, value in values if at >= onset][:_COMPARED]
    if not later:
        return None
    # A figure that is missing now and then, such as a clock between two readings, has not changed by that.
    known_before, known_after = _numbers(before), _numbers([value for _, value in later])
    if known_before and known_after:
        return _moved(name, known_before, known_after, onset)
    return _replaced(name, before, values, later)


def _moved(name: str, before: Sequence[float], later: Sequence[float], onset: float) -> Change | None:
    usual, now = statistics.median(before), statistics.median(later)
    spread = _NORMAL * statistics.median(abs(each - usual) for each in before)
    if abs(now - usual) <= max(_SPREADS * spread, _LEAST_CHANGE * abs(usual)):
        return None
    return Change(name, usual, now, onset)


def _replaced(
    name: str,
    before: Sequence[Value],
    values: Sequence[tuple[float, Value]],
    later: Sequence[tuple[float, Value]],
) -> Change | None:
    """Return the change of a text: from the usual one before the onset to the newest after it."""
    was = max(before, key=lambda one: (sum(_same(one, each) for each in before), _same(one, before[0])))
    now = later[-1][1]
    if _same(was, now):
        return None
    first = later[-1][0]
    for at, value in reversed(values):
        if not _same(value, now):
            break
        first = at
    return Change(name, was, now, first)


def _numbers(values: Sequence[Value]) -> list[float]:
    """Return the numbers among ``values`` where those that are known all are some, else nothing."""
    known = [each for each in values if each is not None]
    found = [float(each) for each in known if isinstance(each, int | float) and not isinstance(each, bool)]
    return found if len(found) == len(known) else []


def _is_number(value: float) -> bool:
    return math.isfinite(value) and abs(value) < 1e15  # noqa: PLR2004 -- what a state file can hold, by far


def _same(one: Value, other: Value) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)
