"""Results of the backup process: what came of a request, bounded in what it names (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from aiidpd.components.backup.retention.snapshots import Reason

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_MOST_NAMED: Final = 200


@dataclass(frozen=True, slots=True)
class Named:
    """Paths with a reason each: ``count`` of them, of which ``first`` names no more than 200."""

    count: int = 0
    first: Mapping[str, str] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class RunResult:
    """Outcome of a run that ended. ``unchanged``: the source is as ``snapshot`` has it; no new one was made.

    ``left_out`` maps what should be in the snapshot and is not to the reason, ``rotten`` what reads otherwise
    than it was backed up, though nothing has changed it, to the SHA-256 of that. ``rewritten`` are files with
    other content under an old time, of which ``protected`` has the earlier one. ``own_copies``: the target
    has no hard links, so that each snapshot takes its whole room.
    """

    target: str
    snapshot: str
    unchanged: bool
    files: int
    bytes: int
    copied_files: int = 0
    copied_bytes: int = 0
    linked_files: int = 0
    linked_bytes: int = 0
    read_bytes: int = 0
    left_out: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    rotten: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    rewritten: tuple[str, ...] = ()
    protected: str = ""
    own_copies: bool = False


@dataclass(frozen=True, slots=True)
class Damage:
    """A name that holds something wrong, or held it. ``snapshot`` is empty for what belongs to none.

    ``path`` is relative to the target. ``healed_from`` is the good copy that stands there now, empty for
    none.
    """

    snapshot: str
    path: str
    reason: str
    healed_from: str = ""


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """Outcome of a verification that ended. What is named is bounded, and each ``..._total`` counts all.

    ``contents`` and ``bytes`` are those to be read, ``read_...`` those that were. ``damaged`` is wrong still,
    ``healed`` was. ``broken`` maps a snapshot whose list can't be trusted to the reason. ``oldest_proof`` is
    when the content was read that was not read since longest (Unix seconds), of those that ever were: the
    others have ``never_proven_bytes``. ``needed`` are the bytes that such a request has to read each time.
    ``rotten`` maps a path of the source to the SHA-256 that it reads as now, though nothing was written; of
    the source ``source_files`` were read, and ``source_skipped`` could not be compared, since they are not as
    they were backed up, or can't be read. ``quarantined`` are damaged files that were set aside.
    """

    target: str
    snapshots: int
    contents: int
    bytes: int
    read_contents: int = 0
    read_bytes: int = 0
    damaged: tuple[Damage, ...] = ()
    damaged_total: int = 0
    healed: tuple[Damage, ...] = ()
    healed_total: int = 0
    missing_total: int = 0
    broken: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    broken_total: int = 0
    oldest_proof: float | None = None
    never_proven_bytes: int = 0
    needed: int = 0
    rotten: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    rotten_total: int = 0
    source_files: int = 0
    source_bytes: int = 0
    source_skipped: int = 0
    quarantined: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Nothing of the target is wrong now, as far as it was read."""
        return not (self.damaged_total or self.broken_total)


@dataclass(frozen=True, slots=True)
class SnapshotSummary:
    """A snapshot. Times in Unix seconds, sizes in bytes.

    ``broken`` is why its list can't be read, empty where it can; then nothing else is known. ``left_out``
    names the first of ``left_out_total``. ``oldest_proof`` is when the content of it was last read back that
    was not since longest, None where none ever was; ``never_proven_bytes`` never were. ``damaged`` contents
    were not right when they were last read. ``pinned`` is why retention must not remove it, empty for it may.
    ``confirmed_at`` is when a later run found the source still as it is here.
    """

    id: str
    broken: str = ""
    created_at: float = 0.0
    source: str = ""
    files: int = 0
    bytes: int = 0
    copied_files: int = 0
    copied_bytes: int = 0
    left_out: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    left_out_total: int = 0
    oldest_proof: float | None = None
    never_proven_bytes: int = 0
    damaged: int = 0
    pinned: str = ""
    confirmed_at: float | None = None


