"""Comparison of the source with what was backed up: content that changed though nothing was written is rot.

Reads the files alone that still look as the newest snapshot has them, those first that were not read since
longest. Nothing is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.copy import Copier
from aiidpd.components.backup.process.faults import SourceChanged, SourceUnreadable
from aiidpd.components.backup.process.manifest import FileEntry, Manifest
from aiidpd.components.backup.process.plan import Entry, Kind
from aiidpd.components.backup.process.proofs import Proofs
from aiidpd.components.backup.process.scan import entry_of
from aiidpd.components.backup.process.store import Store


@dataclass(slots=True)
class Checked:
    """Outcome of a check; ``skipped`` files are not as they were backed up, or can't be read."""

    files: int = 0
    bytes: int = 0
    skipped: int = 0


def newest(store: Store, source: str) -> Manifest | None:
    """Return the newest whole snapshot of ``source``, or of any where that is empty. Blocks."""
    for identity in reversed(store.identities()):
        manifest = store.listed(identity).manifest
        if manifest is not None and source in ("", manifest.source):
            return manifest
    return None


class SourceCheck:
    """Compares files of the source that ``manifest`` has, and notes it in ``proofs``."""

    def __init__(self, manifest: Manifest, proofs: Proofs, now: float) -> None:
        self._manifest = manifest
        self._proofs = proofs
        self._now = now
        self.found = Checked()

    def run(self, budget: int, copier: Copier, control: Control) -> Iterator[None]:
        """Compare about ``budget`` bytes; yield after each file, for the caller to save proofs. Blocks."""
        proofs, manifest = self._proofs, self._manifest
        present = {file.path for file in manifest.files}
        proofs.checked = {path: at for path, at in proofs.checked.items() if path in present}
        files = _chosen(manifest, budget, proofs)
        control.enter("checking the source", files=len(files), total=sum(file.size for file in files))
        for file in files:
            entry = _as_backed_up(Path(manifest.source), file)
            if entry is None:
                self.found.skipped += 1
            else:
                self._compare(entry, file, copier)
            control.end_file()
            yield

    def _compare(self, entry: Entry, file: FileEntry, copier: Copier) -> None:
        found, proofs = self.found, self._proofs
        try:
            sha256 = copier.digest_source(Path(self._manifest.source), entry)
        except (SourceChanged, SourceUnreadable):
            found.skipped += 1
            return
        found.files += 1
        found.bytes += entry.size
        proofs.checked[file.path] = self._now
        if sha256 == file.sha256:
            proofs.rotten.pop(file.path, None)
        else:
            proofs.rotten[file.path] = sha256


def _chosen(manifest: Manifest, budget: int, proofs: Proofs) -> list[FileEntry]:
    """Return the files to read, in order: rotten ones again, then those read longest ago."""
    files = [file for file in manifest.files if file.ctime_ns is not None and not file.retained]
    files.sort(key=lambda file: (file.path not in proofs.rotten, _read_at(file, proofs), file.path))
    chosen = []
    for file in files:
        if budget <= 0:
            break
        budget -= max(1, file.size)
        chosen.append(file)
    return chosen


def _read_at(file: FileEntry, proofs: Proofs) -> float:
    return max(file.read_at or 0.0, proofs.checked.get(file.path, 0.0))


def _as_backed_up(source: Path, file: FileEntry) -> Entry | None:
    """Return the entry for a file of the source, None where it does not look as it was backed up."""
    try:
        entry = entry_of(source, file.path)
    except OSError:
        return None
    looks = (entry.kind, entry.size, entry.mtime_ns, entry.ctime_ns)
    return entry if looks == (Kind.FILE, file.size, file.mtime_ns, file.ctime_ns) else None
