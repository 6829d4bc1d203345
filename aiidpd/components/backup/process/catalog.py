"""Catalog of a snapshot: its large files, as their sources were when they were copied."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.requests import CatalogRequest
from aiidpd.components.backup.process.results import CatalogResult, Listed
from aiidpd.components.backup.process.store import Store
from aiidpd.contracts.backups import CATALOG_FROM_BYTES
from aiidpd.kernel.errors import NotFound

_MOST: Final = 20_000  # files, the largest
_MILLISECOND: Final = 1_000_000  # nanoseconds


def catalog(request: CatalogRequest, control: Control) -> CatalogResult:
    """Return the catalog; raises :class:`NotFound` where there is no such whole snapshot. Blocks."""
    control.enter("listing")
    listed = Store(Path(request.target)).listed(request.snapshot)
    if listed.manifest is None:
        raise NotFound("list", f"snapshot {request.snapshot}", reason=listed.broken)
    large = [file for file in listed.manifest.files if file.size >= CATALOG_FROM_BYTES]
    large.sort(key=lambda file: (-file.size, file.path))
    files = tuple(
        Listed(file.path, file.size, file.mtime_ns // _MILLISECOND, file.sha256) for file in large[:_MOST]
    )
    return CatalogResult(request.snapshot, files)
