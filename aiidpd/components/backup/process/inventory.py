"""Snapshots of a target as retention sees them, from their lists and from what was read back."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.manifest import (
    FILES,
    MANIFEST,
    SUMS,
    FileEntry,
    Manifest,
    load_manifest,
    load_sums,
)
from aiidpd.components.backup.process.models import REST, home_of, homes_of, parents
from aiidpd.components.backup.process.proofs import Proofs, unit_key
from aiidpd.components.backup.process.source_contents import SourceListing
from aiidpd.components.backup.process.store import STAMP, Listed, Store, is_identity
from aiidpd.components.backup.retention.snapshots import StoredSnapshot

_AHEAD: Final = 60.0  # seconds that a snapshot may be ahead of the clock
_SAMPLE: Final = 100  # files of a snapshot that show whether it shares them

_Models = Mapping[str, frozenset[str]]


@dataclass(slots=True)
class Inventory:
    """Snapshots, the newest first. ``named`` maps each to the contents that its lists name, as they stand.

    ``shared`` is False on a target on which each snapshot has files of its own.
    """

    snapshots: list[StoredSnapshot] = field(default_factory=list)
    named: dict[str, AbstractSet[str]] = field(default_factory=dict)
    shared: bool = False

    @property
    def models(self) -> set[str]:
        """Names of all models."""
        return {name for each in self.snapshots for name in each.models}


class InventoryReader:
    """Reads a target; equal texts and equal contents of snapshots are held once. ``now`` in Unix seconds."""

    def __init__(self, store: Store, proofs: Proofs, control: Control, now: float) -> None:
        self._store = store
        self._proofs = proofs
        self._control = control
        self._now = now
        self._suspects = {key.partition(" ")[0] for key in proofs.damaged}
        self._intact: set[str] = set()
        self._damaged: dict[str, set[str]] = {}
        self._lacking: dict[str, dict[str, list[str]]] = {}
        self._paths: set[str] = set()
        self._folders: set[str] | None = None
        self._contents: Mapping[str, int] = {}
        self._models: _Models = {}

    def read(self, source: str, listing: SourceListing | None) -> Inventory:
        """Read every snapshot; compare ``listing`` with those of ``source``. Blocks."""
        identities = self._store.identities()
        self._control.enter("reading the lists", files=len(identities))
        found = Inventory(shared=bool(self._store.stored()))
        for identity in reversed(identities):
            self._control.start_file(identity)
            listed = self._store.listed(identity)
            if listed.manifest is None:
                self._read_broken(listed, found)
            else:
                self._read_whole(listed.manifest, found)
                if listing is not None and listed.manifest.source == source:
                    listing.compare(listed.manifest)
            del listed  # a list of many files is large: no two are held at once
            self._control.end_file()
        found.snapshots = [self._corrected(each) for each in found.snapshots]
        return found

    def _read_whole(self, manifest: Manifest, found: Inventory) -> None:
        identity = manifest.snapshot
        contents: dict[str, int] = {}
        for file in manifest.files:
            self._paths.add(sys.intern(file.path))
            contents[sys.intern(file.sha256)] = file.size
        self._contents = self._contents if self._contents == contents else contents
        if not found.snapshots:
            found.shared = found.shared or self._has_links(manifest)
        self._find_damage(manifest)
        found.snapshots.append(
            StoredSnapshot(
                identity,
                manifest.created_at,
                self._contents,
                self._group(manifest),
                manifest.source,
                in_future=manifest.created_at > self._now + _AHEAD,
                proven=identity not in self._damaged and self._is_proven(manifest),
            )
        )
        found.named[identity] = self._contents.keys()

    def _has_links(self, manifest: Manifest) -> bool:
        """Return whether files of a snapshot have other names, as those from before there were objects."""
        for file in manifest.files[:_SAMPLE]:
            with contextlib.suppress(OSError):
                if os.lstat(self._place(manifest, file)).st_nlink > 1:
                    return True
        return False

    def _group(self, manifest: Manifest) -> _Models:
        """Return the digests of each model; note what was left out of one."""
        homes = homes_of(manifest.files)
        groups: dict[str, set[str]] = {}
        for file in manifest.files:
            home = home_of(file.path, homes)
            if home != REST:
                groups.setdefault(home, set()).add(sys.intern(file.sha256))
        for path in manifest.left_out:
            home = home_of(path, homes)
            if home != REST:
                self._lacking.setdefault(manifest.snapshot, {}).setdefault(home, []).append(path)
        before = self._models
        sets = ((name, frozenset(digests)) for name, digests in groups.items())
        self._models = {
            sys.intern(name): before[name] if before.get(name) == digests else digests
            for name, digests in sets
        }
        return self._models

    def _is_proven(self, manifest: Manifest) -> bool:
        proven = self._proofs.proven
        return bool(manifest.files) and all(
            file.sha256 in proven or unit_key(file.sha256, f"{manifest.snapshot}/{file.path}") in proven
            for file in manifest.files
        )

    def _find_damage(self, manifest: Manifest) -> None:
        """Note the contents of which this snapshot has no copy that may be right."""
        if not self._suspects:
            return
        suspects = [file for file in manifest.files if file.sha256 in self._suspects]
        intact = {file.sha256 for file in suspects if self._is_intact(manifest, file)}
        self._intact |= intact
        damaged = {file.sha256 for file in suspects} - intact
        if damaged:
            self._damaged[manifest.snapshot] = damaged

    def _is_intact(self, manifest: Manifest, file: FileEntry) -> bool:
        damaged = self._proofs.damaged
        if unit_key(file.sha256, f"{manifest.snapshot}/{file.path}") in damaged:
            return False
        try:
            status = os.lstat(self._place(manifest, file))
            if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
                return False
            if file.sha256 not in damaged:
                return True
            return not os.path.samestat(status, os.lstat(self._store.object_path(file.sha256)))
        except OSError:
            return False

    def _place(self, manifest: Manifest, file: FileEntry) -> str:
        return f"{self._store.snapshots}/{manifest.snapshot}/{FILES}/{file.path}"

    def _read_broken(self, listed: Listed, found: Inventory) -> None:
        """Add a broken snapshot; its contents are known where its lists prove each other."""
        folder = self._store.snapshots / listed.id
        manifest = None
        sums: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError):
            sums = load_sums((folder / SUMS).read_bytes())
        with contextlib.suppress(OSError, ValueError):
            written = (folder / MANIFEST).read_bytes()
            if is_identity(listed.id) and sums.get(MANIFEST) == hashlib.sha256(written).hexdigest():
                manifest = load_manifest(written)
        if manifest is None or manifest.snapshot != listed.id:
            contents, source, created_at = None, "", _created_at(listed.id)
        else:
            contents = {sys.intern(file.sha256): file.size for file in manifest.files}
            source, created_at = manifest.source, manifest.created_at
        found.snapshots.append(StoredSnapshot(listed.id, created_at, contents, source=source, broken=True))
        found.named[listed.id] = {sys.intern(digest) for digest in sums.values()} | (contents or {}).keys()

    def _corrected(self, snapshot: StoredSnapshot) -> StoredSnapshot:
        """Return ``snapshot`` without what is damaged in it and whole in another, and what it lacks noted."""
        worse = self._damaged.get(snapshot.id, set()) & self._intact
        if worse:
            contents = {key: size for key, size in (snapshot.contents or {}).items() if key not in worse}
            snapshot = replace(snapshot, contents=contents)
        lacking = {
            home: paths
            for home, left_out in self._lacking.get(snapshot.id, {}).items()
            if (paths := [path for path in left_out if self._was_file(path)])
        }
        if lacking:
            models = {
                name: digests | {f"left out: {path}" for path in lacking.get(name, ())}
                for name, digests in snapshot.models.items()
            }
            snapshot = replace(snapshot, models=models)
        return snapshot

    def _was_file(self, path: str) -> bool:
        """Return whether a snapshot has ``path`` as a file, or as a folder of files."""
        if self._folders is None:
            self._folders = {folder for each in self._paths for folder in parents(each)}
        return path in self._paths or path in self._folders


def _created_at(identity: str) -> float:
    """Return the time that the name of a snapshot says (Unix seconds), 0 for none."""
    try:
        return datetime.strptime(identity, STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
