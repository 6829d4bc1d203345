"""Prune of a target: snapshots that retention does not keep go, then contents that no other one has.

Killed at any moment it leaves each snapshot whole or gone: one goes by a rename, and a content only after
every snapshot that names it. The next prune removes the rest.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Final

from aiidpd.components.backup.localzone import LocalZone
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.faults import target_fault
from aiidpd.components.backup.process.inventory import Inventory, InventoryReader
from aiidpd.components.backup.process.manifest import FILES
from aiidpd.components.backup.process.pinning import marked, read_pins
from aiidpd.components.backup.process.proofs import Proofs, read_proofs, write_proofs
from aiidpd.components.backup.process.requests import PruneRequest
from aiidpd.components.backup.process.results import PruneDecision, PruneResult
from aiidpd.components.backup.process.source_contents import list_source
from aiidpd.components.backup.process.store import PARTIAL, QUARANTINE, Store
from aiidpd.components.backup.retention.decide import decide
from aiidpd.components.backup.retention.snapshots import Retention

_STALE: Final = 30 * 86_400.0  # seconds
_MOST: Final = 1000  # decisions in a result
_MOST_PINS: Final = 200
_PINNED: Final = "pinned"


@dataclass(slots=True)
class _Freed:
    """Files that were removed, or would be, and their bytes."""

    files: int = 0
    bytes: int = 0

    def add(self, sizes: Iterable[int]) -> None:
        for size in sizes:
            self.files += 1
            self.bytes += size


class Prune:
    """A prune by ``request``; ``now`` in Unix seconds, days are those of ``zone``."""

    def __init__(
        self, request: PruneRequest, control: Control, now: float | None = None, zone: tzinfo | None = None
    ) -> None:
        self._request = request
        self._control = control
        self._now = time.time() if now is None else now
        self._zone = zone or LocalZone()
        self.store = Store(Path(request.target))

    def execute(self) -> PruneResult:
        """Remove what is not kept; return each decision with its reasons, and what is free now.

        Raises :class:`Conflict` (the target is in use), :class:`Unavailable` and :class:`Cancelled`; then
        some may be gone, and the next prune continues.
        """
        store = self.store
        try:
            store.check()
            target = marked(store, self._request.expected, "prune")
            if self._request.dry_run or not store.identities():
                return self._prune(target, write=False)
            with store.locked(self._control):
                store.prepare()
                store.clean(self._control)
                return self._prune(target, write=True)
        except OSError as error:
            raise target_fault(str(error.filename or store.target), error) from error

    def _prune(self, target: str, *, write: bool) -> PruneResult:
        request, control = self._request, self._control
        control.enter("listing")
        pins = read_pins(self.store.target)
        proofs, fault = read_proofs(self.store.target)
        source = str(Path(request.source)) if request.source else ""
        listing, source_unknown = list_source(source, control.step)
        found = InventoryReader(self.store, proofs, control, self._now).read(source, listing)
        sources = {} if listing is None else {source: listing.contents(found.models)}
        del listing
        retention = decide(
            found.snapshots,
            request.policy,
            zone=self._zone,
            sources=sources,
            protected={identity: reason or _PINNED for identity, reason in pins.items()},
            shared=found.shared,
        )
        if write:
            freed = self._remove(retention, found, None if fault else proofs)
        else:
            freed = _expected(retention, found)
        stale = self._stale(write=write)
        known = {each.id for each in found.snapshots}
        unknown = sorted({*retention.unknown_pins, *(pins.keys() - known)})
        return PruneResult(
            target,
            request.dry_run,
            len(retention.decisions),
            _decisions(retention),
            retention.removals[:_MOST],
            len(retention.removals),
            retention.bytes_before,
            retention.bytes_after,
            freed.files,
            freed.bytes,
            stale.files,
            stale.bytes,
            retention.excess_bytes,
            retention.excess,
            tuple(unknown[:_MOST_PINS]),
            source_unknown,
            found.shared,
            (fault,) if fault else (),
        )

    def _remove(self, retention: Retention, found: Inventory, proofs: Proofs | None) -> _Freed:
        """Remove snapshots in their order, then contents that those left neither link nor name."""
        store, control = self.store, self._control
        freed = _Freed()
        own = not store.stored()  # else a snapshot's own file is a clone of an object, and frees nothing
        control.enter("pruning", files=len(retention.removals))
        for identity in retention.removals:
            control.start_file(identity)
            if own:
                freed.add(_own_files(store.snapshots / identity / FILES, control))
            store.remove(identity, control)
            del found.named[identity]
            control.end_file()
        named = frozenset().union(*found.named.values())
        gone = store.unneeded(named, control)
        if proofs is not None:
            self._forget(proofs, gone.keys(), set(retention.removals))
        control.enter("removing contents", files=len(gone), total=sum(gone.values()))
        for sha256, size in gone.items():
            store.object_path(sha256).unlink()
            freed.add((size,))
            control.step(size)
            control.end_file()
        return freed

    def _forget(self, proofs: Proofs, gone: Iterable[str], removed: set[str]) -> None:
        """Forget what was known about contents before they go: they may come again, and be other bytes."""
        lost = set(gone)

        def is_gone(key: str) -> bool:
            sha256, _, place = key.partition(" ")
            return place.partition("/")[0] in removed if place else sha256 in lost

        counts = len(proofs.proven), len(proofs.damaged), len(proofs.confirmed)
        stored = self.store.stored()
        proofs.proven = {
            key: at for key, at in proofs.proven.items() if not is_gone(key) and (" " in key or key in stored)
        }
        proofs.damaged = {key: why for key, why in proofs.damaged.items() if not is_gone(key)}
        proofs.confirmed = {key: at for key, at in proofs.confirmed.items() if key not in removed}
        if counts != (len(proofs.proven), len(proofs.damaged), len(proofs.confirmed)):
            write_proofs(self.store.target, proofs)

    def _stale(self, *, write: bool) -> _Freed:
        """Remove copies that nobody resumes, and damaged files that nobody examines, after 30 days."""
        freed = _Freed()
        for name in (PARTIAL, QUARANTINE):
            folder = self.store.target / name
            for path in folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ():
                self._control.step()
                status = path.lstat()
                age = self._now - max(status.st_mtime, status.st_ctime)
                if age > _STALE and not stat.S_ISDIR(status.st_mode):
                    freed.add((status.st_size if status.st_nlink == 1 else 0,))
                    if write:
                        path.unlink()
        return freed


def prune(request: PruneRequest, control: Control) -> PruneResult:
    """Remove snapshots; see :meth:`Prune.execute`."""
    return Prune(request, control).execute()


def _expected(retention: Retention, found: Inventory) -> _Freed:
    """Return what the removals would free, by the lists."""
    removed = set(retention.removals)
    kept: set[str] = set()
    for identity, named in found.named.items():
        if identity not in removed:
            kept |= named
    sizes: dict[str, int] = {}
    freed = _Freed()
    for each in found.snapshots:
        if each.id in removed and not found.shared:
            freed.add((each.contents or {}).values())
        elif each.id in removed:
            sizes.update(each.contents or {})
    freed.add(size for digest, size in sizes.items() if digest not in kept)
    return freed


def _decisions(retention: Retention) -> tuple[PruneDecision, ...]:
    removed = set(retention.removals)
    newest_first = retention.decisions[::-1]
    shown = {each.id for each in sorted(newest_first, key=lambda each: each.id not in removed)[:_MOST]}
    return tuple(
        PruneDecision(each.id, each.created_at, each.kept, each.reasons, each.freed_bytes)
        for each in retention.decisions
        if each.id in shown
    )


def _own_files(folder: Path, control: Control) -> Iterable[int]:
    """Yield the size of each file below ``folder`` that has no other name."""
    for root, _, names in os.walk(folder):
        for name in names:
            control.step()
            status = os.lstat(f"{root}/{name}")
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                yield status.st_size
