"""One backup, step by step: check, list, copy, publish. Blocks: the process has nothing else to do."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import Final

from aiidpd.components.backup.process import marker, pins, unchanged
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.faults import target_fault
from aiidpd.components.backup.process.filling import Build, Filler, Known
from aiidpd.components.backup.process.heal import retire
from aiidpd.components.backup.process.listing import Fingerprint
from aiidpd.components.backup.process.manifest import FILES, FileEntry, Manifest
from aiidpd.components.backup.process.names import shown, size_text
from aiidpd.components.backup.process.partial import clean_partials
from aiidpd.components.backup.process.plan import Entry, Plan, make_plan
from aiidpd.components.backup.process.proofs import Proofs, read_proofs, write_proofs
from aiidpd.components.backup.process.requests import RunRequest
from aiidpd.components.backup.process.results import RunResult
from aiidpd.components.backup.process.scan import scan
from aiidpd.components.backup.process.store import Store, remove_tree
from aiidpd.formats.huggingface import repository_of
from aiidpd.kernel.errors import Misconfigured, Unavailable

_AGAIN: Final = 2  # times that a file which changes while it is read is read
_ROTTEN: Final = "it reads otherwise than it was backed up, though nothing has changed it since"


class BackupRun:
    """A run by ``request``; ``now`` gives Unix seconds."""

    def __init__(self, request: RunRequest, control: Control, now: float | None = None) -> None:
        self._request = request
        self._control = control
        self._now = now or request.now or time.time()
        self._source = Path(request.source)
        self._known = Known()
        self._listed = Fingerprint()
        self.store = Store(Path(request.target))

    def execute(self) -> RunResult:
        """Make a whole snapshot, unless the source is as the newest one has it; return what came of it.

        Raises :class:`Misconfigured` (source and target overlap), :class:`Conflict` (the target is in
        use), :class:`Unavailable` (anything else that prevents its success) and :class:`Cancelled`. After an
        error nothing of the run is left on the target but what lets the next one resume.
        """
        try:
            self._check_source()
            self.store.check()
            self._check_overlap()
            self._examine()  # before the lock: nothing at all is written to where a disk is missing
            with self.store.locked(self._control):
                target = self._marked()
                self.store.prepare()
                self.store.clean(self._control)
                return replace(self._run(), target=target)
        except OSError as error:
            raise target_fault(str(error.filename or self.store.target), error) from error

    # Before

    def _check_source(self) -> None:
        if not os.path.isdir(self._source):  # noqa: PTH112 -- Path.is_dir raises where it may not read
            remedy = "mount it, or correct backup.source"
            raise Unavailable("read the source", str(self._source), reason="it is no folder", remedy=remedy)

    def _check_overlap(self) -> None:
        """Refuse a source and a target of which one lies in the other, also by another mount of it."""
        source, target = self._source.resolve(), self.store.target.resolve()
        for upper, lower in ((source, target), (target, source)):
            if any(each.samefile(upper) for each in (lower, *lower.parents)):
                reason = f"the target {self.store.target} and the source overlap"
                remedy = "choose a target outside the source, best on another disk"
                raise Misconfigured("back up", str(self._source), reason=reason, remedy=remedy)

    def _examine(self) -> marker.Found:
        """Return the facts about the target; raises :class:`Unavailable` where it may not be filled."""
        target = self.store.target
        found = marker.examine(target, "" if self._request.adopt else self._request.expected)
        verdict, reason, remedy = marker.decide(found)
        if verdict is marker.Verdict.REFUSE and not (self._request.adopt and found.marker is None):
            raise Unavailable("back up to", str(target), reason=reason, remedy=remedy)
        return found

    def _marked(self) -> str:
        """Return the id of the target, which it gets where it has none."""
        return (self._examine().marker or marker.create(self.store.target, self._now)).id

    # The run

    def _run(self) -> RunResult:
        self._control.enter("listing")
        listing = list(scan(self._source, self._control.step, self._listed))
        before = self._newest()
        proofs, _ = read_proofs(self.store.target)
        retire(self.store, proofs, self._control.step)
        self._known.rot = dict(proofs.rotten)
        plan = self._plan(listing, before, proofs)
        self._refuse_nothing(plan)
        held = clean_partials(self.store.partial, plan.copy)
        left_out = dict(plan.left_out)
        if before is not None and self._is_unchanged(plan, before):
            proofs.confirmed[before.snapshot] = self._now
            write_proofs(self.store.target, proofs)
            self._remember(listing, before, self._now)
            return RunResult(
                "",
                before.snapshot,
                True,
                len(before.files),
                before.bytes,
                linked_files=len(before.files),
                linked_bytes=before.bytes,
                left_out=left_out,
                rotten=proofs.rotten,
                own_copies=not self.store.hard_links,
            )
        self._check_room(plan, held)
        build = Build(self.store.begin(self._now), self._now, left_out=left_out)
        try:
            Filler(build, self.store, self._request, self._known, self._control).fill(plan)
            result, manifest = self._publish(build, plan, before, proofs)
        except BaseException:
            with contextlib.suppress(OSError):  # the next run removes what can't be removed now
                remove_tree(build.folder, Control())
            raise
        self._remember(listing, manifest, 0.0)
        return result

    def _newest(self) -> Manifest | None:
        """Return the newest whole snapshot of this source; one from the future if there is no other."""
        future = None
        for identity in reversed(self.store.identities()):
            manifest = self.store.listed(identity).manifest
            if manifest is not None and manifest.source == str(self._source):
                if manifest.created_at <= self._now:
                    return manifest
                future = future or manifest
        return future

    def _plan(self, listing: list[Entry], before: Manifest | None, proofs: Proofs) -> Plan:
        previous = {} if before is None else {file.path: file for file in before.files}
        self._known.previous = previous
        return self._plan_with(listing, previous, self._stored(before, proofs))

    def _plan_with(
        self, listing: list[Entry], previous: Mapping[str, FileEntry], stored: AbstractSet[str]
    ) -> Plan:
        roots = (str(self._source), str(self._source.resolve()))
        plan = make_plan(listing, previous, stored=stored, roots=roots, exclude=self._request.exclude)
        self._explain(plan)
        return plan

    def _stored(self, before: Manifest | None, proofs: Proofs) -> AbstractSet[str]:
        """Return the contents that the target has: as objects, or only in the newest snapshot.

        The latter where there are no hard links, and from before there were objects. A copy that is known to
        be damaged is none.
        """
        suspect = {key.partition(" ")[0] for key in proofs.damaged}
        stored = self._known.stored = self.store.stored()
        if before is None:
            return stored
        for file in before.files:
            if file.sha256 not in stored and file.sha256 not in suspect:
                place = self.store.snapshots / before.snapshot / FILES / file.path
                if _is_whole(place, file.size):
                    self._known.elsewhere[file.sha256] = place
        return stored | self._known.elsewhere.keys()

    def _is_unchanged(self, plan: Plan, before: Manifest) -> bool:
        return (
            not (plan.copy or plan.aliases or plan.reread)
            and plan.link == before.files
            and plan.folders == before.folders
            and {link.path: link.target for link in plan.symlinks} == before.links
            and dict(plan.left_out) == before.left_out
        )

    def _explain(self, plan: Plan) -> None:
        """Say of links into the store that a Hugging Face cache shares what to do about them."""
        if repository_of(self._source.name) is None:
            return
        for path, reason in plan.left_out.items():
            if path.startswith("blobs/"):
                plan.left_out[path] = f"{reason}, where the cache has what several models share: back that up"

    def _refuse_nothing(self, plan: Plan) -> None:
        if plan.files == 0 and plan.left_out:
            raise self._nothing_readable(plan.left_out)
        if plan.files == 0:
            remedy = "check that it is mounted; an empty backup would look like a good one"
            raise Unavailable("back up", str(self._source), reason="it holds no files", remedy=remedy)

    def _nothing_readable(self, left_out: Mapping[str, str]) -> Unavailable:
        reason = f"nothing of it can be read: {_some(left_out)}"
        remedy = "let the daemon's user read it, or exclude it"
        return Unavailable("read the source", str(self._source), reason=reason, remedy=remedy)

    def _check_room(self, plan: Plan, held: int) -> None:
        """Raise :class:`Unavailable` where the plan does not fit; ``held`` bytes of it are there already."""
        status = os.statvfs(self.store.target)
        free = status.f_bavail * status.f_frsize
        needed = max(0, plan.bytes_to_store - held) + self._request.reserve
        if needed > free:
            reason = f"{size_text(needed)} are needed with the reserve, {size_text(free)} are free"
            remedy = "free space, enlarge the target, or lower backup.reserve"
            raise Unavailable("back up to", str(self.store.target), reason=reason, remedy=remedy)

    # The end

    def _publish(
        self, build: Build, plan: Plan, before: Manifest | None, proofs: Proofs
    ) -> tuple[RunResult, Manifest]:
        control = self._control
        control.enter("publishing")
        if not build.entries:
            raise self._nothing_readable(build.left_out)
        self.store.sync(control)
        for sha256, place in build.new.items():
            self.store.add(place, sha256)
            control.step()
        manifest = Manifest(
            snapshot=build.folder.name,
            source=str(self._source),
            created_at=build.created_at,
            files=tuple(sorted(build.entries, key=lambda entry: entry.path)),
            folders=plan.folders,
            links={link.path: link.target for link in plan.symlinks},
            left_out=build.left_out,
            copied_files=build.copied_files,
            copied_bytes=build.copied_bytes,
        )
        protected = self._protect(build, before)
        self.store.publish(build.folder, manifest, control)
        self._note(build, manifest, proofs)
        linked = len(manifest.files) - build.copied_files
        result = RunResult(
            "",
            manifest.snapshot,
            False,
            len(manifest.files),
            manifest.bytes,
            build.copied_files,
            build.copied_bytes,
            linked,
            manifest.bytes - build.copied_bytes,
            build.read_bytes,
            build.left_out,
            proofs.rotten,
            tuple(build.rewritten),
            protected,
            not self.store.hard_links,
        )
        return result, manifest

    def _remember(self, listing: list[Entry], newest: Manifest, confirmed_at: float) -> None:
        """Write down what this run has compared, if another one would find nothing changed by the same.

        It is decided again, by the names of contents that there are now: they go into what is written down.
        """
        source, target = self._request.source, self._request.target
        objects = Fingerprint()
        try:
            facts = unchanged.facts_of(source, target, list(self._request.exclude), newest.snapshot)
            previous = {each.path: each for each in newest.files}
            if self._is_unchanged(self._plan_with(listing, previous, self.store.stored(objects)), newest):
                facts |= {"listing": self._listed.hex, "objects": objects.hex}
                unchanged.remember(target, facts, self._found(newest), confirmed_at)
                return
        except (OSError, ValueError, Unavailable):
            pass  # the next run finds it out again
        unchanged.forget(target)

    def _found(self, newest: Manifest) -> dict[str, object]:
        found = marker.read_marker(self.store.target)
        return {
            "target": "" if found is None else found.id,
            "snapshot": newest.snapshot,
            "created_at": newest.created_at,
            "files": len(newest.files),
            "bytes": newest.bytes,
            "left_out": dict(newest.left_out),
        }

    def _protect(self, build: Build, before: Manifest | None) -> str:
        """Pin the snapshot before, where a file was rewritten under its old time: it may be the good one."""
        if not build.rewritten or before is None:
            return ""
        files = _some(dict.fromkeys(build.rewritten, ""))
        reason = f"has {files} as before it was rewritten under its old time"
        pins.add(self.store.target, before.snapshot, reason)
        return before.snapshot

    def _note(self, build: Build, manifest: Manifest, proofs: Proofs) -> None:
        """Record what the run has found out beside the snapshot itself."""
        present = {file.path: file for file in manifest.files}
        for path in tuple(proofs.rotten):
            file = present.get(path)
            if file is None or (not file.retained and file.read_at == self._now):
                del proofs.rotten[path]
        proofs.rotten.update(build.rotten)
        known = set(self.store.identities())
        proofs.confirmed = {key: at for key, at in proofs.confirmed.items() if key in known}
        write_proofs(self.store.target, proofs)


def back_up(request: RunRequest, control: Control) -> RunResult:
    """Make a snapshot; see :meth:`BackupRun.execute`."""
    return BackupRun(request, control).execute()


def _is_whole(path: Path, size: int) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return status.st_size == size


def _some(found: Mapping[str, str], most: int = 5) -> str:
    """Return the first few of ``found`` for a message, each with its reason, and how many more there are."""
    named = [shown(path) + (f" ({why})" if why else "") for path, why in list(found.items())[:most]]
    rest = len(found) - most
    return ", ".join(named) + (f" and {rest} more" if rest > 0 else "")
