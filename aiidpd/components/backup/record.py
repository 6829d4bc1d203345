"""Record of backups in the state folder: what must outlive the daemon and does not lie on the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal

from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Severity
from aiidpd.platform.statefile import StateFile

FILE: Final = "backup.json"
UNREADABLE: Final = "backup_record_unreadable"
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_MOST: Final = 16  # targets


@dataclass(frozen=True, slots=True)
class BackupRecord:
    """Targets by their paths, each with its id, and when work last ended well (Unix seconds)."""

    version: Literal[1] = 1
    targets: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    verified_at: float | None = None
    drilled_at: float | None = None


class BackupMemory:
    """Record of backups, read once and written in a thread at each change.

    A record that can't be read is set aside, and a condition says so: the next run then takes the target for
    a new one, which its marker shows it is not.
    """

    def __init__(self, file: StateFile[BackupRecord], conditions: Conditions) -> None:
        self._file = file
        self._conditions = conditions
        self._record: BackupRecord | None = None

    @property
    def record(self) -> BackupRecord:
        """Record as it now is."""
        if self._record is None:
            found, problem = self._file.load_or_set_aside()
            self._record = found or BackupRecord()
            wrong = [] if not problem else [_unreadable(problem)]
            self._conditions.update((UNREADABLE,), wrong)
        return self._record

    def expected(self, target: str) -> str:
        """Return the id of the target at this path, empty where none was used so far."""
        return self.record.targets.get(target, "")

    def used(self, target: str, identity: str) -> None:
        """Remember that the target at this path has this id."""
        if identity and self.expected(target) != identity:
            targets = {path: known for path, known in self.record.targets.items() if path != target}
            targets = dict(list(targets.items())[-_MOST + 1 :]) | {target: identity}
            self._save(replace(self.record, targets=MappingProxyType(targets)))

    def verified(self, at: float) -> None:
        """Remember when a verification last ended."""
        self._save(replace(self.record, verified_at=at))

    def drilled(self, at: float) -> None:
        """Remember when a restore was last proven to work."""
        self._save(replace(self.record, drilled_at=at))

    def _save(self, record: BackupRecord) -> None:
        self._record = record
        self._file.save_soon(record)


def _unreadable(problem: str) -> Condition:
    return Condition(
        UNREADABLE,
        FILE,
        Severity.WARNING,
        f"the record of backups could not be read and was set aside: {problem}",
        "see that the right disk is mounted at backup.target; the next backup begins a new record",
        source="backup",
    )
