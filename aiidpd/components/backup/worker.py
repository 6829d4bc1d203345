"""Loop that runs backups: by hand and by schedule alike they are jobs of one queue."""

from __future__ import annotations

from dataclasses import replace
from datetime import tzinfo
from typing import Any, Final, NoReturn

import anyio

from aiidpd.components.backup.cancel import RunControl
from aiidpd.components.backup.conditions import update_conditions
from aiidpd.components.backup.names import files_text, size_text
from aiidpd.components.backup.progress import follow
from aiidpd.components.backup.run import BackupRun
from aiidpd.components.backup.schedule import LocalZone, next_run_at, parse_schedule
from aiidpd.components.backup.settings import BackupSettings
from aiidpd.components.backup.store import Store
from aiidpd.components.backup.view import BackupView, RunProgress, RunResult, SnapshotInfo, mark, newest
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import Conflict, Misconfigured, Unavailable, describe
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.jobs import Job, JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat
from aiidpd.platform.thread import ThreadProbe

REFRESH_EVERY = 30.0  # seconds between two readings of the target
STALL_AFTER: Final = (
    90.0  # seconds in which nothing moves; then a run is given up, before the task counts as hung
)
_RETRY_AFTER: Final = 900.0  # seconds from a failed run to the next scheduled one


class BackupWorker:
    """Runs the backups that are due by ``queue`` and by the schedule.

    ``latest`` outlives the worker and carries the last run's outcome to its successor. Raises
    :class:`Misconfigured` for a schedule that is none. A run in which nothing moves for ``stall_after``
    (seconds) is given up.
    """

    simulated = False  # real files, always

    def __init__(
        self,
        settings: BackupSettings,
        *,
        queue: JobQueue,
        latest: Latest[BackupView],
        publish: Publisher,
        conditions: Conditions,
        clock: Clock,
        zone: tzinfo | None = None,
        stall_after: float = STALL_AFTER,
    ) -> None:
        self._settings = settings
        self._stall_after = stall_after
        self._queue = queue
        self._latest = latest
        self._publisher = publish
        self._conditions = conditions
        self._clock = clock
        self._zone = zone or LocalZone()
        self._schedule = parse_schedule(settings.schedule) if settings.schedule else None
        self._store = Store(settings.target) if settings.target else None
        self._hanging = False
        self._target_probe = ThreadProbe(clock, stall_after)
        missing = " and ".join(settings.missing_keys)
        self._view = BackupView(
            configured=not missing,
            reason=f"{missing} not set" if missing else "",
            source=str(settings.source or ""),
            target=str(settings.target or ""),
            schedule=settings.schedule,
        )
        before = latest.get()
        if before is not None and (before.value.source, before.value.target) == (
            self._view.source,
            self._view.target,
        ):
            self._view = replace(self._view, last_run=before.value.last_run)

    async def run(self, heartbeat: Heartbeat) -> None:
        job: Job | None = None
        while True:
            with heartbeat.working():
                if job is not None:
                    await self._serve(job, heartbeat)
                await self._refresh(heartbeat)
            job = await self._next_job()

    async def _next_job(self) -> Job | None:
        """Return the next job, after queueing a scheduled one that is due; None to refresh."""
        with anyio.move_on_after(0):
            return await self._queue.next()
        wait, run_at = REFRESH_EVERY, self._view.next_run_at
        if run_at is not None:
            wait = min(wait, run_at - self._clock.time())
            if wait <= 0:
                self._queue_scheduled()
        job: Job | None = None
        async with anyio.create_task_group() as group:

            async def bound() -> None:
                await self._clock.sleep(wait)
                group.cancel_scope.cancel()

            if wait > 0:
                group.start_soon(bound)
            job = await self._queue.next()
            group.cancel_scope.cancel()
        return job

    def _queue_scheduled(self) -> None:
        try:
            self._queue.submit(trigger="schedule")
        except Conflict:
            return  # the jobs that fill the queue are backups too: the next of them is what is due

    async def _refresh(self, heartbeat: Heartbeat) -> None:
        """Bring the view up to date; raises :class:`Unavailable` while backups do not work."""
        if self._store is None:
            self._put()
            update_conditions(self._conditions, "", ())
            return
        try:
            snapshots = await self._target_probe.call(self._store.all, "the backup target", self._view.target)
        except Unavailable:
            self._put(next_run_at=None)  # what is not known is not due: no run piles up on a dead disk
            raise
        heartbeat.beat()
        now = self._clock.time()
        snapshots = mark(snapshots, now)
        update_conditions(self._conditions, self._view.target, snapshots)
        last_good = newest(snapshots, self._view.source)
        last = self._view.last_run
        failed = last is not None and not last.succeeded
        run_at = next_run_at(
            self._schedule,
            self._zone,
            last_success=last_good.created_at if last_good else None,
            now=now,
            not_before=now + last.ended + _RETRY_AFTER - self._clock.monotonic() if last and failed else None,
        )
        success = last_good.verified_at if last_good else None
        self._put(snapshots=snapshots, last_success_at=success, next_run_at=run_at)
        if last and failed:
            self._fail_again(last)

    def _fail_again(self, last: RunResult) -> NoReturn:
        """Raise :class:`Unavailable`: until a backup succeeds no pass does, and the task is degraded."""
        remedy = "'aiidpctl backup run' tries again at once"
        raise Unavailable(
            "back up", self._view.source, reason=f"the last run failed: {last.error}", remedy=remedy
        )

    async def _serve(self, job: Job, heartbeat: Heartbeat) -> None:
        with job.running():
            if not self._view.configured:
                what, remedy = "the models", "set both in the table [backup], then 'aiidpctl reload'"
                raise Misconfigured("back up", what, reason=self._view.reason, remedy=remedy)
            self._target_probe.check("the backup target", self._view.target)
            if self._hanging:  # another thread on the same dead disk would hang too
                reason, remedy = (
                    "the last run was given up and hangs still",
                    "see dmesg, then restart the daemon",
                )
                raise Conflict("back up", self._view.source, reason=reason, remedy=remedy)
            await self._backup(job, heartbeat)

    async def _backup(self, job: Job, heartbeat: Heartbeat) -> None:
        began = self._clock.monotonic()
        trigger = job.arguments.get("trigger", "hand")
        user = job.arguments.get("requested_by")
        why = f"requested by {user}" if user else f"by {trigger}"
        reason = f"a backup of {self._view.source} to {self._view.target} begins ({why})"
        self._publish("backup.started", reason, {"job": job.status.id, "trigger": trigger})
        try:
            info = await self._run(job, heartbeat)
        except Exception as error:
            seconds = self._clock.monotonic() - began
            now = self._clock.time()
            ended = self._clock.monotonic()
            self._put(last_run=RunResult(False, now, seconds, error=describe(error), ended=ended))
            self._publish(
                "backup.failed", describe(error), {"job": job.status.id, "seconds": seconds}, Severity.ERROR
            )
            raise
        except BaseException:
            evidence: dict[str, Scalar] = {"job": job.status.id}
            reason = "it was interrupted: the worker was stopped or replaced"
            self._publish("backup.failed", reason, evidence, Severity.WARNING)
            raise
        self._succeed(job, info, self._clock.monotonic() - began)

    async def _run(self, job: Job, heartbeat: Heartbeat) -> SnapshotInfo:
        def moved(progress: RunProgress) -> None:
            heartbeat.beat()
            message = f"{progress.phase} {progress.files_done} of {files_text(progress.files)}"
            job.progress(message, progress.bytes_done, progress.bytes, "bytes")
            self._put(running=progress)

        control = RunControl()
        run = BackupRun(self._settings, control, self._clock.time)

        def execute() -> SnapshotInfo:
            try:
                return run.execute()
            finally:
                self._hanging = False

        self._hanging = True
        try:
            return await follow(execute, control, moved, clock=self._clock, stall_after=self._stall_after)
        finally:
            self._put(running=None)

    def _succeed(self, job: Job, info: SnapshotInfo, seconds: float) -> None:
        evidence: dict[str, Scalar] = {
            "snapshot": info.id,
            "files": info.files,
            "bytes": info.bytes,
            "copied_files": info.copied_files,
            "copied_bytes": info.copied_bytes,
            "linked_files": info.linked_files,
            "linked_bytes": info.linked_bytes,
            "refused": info.refused,
            "seconds": round(seconds, 3),
        }
        result = RunResult(
            True,
            self._clock.time(),
            seconds,
            info.id,
            info.copied_files,
            info.copied_bytes,
            info.linked_files,
            info.linked_bytes,
            ended=self._clock.monotonic(),
        )
        self._put(last_run=result)
        reason = (
            f"snapshot {info.id} holds {files_text(info.files)}, {size_text(info.bytes)}: "
            f"{info.copied_files} copied and verified, {info.linked_files} unchanged"
        )
        if info.refused:
            reason += f"; {info.refused} left out, as its manifest.json says"
        severity = Severity.WARNING if info.refused else Severity.INFO
        self._publish("backup.succeeded", reason, {"job": job.status.id, **evidence}, severity)
        for series, value in (
            ("duration_seconds", seconds),
            ("copied_bytes", info.copied_bytes),
            ("snapshot_bytes", info.bytes),
        ):
            self._publisher.sample(series, self._view.target, float(value))
        job.succeed(**evidence)

    def _put(self, **changes: Any) -> None:
        self._view = replace(self._view, **changes)
        self._latest.put(self._view)

    def _publish(
        self, kind: str, reason: str, evidence: dict[str, Scalar], severity: Severity = Severity.INFO
    ) -> None:
        self._publisher.event(kind, reason, about=self._view.source, severity=severity, **evidence)
