"""Everything that is known of models, over the runs of the tasks; a part of it over restarts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from aiidpd.components.models.record import HashRecord, ModelRecords, RevisionRecord, bounded
from aiidpd.components.models.registry import Known
from aiidpd.components.models.scanned import Scan
from aiidpd.components.models.signatures import SignatureRecord
from aiidpd.components.models.view import ModelsView
from aiidpd.kernel.errors import NotFound
from aiidpd.kernel.latest import Latest
from aiidpd.platform.statefile import StateFile

_LABELS: Final = 5


class ModelsMemory:
    """State that both tasks of the component share. ``latest`` is what is shown."""

    def __init__(self, file: StateFile[ModelRecords], latest: Latest[ModelsView]) -> None:
        self.latest = latest
        self.known = Known(Scan(), ModelRecords())
        self.loaded = False
        self.scanning = False
        """True while a thread scans, or hangs in a scan that was given up."""
        self.unreadable = ""
        """Reason for which the state of an earlier daemon could not be read."""
        self._file = file
        self._saved: ModelRecords | None = None

    @property
    def problem(self) -> str:
        """Reason for which the state can't be relied on; empty where it can."""
        return self._file.problem or self.unreadable

    @property
    def path(self) -> str:
        """Path of the state file."""
        return str(self._file.path)

    def load(self) -> None:
        """Take over what an earlier daemon knew, once. Blocks for a file."""
        if self.loaded:
            return
        found, self.unreadable = self._file.load_or_set_aside()
        if found is not None:
            self.known = replace(self.known, records=found)
            self._saved = found
        self.loaded = True

    def put(self, records: ModelRecords) -> None:
        """Have ``records`` in the place of those that are known, and on the disk soon where they differ."""
        records = bounded(records, self.known.records)
        self.known = replace(self.known, records=records)
        if records != self._saved:
            self._file.save_soon(records)
            self._saved, self.unreadable = records, ""

    def put_hashes(self, hashes: Mapping[str, HashRecord]) -> None:
        """Remember what was read of files, by their paths."""
        records = self.known.records
        self.put(replace(records, hashes={**records.hashes, **hashes}))

    def put_signatures(self, found: Mapping[str, SignatureRecord | None]) -> None:
        """Remember what was found of signatures, by the keys of their models; None is forgotten."""
        records = self.known.records
        kept = {key: each for key, each in (records.signatures or {}).items() if key not in found}
        kept |= {key: each for key, each in found.items() if each is not None}
        self.put(replace(records, signatures=kept))

    def put_revision(self, name: str, revision: RevisionRecord) -> None:
        """Remember an answer of the hub; one without a commit leaves the commit that was known."""
        records = self.known.records
        before = records.revisions.get(name)
        if not revision.commit and before is not None and before.commit:
            revision = replace(before, reason=revision.reason)
        self.put(replace(records, revisions={**records.revisions, name: revision}))

    def keys_of(self, name: str) -> tuple[str, ...]:
        """Return the keys of the models that are called ``name``; raises :class:`NotFound`."""
        found = tuple(
            model.key for model in self.known.scan.models if name in (model.label, model.model.name)
        )
        if not found:
            labels = [model.label for model in self.known.scan.models]
            near = [label for label in labels if name.lower() in label.lower()] or labels
            known = ", ".join(near[:_LABELS]) + (", ..." if len(near) > _LABELS else "")
            raise NotFound(
                "find the model",
                name,
                reason="the last scan found none of that name",
                remedy=f"there is: {known}" if known else "`aiidpctl models scan` searches again",
            )
        return found

    def wait(self, seconds: float) -> None:
        """Wait until what is to be remembered is on the disk, at most ``seconds``. Blocks."""
        self._file.wait(seconds)
