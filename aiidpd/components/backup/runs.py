"""Runs: a snapshot is made, or the newest one is found to be as the source is."""

from __future__ import annotations

from aiidpd.components.backup.process.names import files_text, size_text
from aiidpd.components.backup.process.requests import RunRequest
from aiidpd.components.backup.process.results import RunResult as Made
from aiidpd.components.backup.text import named
from aiidpd.components.backup.tools import BackupTools, Outcome
from aiidpd.components.backup.view import RunResult
from aiidpd.kernel.errors import describe
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.jobs import Job
from aiidpd.kernel.task import Heartbeat


async def back_up(job: Job, tools: BackupTools, heartbeat: Heartbeat) -> Outcome:
    """Carry out a run. Raises what prevents it."""
    began = tools.clock.monotonic()
    view = tools.view
    trigger = job.arguments.get("trigger", "hand")
    user = job.arguments.get("requested_by")
    why = f"requested by {user}" if user else f"by {trigger}"
    reason = f"a backup of {view.source} to {view.target} begins ({why})"
    tools.publish("backup.started", reason, {"job": job.status.id, "trigger": trigger})
    try:
        line = await tools.call(job, _request(job, tools), heartbeat)
    except Exception as error:
        _failed(job, tools, describe(error), tools.clock.monotonic() - began)
        raise
    except BaseException:
        reason = "it was interrupted: the worker was stopped or replaced"
        tools.publish("backup.failed", reason, {"job": job.status.id}, Severity.WARNING)
        raise
    if line.run is None:
        raise AssertionError("a run ended without its result")
    tools.memory.used(view.target, line.run.target)
    return _ended(job, tools, line.run, tools.clock.monotonic() - began)


def _request(job: Job, tools: BackupTools) -> RunRequest:
    settings, view = tools.settings, tools.view
    return RunRequest(
        view.source,
        view.target,
        expected=tools.memory.expected(view.target),
        adopt=bool(job.arguments.get("adopt")),
        exclude=settings.exclude,
        reserve=settings.reserve,
        rate=settings.rate,
        settle=tools.settle,
        xattrs=settings.xattrs,
        now=tools.clock.time(),
    )


def _failed(job: Job, tools: BackupTools, error: str, seconds: float) -> None:
    ended = tools.clock.monotonic()
    tools.put(last_run=RunResult(False, tools.clock.time(), seconds, error=error, ended=ended))
    evidence: dict[str, Scalar] = {"job": job.status.id, "seconds": round(seconds, 3)}
    tools.publish("backup.failed", error, evidence, Severity.ERROR)


def _ended(job: Job, tools: BackupTools, made: Made, seconds: float) -> Outcome:
    evidence: dict[str, Scalar] = {
        "snapshot": made.snapshot,
        "unchanged": made.unchanged,
        "files": made.files,
        "bytes": made.bytes,
        "copied_files": made.copied_files,
        "copied_bytes": made.copied_bytes,
        "linked_files": made.linked_files,
        "linked_bytes": made.linked_bytes,
        "read_bytes": made.read_bytes,
        "left_out": len(made.left_out),
        "rotten": len(made.rotten),
        "seconds": round(seconds, 3),
    }
    result = RunResult(
        True,
        tools.clock.time(),
        seconds,
        made.snapshot,
        made.unchanged,
        made.copied_files,
        made.copied_bytes,
        made.linked_files,
        made.linked_bytes,
        len(made.left_out),
        ended=tools.clock.monotonic(),
    )
    tools.put(last_run=result)
    wrong = wrong_with(made)
    severity = Severity.WARNING if wrong else Severity.INFO
    summary = _sentence(made, wrong)
    tools.publish("backup.succeeded", summary, {"job": job.status.id, **evidence}, severity)
    for series, value in (
        ("duration_seconds", seconds),
        ("copied_bytes", made.copied_bytes),
        ("snapshot_bytes", made.bytes),
    ):
        tools.publisher.sample(series, tools.view.target, float(value))
    lacking = made.left_out or made.rotten
    return Outcome(evidence, summary, "; ".join(wrong) if lacking else "", stored=made.copied_bytes > 0)


def _sentence(made: Made, wrong: list[str]) -> str:
    if made.unchanged:
        text = f"the source is as snapshot {made.snapshot} has it, {files_text(made.files)}"
    else:
        text = (
            f"snapshot {made.snapshot} holds {files_text(made.files)}, {size_text(made.bytes)}: "
            f"{made.copied_files} copied, {made.linked_files} unchanged"
        )
    return "; ".join((text, *wrong))


def wrong_with(made: Made) -> list[str]:
    """Return what a person must know of a run that made a snapshot, a sentence each."""
    found = []
    if made.left_out:
        found.append(f"left out: {named(made.left_out)}")
    if made.rotten:
        rotten = named(dict.fromkeys(made.rotten, ""))
        found.append(f"the source's disk has changed {rotten}: the good content was retained")
    if made.rewritten:
        rewritten = named(dict.fromkeys(made.rewritten, ""))
        found.append(
            f"{rewritten} has other content under its old time: it was backed up, and snapshot "
            f"{made.protected} with the earlier content is pinned"
        )
    if made.own_copies and not made.unchanged:
        found.append("the target has no hard links, so that each snapshot takes its whole room")
    return found