@dataclass(frozen=True, slots=True)
class SummaryResult:
    """A target. ``bytes`` are those of all snapshots' files, ``unique_bytes`` those that are stored once.

    ``target`` is its id, empty where it has none. ``free`` and ``room`` are those of its file system.
    ``problems`` are about files beside the snapshots.
    """

    target: str
    snapshots: tuple[SnapshotSummary, ...]
    bytes: int
    contents: int
    unique_bytes: int
    oldest_proof: float | None
    never_proven_bytes: int
    damaged: int
    rotten: Mapping[str, str]
    rotten_total: int
    free: int
    room: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """File of a snapshot. ``size`` in bytes, ``mtime_ms`` the source's, in whole milliseconds."""

    path: str
    size: int
    mtime_ms: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CatalogResult:
    """Large files of a snapshot, the largest first, 20,000 at most."""

    snapshot: str
    files: tuple[Listed, ...]


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """Outcome of a restore. ``files`` and ``bytes`` are those wanted; ``restored`` ones were written.

    ``same`` ones were there already. ``refused`` stands in the way; unless conflicts were to be skipped,
    nothing was written then (``written`` is false, as for a dry run). ``failed`` could not be restored;
    ``healed`` was, though not from its own place, which is damaged. ``noted`` is restored but for something
    that can't be set. ``left_out`` is what the snapshot lacks, by its own account. ``leftovers`` of a killed
    restore were removed. ``seconds`` is how long the writing took.
    """

    snapshot: str
    destination: str
    written: bool
    files: int
    bytes: int
    restored_files: int = 0
    restored_bytes: int = 0
    same_files: int = 0
    same_bytes: int = 0
    links: int = 0
    folders: int = 0
    leftovers: int = 0
    seconds: float = 0.0
    refused: Named = Named()
    failed: Named = Named()
    healed: Named = Named()
    noted: Named = Named()
    left_out: Named = Named()


@dataclass(frozen=True, slots=True)
class ModelDrill:
    """Part of a drill that concerns one model. ``headers`` maps a kind of file to how many were opened.

    ``restored_at`` is since when each of its files has been restored (the oldest time; Unix seconds), None
    where one never was.
    """

    model: str
    files: int
    bytes: int
    headers: Mapping[str, int] = field(default_factory=dict)
    restored_at: float | None = None


@dataclass(frozen=True, slots=True)
class DrillResult:
    """Outcome of a drill. ``failed`` did not restore, or read otherwise then.

    ``models`` are those of the sample, 200 at most. ``oldest_at`` is when the model whose last restore was
    proven longest ago was restored (Unix seconds), None where there is one that never was: ``never`` counts
    these, of ``known`` in the snapshot. ``restored_at`` says it of each of the 200 oldest that once was.
    ``unloadable`` files restored as they were backed up, and are not what their names say.
    """

    snapshot: str
    files: int
    bytes: int
    seconds: float
    models: tuple[ModelDrill, ...] = ()
    failed: Named = Named()
    healed: Named = Named()
    known: int = 0
    never: int = 0
    oldest_at: float | None = None
    restored_at: Mapping[str, float] = field(default_factory=dict)
    unloadable: Named = Named()


@dataclass(frozen=True, slots=True)
class PruneDecision:
    """Decision on a snapshot, with each reason. ``created_at`` in Unix seconds.

    ``freed_bytes`` are those that its removal frees once those before it are gone, 0 where it is kept.
    """

    snapshot: str
    created_at: float
    kept: bool
    reasons: tuple[Reason, ...]
    freed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class PruneResult:
    """Outcome of a prune, or of a dry run of it. Sizes in bytes.

    ``decisions`` are oldest first, 1,000 at most of ``snapshots``: then the newest are there, and those that
    go before those that stay. ``removed`` are the ids of ``removed_total`` in the order of their removal, as
    many at most. ``bytes_before`` and ``bytes_after`` count each content once where the target ``shared``
    them. ``freed_files`` and ``freed_bytes`` are contents that were removed, also such as an interrupted run
    had left; for a dry run those that would be. ``stale_...`` were in ``partial`` and ``quarantine`` for more
    than 30 days. ``excess`` says by how much ``max_size`` is missed, empty for not at all. ``unknown_pins``
    name no snapshot, 200 at most. ``source_unknown`` is why nobody knows what the source has now, empty
    where it is known. ``problems`` are about files beside the snapshots.
    """

    target: str
    dry_run: bool
    snapshots: int
    decisions: tuple[PruneDecision, ...] = ()
    removed: tuple[str, ...] = ()
    removed_total: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    freed_files: int = 0
    freed_bytes: int = 0
    stale_files: int = 0
    stale_bytes: int = 0
    excess_bytes: int = 0
    excess: str = ""
    unknown_pins: tuple[str, ...] = ()
    source_unknown: str = ""
    shared: bool = True
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PinResult:
    """Outcome: ``reason`` is why the snapshot is pinned now, empty where it is not; ``before`` likewise."""

    target: str
    snapshot: str
    reason: str = ""
    before: str = ""


def named(found: Mapping[str, str]) -> Named:
    """Return ``found`` bounded, for a result."""
    return Named(len(found), dict(list(found.items())[:_MOST_NAMED]))
