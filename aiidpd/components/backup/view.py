"""What the backup worker shows: snapshots, the run that goes on, the last one, the next one (pure)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """One folder under ``snapshots``. Sizes in bytes, times in Unix seconds.

    ``broken`` is empty for a whole snapshot, else the reason why it is none; then the figures are 0.
    ``copied_bytes`` is what this snapshot added, ``linked_bytes`` what it shares with the one before.
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


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far the present run is; ``phase`` is listing, copying, verifying or publishing."""

    phase: str
    files_done: int
    files: int
    bytes_done: int
    bytes: int


@dataclass(frozen=True, slots=True)
class RunResult:
    """How the last run ended: ``error`` is empty for a success. ``seconds`` is its duration."""

    succeeded: bool
    ended_at: float
    seconds: float
    snapshot: str = ""
    copied_files: int = 0
    copied_bytes: int = 0
    linked_files: int = 0
    linked_bytes: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class BackupView:
    """The state of backups for status, scrapes and ``aiidpctl backup list``.

    ``reason`` says what keeps the worker idle. ``last_success_at`` is when the newest whole snapshot
    of this source was verified. ``next_run_at`` in the past means that the run is about to start.
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
