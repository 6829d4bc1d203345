"""Reads what views and /proc show of the use of models, and makes the view of models anew. Blocks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from aiidpd.components.models.processes import OpenFiles, open_files
from aiidpd.components.models.record import ModelRecords, UsedRecord
from aiidpd.components.models.registry import Known, view
from aiidpd.components.models.uses import ModelUse, OpenedBy, UseKind, uses_of
from aiidpd.components.models.view import ModelsView
from aiidpd.contracts.backups import BackupCatalog
from aiidpd.contracts.containers import ContainerSummary
from aiidpd.contracts.engines import EngineState

_SHOWS_USE: Final = (UseKind.LOADED, UseKind.OPEN)


@dataclass(frozen=True, slots=True)
class Seen:
    """Knowledge of other components, as it is now. ``containers`` is None where that is not known."""

    containers: tuple[ContainerSummary, ...] | None
    engines: tuple[EngineState, ...]
    catalog: BackupCatalog | None


def read_open(known: Known) -> OpenFiles:
    """Return which processes have files of models open. Blocks."""
    files = [file for model in known.scan.models for file in model.files]
    if not files:
        return OpenFiles()
    names = {file.path.rpartition("/")[2] for file in files}
    return open_files({file.identity for file in files}, names)


def observed(known: Known, seen: Seen, opened: OpenFiles, now: float) -> tuple[Known, ModelsView]:
    """Return ``known`` with the uses and the backup that ``seen`` and ``opened`` show, and the view of it."""
    uses = uses_of(known.scan.models, seen.containers or (), seen.engines, _openings(known, opened))
    catalog = seen.catalog
    found = replace(
        known,
        uses=uses,
        catalog=catalog,
        source=os.path.realpath(catalog.source) if catalog is not None else "",
        records=with_uses(known.records, uses, now),
        open_reason=_reason(seen, opened),
    )
    return found, view(found, now)


def with_uses(records: ModelRecords, uses: Mapping[str, Sequence[ModelUse]], now: float) -> ModelRecords:
    """Return ``records`` with ``now`` as the last use of each model that an engine or a process holds."""
    used = {
        key: UsedRecord(now, each.by)
        for key, found in uses.items()
        if (each := next((one for one in found if one.kind in _SHOWS_USE), None)) is not None
    }
    return replace(records, used={**records.used, **used}) if used else records


def _openings(known: Known, opened: OpenFiles) -> list[OpenedBy]:
    by_identity: dict[tuple[int, int], list[str]] = {}
    for model in known.scan.models:
        for file in model.files:
            by_identity.setdefault(file.identity, []).append(model.key)
    return [
        OpenedBy(key, each.pid, each.program, each.container)
        for each in opened.files
        for key in by_identity.get(each.identity, ())
    ]


def _reason(seen: Seen, opened: OpenFiles) -> str:
    reasons = []
    if opened.unreadable:
        count = "1 process" if opened.unreadable == 1 else f"{opened.unreadable} processes"
        reasons.append(f"the files of {count} may not be read (it takes CAP_SYS_PTRACE)")
    if seen.containers is None:
        reasons.append("the containers are not known now")
    return "; ".join(reasons)
