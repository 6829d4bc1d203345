"""Requests to the backup process: a process serves one (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from aiidpd.components.backup.retention.policy import Policy


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
class SummaryRequest:
    """Order to sum up a target, without reading contents."""

    target: str
    kind: Literal["summary"] = "summary"


@dataclass(frozen=True, slots=True)
class CatalogRequest:
    """Order to list the large files of a snapshot."""

    target: str
    snapshot: str
    kind: Literal["catalog"] = "catalog"


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
class PruneRequest:
    """Order to remove the snapshots that ``policy`` does not keep, and contents that no other has.

    ``source`` is the folder that is backed up: of what it has now the last copy stays; empty or not readable:
    all that snapshots of it hold counts as there. ``dry_run`` writes nothing, and needs no lock.
    """

    target: str
    source: str = ""
    expected: str = ""
    policy: Policy = field(default_factory=Policy)
    dry_run: bool = False
    kind: Literal["prune"] = "prune"


@dataclass(frozen=True, slots=True)
class PinRequest:
    """Order to pin a snapshot for ``reason``, or with none to unpin it."""

    target: str
    snapshot: str
    reason: str = ""
    expected: str = ""
    kind: Literal["pin"] = "pin"
