"""State of backups: snapshots, the present run, the last one, the next one (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """One folder under ``snapshots``. Sizes in bytes, times in Unix seconds.

    ``broken`` is empty for a whole snapshot, else the reason why it is none; then the figures are 0.
    ``copied_bytes`` is what this snapshot added, ``linked_bytes`` what it shares with the one before.
    ``in_future``: its time has not come yet, so that a wrong clock has named it.
    """

    id: str
    source: str = ""
    created_at: float = 0.0
    verified_at: float = 0.0
    files: int = 0
    bytes: int = 0
    copied_files: int = 0
    copied_bytes: int = 0
    linked_files: int = 0
    linked_bytes: int = 0
    refused: int = 0
    broken: str = ""
    in_future: bool = False


AHEAD = 60.0
"""Seconds by which a snapshot may be ahead of the clock before it counts as from the future."""


def mark(snapshots: Iterable[SnapshotInfo], now: float) -> tuple[SnapshotInfo, ...]:
    """Return ``snapshots`` with those marked that are from the future at ``now`` (Unix seconds)."""
    return tuple(replace(each, in_future=each.created_at > now + AHEAD) for each in snapshots)


def newest(snapshots: Iterable[SnapshotInfo], source: str) -> SnapshotInfo | None:
    """Return the last of ``snapshots`` that is a whole one of ``source`` and not from the future."""
    mine = [each for each in snapshots if not each.broken and not each.in_future and each.source == source]
    return mine[-1] if mine else None


@dataclass(frozen=True, slots=True)
class RunProgress:
    """Progress of the present run; ``phase`` is listing, copying, verifying or publishing."""

    phase: str
    files_done: int
    files: int
    bytes_done: int
    bytes: int


@dataclass(frozen=True, slots=True)
class RunResult:
    """End of the last run: ``error`` is empty for a success. ``seconds`` is its duration.

    ``ended`` is the monotonic time of ``ended_at``.
    """

    succeeded: bool
    ended_at: float
    seconds: float
    snapshot: str = ""
    copied_files: int = 0
    copied_bytes: int = 0
    linked_files: int = 0
    linked_bytes: int = 0
    error: str = ""
    ended: float = 0.0


@dataclass(frozen=True, slots=True)
class BackupView:
    """State of backups for status, scrapes and ``aiidpctl backup list``.

    ``reason`` is why the worker is idle. ``last_success_at`` is when the newest whole snapshot
    of this source was verified, none that is from the future. ``next_run_at`` in the past means that the run
    is about to start.
    Snapshots are ordered by their id, the oldest first, broken ones among them.
    """

    configured: bool
    reason: str = ""
    source: str = ""
    target: str = ""
    schedule: str = ""
    snapshots: tuple[SnapshotInfo, ...] = ()
    last_success_at: float | None = None
    last_run: RunResult | None = None
    running: RunProgress | None = None
    next_run_at: float | None = None
