"""Snapshots as retention sees them, and the decision on each (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

_NOTHING: Final[Mapping[str, frozenset[str]]] = MappingProxyType({})


class Rule(StrEnum):
    """Rules that keep a snapshot, or have it go. A firm one holds against ``max_size`` too."""

    NEWEST = "newest"
    NEWEST_PROVEN = "newest_proven"
    PINNED = "pinned"
    PROTECTED = "protected"
    COPY_OF_FILES = "copy_of_files"
    COPY_OF_MODEL = "copy_of_model"
    ONLY_HOLDER = "only_holder"
    UNREADABLE = "unreadable"
    WRONG_TIME = "wrong_time"

    LAST = "last"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    NO_NUMBERS = "no_numbers"

    OUTDATED = "outdated"
    BROKEN = "broken"
    MAX_SIZE = "max_size"


SOFT: Final = frozenset({Rule.LAST, Rule.DAILY, Rule.WEEKLY, Rule.MONTHLY, Rule.NO_NUMBERS})
"""Rules that keep a snapshot while ``max_size`` allows it."""
PRUNES: Final = frozenset({Rule.OUTDATED, Rule.BROKEN, Rule.MAX_SIZE})
"""Rules for which a snapshot goes."""
FIRM: Final = frozenset(Rule) - SOFT - PRUNES
"""Rules that keep a snapshot whatever the size."""


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """One snapshot on the target, as far as retention is concerned. Times in Unix seconds, sizes in bytes."""

    id: str
    created_at: float
    contents: Mapping[str, int] | None
    """Size of each object, by its digest. None where that is not known: then it never goes by itself."""
    models: Mapping[str, frozenset[str]] = field(default_factory=lambda: _NOTHING)
    """Digests of each model's files, by its name. One of which a file was left out names a digest that
    ``contents`` lacks, or is not there: it is no whole copy."""
    source: str = ""
    """Folder that it is a copy of. The numbers count for each."""
    pinned: bool = False
    broken: bool = False
    """It can't be relied on."""
    in_future: bool = False
    """Its time has not come yet."""
    proven: bool = False
    """Each of its objects was read back or scrubbed, and was right."""


@dataclass(frozen=True, slots=True)
class SourceContents:
    """Contents of a source now: digests of its files, names of its models.

    A file that rotted, or that can't be read, counts with the digest that it should have.
    """

    digests: frozenset[str]
    models: frozenset[str]


@dataclass(frozen=True, slots=True)
class Reason:
    """A rule that holds for a snapshot, and the same in words."""

    rule: Rule
    words: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Decision on one snapshot, with each reason for it."""

    id: str
    created_at: float
    reasons: tuple[Reason, ...]
    freed_bytes: int = 0
    """Bytes that no snapshot is known to hold any more once this one and those removed before it are gone."""

    @property
    def kept(self) -> bool:
        """Return whether the snapshot stays."""
        return not any(reason.rule in PRUNES for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class Retention:
    """Decision on every snapshot, oldest first. Sizes in bytes, each object counted once."""

    decisions: tuple[Decision, ...]
    removals: tuple[str, ...]
    """Snapshots that go, in the order in which they are to be removed."""
    bytes_before: int
    bytes_after: int
    excess_bytes: int = 0
    """Bytes above ``max_size`` that can't be freed."""
    excess: str = ""
    """Words for them; empty where the bound is met."""
    unknown_pins: tuple[str, ...] = ()
    """Pins of the settings that name no snapshot."""


def age(snapshot: StoredSnapshot) -> tuple[float, str]:
    """Return what sorts snapshots, oldest first."""
    return snapshot.created_at if math.isfinite(snapshot.created_at) else -math.inf, snapshot.id
