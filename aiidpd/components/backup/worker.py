"""Loop that backs up, verifies, restores and prunes: by hand and by schedule alike as jobs of one queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import anyio

from aiidpd.components.backup.client import BackupProcess
from aiidpd.components.backup.conditions import TYPES, conditions_of
from aiidpd.components.backup.localzone import LocalZone
from aiidpd.components.backup.process.manifest import MANIFEST
from aiidpd.components.backup.process.marker import MARKER
from aiidpd.components.backup.process.pins import PINS
from aiidpd.components.backup.process.proofs import PROOFS
from aiidpd.components.backup.process.requests import CatalogRequest, SummaryRequest
from aiidpd.components.backup.process.results import SummaryResult
from aiidpd.components.backup.process.store import SNAPSHOTS, Store
from aiidpd.components.backup.pruning import pin, prune
from aiidpd.components.backup.record import BackupMemory
from aiidpd.components.backup.restoring import restore
from aiidpd.components.backup.runs import back_up
from aiidpd.components.backup.schedule import Jitter, next_run_at, parse_schedule
from aiidpd.components.backup.settings import BackupSettings
from aiidpd.components.backup.tools import BackupTools, Outcome
from aiidpd.components.backup.verifying import drill, verify
from aiidpd.components.backup.view import (
    BackupView,
    SnapshotInfo,
    info_of,
    newest,
    store_of,
)
from aiidpd.contracts.backups import BackupCatalog, CatalogFile
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import Conflict, Misconfigured, Unavailable
from aiidpd.kernel.jobs import Job, JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat
from aiidpd.platform.thread import ThreadProbe

REFRESH_EVERY: Final = 30.0  # seconds between two readings of the target
STALL_AFTER: Final = 90.0
"""Seconds in which nothing moves; then work is given up, before the task counts as hung."""
SETTLE: Final = 5.0
"""Seconds without a change before a file is read: one write that is under way sets its time only once."""
_RETRY_AFTER: Final = 900.0  # seconds from a failed run to the next scheduled one
Work: TypeAlias = Callable[[Job, BackupTools, Heartbeat], Awaitable[Outcome]]
WORKS: Final[Mapping[str, Work]] = {
    "run": back_up,
    "verify": verify,
    "restore": restore,
    "drill": drill,
    "prune": prune,
    "pin": pin,
}


class BackupWorker:
    """Does the work that is due by ``queue`` and by the schedules.

    ``latest`` outlives the worker and carries the last run's outcome to its successor. Raises
    :class:`Misconfigured` for a schedule that is none. Work in which nothing moves for ``stall_after``
    (seconds) is given up. ``loading`` returns the engine that loads a model, ``sending`` the snapshot that is
    sent elsewhere, empty for none.
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
        memory: BackupMemory,
        clock: Clock,
        scratch: Path,
        loading: Callable[[], str] = str,
        sending: Callable[[], str] = str,
        jitter: Jitter | None = None,
        zone: tzinfo | None = None,
        stall_after: float = STALL_AFTER,
        settle: float = SETTLE,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._conditions = conditions
        self._clock = clock
        self._zone = zone or LocalZone()
        self._jitter = jitter or Jitter("", 0.0)
        self._schedules = {
            work: parse_schedule(text)
            for work, text in (
                ("run", settings.schedule),
                ("verify", settings.verify.schedule),
                ("drill", settings.drill.schedule),
            )
            if text
        }
        self._process = BackupProcess(clock, stall_after=stall_after)
        self._probe = ThreadProbe(clock, stall_after)
        self._seen: object = None
        self._summary: SummaryResult | None = None
        missing = " and ".join(settings.missing_keys)
        view = BackupView(
            configured=not missing,
            reason=f"{missing} not set" if missing else "",
            source=str(settings.source or ""),
            target=str(settings.target or ""),
            schedule=settings.schedule,
        )
        before = latest.get()
        if before is not None and (before.value.source, before.value.target) == (view.source, view.target):
            view = replace(view, last_run=before.value.last_run)
        self._tools = BackupTools(
            settings,
            self._process,
            latest,
            publish,
            memory,
            clock,
            view,
            settings.drill.scratch or scratch,
            loading,
            sending,
            settle,
        )

    @property
    def _view(self) -> BackupView:
        return self._tools.view

    async def run(self, heartbeat: Heartbeat) -> None:
        """Work until cancelled."""
        job: Job | None = None
        while True:
            with heartbeat.working():
                if job is not None:
                    await self._serve(job, heartbeat)
                await self._refresh(heartbeat)
                self._complain()
            job = await self._next_job()

    # What is due

    async def _next_job(self) -> Job | None:
        """Return the next job, after queueing scheduled ones that are due; None to refresh."""
        with anyio.move_on_after(0):
            return await self._queue.next()
        wait = REFRESH_EVERY
        for work, at in self._due().items():
            left = at - self._clock.time()
            wait = min(wait, left)
            if left <= 0:
                self._queue_scheduled(work)
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

    def _due(self) -> dict[str, float]:
        """Return when each kind of work is due next, in Unix seconds; none before there is a backup."""
        found = {}
        if self._view.next_run_at is not None:
            found["run"] = self._view.next_run_at
        if self._view.last_success_at is not None:
            record = self._tools.memory.record
            for work, last in (("verify", record.verified_at), ("drill", record.drilled_at)):
                schedule = self._schedules.get(work)
                # Without any, the first is due as if one had been held when the first backup was made.
                since = last or self._view.last_success_at
                at = (
                    None
                    if schedule is None
                    else schedule.next_after(min(since, self._clock.time()), self._zone)
                )
                if at is not None:
                    found[work] = at
        return found

    def _queue_scheduled(self, work: str) -> None:
        try:
            self._queue.submit(work=work, trigger="schedule")
        except Conflict:
            return  # the queue is full: what is due is tried again after it

    # The state

    async def _refresh(self, heartbeat: Heartbeat) -> None:
        """Bring the view up to date; raises :class:`Unavailable` while the target can't be read."""
        if not self._view.configured:
            self._tools.put()
            self._conditions.update(TYPES, ())
            return
        try:
            await self._read_target()
        except Unavailable:
            self._seen = None
            self._tools.put(next_run_at=None)  # what is not known is not due: no run piles up on a dead disk
            raise
        heartbeat.beat()
        now = self._clock.time()
        if self._summary is not None:
            snapshots = tuple(info_of(each, now) for each in self._summary.snapshots)
            self._tools.put(snapshots=snapshots, store=store_of(self._summary))
        view, record = self._view, self._tools.memory.record
        last_good = newest(view.snapshots, view.source)
        await self._list(last_good)
        last = view.last_run
        failed = last is not None and not last.succeeded
        run_at = next_run_at(
            self._schedules.get("run"),
            self._zone,
            last_success=last_good.current_at if last_good else None,
            now=now,
            not_before=now + last.ended + _RETRY_AFTER - self._clock.monotonic() if last and failed else None,
            jitter=self._jitter,
        )
        self._tools.put(
            last_success_at=last_good.current_at if last_good else None,
            last_verified_at=record.verified_at,
            last_restored_at=record.drilled_at,
            next_run_at=run_at,
        )
        self._conditions.update(TYPES, conditions_of(self._view, now, self._settings.verify.within))

    async def _read_target(self) -> None:
        """Read the target where it has changed since, by its folder and its lists."""
        target = self._view.target
        seen = await self._probe.call(lambda: _signature(target), "the backup target", target)
        if seen == self._seen:
            return
        summary = (await self._process.call(SummaryRequest(target), _ignore)).summary
        if summary is None:
            raise AssertionError("a summary ended without its result")
        self._summary = summary
        self._seen = seen

    async def _list(self, snapshot: SnapshotInfo | None) -> None:
        """Have the catalog of the newest whole snapshot, for those who compare files with it."""
        before = self._view.catalog
        if snapshot is None:
            self._tools.put(catalog=None)
        elif before is None or before.snapshot != snapshot.id:
            request = CatalogRequest(self._view.target, snapshot.id)
            found = (await self._process.call(request, _ignore)).catalog
            files = () if found is None else found.files
            listed = {each.path: CatalogFile(each.size, each.mtime_ms, each.sha256) for each in files}
            self._tools.put(
                catalog=BackupCatalog(
                    self._view.source,
                    self._view.target,
                    snapshot.id,
                    snapshot.created_at,
                    snapshot.current_at,
                    MappingProxyType(listed),
                )
            )
        elif before.current_at != snapshot.current_at:
            self._tools.put(catalog=replace(before, current_at=snapshot.current_at))

    def _complain(self) -> None:
        """Raise :class:`Unavailable` where the last run failed: until one succeeds the task is degraded."""
        last = self._view.last_run
        if self._view.configured and last is not None and not last.succeeded:
            reason, remedy = f"the last run failed: {last.error}", "'aiidpctl backup run' tries again at once"
            raise Unavailable("back up", self._view.source, reason=reason, remedy=remedy)

    # The work

    async def _serve(self, job: Job, heartbeat: Heartbeat) -> None:
        with job.running():
            if not self._view.configured:
                what, remedy = "the models", "set both in the table [backup], then 'aiidpctl reload'"
                raise Misconfigured("back up", what, reason=self._view.reason, remedy=remedy)
            self._probe.check("the backup target", self._view.target)
            if (pid := self._process.stuck) is not None:  # another one on the same dead disk would hang too
                reason = f"the last work was given up, and process {pid} hangs still"
                remedy = "see dmesg for the disk that it waits for"
                raise Conflict("back up", self._view.source, reason=reason, remedy=remedy)
            work = str(job.arguments.get("work", "run"))
            self._seen = None
            outcome = await WORKS[work](job, self._tools, heartbeat)
            with suppress(Unavailable):  # the next pass says so
                await self._refresh(heartbeat)  # whoever waited for the job sees what came of it
            outcome.end(job)
            if outcome.stored:
                self._follow_up()

    def _follow_up(self) -> None:
        """Queue what follows a backup: what it has written is read back, and what is not kept is removed."""
        for work in ("verify", "prune"):
            self._queue_after(work)

    def _queue_after(self, work: str) -> None:
        try:
            self._queue.submit(work=work, trigger="backup")
        except Conflict:
            return


def _ignore(_: Any) -> None:
    """Take no note of the progress."""


def _signature(target: str) -> object:
    """Return what changes where a target does: versions of its folders and lists; raises Unavailable."""
    store = Store(Path(target))
    lists = [store.snapshots / identity / MANIFEST for identity in store.identities()]
    beside = [store.target / name for name in (SNAPSHOTS, MARKER, PROOFS, PINS)]
    return tuple(_version(path) for path in (*beside, *lists))


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
