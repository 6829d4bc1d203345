"""Loop that brings the repositories up to date: by hand and by schedule alike they are jobs of one queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final

import anyio

from aiidpd.components.backup.localzone import LocalZone
from aiidpd.components.backup.offsite import decide, state
from aiidpd.components.backup.offsite.conditions import OVERDUE, TYPES
from aiidpd.components.backup.offsite.conditions import conditions as conditions_of
from aiidpd.components.backup.offsite.local import LocalSnapshot
from aiidpd.components.backup.offsite.repository import OffsiteFailed, Repository, Restored
from aiidpd.components.backup.offsite.result import Checked, Failure, Sign
from aiidpd.components.backup.offsite.run import OffsiteRun
from aiidpd.components.backup.offsite.settings import OffsiteSettings, RepositorySettings
from aiidpd.components.backup.offsite.state import OffsiteState, RepositoryRecord
from aiidpd.components.backup.offsite.view import OffsiteProgress, OffsiteView, RepositoryView
from aiidpd.components.backup.schedule import next_run_at, parse_schedule
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.errors import AiidpdError, Conflict, NotFound, Unavailable, describe
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.jobs import Job, JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat
from aiidpd.platform.statefile import StateFile
from aiidpd.platform.thread import in_daemon_thread

REFRESH_EVERY: Final = 30.0  # seconds between two decisions
_BEAT_EVERY: Final = 5.0

Local = Callable[[], LocalSnapshot | None]
"""Gives the newest whole local snapshot, None where there is none or it is not known."""

Open = Callable[[RepositorySettings], Repository]


class OffsiteWorker:
    """Runs what is due by ``queue`` and by the schedules; one repository at a time.

    ``file`` holds the records over restarts. ``open_repository`` makes the adapter of a repository.
    """

    simulated = False  # real programs, always

    def __init__(
        self,
        settings: OffsiteSettings,
        *,
        local: Local,
        open_repository: Open,
        file: StateFile[OffsiteState],
        queue: JobQueue,
        latest: Latest[OffsiteView],
        publish: Publisher,
        conditions: Conditions,
        clock: Clock,
        zone: tzinfo | None = None,
    ) -> None:
        self._settings = {each.name: each for each in settings.repositories}
        self._schedules = {
            each.name: parse_schedule(each.schedule) for each in settings.repositories if each.schedule
        }
        self._local = local
        self._open = open_repository
        self._file = file
        self._queue = queue
        self._latest = latest
        self._publisher = publish
        self._conditions = conditions
        self._clock = clock
        self._zone = zone or LocalZone()
        self._records: dict[str, RepositoryRecord] = {}
        self._running: tuple[str, OffsiteProgress] | None = None
        self._queued: set[str] = set()
        self._reading = ""

    async def run(self, heartbeat: Heartbeat) -> None:
        await self._load()
        if not self._settings:
            self._put()
            self._conditions.update(TYPES, ())
        job: Job | None = None
        while True:
            if self._settings or job is not None:
                with heartbeat.working():
                    if job is not None:
                        await self._serve(job, heartbeat)
                    self._refresh()
            if not self._settings:
                heartbeat.inactive("no repository is listed in [offsite]")
            job = await self._next_job(heartbeat)

    async def _load(self) -> None:
        wanted = [(each.name, _place(each)) for each in self._settings.values()]
        loaded, problem = await in_daemon_thread(self._file.load_or_set_aside)
        if problem:
            self._publisher.event("backup.offsite_state_lost", problem, severity=Severity.WARNING)
        self._records = state.records_of(loaded, wanted, self._clock.time())

    async def _next_job(self, heartbeat: Heartbeat) -> Job | None:
        """Return the next job, or None after a while."""
        job: Job | None = None
        wait = REFRESH_EVERY
        async with anyio.create_task_group() as group:

            async def bound() -> None:
                nonlocal wait
                while wait > 0:
                    part = min(wait, _BEAT_EVERY)
                    await self._clock.sleep(part)
                    heartbeat.beat()
                    wait -= part
                group.cancel_scope.cancel()

            group.start_soon(bound)
            job = await self._queue.next()
            group.cancel_scope.cancel()
        return job

    def _refresh(self) -> None:
        """Decide what is due, queue it, and bring view and conditions up to date."""
        now = self._clock.time()
        local = self._local()
        for name, record in self._records.items():
            due = self._due_at(record, local, now)
            if due is not None and due <= now and name not in self._queued:
                self._submit(name)
        self._put()

    def _due_at(self, record: RepositoryRecord, local: LocalSnapshot | None, now: float) -> float | None:
        schedule = self._schedules.get(record.name)
        scheduled = None
        if schedule is not None:
            scheduled = next_run_at(schedule, self._zone, last_success=record.succeeded_at or None, now=now)
        newest = local.id if local else ""
        settings = self._settings[record.name]
        return decide.due_at(record, settings, newest=newest, scheduled=scheduled, now=now)

    def _submit(self, name: str) -> None:
        try:
            self._queue.submit(act="run", repository=name, trigger="schedule")
        except Conflict:
            return  # the queue is full: it is still due in the next pass
        self._queued.add(name)

    async def _serve(self, job: Job, heartbeat: Heartbeat) -> None:
        name = str(job.arguments.get("repository", ""))
        if job.arguments.get("trigger") == "schedule":
            self._queued.discard(name)
        with job.running():
            settings = self._settings.get(name)
            if settings is None:
                known = ", ".join(self._settings) or "none is listed in [offsite]"
                raise NotFound(
                    "find repository", name, reason="there is no such one", remedy=f"there are: {known}"
                )
            async with anyio.create_task_group() as group:
                group.start_soon(self._beat, heartbeat)
                error: AiidpdError | None = None
                try:
                    await self._act(job, settings)
                except AiidpdError as raised:
                    error = raised  # raised below, outside the group that would wrap it
                group.cancel_scope.cancel()
            if error is not None:
                raise error

    async def _act(self, job: Job, settings: RepositorySettings) -> None:
        name = settings.name
        act = str(job.arguments.get("act", "run"))
        began = self._clock.monotonic()

        def moved(step: str, sign: Sign) -> None:
            message = f"{step}: {name}"
            job.progress(message, float(sign.done), float(sign.total), "bytes" if sign.total else "")
            self._running = (name, OffsiteProgress(step, sign.done, sign.total))
            self._put()

        run = OffsiteRun(
            settings,
            self._open(settings),
            self._records[name],
            clock=self._clock,
            moved=moved,
            changed=self._remember,
        )
        self._event("backup.offsite_started", f"{act} of {name} begins", name, job)
        try:
            restored = await self._do(act, job, run)
        except Unavailable as error:
            self._fail(run, act, error)
            self._event("backup.offsite_failed", describe(error), name, job, Severity.ERROR, act=act)
            raise
        except Conflict as error:
            self._event("backup.offsite_failed", describe(error), name, job, Severity.WARNING, act=act)
            raise
        except BaseException:
            reason = f"{act} of {name} was interrupted: the task was stopped or replaced"
            self._event("backup.offsite_failed", reason, name, job, Severity.WARNING, act=act)
            raise
        finally:
            self._running = None
            self._reading = ""
            self._put()
        seconds = round(self._clock.monotonic() - began, 3)
        result = restored | _result(run) | {"seconds": seconds}
        self._event("backup.offsite_succeeded", _words(act, run), name, job, act=act, **result)
        if run.sent is not None:
            self._publisher.sample("offsite_new_bytes", name, float(run.sent.new_bytes))
            self._publisher.sample("offsite_duration_seconds", name, run.record.seconds)
        job.succeed(**result)

    async def _do(self, act: str, job: Job, run: OffsiteRun) -> dict[str, Any]:
        """Do it, and return what is to be said of a restore."""
        name = run.record.name
        if act == "init":
            await run.create()
        if act == "restore":
            to = Path(str(job.arguments["to"]))
            return _restored(to, await run.restore(to, str(job.arguments.get("snapshot") or "")))
        if act == "verify":
            parts = 1 if job.arguments.get("all") else max(1, self._settings[name].verify_parts)
            sent = self._sent_snapshot(name)
            self._reading = sent.id if sent else ""
            await run.verify(sent, state.next_part(run.record, parts), parts)
        if act == "run":
            local = self._local()
            if local is None:
                reason = "there is no whole local snapshot, or the target is not read yet"
                raise Conflict("send a snapshot to", name, reason=reason, remedy="see `aiidpctl backup list`")
            self._reading = local.id
            await run.execute(local)
        return {}

    def _sent_snapshot(self, name: str) -> LocalSnapshot | None:
        """Return the local snapshot that was sent last; it may be gone by now."""
        local, identity = self._local(), self._records[name].snapshot
        if local is None or not identity:
            return None
        return replace(local, id=identity, folder=local.folder.parent / identity)

    def _fail(self, run: OffsiteRun, act: str, error: Unavailable) -> None:
        """Remember the failure of a run. Damage that it found has a record of its own, and is not retried."""
        failure = error.failure if isinstance(error, OffsiteFailed) else None
        if act == "run" and failure is not Failure.DAMAGED:
            self._remember(state.failed(run.record, failure, describe(error), now=self._clock.time()))
        elif act == "run":
            self._remember(state.well(run.record))

    def _remember(self, record: RepositoryRecord) -> None:
        self._records[record.name] = record
        self._file.save_soon(OffsiteState(repositories=tuple(self._records.values())))
        self._put()

    async def _beat(self, heartbeat: Heartbeat) -> None:
        while True:
            heartbeat.beat()
            await self._clock.sleep(_BEAT_EVERY)

    def _put(self) -> None:
        now = self._clock.time()
        local = self._local()
        views = []
        active: list[Condition] = []
        for name, record in self._records.items():
            settings = self._settings[name]
            found = tuple(conditions_of(record, settings, now))
            active += found
            running = self._running[1] if self._running and self._running[0] == name else None
            views.append(
                RepositoryView(
                    record,
                    settings.engine,
                    settings.repository,
                    settings.schedule,
                    settings.verify_parts,
                    next_run_at=self._due_at(record, local, now),
                    running=running,
                    overdue=any(each.type == OVERDUE for each in found),
                )
            )
        self._conditions.update(TYPES, active)
        self._latest.put(OffsiteView(local.id if local else "", self._reading, tuple(views)))

    def _event(
        self,
        kind: str,
        reason: str,
        name: str,
        job: Job,
        severity: Severity = Severity.INFO,
        **evidence: Scalar,
    ) -> None:
        self._publisher.event(kind, reason, about=name, severity=severity, job=job.status.id, **evidence)


def _place(settings: RepositorySettings) -> str:
    return f"{settings.engine} {settings.repository}"


def _result(run: OffsiteRun) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if run.sent is not None:
        rate = run.record.rate
        result |= {
            "snapshot": run.record.snapshot,
            "stored_as": run.sent.snapshot,
            "files": run.sent.files,
            "bytes": run.sent.bytes,
            "new_bytes": run.sent.new_bytes,
            "send_seconds": round(run.record.seconds, 3),
            "new_bytes_per_second": None if rate is None else round(rate),
        }
    if run.checked is not None:
        result |= _checked(run.checked, run.record)
    return result


def _checked(found: Checked, record: RepositoryRecord) -> dict[str, Any]:
    return {
        "verified": found.read,
        "verified_of": found.total,
        "verified_unit": found.unit,
        "verify_seconds": round(record.verified_seconds, 3),
    }


def _restored(to: Path, found: Restored) -> dict[str, Any]:
    return {"to": str(to), "files": found.files, "bytes": found.bytes, "proven": found.proven}


def _words(act: str, run: OffsiteRun) -> str:
    name = run.record.name
    if act == "run" and run.sent is not None:
        words = f"snapshot {run.record.snapshot} is at {name}: {run.sent.files} files"
        words += f", {run.sent.new_bytes} new bytes"
        if run.checked is not None:
            words += f"; {run.checked.read} of {run.checked.total} {run.checked.unit} read back"
        return words
    if act == "verify" and run.checked is not None:
        return f"{name} is well: {run.checked.read} of {run.checked.total} {run.checked.unit} read back"
    return f"{act} of {name} is done"
