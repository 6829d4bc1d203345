"""Records of the repositories (pure): what was sent, what was read back and when, what failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from aiidpd.components.backup.offsite.result import Checked, Failure, Sent


@dataclass(frozen=True, slots=True)
class RepositoryRecord:
    """One repository, as of its last run. Times in Unix seconds, 0 for never; sizes in bytes."""

    name: str
    place: str
    """Engine and address; another one is another repository, of which nothing is known."""
    added_at: float
    snapshot: str = ""
    """Local snapshot that was sent last, whole."""
    stored_as: str = ""
    """Id of that in the repository."""
    succeeded_at: float = 0.0
    """Last time that a snapshot had been sent, whole."""
    seconds: float = 0.0
    """Duration of that."""
    new_bytes: int = 0
    bytes: int = 0
    files: int = 0
    failed_at: float = 0.0
    failures: int = 0
    """Failed runs since the last success."""
    failure: str = ""
    error: str = ""
    verified_at: float = 0.0
    """Last time that a verification found all well."""
    verified_read: int = 0
    verified_total: int = 0
    verified_unit: str = ""
    verified_seconds: float = 0.0
    parts_read_at: tuple[float, ...] = ()
    """Time at which each part was last read back and found well."""
    damage: str = ""
    damaged_part: int = 0
    damaged_of: int = 0
    """Part in which it was found, of that many."""
    damaged_at: float = 0.0

    @property
    def covered_at(self) -> float:
        """Time since which every part has been read back, 0 where one never was."""
        return min(self.parts_read_at, default=0.0)

    @property
    def rate(self) -> float | None:
        """Bytes a second of the last upload, by what was new; None where there was none."""
        return self.new_bytes / self.seconds if self.new_bytes and self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class OffsiteState:
    """Document of offsite.json."""

    version: Literal[1] = 1
    repositories: tuple[RepositoryRecord, ...] = ()


def records_of(
    state: OffsiteState | None, wanted: Iterable[tuple[str, str]], now: float
) -> dict[str, RepositoryRecord]:
    """Return a record for each name and place that is ``wanted``; those of other places are forgotten."""
    known = {(each.name, each.place): each for each in state.repositories} if state else {}
    return {
        name: known.get((name, place)) or RepositoryRecord(name, place, added_at=now)
        for name, place in wanted
    }


def next_part(record: RepositoryRecord, parts: int) -> int:
    """Return the part of ``parts``, from 1, that is to be read next: a damaged one, else the oldest."""
    if record.damage and record.damaged_of == parts:
        return record.damaged_part
    times = _times(record, parts)
    return times.index(min(times)) + 1


def sent(
    record: RepositoryRecord, local: str, result: Sent, *, now: float, seconds: float
) -> RepositoryRecord:
    """Return ``record`` after the upload of the snapshot ``local``."""
    return replace(
        record,
        snapshot=local,
        stored_as=result.snapshot,
        succeeded_at=now,
        seconds=seconds,
        new_bytes=result.new_bytes,
        bytes=result.bytes,
        files=result.files,
    )


def checked(
    record: RepositoryRecord, result: Checked, part: int, parts: int, *, now: float, seconds: float
) -> RepositoryRecord:
    """Return ``record`` after the ``part`` of ``parts`` was read; 1 of 1 is all of it.

    Damage lasts until the part in which it was found, or all, is read and found well.
    """
    if result.damage:
        found = result.damage
        return replace(record, damage=found, damaged_part=part, damaged_of=parts, damaged_at=now)
    times = _times(record, parts)
    times[part - 1] = now
    if parts == 1 and record.parts_read_at:  # by hand: of whatever number of parts it is all
        times = [now] * len(record.parts_read_at)
    found_there = (record.damaged_part, record.damaged_of) == (part, parts)
    ended = not record.damage or parts == 1 or found_there
    return replace(
        record,
        verified_at=now,
        verified_read=result.read,
        verified_total=result.total,
        verified_unit=result.unit,
        verified_seconds=seconds,
        parts_read_at=tuple(times),
        damage="" if ended else record.damage,
        damaged_part=0 if ended else record.damaged_part,
        damaged_of=0 if ended else record.damaged_of,
        damaged_at=0.0 if ended else record.damaged_at,
    )


def failed(record: RepositoryRecord, failure: Failure | None, error: str, *, now: float) -> RepositoryRecord:
    """Return ``record`` after a run that failed with ``error``."""
    return replace(
        record,
        failed_at=now,
        failures=record.failures + 1,
        failure="" if failure is None else failure.value,
        error=error,
    )


def well(record: RepositoryRecord) -> RepositoryRecord:
    """Return ``record`` after a run that did all that it should."""
    return replace(record, failed_at=0.0, failures=0, failure="", error="")


def _times(record: RepositoryRecord, parts: int) -> list[float]:
    """Return when each of ``parts`` was read; of another number of parts nothing is known but the oldest."""
    if len(record.parts_read_at) == parts:
        return [*record.parts_read_at]
    return [record.covered_at] * parts
