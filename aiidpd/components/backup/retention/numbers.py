"""Snapshots that the numbers of the policy keep: the last, and one a day, week and month (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Final

from aiidpd.components.backup.retention.policy import RetentionPolicy
from aiidpd.components.backup.retention.snapshots import Reason, Rule, StoredSnapshot

BY_NUMBER: Final = (Rule.LAST, Rule.DAILY, Rule.WEEKLY, Rule.MONTHLY)


def numbers(policy: RetentionPolicy) -> dict[Rule, int]:
    """Return how many of each kind ``policy`` keeps, without those of which it keeps none."""
    counts = (policy.keep_last, policy.keep_daily, policy.keep_weekly, policy.keep_monthly)
    return {rule: count for rule, count in zip(BY_NUMBER, counts, strict=True) if count}


def numbers_text(policy: RetentionPolicy) -> str:
    """Return the numbers of ``policy`` for people: ``3 last, 7 daily``."""
    return ", ".join(f"{count} {rule}" for rule, count in numbers(policy).items())


def by_number(
    group: Sequence[tuple[StoredSnapshot, date]], policy: RetentionPolicy
) -> Iterator[tuple[str, Reason]]:
    """Yield who of ``group``, newest first with the local days on which they were made, is kept by number.

    Of each day, ISO week and month the newest is. Only those count of which there is one.
    """
    kept = numbers(policy)
    last = kept.pop(Rule.LAST, 0)
    for place, (each, _) in enumerate(group[:last], 1):
        yield each.id, Reason(Rule.LAST, f"last {place} of {last}")
    for rule, number in kept.items():
        seen: set[str] = set()
        for each, day in group:
            bucket = _BUCKETS[rule](day)
            if bucket not in seen:
                seen.add(bucket)
                yield each.id, Reason(rule, f"the newest of {bucket}, {rule} {len(seen)} of {number}")
                if len(seen) == number:
                    break


def _week(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"


_BUCKETS: Final[dict[Rule, Callable[[date], str]]] = {
    Rule.DAILY: date.isoformat,
    Rule.WEEKLY: _week,
    Rule.MONTHLY: lambda day: f"{day.year:04}-{day.month:02}",
}
