"""Restores: files of a snapshot are written to a folder, or to where they were."""

from __future__ import annotations

from typing import Literal

from aiidpd.components.backup.process.names import files_text, size_text
from aiidpd.components.backup.process.requests import RestoreRequest
from aiidpd.components.backup.process.results import RestoreResult
from aiidpd.components.backup.text import named
from aiidpd.components.backup.tools import BackupTools, Outcome
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.jobs import Job
from aiidpd.kernel.task import Heartbeat

SEPARATOR = "\0"
"""Separates the paths in a job's argument ``paths``: no file name has it."""


async def restore(job: Job, tools: BackupTools, heartbeat: Heartbeat) -> Outcome:
    """Restore what was requested; a failure names what stands in the way, or could not be restored."""
    given = job.arguments
    request = RestoreRequest(
        tools.view.target,
        str(given.get("to") or tools.view.source),
        snapshot=str(given.get("snapshot", "")),
        source=tools.view.source,
        paths=tuple(part for part in str(given.get("paths", "")).split(SEPARATOR) if part),
        conflicts=_conflicts(str(given.get("conflicts", "refuse"))),
        owner=bool(given.get("owner")),
        xattrs=tools.settings.xattrs,
        rate=0,
        dry_run=bool(given.get("dry_run")),
    )
    line = await tools.call(job, request, heartbeat)
    if line.restore is None:
        raise AssertionError("a restore ended without its result")
    made = line.restore
    evidence: dict[str, Scalar] = {
        "snapshot": made.snapshot,
        "destination": made.destination,
        "written": made.written,
        "files": made.files,
        "bytes": made.bytes,
        "restored_files": made.restored_files,
        "restored_bytes": made.restored_bytes,
        "same_files": made.same_files,
        "refused": made.refused.count,
        "failed": made.failed.count,
        "healed": made.healed.count,
        "seconds": round(made.seconds, 3),
    }
    wrong = _wrong_with(made, dry_run=request.dry_run)
    if request.dry_run:
        new = made.files - made.same_files - made.refused.count
        parts = [f"of {files_text(made.files)} {new} would be written, {made.same_files} are there already"]
        if made.refused.count:
            parts.append(f"in the way: {named(made.refused.first, made.refused.count)}")
        return Outcome(evidence, "; ".join(parts))
    what = f"{files_text(made.restored_files)}, {size_text(made.restored_bytes)}, of snapshot {made.snapshot}"
    if made.written or not wrong:
        reason = "; ".join((f"{what} restored to {made.destination}", *wrong))
    else:
        reason = f"of snapshot {made.snapshot} to {made.destination}: {'; '.join(wrong)}"
    by = given.get("requested_by")
    if by:
        reason += f" (requested by {by})"
    severity = Severity.ERROR if wrong else Severity.INFO
    tools.publish("backup.restored", reason, {"job": job.status.id, **evidence}, severity)
    return Outcome(evidence, reason, "; ".join(wrong))


def _conflicts(text: str) -> Literal["refuse", "skip", "overwrite"]:
    if text == "skip":
        return "skip"
    return "overwrite" if text == "overwrite" else "refuse"


def _wrong_with(made: RestoreResult, *, dry_run: bool) -> list[str]:
    wrong = []
    if made.refused.count and not made.written and not dry_run:
        files = named(made.refused.first, made.refused.count)
        wrong.append(f"nothing was written, since files are in the way: {files}; --overwrite replaces them")
    elif made.refused.count and not dry_run:
        wrong.append(f"not replaced: {named(made.refused.first, made.refused.count)}")
    if made.failed.count:
        wrong.append(f"not restored: {named(made.failed.first, made.failed.count)}")
    return wrong
