"""The policy of backups, as the user decides it (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

EXCLUDE = ("*.tmp", "*.lock", "*.incomplete")
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BackupPolicy:
    """The source, the target, when, and the bounds.

    ``source`` is the model folder, and ``target`` an existing folder for the snapshots; without both
    the worker idles. ``schedule`` is an OnCalendar expression ("" for runs by hand only).
    ``exclude`` holds shell patterns: one without a slash is matched with every part of a path, one
    with a slash with the path from the source. ``reserve_bytes`` of the target stay free.
    ``retry_after`` (seconds) passes between a failed run and the next scheduled attempt. A run in
    which nothing moves for ``stall_after`` (seconds) is given up; keep it under the worker's deadline.
    """

    source: Path | None = None
    target: Path | None = None
    schedule: str = "*-*-* 03:00:00"
    exclude: tuple[str, ...] = EXCLUDE
    reserve_bytes: int = 64 * MIB
    retry_after: float = 900.0
    stall_after: float = 90.0

    @property
    def missing_keys(self) -> tuple[str, ...]:
        """The configuration keys that have to be set before a backup can run."""
        keys = {"backup.source": self.source, "backup.target": self.target}
        return tuple(key for key, value in keys.items() if value is None)
