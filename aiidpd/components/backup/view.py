"""State of backups: snapshots, the present work, what came of the last, the next run (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from aiidpd.components.backup.process.results import PruneResult, SnapshotSummary, SummaryResult
from aiidpd.contracts.backups import BackupCatalog

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

AHEAD: Final = 60.0
"""Seconds by which a snapshot may be ahead of the clock before it counts as from the future."""


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """One folder under ``snapshots``. Sizes in bytes, times in Unix seconds.

    ``broken`` is empty for a whole snapshot, else the reason why it is none; then the figures are 0.
    ``copied_bytes`` is what this snapshot added, ``linked_bytes`` what it shares with others. ``verified_at``
    is when the content of it was read back that was not since longest; None while ``unverified_bytes`` were
    never. ``damaged`` contents were not right when they were last read. ``left_out`` counts what should be in
    it and is not. ``confirmed_at`` is when the source was last found as it is here. ``pinned`` is why it is
    never removed by itself, empty for it may be. ``in_future``: its time has not come yet, so that a wrong
    clock has named it.
    """

    id: str
    source: str = ""
    created_at: float = 0.0
    verified_at: float | None = None
    unverified_bytes: int = 0
    files: int = 0
    bytes: int = 0
    copied_files: int = 0
    copied_bytes: int = 0
    linked_files: int = 0
    linked_bytes: int = 0
    left_out: int = 0
    damaged: int = 0
    confirmed_at: float | None = None
    pinned: str = ""
    broken: str = ""
    in_future: bool = False

    @property
    def current_at(self) -> float:
        """Moment at which the source was last seen to be as it is here, in Unix seconds."""
        return max(self.created_at, self.confirmed_at or 0.0)


def info_of(summary: SnapshotSummary, now: float) -> SnapshotInfo:
    """Return the snapshot that a summary describes, as it is to be seen at ``now`` (Unix seconds)."""
    confirmed = summary.confirmed_at
    if confirmed is not None and confirmed > now + AHEAD:
        confirmed = None  # by a clock that was ahead
    return SnapshotInfo(
        id=summary.id,
        source=summary.source,
        created_at=summary.created_at,
        verified_at=None if summary.never_proven_bytes else summary.oldest_proof,
        unverified_bytes=summary.never_proven_bytes,
        files=summary.files,
        bytes=summary.bytes,
        copied_files=summary.copied_files,
        copied_bytes=summary.copied_bytes,
        linked_files=summary.files - summary.copied_files,
        linked_bytes=summary.bytes - summary.copied_bytes,
        left_out=summary.left_out_total,
        damaged=summary.damaged,
        confirmed_at=confirmed,
        pinned=summary.pinned,
        broken=summary.broken,
        in_future=summary.created_at > now + AHEAD,
    )


def newest(snapshots: Iterable[SnapshotInfo], source: str) -> SnapshotInfo | None:
    """Return the last of ``snapshots`` that is a whole one of ``source`` and not from the future."""
    mine = [each for each in snapshots if not each.broken and not each.in_future and each.source == source]
    return mine[-1] if mine else None


@dataclass(frozen=True, slots=True)
class RunProgress:
    """Progress of the present work: a run, a verification and so on. ``phase`` is its present step.

    ``paused`` is why it waits, empty where it does not.
    """

    work: str
    phase: str
    files_done: int
    files: int
    bytes_done: int
    bytes: int
    paused: str = ""


@dataclass(frozen=True, slots=True)
class RunResult:
    """End of the last run: ``error`` is empty for a success. ``seconds`` is its duration.

    ``ended`` is the monotonic time of ``ended_at``. ``unchanged``: no new snapshot was needed.
    """

    succeeded: bool
    ended_at: float
    seconds: float
    snapshot: str = ""
    unchanged: bool = False
    copied_files: int = 0
    copied_bytes: int = 0
    linked_files: int = 0
    linked_bytes: int = 0
    left_out: int = 0
    error: str = ""
    ended: float = 0.0


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """Target as a whole. Sizes in bytes: ``unique_bytes`` are stored once, ``free`` of ``room`` are free.

    ``unverified_bytes`` were never read back; ``oldest_proof`` is when the content was read back that was not
    since longest (Unix seconds). ``rotten`` maps files of the source that read otherwise than they were
    backed up, though nothing has changed them. ``problems`` are about files beside the snapshots.
    """

    unique_bytes: int = 0
    unverified_bytes: int = 0
    oldest_proof: float | None = None
    damaged: int = 0
    rotten: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    rotten_total: int = 0
    free: int = 0
    room: int = 0
    problems: tuple[str, ...] = ()


def store_of(summary: SummaryResult) -> StoreInfo:
    """Return the target that a summary describes."""
    return StoreInfo(
        summary.unique_bytes,
        summary.never_proven_bytes,
        summary.oldest_proof,
        summary.damaged,
        summary.rotten,
        summary.rotten_total,
        summary.free,
        summary.room,
        summary.problems,
    )


@dataclass(frozen=True, slots=True)
class BackupView:
    """State of backups for status, scrapes and ``aiidpctl backup list``.

    ``reason`` is why the worker is idle. ``last_success_at`` is when a run last found that the newest whole
    snapshot, none that is from the future, is as the source; ``last_verified_at`` when a verification last
    ended, ``last_restored_at`` when a restore was last proven to work. ``next_run_at`` in the past means that
    the run is about to start. Snapshots are ordered by their id, the oldest first, broken ones among them.
    """

    configured: bool
    reason: str = ""
    source: str = ""
    target: str = ""
    schedule: str = ""
    snapshots: tuple[SnapshotInfo, ...] = ()
    store: StoreInfo | None = None
    last_success_at: float | None = None
    last_verified_at: float | None = None
    last_restored_at: float | None = None
    last_run: RunResult | None = None
    running: RunProgress | None = None
    last_prune: PruneResult | None = None
    catalog: BackupCatalog | None = None
    next_run_at: float | None = None
