"""Drill: a sample of a snapshot is restored to a scratch folder, read back, opened, and recorded."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiidpd.components.backup.process import place
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.copy import Copier
from aiidpd.components.backup.process.drill_plan import Age, ages, restored_at, sample
from aiidpd.components.backup.process.drill_record import Drills, read_drills, write_drills
from aiidpd.components.backup.process.headers import HeaderReader, read_header
from aiidpd.components.backup.process.manifest import FileEntry, Manifest
from aiidpd.components.backup.process.models import Model, models_of
from aiidpd.components.backup.process.names import size_text
from aiidpd.components.backup.process.requests import DrillRequest, RestoreRequest
from aiidpd.components.backup.process.restore import Restore, find
from aiidpd.components.backup.process.results import DrillResult, ModelDrill, RestoreResult, named
from aiidpd.components.backup.process.store import Store, remove_tree
from aiidpd.components.backup.process.stored import reading
from aiidpd.kernel.errors import AiidpdError, Conflict, Unavailable

MARKER: Final = "aiidpd-drill"
_TEXT: Final = "This folder is emptied by aiidpd after each restore drill.\n"
_RESTORED: Final = "restored"
_ACTION: Final = "drill in"
_MOST_MODELS: Final = 200


@dataclass(slots=True)
class _Found:
    """Findings about a sample: what opened as what, what did not restore, and what is no model as it is."""

    headers: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    unloadable: dict[str, str] = field(default_factory=dict)


class Drill:
    """A drill by ``request``; ``now`` gives Unix seconds, ``read`` opens what was restored."""

    def __init__(
        self,
        request: DrillRequest,
        control: Control,
        read: HeaderReader = read_header,
        now: float | None = None,
    ) -> None:
        self._request = request
        self._control = control
        self._read = read
        self._now = time.time() if now is None else now
        self._store = Store(Path(request.target))
        self._scratch = Path(request.scratch)

    def execute(self) -> DrillResult:
        """Restore a sample, check and remove it; return what came of it, and record it on the target.

        Raises as a restore does, and :class:`Conflict` where ``scratch`` holds something else. Nothing stays
        in ``scratch``; what a killed drill has left, the next one removes.
        """
        try:
            self._store.check()
            with reading(self._store, self._control):
                manifest = find(self._store, self._request.snapshot, self._request.source)
            drills = read_drills(self._store.target)
            place.checked(self._scratch, self._store.target, _ACTION)
            with self._prepared():
                models = models_of(manifest)
                chosen = self._choose(models, drills)
                restored = self._restore(manifest, chosen)
                found = self._examine(chosen, restored)
        except OSError as error:
            raise place.fault(_ACTION, self._scratch, error) from error
        right = {file.sha256 for file in chosen if file.path not in found.failed}
        drills = self._noted(manifest, chosen, right, restored)
        return self._result(models, chosen, restored, found, drills)

    @contextlib.contextmanager
    def _prepared(self) -> Iterator[None]:
        """Take the scratch folder for the drill, and leave it empty."""
        names = set(os.listdir(self._scratch)) - {"lost+found"}  # noqa: PTH208 -- names alone
        if names and (MARKER not in names or names - {MARKER, _RESTORED}):
            remedy = "choose a folder that is for nothing else"
            raise Conflict(_ACTION, str(self._scratch), reason="it holds other files", remedy=remedy)
        marker, restored = self._scratch / MARKER, self._scratch / _RESTORED
        marker.write_text(_TEXT)
        try:
            if os.path.lexists(restored):
                remove_tree(restored, self._control)
            restored.mkdir()
            yield
        finally:
            remove_tree(restored, Control())
            marker.unlink()

    def _choose(self, models: list[Model], drills: Drills) -> list[FileEntry]:
        status = os.statvfs(self._scratch)
        free = status.f_bavail * status.f_frsize - self._request.reserve
        chosen = sample(
            models,
            drills.restored,
            drills.failed,
            budget=min(self._request.budget, free),
            seed=self._request.seed,
        )
        if chosen and chosen[0].size > free:
            reason = f"{size_text(chosen[0].size)} are needed, {size_text(max(0, free))} are free"
            raise Unavailable(_ACTION, str(self._scratch), reason=reason, remedy="choose a larger one")
        return chosen

    def _restore(self, manifest: Manifest, chosen: list[FileEntry]) -> RestoreResult:
        request = RestoreRequest(
            self._request.target,
            str(self._scratch / _RESTORED),
            manifest.snapshot,
            paths=tuple(file.path for file in chosen),
            rate=self._request.rate,
        )
        return Restore(request, self._control).execute()

    def _examine(self, chosen: list[FileEntry], restored: RestoreResult) -> _Found:
        """Read what was restored once more, from the disk, and open it."""
        self._control.enter("checking", files=len(chosen), total=sum(file.size for file in chosen))
        found = _Found()
        with Copier(self._control, rate=self._request.rate) as copier:
            for file in chosen:
                fault = self._examine_one(file, copier, found)
                if fault:
                    found.failed[file.path] = restored.failed.first.get(file.path, fault)
                self._control.end_file()
        return found

    def _examine_one(self, file: FileEntry, copier: Copier, found: _Found) -> str:
        path = self._scratch / _RESTORED / file.path
        try:
            if copier.digest(path, file.path) != (file.sha256, file.size):
                return "it reads otherwise than it was stored"
            found.headers[file.path] = self._read(path)
        except (AiidpdError, OSError) as error:
            return error.reason if isinstance(error, AiidpdError) else os.strerror(error.errno or 0)
        except ValueError as error:
            found.unloadable[file.path] = str(error)
        return ""

    def _noted(
        self, manifest: Manifest, chosen: list[FileEntry], right: set[str], restored: RestoreResult
    ) -> Drills:
        """Record the outcome on the target, where that may be written to; return all that is recorded.

        No lock is taken: a run that goes on for hours would cost the drill its record. Of two drills that
        end in one moment one may be lost.
        """
        drills = read_drills(self._store.target)
        for file in chosen:
            (drills.restored if file.sha256 in right else drills.failed)[file.sha256] = self._now
        drills.past.append(
            {
                "at": self._now,
                "snapshot": manifest.snapshot,
                "files": len(chosen),
                "bytes": sum(file.size for file in chosen),
                "seconds": restored.seconds,
                "failed": len({file.sha256 for file in chosen} - right),
            }
        )
        drills.forget(self._known(manifest))
        with contextlib.suppress(OSError):
            write_drills(self._store.target, drills)
        return drills

    def _known(self, manifest: Manifest) -> set[str]:
        known = {file.sha256 for file in manifest.files}
        for listed in self._store.all():
            known |= {file.sha256 for file in listed.manifest.files} if listed.manifest is not None else set()
        return known

    def _result(
        self,
        models: list[Model],
        chosen: list[FileEntry],
        restored: RestoreResult,
        found: _Found,
        drills: Drills,
    ) -> DrillResult:
        age = ages(models, drills.restored)
        return DrillResult(
            restored.snapshot,
            len(chosen),
            sum(file.size for file in chosen),
            restored.seconds,
            tuple(_of_models(models, chosen, found.headers, drills.restored))[:_MOST_MODELS],
            named(found.failed),
            restored.healed,
            age.known,
            age.never,
            age.oldest_at,
            _oldest(age),
            named(found.unloadable),
        )


def hold(request: DrillRequest, control: Control) -> DrillResult:
    """Hold a drill; see :meth:`Drill.execute`."""
    return Drill(request, control).execute()


def _of_models(
    models: list[Model], chosen: list[FileEntry], headers: Mapping[str, str], restored: Mapping[str, float]
) -> Iterator[ModelDrill]:
    paths = {file.path for file in chosen}
    for model in models:
        files = [file for file in model.files if file.path in paths]
        if files:
            kinds = Counter(headers[file.path] for file in files if file.path in headers)
            size = sum(file.size for file in files)
            yield ModelDrill(model.name, len(files), size, dict(kinds), restored_at(model.files, restored))


def _oldest(age: Age) -> dict[str, float]:
    ordered = sorted(age.restored_at.items(), key=lambda item: item[1])
    return dict(ordered[:_MOST_MODELS])
