"""State of the registry over restarts (pure): facts of models, hashes, uses, revisions, free space."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeVar

from aiidpd.components.models.scanned import FileStamp, FoundSignature
from aiidpd.components.models.signatures import SignatureRecord
from aiidpd.formats.model_files import ModelFacts, Problem

NAME: Final = "models.json"
LIMIT: Final = 16 << 20
MOST_MODELS: Final = 2000
MOST_HASHES: Final = 20_000
_MOST_REVISIONS: Final = 2000
_MOST_MOUNTS: Final = 64
_MOST_PROBLEMS: Final = 100
_LARGEST: Final = 1 << 62

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class InspectedRecord:
    """Facts and problems of a model, as long as it has this fingerprint."""

    fingerprint: str
    label: str
    folder: str
    facts: ModelFacts | None
    problems: tuple[Problem, ...]
    signature: FoundSignature | None = field(default=None, metadata={"advisory": True})


@dataclass(frozen=True, slots=True)
class HashRecord:
    """Content of one file as long as it has this stamp. Empty texts are what was not read.

    ``sample`` is a digest of its beginning, middle and end; ``read_at`` when all of it was read last, in
    Unix seconds, and ``damaged`` that it was then another than it should be.
    """

    stamp: FileStamp
    sample: str = ""
    sha256: str = ""
    read_at: float | None = None
    damaged: str = ""


@dataclass(frozen=True, slots=True)
class UsedRecord:
    """Last time that a model was seen in use, in Unix seconds, and by what."""

    at: float
    by: str


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """Answer of the hub about one branch: its commit, or why that is not known. Time in Unix seconds."""

    at: float
    commit: str
    reason: str


@dataclass(frozen=True, slots=True)
class SpaceSample:
    """Free and total bytes of a file system on a ``day`` since the epoch."""

    day: int
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class ModelRecords:
    """State file; each mapping is bounded."""

    version: Literal[1] = 1
    models: Mapping[str, InspectedRecord] = field(default_factory=lambda: MappingProxyType({}))
    hashes: Mapping[str, HashRecord] = field(default_factory=lambda: MappingProxyType({}))
    used: Mapping[str, UsedRecord] = field(default_factory=lambda: MappingProxyType({}))
    revisions: Mapping[str, RevisionRecord] = field(default_factory=lambda: MappingProxyType({}))
    space: Mapping[str, tuple[SpaceSample, ...]] = field(default_factory=lambda: MappingProxyType({}))
    scanned: bool = False
    """True once a scan has ended: what appears from then on is an event."""
    signatures: Mapping[str, SignatureRecord] | None = field(default=None, metadata={"advisory": True})
    """Findings by the key of each model; None in what a version without them wrote."""

    def signature(self, key: str) -> SignatureRecord | None:
        """Return what the last verification of a signature found."""
        return (self.signatures or {}).get(key)


def bounded(records: ModelRecords, before: ModelRecords | None = None) -> ModelRecords:
    """Return ``records`` such that they can be written: what is left out is read again.

    ``before`` were bounded already: their models need not be checked again where they are the same.
    """
    same = before is not None and records.models is before.models
    models = records.models if same else _models(records.models)
    return ModelRecords(
        1,
        models,
        _newest(records.hashes, MOST_HASHES, lambda each: each.read_at or 0.0),
        _newest(records.used, MOST_MODELS, lambda each: each.at),
        _newest(records.revisions, _MOST_REVISIONS, lambda each: each.at),
        dict(list(records.space.items())[:_MOST_MOUNTS]),
        records.scanned,
        _newest(records.signatures or {}, MOST_MODELS, lambda each: each.at) or None,
    )


def _models(found: Mapping[str, InspectedRecord]) -> dict[str, InspectedRecord]:
    return {
        key: each
        for key, each in list(found.items())[:MOST_MODELS]
        if len(each.problems) <= _MOST_PROBLEMS and _writable(each.facts)
    }


def _newest(found: Mapping[str, T], most: int, at: Callable[[T], float]) -> dict[str, T]:
    if len(found) <= most:
        return dict(found)
    return dict(sorted(found.items(), key=lambda item: at(item[1]))[-most:])


def _writable(facts: ModelFacts | None) -> bool:
    """Return whether a document can hold ``facts``: a hostile header may state any number."""
    if facts is None:
        return True
    numbers: list[int | None] = [
        value for name in facts.__dataclass_fields__ if isinstance(value := getattr(facts, name), int)
    ]
    shares: Iterable[int | None] = (
        n for each in facts.types for n in (each.tensors, each.elements, each.bytes)
    )
    return all(n is None or abs(n) < _LARGEST for n in (*numbers, *facts.kv_heads_by_block, *shares))
