"""Schedule of backups: systemd OnCalendar expressions, with what was missed caught up; local time.

The parser is the library ``oncalendar``; times are Unix seconds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

from oncalendar import OnCalendar, OnCalendarError, parse_tz

from aiidpd.kernel.errors import Misconfigured

LONGEST = 400  # characters; the parser recurses on what it is given
_ANY_START = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Schedule:
    """An expression that :func:`parse_schedule` accepted."""

    text: str

    def next_after(self, moment: float, zone: tzinfo) -> float | None:
        """Return the first time later than ``moment`` that the expression names, or None for never.

        As in systemd a time that the clocks skip does not happen, and one that they repeat happens
        the first time; only from within the repeated hour is its second half considered.
        """
        start = datetime.fromtimestamp(moment, zone)
        for found in OnCalendar(self.text, start):
            # The parser counts in local time without its fold, so it may name what is past already.
            again = found.replace(fold=start.fold)
            for candidate in (found, again):
                if candidate.timestamp() > moment:
                    return float(candidate.timestamp())
        return None

    def next_new_after(self, moment: float, zone: tzinfo) -> float | None:
        """Return the same, but for times that the clocks repeat and that came the first time by ``moment``.

        So what ran shortly before the clocks went back does not run again an hour later.
        """
        named = self._named_zone() or zone
        found = self.next_after(moment, zone)
        while found is not None:
            local = datetime.fromtimestamp(found, named)
            if not local.fold or local.replace(fold=0).timestamp() > moment:
                return found
            found = self.next_after(found, zone)
        return None

    def _named_zone(self) -> tzinfo | None:
        """Return the zone that the expression names at its end, if it does."""
        head, _, last = self.text.strip().rpartition(" ")
        return parse_tz(last) if head else None


@dataclass(frozen=True, slots=True)
class Jitter:
    """Delays of scheduled runs, from 0 to ``limit`` seconds, so that machines don't all run at once.

    A delay follows from ``seed``, which names the machine, and the scheduled time: a restart gets the same.
    """

    seed: str
    limit: float

    def delay(self, moment: float, until_next: float) -> float:
        """Return the delay of the run at ``moment`` in whole seconds.

        It is shorter than ``until_next``, the seconds to the scheduled run after it.
        """
        text = f"aiidpd.backup.jitter\0{self.seed}\0{moment:.0f}".encode("utf-8", "surrogateescape")
        share = int.from_bytes(hashlib.sha256(text).digest()[:8]) / 2**64
        return float(int(share * min(self.limit, until_next)))


NO_JITTER: Final = Jitter("", 0.0)


def parse_schedule(text: str) -> Schedule:
    """Return the schedule that ``text`` means; raises :class:`Misconfigured`."""
    fault = f"it is longer than {LONGEST} characters" if len(text) > LONGEST else _fault_of(text)
    if fault:
        remedy = "write it as systemd.time(7) says, for example 'Sun *-*-* 03:00:00'"
        raise Misconfigured("understand the schedule", repr(text[:80]), reason=fault, remedy=remedy)
    return Schedule(text)


def _fault_of(text: str) -> str:
    try:
        OnCalendar(text, _ANY_START)
    except (OnCalendarError, ValueError, OSError) as error:  # the last two: odd numbers and zone names
        return " ".join(str(error).split()) or "it is not an OnCalendar expression"
    return ""


def next_run_at(
    schedule: Schedule | None,
    zone: tzinfo,
    *,
    last_success: float | None,
    now: float,
    not_before: float | None = None,
    jitter: Jitter = NO_JITTER,
) -> float | None:
    """Return when the next scheduled run is due (``now`` or earlier: at once), or None for never.

    A run that was missed while the machine was off is due at once, once, however many were missed
    (systemd's ``Persistent=true``); so is the first run where there is no success yet. A time in
    the future, left by a clock that was wrong, counts as now. ``jitter`` delays what the schedule names,
    ``not_before`` any run (after a failure).
    """
    if schedule is None:
        return None
    if last_success is None:
        run = now
    else:
        following = schedule.next_new_after(min(last_success, now), zone)
        if following is None:
            return None
        run = following
        if jitter.limit:
            after = schedule.next_new_after(following, zone)
            run += jitter.delay(following, jitter.limit if after is None else after - following)
    return run if not_before is None else max(run, not_before)


def due(
    schedule: Schedule, zone: tzinfo, *, last_success: float | None, now: float, jitter: Jitter = NO_JITTER
) -> bool:
    """Return whether a scheduled run should start now."""
    run = next_run_at(schedule, zone, last_success=last_success, now=now, jitter=jitter)
    return run is not None and run <= now
