"""One verification: compare names with lists, read contents back, heal what is damaged, compare the source.

The proofs are saved now and then, and at the end however that comes: a verification that is cancelled has
proven what it has read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from aiidpd.components.backup.process import marker, pins, summary_cache, unchanged
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.copy import Copier
from aiidpd.components.backup.process.faults import target_fault
from aiidpd.components.backup.process.findings import Findings
from aiidpd.components.backup.process.heal import Healed, Healer, heal_name
from aiidpd.components.backup.process.layout import UNCHANGED
from aiidpd.components.backup.process.manifest import FILES, SUMS
from aiidpd.components.backup.process.names import shown
from aiidpd.components.backup.process.proofs import PROOFS, Proofs, read_proofs, unit_key, write_proofs
from aiidpd.components.backup.process.requests import VerifyRequest
from aiidpd.components.backup.process.results import VerifyResult
from aiidpd.components.backup.process.scrub_plan import (
    bytes_needed,
    in_order,
    oldest,
    sampled,
    within_budget,
)
from aiidpd.components.backup.process.source_check import SourceCheck, newest
from aiidpd.components.backup.process.store import OBJECTS, SNAPSHOTS, Store
from aiidpd.components.backup.process.units import NO_FILE, NO_OBJECT, Survey, Unit, read_disk, survey
from aiidpd.components.backup.process.wounds import Wound, find_wounds, snapshot_of
from aiidpd.kernel.errors import NotFound, Unavailable
from aiidpd.platform.atomic import write_atomic

OTHERWISE: Final = "it reads otherwise than it was backed up"
_SAVE_EVERY: Final = 60.0  # seconds


class Verification:
    """A verification by ``request``; ``now`` gives Unix seconds, ``elapsed`` a monotonic time."""

    def __init__(
        self,
        request: VerifyRequest,
        control: Control,
        now: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._request = request
        self._control = control
        self._now = now
        self._elapsed = elapsed
        self._saved = elapsed()
        self._proofs = Proofs()
        self._is_marked = False
        self._found = Findings()
        self.store = Store(Path(request.target))

    def execute(self) -> VerifyResult:
        """Verify, and heal where the request allows that; return what came of it.

        Raises :class:`Conflict` (the target is in use), :class:`NotFound` (it lacks the snapshot),
        :class:`Unavailable` (it can't be read at all) and :class:`Cancelled`.
        """
        try:
            self.store.check()
            target = self._marked()  # before the lock: nothing at all is written to where a disk is missing
            with self.store.locked(self._control):
                self._proofs, fault = read_proofs(self.store.target)
                if fault:
                    self._found.healed("", PROOFS, fault, "nothing: all contents count as not proven yet")
                self._check_pins()
                self._check_note()
                if self._request.heal:
                    self.store.clean(self._control)
                return replace(self._verify(), target=target)
        except OSError as error:
            raise target_fault(str(error.filename or self.store.target), error) from error

    def _marked(self) -> str:
        """Return the id of the target, empty where it is from before targets had one.

        A damaged marker is a finding. Raises :class:`Unavailable` for another target than the one expected.
        """
        target = self.store.target
        try:
            self._is_marked = bool(marker.load_marker(read_disk(target / marker.MARKER)))
        except FileNotFoundError:
            pass
        except ValueError as error:
            self._is_marked = True
            self._found.damage("", marker.MARKER, str(error))
            return self._request.expected
        found = marker.examine(target, self._request.expected)
        verdict, reason, remedy = marker.decide(found)
        if verdict is marker.Verdict.CREATE and not self.store.identities():
            verdict = marker.Verdict.REFUSE
            reason, remedy = "it holds no snapshots", "mount the disk with the snapshots, or back up first"
        if verdict is marker.Verdict.REFUSE:
            raise Unavailable("verify", str(target), reason=reason, remedy=remedy)
        return "" if found.marker is None else found.marker.id

    def _check_pins(self) -> None:
        try:
            pins.read(self.store.target)
        except (OSError, ValueError) as error:
            self._found.damage("", pins.PINS, str(error))

    def _check_note(self) -> None:
        """Remove what runs have noted about an unchanged source, where it is damaged."""
        target = str(self.store.target)
        fault = unchanged.fault_of(target)
        if fault and self._request.heal:
            unchanged.forget(target)
            self._found.healed("", UNCHANGED, fault, "nothing: the next run compares everything")
        elif fault:
            self._found.damage("", UNCHANGED, fault)

    def _verify(self) -> VerifyResult:
        control, request = self._control, self._request
        control.enter("listing")
        seen = survey(self.store, self._proofs, control.step, self._selected())
        units = list(seen.units.values())
        needed = bytes_needed(units, within=request.within, every=request.every, now=self._now())
        with Copier(control, rate=request.rate) as copier:
            try:
                bad = self._read(self._chosen(units, needed), copier)
                self._forget(seen)
                self._save()
                self._mend(seen, bad, copier)
                self._save()
                self._check_source(copier)
            finally:
                self._save()
        units = [replace(unit, proven_at=self._proofs.proven.get(unit.key)) for unit in seen.units.values()]
        age, never = oldest(units)
        return self._found.result(
            VerifyResult(
                "",
                len(seen.snapshots),
                len(units),
                sum(unit.size for unit in units),
                missing_total=sum(each.reason == NO_FILE for each in seen.wrong),
                oldest_proof=age,
                never_proven_bytes=never,
                needed=needed,
            ),
            seen.broken,
            self._proofs.rotten,
        )

    def _selected(self) -> str:
        only = self._request.snapshot
        if only and only not in self.store.identities():
            remedy = "`aiidpctl backup list` names those that are there"
            raise NotFound("verify", shown(only), reason="the target has no such snapshot", remedy=remedy)
        return only

    # Reading

    def _chosen(self, units: list[Unit], needed: int) -> list[Unit]:
        request = self._request
        if request.mode == "full":
            return in_order(units)
        if request.mode == "sample":
            return sampled(units, request.share, request.seed)
        return within_budget(units, request.budget or needed, beyond=request.budget > 0)

    def _read(self, units: list[Unit], copier: Copier) -> list[tuple[Unit, str]]:
        """Read contents, and note for each whether it was right; return those that were not."""
        control, proofs = self._control, self._proofs
        control.enter("verifying", files=len(units), total=sum(unit.size for unit in units))
        bad = []
        for unit, reason in self._faults(units, copier):
            if reason:
                bad.append((unit, reason))
                proofs.proven.pop(unit.key, None)
                proofs.damaged[unit.key] = reason
            else:
                proofs.proven[unit.key] = self._now()
                proofs.damaged.pop(unit.key, None)
            control.end_file()
            if self._elapsed() - self._saved >= _SAVE_EVERY:
                self._save()
        return bad

    def _faults(self, units: list[Unit], copier: Copier) -> Iterator[tuple[Unit, str]]:
        """Read contents; yield each with what is wrong with it, empty for nothing."""
        yield from ((unit, unit.flaw) for unit in units if unit.flaw)
        sound = {unit.file: unit for unit in units if not unit.flaw}
        for (_, name), outcome in copier.digest_many((self.store.target / file, file) for file in sound):
            unit = sound[name]
            if isinstance(outcome, Unavailable):
                self._check_disk()
                yield unit, outcome.reason
                continue
            sha256, size = outcome
            self._found.read_contents += 1
            self._found.read_bytes += size
            yield unit, "" if sha256 == unit.sha256 else OTHERWISE

    def _check_disk(self) -> None:
        """Raise :class:`OSError` where nothing of the target can be read: then no content is to blame."""
        if self._is_marked:
            read_disk(self.store.target / marker.MARKER)
        elif not self.store.identities():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.store.snapshots))

    def _forget(self, seen: Survey) -> None:
        """Drop what is known about contents that are no longer there, and note under its key what was."""
        if self._request.snapshot:
            return
        proofs = self._proofs
        for unit in seen.units.values():
            if unit.proven_at is not None and unit.key not in proofs.damaged:
                proofs.proven.setdefault(unit.key, unit.proven_at)
        proofs.proven = {key: at for key, at in proofs.proven.items() if key in seen.units}
        proofs.damaged = {key: why for key, why in proofs.damaged.items() if key in seen.units}
        for wrong in seen.wrong:
            if wrong.sha256:
                proofs.damaged[unit_key(wrong.sha256, _place(wrong.path))] = wrong.reason
        if seen.shared:
            summary_cache.drop(self.store.target)

    def _save(self) -> None:
        write_proofs(self.store.target, self._proofs)
        self._saved = self._elapsed()

    # Healing

    def _mend(self, seen: Survey, bad: list[tuple[Unit, str]], copier: Copier) -> None:
        """Heal what was found, where the request allows it; note all of it."""
        self._mend_lists(seen)
        self._mend_names(seen)
        wounds = find_wounds(self.store, bad, seen.wrong, self._control.step)
        if wounds and self._request.heal:
            self._control.enter("healing", files=len(wounds))
        healer = Healer(self.store, copier)
        for wound in wounds:
            if self._request.heal:
                self._mend_content(seen, wound, healer)
                self._control.end_file()
            else:
                for name, reason in wound.names.items():
                    self._found.damage(snapshot_of(name), name, reason)
        self._add_objects(seen)
        if self._found.has_healed:
            self.store.sync(self._control)
        if wounds or self._found.has_healed:
            summary_cache.drop(self.store.target)

    def _mend_lists(self, seen: Survey) -> None:
        for snapshot, flaws in seen.flaws.items():
            name = f"{SNAPSHOTS}/{snapshot}/{SUMS}"
            reason = "; ".join(flaws)
            right = seen.sums.get(snapshot)
            if right is None or not self._request.heal:
                self._found.damage(snapshot, name, reason)
            else:
                write_atomic(self.store.target / name, right, mode=0o444)
                self._found.healed(snapshot, name, reason, "manifest.json")

    def _mend_names(self, seen: Survey) -> None:
        for wrong in seen.wrong:
            if wrong.sha256:
                continue  # a wound
            fault = "not healed"
            if self._request.heal and (wrong.folder or wrong.link):
                fault = heal_name(self.store, wrong)
            if fault:
                self._found.damage(wrong.snapshot, wrong.path, wrong.reason)
            else:
                self._found.healed(wrong.snapshot, wrong.path, wrong.reason, "manifest.json")

    def _mend_content(self, seen: Survey, wound: Wound, healer: Healer) -> None:
        try:
            outcome = healer.heal(wound)
        except (Unavailable, OSError) as error:
            reason = error.reason if isinstance(error, Unavailable) else str(error)
            outcome = Healed(failed=tuple((name, reason) for name in wound.names))
        self._found.quarantined += outcome.quarantined
        for name, reason in outcome.failed:
            self._found.damage(snapshot_of(name), name, f"{wound.names[name]}; not healed: {reason}")
        for name in outcome.names:
            self._found.healed(snapshot_of(name), name, wound.names[name], outcome.origin)
        if not outcome.failed:
            self._note_healed(seen, wound, outcome)

    def _note_healed(self, seen: Survey, wound: Wound, outcome: Healed) -> None:
        """Note that the good copy was read back from the disk just now."""
        proofs = self._proofs
        for key in [key for key in proofs.damaged if key.partition(" ")[0] == wound.sha256]:
            del proofs.damaged[key]
        shared = _inode(self.store.object_path(wound.sha256))
        for name in outcome.names:
            key = unit_key(wound.sha256, _place(name))
            if shared is not None and _inode(self.store.target / name) == shared:
                seen.units.pop(key, None)
                key = wound.sha256
            proofs.proven[key] = self._now()

    def _add_objects(self, seen: Survey) -> None:
        """Give contents that lack an object one, where their file was read and is right."""
        for sha256, key in seen.absent.items():
            unit = seen.units.get(key)
            if unit is None:  # it was healed, with its object
                continue
            name = f"{OBJECTS}/{sha256[:2]}/{sha256}"
            if self._request.heal and key in self._proofs.proven:
                with contextlib.suppress(OSError):
                    self.store.add(self.store.target / unit.file, sha256)
            if self.store.object_path(sha256).exists():
                self._found.healed("", name, NO_OBJECT, unit.file)
                self._proofs.proven[sha256] = self._proofs.proven.pop(key, self._now())
                unit.key = sha256
            else:
                self._found.damage("", name, NO_OBJECT)

    # The source

    def _check_source(self, copier: Copier) -> None:
        if self._request.source_budget <= 0:
            return
        manifest = newest(self.store, self._request.source)
        if manifest is None:
            return
        budget, proofs = self._request.source_budget, self._proofs
        check = SourceCheck(manifest, proofs, self._now())
        self._found.checked = check.found
        for _ in check.run(budget, copier, self._control):
            if self._elapsed() - self._saved >= _SAVE_EVERY:
                self._save()


def verify(request: VerifyRequest, control: Control) -> VerifyResult:
    """Read contents and compare them; see :meth:`Verification.execute`."""
    return Verification(request, control).execute()


def _place(name: str) -> str:
    """Return the part of a path in the target that stands in the key of a content."""
    return name.removeprefix(f"{SNAPSHOTS}/").replace(f"/{FILES}/", "/", 1)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
