"""Requests and replies of the backup process: a JSON line each (pure).

The daemon writes one request to the standard input of a new process, then maybe orders; the process writes
progress, and at last a result or an error. A process serves one request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from aiidpd.components.backup.process.control import Progress
from aiidpd.kernel.errors import AiidpdError, Conflict, Invalid, Misconfigured, NotFound, Unavailable
from aiidpd.platform import codec

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Order to make a snapshot. Sizes in bytes, times in seconds, ``rate`` in bytes a second (0: no limit).

    ``expected`` is the id of the target that was used so far, empty for none. ``adopt`` uses the target as it
    is, whatever that was. ``settle`` is how long a file must not have changed before it is read. ``now`` is
    the time of the snapshot (Unix seconds), 0 for the time at which the process begins.
    """

    source: str
    target: str
    expected: str = ""
    adopt: bool = False
    exclude: tuple[str, ...] = ()
    reserve: int = 0
    rate: int = 0
    settle: float = 5.0
    xattrs: bool = False
    now: float = 0.0
    kind: Literal["run"] = "run"


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
class VerifyRequest:
    """Order to read contents of the target and to compare them. Sizes in bytes, times in seconds.

    ``snapshot`` is the only one to verify, empty for all. ``mode``: all contents, a ``share`` (0 to 1) of
    their bytes that ``seed`` draws, or those that are due: ``budget`` bytes of them, or, where that is 0, as
    many as it takes for each byte to be read ``within`` that time by one such request ``every`` so often.
    ``heal``: what is damaged is replaced by a good copy. ``source_budget`` bytes of the source are compared
    with what was backed up. ``source`` is the folder that is, empty for that of the newest snapshot.
    """

    target: str
    source: str = ""
    expected: str = ""
    snapshot: str = ""
    mode: Literal["full", "sample", "due"] = "full"
    share: float = 1.0
    seed: int = 0
    budget: int = 0
    within: float = 30 * 86_400.0
    every: float = 86_400.0
    heal: bool = True
    source_budget: int = 0
    rate: int = 0
    kind: Literal["verify"] = "verify"


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
class SummaryRequest:
    """Order to sum up a target, without reading contents."""

    target: str
    kind: Literal["summary"] = "summary"


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
class RestoreRequest:
    """Order to restore. Sizes in bytes, ``rate`` in bytes a second (0: no limit).

    ``snapshot`` is an id, or empty for the newest of ``source``, of any source where that is empty too.
    ``destination`` is a folder that is made where the one above it exists; it may be the source itself.
    ``paths`` are those wanted, or patterns of them, none for all. ``conflicts`` is what to do with files that
    are there and differ: to write nothing at all, to restore the others, to replace them. ``trust`` takes a
    file of the same size and time for the same. ``owner`` needs root. ``reserve`` stays free. ``dry_run``
    writes nothing.
    """

    target: str
    destination: str
    snapshot: str = ""
    source: str = ""
    paths: tuple[str, ...] = ()
    conflicts: Literal["refuse", "skip", "overwrite"] = "refuse"
    trust: bool = False
    owner: bool = False
    xattrs: bool = True
    reserve: int = 0
    rate: int = 0
    dry_run: bool = False
    kind: Literal["restore"] = "restore"


@dataclass(frozen=True, slots=True)
class Named:
    """Paths with a reason each: ``count`` of them, of which ``first`` names no more than 200."""

    count: int = 0
    first: Mapping[str, str] = field(default_factory=lambda: NOTHING)


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
class DrillRequest:
    """Order to prove that a sample of a snapshot restores. Sizes in bytes, ``rate`` in bytes a second.

    ``scratch`` is a folder for nothing else: it is empty, or holds what an earlier drill has left, and is
    made where the one above it exists. ``budget`` bounds the sample, which has one file at least. ``seed``
    decides among models that were restored equally long ago.
    """

    target: str
    scratch: str
    snapshot: str = ""
    source: str = ""
    budget: int = 20 * 1024**3
    seed: int = 0
    reserve: int = 0
    rate: int = 0
    kind: Literal["drill"] = "drill"


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
    """Outcome of a drill. ``failed`` did not restore, or read otherwise then, or has an impossible header.

    ``models`` are those of the sample, 200 at most. ``oldest_at`` is when the model whose last restore was
    proven longest ago was restored (Unix seconds), None where there is one that never was: ``never`` counts
    these, of ``known`` in the snapshot. ``restored_at`` says it of each of the 200 oldest that once was.
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


@dataclass(frozen=True, slots=True)
class Failure:
    """Error that ended the work; ``type`` is the name of a class of :mod:`aiidpd.kernel.errors`."""

    type: str
    action: str
    subject: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Orders:
    """State that the daemon wants from now on. ``pause`` is why the work shall wait, empty for not."""

    cancel: bool = False
    pause: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line from the process: one of its fields is set."""

    progress: Progress | None = None
    failure: Failure | None = None
    run: RunResult | None = None
    verify: VerifyResult | None = None
    summary: SummaryResult | None = None
    restore: RestoreResult | None = None
    drill: DrillResult | None = None


Request: TypeAlias = RunRequest | VerifyRequest | SummaryRequest | RestoreRequest | DrillRequest
REQUESTS: Final[Mapping[str, type[Request]]] = {
    "run": RunRequest,
    "verify": VerifyRequest,
    "summary": SummaryRequest,
    "restore": RestoreRequest,
    "drill": DrillRequest,
}
_MOST_NAMED: Final = 200
_ERRORS: Final = {each.__name__: each for each in (Unavailable, Misconfigured, Conflict, NotFound, Invalid)}


def encode(message: Request | Orders | Line) -> bytes:
    """Return a message as a line."""
    return codec.compose(message).encode("ascii")


def decode_request(line: bytes) -> Request:
    """Read a request; raises :class:`ValueError`."""
    document = codec.parse(line.decode())
    if not isinstance(document, dict) or document.get("kind") not in REQUESTS:
        raise ValueError("it is no request")
    return codec.decoder(REQUESTS[document["kind"]])(document)


def decode_orders(line: bytes) -> Orders:
    """Read orders; raises :class:`ValueError`."""
    return _ORDERS(codec.parse(line.decode()))


def decode_line(line: bytes) -> Line:
    """Read a line of the process; raises :class:`ValueError`."""
    return _LINE(codec.parse(line.decode()))


def named(found: Mapping[str, str]) -> Named:
    """Return ``found`` bounded, for a result."""
    return Named(len(found), dict(list(found.items())[:_MOST_NAMED]))


def failure_of(error: AiidpdError) -> Failure:
    """Return ``error`` for the way to the daemon."""
    return Failure(type(error).__name__, error.action, error.subject, error.reason, error.remedy)


def error_of(failure: Failure) -> AiidpdError:
    """Return the error that ``failure`` was made of."""
    kind = _ERRORS.get(failure.type, Unavailable)
    return kind(failure.action, failure.subject, reason=failure.reason, remedy=failure.remedy)


_ORDERS: Final = codec.decoder(Orders)
_LINE: Final = codec.decoder(Line)
