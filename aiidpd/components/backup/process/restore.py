"""One restore, step by step: select, compare, refuse or write. Blocks: the process has nothing else to do."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from aiidpd.components.backup.process import place
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.destination import Destination
from aiidpd.components.backup.process.manifest import Manifest
from aiidpd.components.backup.process.names import shown, size_text
from aiidpd.components.backup.process.plan import Entry, Kind
from aiidpd.components.backup.process.requests import RestoreRequest
from aiidpd.components.backup.process.restore_plan import (
    RestorePlan,
    Selection,
    hard_links,
    make_restore_plan,
    select,
    settle,
)
from aiidpd.components.backup.process.restore_write import Writing
from aiidpd.components.backup.process.results import RestoreResult, named
from aiidpd.components.backup.process.store import Store
from aiidpd.components.backup.process.stored import Contents, reading, unreadable
from aiidpd.kernel.errors import Conflict, Misconfigured, NotFound, Unavailable

_ACTION = "restore to"


class Restore:
    """A restore by ``request``."""

    def __init__(self, request: RestoreRequest, control: Control) -> None:
        self._request = request
        self._control = control
        self._store = Store(Path(request.target))

    def execute(self) -> RestoreResult:
        """Restore what is wanted; return what came of it.

        A file that can't be restored is named, and the rest goes on. Raises :class:`NotFound` (no such
        snapshot, or path in it), :class:`Misconfigured`, :class:`Conflict` (in use), :class:`Unavailable` and
        :class:`Cancelled`; after an error each file is whole or as it was, and another restore goes on.
        """
        try:
            self._store.check()
            self._check_owner()
            with reading(self._store, self._control):
                manifest = find(self._store, self._request.snapshot, self._request.source)
                selection = self._select(manifest)
                if self._request.dry_run and not Path(self._request.destination).exists():
                    return self._planned(
                        manifest, selection, make_restore_plan(selection, {}, **self._policy)
                    )
                root = place.checked(
                    Path(self._request.destination),
                    self._store.target,
                    _ACTION,
                    make=not self._request.dry_run,
                )
                with _locked(root), Destination(root) as destination:
                    return self._restore(manifest, selection, destination)
        except OSError as error:
            raise place.fault(_ACTION, Path(self._request.destination), error) from error

    @property
    def _policy(self) -> dict[str, bool]:
        return {"overwrite": self._request.conflicts == "overwrite", "trust": self._request.trust}

    def _check_owner(self) -> None:
        if self._request.owner and os.geteuid() != 0:
            remedy = "let the daemon run as root, or restore without owners"
            raise Misconfigured("restore", "owners", reason="only root may give files away", remedy=remedy)

    def _select(self, manifest: Manifest) -> Selection:
        self._control.enter("listing")
        selection = select(manifest, self._request.paths)
        if selection.unknown:
            names = ", ".join(shown(each) for each in selection.unknown[:5])
            remedy = "see manifest.json for what it has"
            raise NotFound("restore", names, reason=f"{manifest.snapshot} has no such path", remedy=remedy)
        return selection

    def _restore(self, manifest: Manifest, selection: Selection, destination: Destination) -> RestoreResult:
        contents = Contents(self._store, manifest.snapshot, {file.sha256 for file in selection.files})
        there = self._there(selection, destination)
        shared = self._shared(selection, there, contents)
        plan = make_restore_plan(
            selection, {path: each for path, each in there.items() if path not in shared}, **self._policy
        )
        writing = Writing(self._request, self._control, destination, contents, there)
        plan = settle(plan, writing.check(plan.check), overwrite=self._policy["overwrite"])
        if self._request.dry_run or (plan.refused and self._request.conflicts != "skip"):
            return self._planned(manifest, selection, plan)
        self._check_room(plan, contents, destination)
        leftovers = self._remove_leftovers(selection, there, destination)
        started = time.monotonic()
        outcome = writing.write(plan)
        return replace(
            self._planned(manifest, selection, plan),
            written=True,
            restored_files=outcome.restored_files,
            restored_bytes=outcome.restored_bytes,
            links=outcome.links,
            folders=outcome.folders,
            leftovers=leftovers,
            seconds=time.monotonic() - started,
            failed=named(outcome.failed),
            healed=named(outcome.healed),
            noted=named(outcome.noted),
        )

    def _there(self, selection: Selection, destination: Destination) -> dict[str, Entry]:
        """Return what lies at the paths of the selection."""
        there = {}
        missing = ""
        for path in selection.paths:
            self._control.step()
            if missing and path.startswith(missing):
                continue
            found = None
            with contextlib.suppress(
                OSError
            ):  # what can't be seen can't be written either, and is named then
                found = destination.entry(path)
            if found is None:
                missing = f"{path}/"
            else:
                there[path] = found
        return there

    def _shared(self, selection: Selection, there: Mapping[str, Entry], contents: Contents) -> set[str]:
        """Return what is a hard link to a stored file: each gets a file of its own, to be written to."""
        device = self._store.target.stat().st_dev
        found = set()
        for file in selection.files:
            own = there.get(file.path)
            if own is not None and own.kind is Kind.FILE and own.inode[0] == device:
                with contextlib.suppress(OSError):
                    if os.lstat(contents.place(file)).st_ino == own.inode[1]:
                        found.add(file.path)
        return found

    def _planned(self, manifest: Manifest, selection: Selection, plan: RestorePlan) -> RestoreResult:
        return RestoreResult(
            manifest.snapshot,
            self._request.destination,
            False,
            len(selection.files),
            sum(file.size for file in selection.files),
            same_files=len(plan.same),
            same_bytes=sum(file.size for file in plan.same),
            refused=named(plan.refused),
            left_out=named(selection.left_out),
        )

    def _check_room(self, plan: RestorePlan, contents: Contents, destination: Destination) -> None:
        aliases = hard_links(plan.write)
        needed = self._request.reserve
        for file in plan.write:
            if file.path not in aliases:
                needed += contents.room(file)
            self._control.step()
        free = destination.free()
        if needed > free:
            reason = f"{size_text(needed)} are needed with the reserve, {size_text(free)} are free"
            remedy = "free space, or restore a part"
            raise Unavailable(_ACTION, self._request.destination, reason=reason, remedy=remedy)

    def _remove_leftovers(
        self, selection: Selection, there: Mapping[str, Entry], destination: Destination
    ) -> int:
        """Remove what a killed restore has left in any folder that this one is for."""
        above = {path.rpartition("/")[0] for path in (*(f.path for f in selection.files), *selection.links)}
        folders = [path for path in sorted(above) if not path or _is_folder(there.get(path))]
        count = 0
        for folder in folders:
            self._control.step()
            with contextlib.suppress(
                OSError
            ):  # one that may not be read; what can't be written is named later
                count += destination.remove_unfinished(folder)
        return count


def restore(request: RestoreRequest, control: Control) -> RestoreResult:
    """Restore files; see :meth:`Restore.execute`."""
    return Restore(request, control).execute()


def find(store: Store, identity: str, source: str) -> Manifest:
    """Return a snapshot's manifest: that of ``identity``, or the newest whole one of ``source`` (any: empty).

    Raises :class:`NotFound`, and :class:`Unavailable` where it is damaged.
    """
    return _find_one(store, identity) if identity else _find_newest(store, source)


def _find_one(store: Store, identity: str) -> Manifest:
    if identity not in store.identities():
        remedy = "see `aiidpctl backup list`"
        raise NotFound("restore the snapshot", shown(identity), reason="there is none", remedy=remedy)
    listed = store.listed(identity)
    if listed.manifest is None:
        raise unreadable(identity, listed.broken)
    return listed.manifest


def _find_newest(store: Store, source: str) -> Manifest:
    broken = ""
    for identity in reversed(store.identities()):
        listed = store.listed(identity)
        if listed.manifest is not None and source in ("", listed.manifest.source):
            return listed.manifest
        broken = broken or (f"; {shown(identity)} is broken: {listed.broken}" if listed.broken else "")
    what = f"there is no whole snapshot{f' of {source}' if source else ''}{broken}"
    remedy = "see `aiidpctl backup list`"
    raise NotFound("restore from", str(store.target), reason=what, remedy=remedy)


def _is_folder(entry: Entry | None) -> bool:
    return entry is not None and entry.kind is Kind.FOLDER


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Prevent a second restore to ``root``; raises :class:`Conflict`."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                reason = "another restore writes to it"
                raise Conflict(_ACTION, str(root), reason=reason, remedy="wait for it") from None
        yield
    finally:
        os.close(descriptor)
