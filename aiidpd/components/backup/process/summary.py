"""Summary of a target for those who watch it: reads no content, and no list that it has read before."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from aiidpd.components.backup.process import marker, pins, summary_cache
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.faults import target_fault
from aiidpd.components.backup.process.findings import first, short
from aiidpd.components.backup.process.manifest import FILES, MANIFEST, Manifest
from aiidpd.components.backup.process.proofs import Proofs, read_proofs, unit_key
from aiidpd.components.backup.process.requests import SummaryRequest
from aiidpd.components.backup.process.results import SnapshotSummary, SummaryResult
from aiidpd.components.backup.process.store import Store
from aiidpd.components.backup.process.summary_cache import Known
from aiidpd.components.backup.process.units import walk

_MOST_LEFT_OUT: Final = 20  # named of each snapshot


def summarize(request: SummaryRequest, control: Control) -> SummaryResult:
    """Return the summary; raises :class:`Unavailable` and :class:`Cancelled`. Blocks."""
    store = Store(Path(request.target))
    try:
        store.check()
        return _Summary(store, control).make()
    except OSError as error:
        raise target_fault(str(error.filename or store.target), error) from error


class _Summary:
    def __init__(self, store: Store, control: Control) -> None:
        self._store = store
        self._control = control
        self._cache = summary_cache.load(store.target)
        self._problems: list[str] = []

    def make(self) -> SummaryResult:
        store, control, cache = self._store, self._control, self._cache
        control.enter("listing")
        identity = self._identity()
        pinned = self._pinned()
        proofs, fault = read_proofs(store.target)
        if fault:
            self._problems.append(short(fault))
        identities = store.identities()
        known, broken = self._known(identities)
        times = [proofs.proven.get(key) for key in cache.keys]
        snapshots = tuple(
            self._snapshot(each, known[each], times, proofs, pinned.get(each, ""))
            if each in known
            else SnapshotSummary(short(each), broken[each])
            for each in identities
        )
        used = {index for each in known.values() for index in each.contents}
        proven = [at for index in used if (at := times[index]) is not None]
        status = os.statvfs(store.target)
        return SummaryResult(
            identity,
            snapshots,
            sum(each.bytes for each in snapshots),
            len(used),
            sum(cache.sizes[index] for index in used),
            min(proven, default=None),
            sum(cache.sizes[index] for index in used if times[index] is None),
            len(proofs.damaged),
            first(proofs.rotten),
            len(proofs.rotten),
            status.f_bavail * status.f_frsize,
            status.f_blocks * status.f_frsize,
            tuple(self._problems),
        )

    def _identity(self) -> str:
        try:
            return marker.load_marker((self._store.target / marker.MARKER).read_bytes()).id
        except FileNotFoundError:
            return ""
        except ValueError as error:
            self._problems.append(short(str(error)))
            return ""

    def _pinned(self) -> dict[str, str]:
        try:
            return pins.read(self._store.target)
        except ValueError as error:
            self._problems.append(short(str(error)))
            return {}

    def _snapshot(
        self, snapshot: str, known: Known, times: list[float | None], proofs: Proofs, pinned: str
    ) -> SnapshotSummary:
        sizes, keys = self._cache.sizes, self._cache.keys
        proven = [at for index in known.contents if (at := times[index]) is not None]
        damaged = sum(keys[index] in proofs.damaged for index in known.contents) if proofs.damaged else 0
        return SnapshotSummary(
            id=snapshot,
            oldest_proof=min(proven, default=None),
            never_proven_bytes=sum(sizes[index] for index in known.contents if times[index] is None),
            damaged=damaged,
            pinned=short(pinned),
            confirmed_at=proofs.confirmed.get(snapshot),
            **known.facts,
        )

    # What the lists say

    def _known(self, identities: list[str]) -> tuple[dict[str, Known], dict[str, str]]:
        """Return the facts of each snapshot, and why there are none of the others."""
        cache, broken = self._cache, {}
        before = set(cache.snapshots)
        for gone in before - set(identities):
            del cache.snapshots[gone]
        changed = bool(before - set(identities))
        for identity in identities:
            self._control.step()
            stat = self._stat(identity)
            found = cache.snapshots.get(identity)
            if found is not None and found.stat == stat:
                continue
            cache.snapshots.pop(identity, None)
            changed = True
            listed = self._store.listed(identity)
            if listed.manifest is None or stat is None:
                broken[identity] = short(listed.broken)
            else:
                cache.snapshots[identity] = self._derive(listed.manifest, stat)
        if changed:
            cache.compact()
            summary_cache.save(self._store.target, cache)
        return cache.snapshots, broken

    def _stat(self, identity: str) -> tuple[int, int, int] | None:
        try:
            status = os.lstat(self._store.snapshots / identity / MANIFEST)
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _derive(self, manifest: Manifest, stat: tuple[int, int, int]) -> Known:
        inodes = self._inodes(manifest.snapshot)
        contents = dict.fromkeys(
            self._index(manifest.snapshot, file.path, file.sha256, file.size, inodes)
            for file in manifest.files
        )
        left_out = manifest.left_out
        facts = {
            "created_at": manifest.created_at,
            "source": short(manifest.source),
            "files": len(manifest.files),
            "bytes": manifest.bytes,
            "copied_files": manifest.copied_files,
            "copied_bytes": manifest.copied_bytes,
            "left_out": first(left_out, _MOST_LEFT_OUT),
            "left_out_total": len(left_out),
        }
        return Known(stat, facts, summary_cache.indices(contents))

    def _index(self, snapshot: str, path: str, sha256: str, size: int, inodes: Mapping[str, int]) -> int:
        """Return the index of a file's content: that of the object, or its own where it is none."""
        cache = self._cache
        inode = inodes.get(path, 0)
        if inode == self._objects.get(sha256):
            return cache.add(sha256, size)
        index = cache.inodes.get(inode)
        if index is None or cache.keys[index].partition(" ")[0] != sha256:
            index = cache.add(unit_key(sha256, f"{snapshot}/{path}"), size)
            cache.inodes[inode] = index
        return index

    def _inodes(self, snapshot: str) -> dict[str, int]:
        root = self._store.snapshots / snapshot / FILES
        return {path: item.inode() for path, item in walk(root, self._control.step)}

    @cached_property
    def _objects(self) -> dict[str, int]:
        return {item.name: item.inode() for _, item in walk(self._store.objects, self._control.step)}
