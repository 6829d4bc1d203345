"""Verification: reads files of models whole and compares them with the hashes that they must have."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from aiidpd.components.models.backed_up import copy_of
from aiidpd.components.models.reading import FileChanged, read_through
from aiidpd.components.models.record import HashRecord
from aiidpd.components.models.registry import Known, hash_record
from aiidpd.components.models.scanned import ScannedFile
from aiidpd.formats.model_files import Algorithm, Hasher, Proof

_SHORT: Final = 12


class VerifyCancelled(Exception):
    """End of a verification that nobody waits for any more."""


@dataclass(slots=True)
class VerifyControl:
    """Link to the thread. ``records`` are of files that were read, until they are taken."""

    cancelled: bool = False
    steps: int = 0
    at: str = ""
    bytes_done: int = 0
    files_done: int = 0
    records: dict[str, HashRecord] = field(default_factory=dict)

    def step(self, count: int) -> None:
        """Show that ``count`` bytes more were read; raise where nobody wants them any more."""
        if self.cancelled:
            raise VerifyCancelled
        self.steps += 1
        self.bytes_done += count

    def take(self) -> dict[str, HashRecord]:
        """Return the records that are new since the last call."""
        taken, self.records = self.records, {}
        return taken


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to read, the hash that it must have with who says so, and what is known of its content."""

    file: ScannedFile
    expected: Proof | None
    whose: str
    before: HashRecord


@dataclass(frozen=True, slots=True)
class Verified:
    """Outcome: paths of files that were right, whose hash was not known before, damaged, or not read."""

    right: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    damaged: tuple[tuple[str, str], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()


def wanted_of(known: Known, file: ScannedFile) -> Wanted:
    """Return ``file`` with all that its verification needs."""
    return Wanted(file, *expected_of(known, file), hash_record(known.records, file) or HashRecord(file.stamp))


def expected_of(known: Known, file: ScannedFile) -> tuple[Proof | None, str]:
    """Return the hash that ``file`` must have and who says so; None where nobody does."""
    if file.proof is not None:
        return file.proof, "the cache"
    if known.catalog is not None and (copy := copy_of(file, known.catalog, known.source)):
        return Proof(Algorithm.SHA256, copy.sha256), "the backup"
    record = hash_record(known.records, file)
    if record is not None and record.sha256:
        return Proof(Algorithm.SHA256, record.sha256), "an earlier reading"
    return None, ""


def verify(wanted: Sequence[Wanted], control: VerifyControl, time: Callable[[], float]) -> Verified:
    """Read the files one after the other and compare them. Blocks."""
    right, new, damaged, skipped = [], [], [], []
    for each in wanted:
        file, expected, whose, before = each.file, each.expected, each.whose, each.before
        control.at = file.path
        content = hashlib.sha256()
        hashers: tuple[Hasher, ...] = (content,)
        if expected is not None and expected.algorithm is Algorithm.GIT_SHA1:
            hashers = (content, expected.hasher(file.stamp.size_bytes))
        try:
            read_through(file.path, file.stamp, hashers, control.step)
        except FileChanged:
            skipped.append((file.path, "it changed since the last scan"))
            continue
        except FileNotFoundError:
            skipped.append((file.path, "it is gone since the last scan"))
            continue
        except OSError as error:
            reason = f"it can't be read whole: {(error.strerror or 'error').lower()}"
            damaged.append((file.path, reason))
            control.records[file.path] = replace(before, read_at=time(), damaged=reason)
            continue
        found = hashers[-1].hexdigest()
        record = HashRecord(file.stamp, before.sample, content.hexdigest(), time())
        if expected is None:
            new.append(file.path)
        elif found == expected.hex:
            right.append(file.path)
        else:
            reason = f"its hash begins with {found[:_SHORT]}, by {whose} with {expected.hex[:_SHORT]}"
            damaged.append((file.path, reason))
            # A hash that only an earlier reading knows stays: the next reading must find the same again.
            kept = before.sha256 if whose == "an earlier reading" else record.sha256
            record = replace(record, sha256=kept, damaged=reason)
        control.records[file.path] = record
        control.files_done += 1
    return Verified(tuple(right), tuple(new), tuple(damaged), tuple(skipped))
