"""Decisions about repositories (pure): when a run is due, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiidpd.components.backup.offsite.settings import RepositorySettings
from aiidpd.components.backup.offsite.state import RepositoryRecord
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.events import Severity

FAILED: Final = "offsite_failed"
OVERDUE: Final = "offsite_overdue"
DAMAGED: Final = "offsite_damaged"
TYPES: Final = (FAILED, OVERDUE, DAMAGED)
SOURCE: Final = "backup"

_FIRST_RETRY: Final = 900.0  # seconds
_LAST_RETRY: Final = 6 * 3600.0


def retry_after(failures: int) -> float:
    """Return the seconds from a failed run to the next try, after ``failures`` in a row."""
    return min(_FIRST_RETRY * 2.0 ** min(max(failures, 1) - 1, 16), _LAST_RETRY)


def due_at(
    record: RepositoryRecord,
    settings: RepositorySettings,
    *,
    newest: str,
    scheduled: float | None,
    now: float,
) -> float | None:
    """Return when the next run is due (``now`` or earlier: at once), None where there is nothing to do.

    ``newest`` is the id of the newest local snapshot, empty for none; ``scheduled`` the time that the
    schedule names. A time of a failure that lies in the future was of a wrong clock: it counts as now.
    """
    if not newest:
        return None
    unsent = now if newest != record.snapshot else None
    at = scheduled if settings.schedule else unsent
    if record.failures:
        retry = min(record.failed_at, now) + retry_after(record.failures)
        return retry if at is None else max(at, retry)
    return at


def conditions(record: RepositoryRecord, settings: RepositorySettings, now: float) -> Iterator[Condition]:
    """Yield what is wrong with one repository at ``now``."""
    name = record.name
    if record.failures:
        yield Condition(
            FAILED,
            name,
            Severity.ERROR if record.failures > 1 else Severity.WARNING,
            f"the last run failed: {record.error}",
            f"see `aiidpctl backup offsite list`; `aiidpctl backup offsite run {name}` tries again at once",
            source=SOURCE,
        )
    since = record.succeeded_at or record.added_at
    if now - since > settings.overdue_after:
        when = f"{(now - since) / 86400:.1f} days ago" if record.succeeded_at else "never"
        yield Condition(
            OVERDUE,
            name,
            Severity.ERROR,
            f"a snapshot was last sent there {when}",
            f"see `aiidpctl backup list` and `aiidpctl backup offsite run {name}`",
            source=SOURCE,
        )
    if record.damage:
        yield Condition(
            DAMAGED,
            name,
            Severity.ERROR,
            f"the verification found damage: {record.damage}",
            "repair it as docs/offsite.md says under 'Damage', then "
            f"`aiidpctl backup offsite verify {name} --all`",
            source=SOURCE,
        )
