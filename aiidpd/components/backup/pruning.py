"""Prunes and pins: snapshots go as retention decides, or stay whatever their age."""

from __future__ import annotations

from dataclasses import replace

from aiidpd.components.backup.process.names import size_text
from aiidpd.components.backup.process.requests import PinRequest, PruneRequest
from aiidpd.components.backup.process.results import PruneResult
from aiidpd.components.backup.retention.policy import policy_of
from aiidpd.components.backup.tools import BackupTools, Outcome
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.jobs import Job
from aiidpd.kernel.task import Heartbeat


async def prune(job: Job, tools: BackupTools, heartbeat: Heartbeat) -> Outcome:
    """Remove what retention does not keep, or say what that would be."""
    view, dry_run = tools.view, bool(job.arguments.get("dry_run"))
    policy = policy_of(tools.settings.retention)
    if sending := tools.sending():
        policy = replace(policy, pins=(*policy.pins, sending))
    request = PruneRequest(
        view.target, view.source, tools.memory.expected(view.target), policy, dry_run=dry_run
    )
    line = await tools.call(job, request, heartbeat)
    if line.prune is None:
        raise AssertionError("a prune ended without its result")
    made = line.prune
    tools.put(last_prune=made)
    evidence: dict[str, Scalar] = {
        "dry_run": made.dry_run,
        "snapshots": made.snapshots,
        "removed": made.removed_total,
        "freed_files": made.freed_files,
        "freed_bytes": made.freed_bytes,
        "excess_bytes": made.excess_bytes,
    }
    summary = _sentence(made)
    if made.removed_total and not dry_run:
        tools.publish("backup.pruned", summary, {"job": job.status.id, **evidence})
    return Outcome(evidence, summary)


async def pin(job: Job, tools: BackupTools, heartbeat: Heartbeat) -> Outcome:
    """Pin a snapshot, or take its pin away."""
    given, target = job.arguments, tools.view.target
    request = PinRequest(
        target, str(given.get("snapshot", "")), str(given.get("reason", "")), tools.memory.expected(target)
    )
    line = await tools.call(job, request, heartbeat)
    if line.pin is None:
        raise AssertionError("a pin ended without its result")
    made = line.pin
    by = given.get("requested_by")
    what = f"pinned: {made.reason}" if made.reason else "not pinned any more"
    reason = f"snapshot {made.snapshot} is {what}" + (f" (requested by {by})" if by else "")
    tools.publish("backup.pin_changed", reason, {"job": job.status.id}, Severity.INFO)
    return Outcome({"snapshot": made.snapshot, "reason": made.reason}, f"snapshot {made.snapshot} is {what}")


def _sentence(made: PruneResult) -> str:
    count = f"{made.removed_total} of {made.snapshots} snapshots"
    text = f"{count} would go" if made.dry_run else f"{count} were removed"
    text += f", {size_text(made.freed_bytes)} freed" if made.freed_bytes else ""
    return f"{text}; {made.excess}" if made.excess else text
