"""State of a model's backup, by the catalog of the newest whole snapshot (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from aiidpd.components.models.scanned import ScannedFile, ScannedModel
from aiidpd.contracts.backups import CATALOG_FROM_BYTES, BackupCatalog, CatalogFile


class BackupState(StrEnum):
    """State of a model's backup."""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Backup:
    """Backup of a model: ``at`` (Unix seconds) is when the source was last seen to be as it is."""

    state: BackupState
    at: float | None = None
    snapshot: str = ""
    reason: str = ""


def backup_of(model: ScannedModel, catalog: BackupCatalog | None, source: str) -> Backup:
    """Return the backup of ``model``; ``source`` is the catalog's, links resolved.

    A file counts where size and time are those of the snapshot; small files are not in a catalog, and
    don't count.
    """
    if catalog is None:
        return Backup(BackupState.UNKNOWN, reason="no whole snapshot is known")
    big = [file for file in model.files if file.stamp.size_bytes >= CATALOG_FROM_BYTES]
    if not big:
        return Backup(
            BackupState.UNKNOWN, reason="it has no file of 1 MiB or more, and others are not listed"
        )
    good = sum(copy_of(file, catalog, source) is not None for file in big)
    if good == len(big):
        return Backup(BackupState.YES, catalog.current_at, catalog.snapshot)
    if good:
        reason = f"{len(big) - good} of {len(big)} big files are not in it, or have changed since"
        return Backup(BackupState.PARTLY, snapshot=catalog.snapshot, reason=reason)
    inside = any(_below(file.path, source, catalog.source) for file in big)
    reason = "it has changed since, or is new" if inside else f"it does not lie in {catalog.source}"
    return Backup(BackupState.NO, snapshot=catalog.snapshot, reason=reason)


def copy_of(file: ScannedFile, catalog: BackupCatalog, source: str) -> CatalogFile | None:
    """Return the file of the snapshot that is a copy of ``file`` as it is now, None where none is."""
    path = _below(file.path, source, catalog.source)
    found = catalog.files.get(path) if path else None
    if found is None:
        return None
    same = found.size_bytes == file.stamp.size_bytes and found.mtime_ms == file.stamp.mtime_ns // 1_000_000
    return found if same else None


def _below(path: str, *sources: str) -> str:
    """Return ``path`` from one of ``sources``, or an empty text where it lies in none."""
    for source in sources:
        if source and PurePosixPath(path).is_relative_to(source):
            return str(PurePosixPath(path).relative_to(source))
    return ""
