"""Verifications and drills: what is stored is read back, and a sample of it is restored."""

from __future__ import annotations

import os

from aiidpd.components.backup.process.names import files_text, shown, size_text
from aiidpd.components.backup.process.requests import DrillRequest, VerifyRequest
from aiidpd.components.backup.process.results import Damage, VerifyResult
from aiidpd.components.backup.text import named
from aiidpd.components.backup.tools import BackupTools, Outcome
from aiidpd.components.backup.view import StoreInfo
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.jobs import Job
from aiidpd.kernel.task import Heartbeat

_DAY = 86_400.0


async def verify(job: Job, tools: BackupTools, heartbeat: Heartbeat) -> Outcome:
    """Read what is due, or all that was requested, and heal what is damaged; a failure names the rest."""
    line = await tools.call(job, _verify_request(job, tools), heartbeat)
    if line.verify is None:
        raise AssertionError("a verification ended without its result")
    found = line.verify
    tools.memory.verified(tools.clock.time())
    evidence: dict[str, Scalar] = {
        "snapshots": found.snapshots,
        "contents": found.contents,
        "read_contents": found.read_contents,
        "read_bytes": found.read_bytes,
        "damaged": found.damaged_total,
        "healed": found.healed_total,
        "missing": found.missing_total,
        "broken": found.broken_total,
        "never_proven_bytes": found.never_proven_bytes,
        "rotten": found.rotten_total,
        "source_bytes": found.source_bytes,
    }
    wrong = _wrong_with(found)
    if found.healed_total:
        text = f"{_healed(found)}: {_damages(found.healed)}"
        tools.publish("backup.healed", text, {"job": job.status.id}, Severity.WARNING)
    severity = Severity.ERROR if wrong else Severity.INFO
    reason = f"{size_text(found.read_bytes)} of {size_text(found.bytes)} were read back"
    reason += "".join(f"; {each}" for each in wrong) or " and are right"
    if found.healed_total:
        reason += f"; {_healed(found)}"
    tools.publish("backup.verified", reason, {"job": job.status.id, **evidence}, severity)
    return Outcome(evidence, reason, "; ".join(wrong))


def _verify_request(job: Job, tools: BackupTools) -> VerifyRequest:
    settings, given = tools.settings.verify, job.arguments
    store, trigger = tools.view.store or StoreInfo(), given.get("trigger")
    source_bytes = 0
    if trigger == "schedule" and settings.source_within:
        source_bytes = int(store.unique_bytes * _DAY / settings.source_within) + 1
    budget = store.unverified_bytes  # what was never read comes first
    if trigger != "backup":
        budget += int(store.unique_bytes * _DAY / settings.within) + 1
    mode = str(given.get("mode", "due"))
    return VerifyRequest(
        tools.view.target,
        source=tools.view.source,
        expected=tools.memory.expected(tools.view.target),
        snapshot=str(given.get("snapshot", "")),
        mode="full" if mode == "full" else "sample" if mode == "sample" else "due",
        share=float(given.get("share") or 1.0),
        seed=int.from_bytes(os.urandom(4), "big"),
        budget=max(1, budget),
        within=settings.within,
        heal=settings.heal and bool(given.get("heal", True)),
        source_budget=source_bytes,
        rate=tools.settings.rate,
    )


def _wrong_with(found: VerifyResult) -> list[str]:
    """Return what is wrong after a verification, a sentence each."""
    wrong = []
    if found.damaged_total:
        rest = found.damaged_total - len(found.damaged[:3])
        more = f" and {rest} more" if rest > 0 else ""
        wrong.append(f"{found.damaged_total} damaged: {_damages(found.damaged)}{more}")
    if found.broken_total:
        wrong.append(f"{found.broken_total} snapshots can't be relied on: {named(found.broken)}")
    if found.rotten_total:
        rotten = named(dict.fromkeys(found.rotten, ""), found.rotten_total)
        wrong.append(f"the source's disk has changed {rotten}: restore it from a snapshot")
    return wrong


def _healed(found: VerifyResult) -> str:
    """Say how many files of the target have the good copy now: a content may have several names."""
    one = found.healed_total == 1
    return f"{found.healed_total} damaged file{' was' if one else 's were'} healed"


def _damages(found: tuple[Damage, ...]) -> str:
    parts = []
    for each in found[:3]:
        healed = f", healed from {shown(each.healed_from)}" if each.healed_from else ""
        parts.append(f"{shown(each.path)} ({each.reason}{healed})")
    return ", ".join(parts)


async def drill(job: Job, tools: BackupTools, heartbeat: Heartbeat) -> Outcome:
    """Restore a sample to the scratch folder and compare it; a failure names what did not restore."""
    settings = tools.settings
    request = DrillRequest(
        tools.view.target,
        str(tools.scratch),
        source=tools.view.source,
        budget=int(job.arguments.get("size") or settings.drill.size),
        seed=int.from_bytes(os.urandom(4), "big"),
        reserve=settings.reserve,
        rate=settings.rate,
    )
    line = await tools.call(job, request, heartbeat)
    if line.drill is None:
        raise AssertionError("a drill ended without its result")
    held = line.drill
    evidence: dict[str, Scalar] = {
        "snapshot": held.snapshot,
        "files": held.files,
        "bytes": held.bytes,
        "models": len(held.models),
        "models_known": held.known,
        "models_never_restored": held.never,
        "failed": held.failed.count,
        "seconds": round(held.seconds, 3),
    }
    rate = f", {size_text(int(held.bytes / held.seconds))}/s" if held.seconds > 0 else ""
    what = f"{files_text(held.files)} of {len(held.models)} models, {size_text(held.bytes)}{rate}"
    if held.failed.count:
        reason = (
            f"of {what}, {held.failed.count} did not restore: {named(held.failed.first, held.failed.count)}"
        )
        tools.publish("backup.drill_failed", reason, {"job": job.status.id, **evidence}, Severity.ERROR)
        return Outcome(evidence, reason, reason)
    tools.memory.drilled(tools.clock.time())
    reason = f"a restore was proven to work: {what}"
    if held.unloadable.count:
        bad = named(held.unloadable.first, held.unloadable.count)
        reason += f"; restored as it was backed up, but no model: {bad}"
        tools.publish("backup.drill_held", reason, {"job": job.status.id, **evidence}, Severity.ERROR)
        return Outcome(evidence, reason, f"restored as it was backed up, but no model: {bad}")
    tools.publish("backup.drill_held", reason, {"job": job.status.id, **evidence})
    return Outcome(evidence, reason)
