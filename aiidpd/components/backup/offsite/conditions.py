"""Conditions of the repositories: a run that failed, one that is overdue, damage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiidpd.components.backup.offsite.decide import is_overdue
from aiidpd.components.backup.offsite.settings import RepositorySettings
from aiidpd.components.backup.offsite.state import RepositoryRecord
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.events import Severity

FAILED: Final = "offsite_failed"
OVERDUE: Final = "offsite_overdue"
DAMAGED: Final = "offsite_damaged"
TYPES: Final = (FAILED, OVERDUE, DAMAGED)
SOURCE: Final = "backup"


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
    if is_overdue(record, settings, now):
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
