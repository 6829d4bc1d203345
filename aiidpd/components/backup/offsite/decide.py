"""Decision when a run with a repository is due (pure)."""

from __future__ import annotations

from typing import Final

from aiidpd.components.backup.offsite.settings import RepositorySettings
from aiidpd.components.backup.offsite.state import RepositoryRecord

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


def is_overdue(record: RepositoryRecord, settings: RepositorySettings, now: float) -> bool:
    """Return whether the last success, or else the first sight of the repository, is too long ago."""
    return now - (record.succeeded_at or record.added_at) > settings.overdue_after
