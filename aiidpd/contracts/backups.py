"""Views of backups: the one that runs now, and the newest whole one (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from aiidpd.kernel.views import View

CATALOG_FROM_BYTES: Final = 2**20
"""Smallest file that a catalog names."""


@dataclass(frozen=True, slots=True)
class BackupActivity:
    """Folder that a backup reads now; an empty text while none runs."""

    source: str = ""


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """One file of a snapshot, as its source was when it was copied."""

    size_bytes: int
    mtime_ms: int
    """Modification time of the source, in whole milliseconds since the epoch."""
    sha256: str


@dataclass(frozen=True, slots=True)
class BackupCatalog:
    """Newest whole snapshot of ``source`` on ``target``. Times in Unix seconds."""

    source: str
    target: str
    snapshot: str
    created_at: float
    current_at: float
    """Time at which the source was last seen to be as this snapshot has it."""
    files: Mapping[str, CatalogFile] = field(default_factory=lambda: MappingProxyType({}))
    """Files of at least :data:`CATALOG_FROM_BYTES`, by their paths from the source."""


BACKUP: Final[View[BackupActivity]] = View("backup")
BACKUPS: Final[View[BackupCatalog]] = View("backups")
