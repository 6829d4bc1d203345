"""The worker on real files and a clock that only the test moves."""

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any

import anyio
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from aiidpd.components.backup.metrics import BackupCollector
from aiidpd.components.backup.record import FILE, BackupMemory, BackupRecord
from aiidpd.components.backup.settings import BackupSettings
from aiidpd.components.backup.view import BackupView, RunProgress, SnapshotInfo
from aiidpd.components.backup.worker import REFRESH_EVERY, BackupWorker
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import Misconfigured
from aiidpd.kernel.events import Event, Sample, Severity
from aiidpd.kernel.jobs import Job, JobBook, JobQueue, JobState, JobStatus
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerState, WorkerStatus
from aiidpd.platform.statefile import StateFile
from aiidpd.platform.thread import NAME
from tests.fakes.clock import FakeClock, settle
from tests.tables import made
from tests.unit.components.backup.conftest import Site
from tests.waiting import PATIENCE

DAILY = "*-*-* 03:00:00"


@dataclass
class Desk:
    """Everything around a worker that outlives it."""

    clock: FakeClock
    folder: Path
    events: list[Event] = field(default_factory=list)
    workers: list[BackupWorker] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bus = EventBus()
        self.bus.attach(events=self.events.append, samples=self.samples.append)
        self.conditions = Conditions(self.clock, self.bus)
        self.latest: Latest[BackupView] = Latest(self.clock, 1e9)
        self.book = JobBook(self.clock)
        self.queue = JobQueue(self.book, "backup")
        self.status = WorkerStatus("backup")
        self.jobs = 0
        self.memory = BackupMemory(StateFile(self.folder / FILE, BackupRecord), self.conditions)
        self.loading = ""

    def made(self, settings: BackupSettings) -> BackupWorker:
        return BackupWorker(
            settings,
            queue=self.queue,
            latest=self.latest,
            publish=Publisher(self.bus, self.clock, "backup"),
            conditions=self.conditions,
            memory=self.memory,
            clock=self.clock,
            scratch=self.folder / "drill",
            loading=lambda: self.loading,
            zone=UTC,
            settle=0.0,
        )

    @asynccontextmanager
    async def worker(self, settings: BackupSettings) -> AsyncIterator[None]:
        worker = self.made(settings)
        self.workers.append(worker)
        assert worker.simulated is False
        first_pass = anyio.Event()
        heartbeat = Heartbeat(self.clock, self.status, first_pass)
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run, heartbeat)
            with anyio.fail_after(PATIENCE):
                await first_pass.wait()
            yield
            group.cancel_scope.cancel()

    @property
    def view(self) -> BackupView:
        reading = self.latest.get()
        assert reading is not None
        return reading.value

    def kinds(self) -> list[str]:
        """Kinds of the events about runs; what was written is read back after each, and restored at times."""
        others = ("backup.verified", "backup.drill_held")
        return [event.kind for event in self.events if event.kind not in others]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait, in real time, for what threads do."""
        with anyio.fail_after(PATIENCE):
            while not condition():  # noqa: ASYNC110 -- threads and files set no anyio.Event
                await anyio.sleep(0.002)

    async def passes(self, count: int) -> None:
        await self.until(lambda: self.status.passes + self.status.failed_passes >= count)

    async def elapse(self, seconds: float) -> None:
        """Move the clock in steps short enough that threads, which take real time, look quick to it."""
        while seconds > 0:
            step = min(seconds, 10.0)
            await self.clock.advance(step)
            seconds -= step
            await self.calm()

    async def calm(self) -> None:
        """Wait until nothing works, and nothing was started by what the last work brought."""
        looks = 0
        while looks < 3:
            await self.until(lambda: not self.working())
            await settle()
            await anyio.sleep(0.001)
            looks = 0 if self.working() else looks + 1

    def working(self) -> bool:
        threads = any(thread.name == NAME for thread in threading.enumerate())
        return threads or any(each._process.working for each in self.workers)


@pytest.fixture
def desk(clock: FakeClock, tmp_path: Path) -> Desk:
    folder = tmp_path / "state"
    folder.mkdir()
    # The process has the machine's clock; a begin of ten minutes, so that schedules are due when they were.
    clock.jump(time.time() // 600 * 600 - clock.time())
    return Desk(clock, folder)


def settings(site: Site, **more: Any) -> BackupSettings:
    given = {"schedule": DAILY, "reserve": 0, "jitter": 0.0, **more}
    return made(BackupSettings, source=site.source, target=site.target, **given)


async def outcome(job: Job) -> JobStatus:
    with anyio.fail_after(PATIENCE):
        async for status in job.updates():
            last = status
    return last


async def test_without_any_backup_one_is_made_at_once_and_shown(desk: Desk, site: Site):
    async with desk.worker(settings(site)):
        await desk.passes(2)
        assert desk.kinds() == ["backup.started", "backup.succeeded"]
        view = desk.view
        assert [snapshot.broken for snapshot in view.snapshots] == [""]
        assert view.last_success_at == desk.clock.time()
        assert view.last_run is not None
        assert view.last_run.snapshot == view.snapshots[0].id
        assert view.running is None
        assert view.next_run_at is not None
        assert 0 < view.next_run_at - desk.clock.time() <= 86400
        assert desk.status.state is WorkerState.RUNNING
        evidence = desk.events[1].evidence
        assert (evidence["copied_files"], evidence["bytes"], evidence["left_out"]) == (3, 300_005, 0)
        assert {sample.series for sample in desk.samples} == {
            "duration_seconds",
            "copied_bytes",
            "snapshot_bytes",
        }
        job = desk.book.all()[0]
        assert job.state is JobState.SUCCEEDED
        assert job.result["snapshot"] == view.snapshots[0].id


async def test_the_schedule_is_kept_and_what_was_missed_is_made_up(desk: Desk, site: Site):
    every = settings(site, schedule="*:0/10")
    async with desk.worker(every):
        await desk.passes(2)
        due = desk.view.next_run_at
        assert due is not None
        assert 0 < due - desk.clock.time() <= 600
        await desk.elapse(due - desk.clock.time() - 1)
        assert len(desk.view.snapshots) == 1
        site.change()
        await desk.elapse(2)
        assert len(desk.view.snapshots) == 2
        assert desk.view.next_run_at == due + 600
    await desk.clock.advance(10 * 86400)  # the machine was off
    site.change()
    async with desk.worker(every):
        await desk.elapse(1)
        assert len(desk.view.snapshots) == 3  # once, not for each run that was missed
        assert desk.view.next_run_at is not None
        assert desk.view.next_run_at > desk.clock.time()


async def test_a_run_by_hand_is_a_job_with_its_result(desk: Desk, site: Site):
    async with desk.worker(settings(site, schedule="")):
        assert desk.view.next_run_at is None
        status = await outcome(desk.queue.submit())
        assert [each.id for each in desk.view.snapshots] == [status.result["snapshot"]]  # already
        assert status.state is JobState.SUCCEEDED
        assert (status.result["files"], status.result["copied_files"]) == (3, 3)
        second = await outcome(desk.queue.submit(requested_by="alice (uid 1000)"))
        assert (second.result["copied_files"], second.result["linked_files"]) == (0, 3)
        assert "by hand" in desk.events[0].reason
        assert any("requested by alice (uid 1000)" in event.reason for event in desk.events)


async def test_an_unconfigured_worker_is_up_and_says_what_to_set(desk: Desk):
    async with desk.worker(BackupSettings()):
        assert desk.status.state is WorkerState.RUNNING
        assert desk.view == BackupView(
            configured=False, reason="backup.source and backup.target not set", schedule="Sun 03:00"
        )
        status = await outcome(desk.queue.submit())
        assert status.state is JobState.FAILED
        assert status.error == (
            "cannot back up the models: backup.source and backup.target not set; "
            "set both in the table [backup], then 'aiidpctl reload'"
        )
        await desk.elapse(1)
        assert desk.status.state is WorkerState.RUNNING
        assert desk.events == []


async def test_half_a_configuration_names_the_missing_half(desk: Desk, site: Site):
    async with desk.worker(made(BackupSettings, source=site.source)):
        assert desk.view.reason == "backup.target not set"


async def test_who_waited_for_a_run_that_left_something_out_sees_its_snapshot(desk: Desk, site: Site):
    (site.source / "gone").symlink_to("/dev/null")
    os.mkfifo(site.source / "pipe")
    async with desk.worker(settings(site, schedule="")):
        status = await outcome(desk.queue.submit())
        assert status.state is JobState.FAILED
        assert len(desk.view.snapshots) == 1


async def test_a_failed_run_degrades_the_worker_until_one_succeeds(desk: Desk, site: Site):
    hidden = site.source.rename(site.source.with_name("unmounted"))
    async with desk.worker(settings(site)):
        await desk.passes(2)
        assert desk.kinds() == ["backup.started", "backup.failed"]
        assert desk.events[1].severity is Severity.ERROR
        assert desk.status.state is WorkerState.DEGRADED
        assert "it is no folder; mount it" in desk.status.reason
        assert desk.view.last_run is not None
        assert not desk.view.last_run.succeeded
        assert desk.view.next_run_at == desk.clock.time() + 900
        hidden.rename(site.source)
        await desk.elapse(890)
        assert desk.status.state is WorkerState.DEGRADED  # a look is no success
        assert len(desk.events) == 2
        await desk.elapse(11)
        assert desk.status.state is WorkerState.RUNNING
        assert desk.kinds()[2:] == ["backup.started", "backup.succeeded"]


async def test_a_snapshot_from_the_future_is_marked_and_counts_as_no_run(desk: Desk, site: Site):
    ten_days = 864_000.0
    every = settings(site, schedule="*:0/10")
    async with desk.worker(every):
        await desk.passes(2)
        first = desk.clock.time()
        desk.clock.jump(ten_days)
        site.change()
        await desk.elapse(31)
        assert desk.kinds()[2:] == ["backup.started", "backup.succeeded"]
        desk.clock.jump(-ten_days)
        await desk.elapse(31)
        assert [each.in_future for each in desk.view.snapshots] == [False, True]
        assert desk.view.last_success_at == first
        assert exposition(desk.latest)["aiidpd_backup_last_success_timestamp_seconds"] == first
        assert desk.view.next_run_at is not None
        assert desk.view.next_run_at <= first + 600

        site.change()
        await desk.elapse(600)
        assert desk.kinds()[4:] == ["backup.started", "backup.succeeded"]
        assert [each.in_future for each in desk.view.snapshots] == [False, False, True]
        assert desk.view.last_success_at is not None
        assert first < desk.view.last_success_at <= desk.clock.time()
        desk.clock.jump(ten_days)
        site.change()
        await desk.elapse(31)
        assert not any(each.in_future for each in desk.view.snapshots)


async def test_after_a_failure_under_a_clock_that_was_ahead_it_is_tried_again_in_time(desk: Desk, site: Site):
    hidden = site.source.rename(site.source.with_name("unmounted"))
    desk.clock.jump(864_000.0)
    async with desk.worker(settings(site)):
        await desk.passes(2)
        desk.clock.jump(-864_000.0)
        hidden.rename(site.source)
        await desk.elapse(931)
        assert desk.kinds()[2:] == ["backup.started", "backup.succeeded"]


async def test_a_failure_is_remembered_by_the_next_worker_but_not_for_another_target(desk: Desk, site: Site):
    hidden = site.source.rename(site.source.with_name("unmounted"))
    async with desk.worker(settings(site)):
        await desk.passes(2)
    async with desk.worker(settings(site)):
        await desk.elapse(1)
        assert desk.status.state is WorkerState.DEGRADED
        assert desk.kinds() == ["backup.started", "backup.failed"]  # it waits, as the one before would have
    hidden.rename(site.source)
    site.target = site.target.with_name("other")
    site.target.mkdir()
    async with desk.worker(settings(site)):
        await desk.elapse(1)
        assert desk.kinds()[-1] == "backup.succeeded"


async def test_a_missing_target_is_unavailable_and_no_run_is_tried(desk: Desk, site: Site):
    site.target.rmdir()
    async with desk.worker(settings(site)):
        assert desk.status.state is WorkerState.DEGRADED
        assert "backup.target" in desk.status.reason
        assert desk.view.next_run_at is None
        site.target.mkdir()
        await desk.elapse(31)
        assert desk.kinds() == ["backup.started", "backup.succeeded"]


async def test_a_worker_that_is_stopped_fails_its_job_and_the_next_starts_over(desk: Desk, site: Site):
    with (site.source / "big").open("wb") as file:
        file.truncate(
            256 * 1024**2
        )  # far from copied when the worker is stopped, however slow this thread is
    async with desk.worker(settings(site, schedule="")):
        job = desk.queue.submit()
        await desk.until(lambda: "backup.started" in desk.kinds())
    assert job.status.state is JobState.FAILED
    assert "interrupted" in job.status.error
    assert desk.kinds() == ["backup.started", "backup.failed"]
    assert desk.view.running is None
    os.truncate(site.source / "big", 1024)
    async with desk.worker(settings(site, schedule="")):
        status = await outcome(desk.queue.submit())
    assert status.state is JobState.SUCCEEDED
    assert site.leftovers() == []
    assert len(site.snapshots()) == 1


async def test_what_was_refused_makes_the_success_a_warning(desk: Desk, site: Site):
    (site.source / "out").symlink_to("/etc/passwd")
    async with desk.worker(settings(site)):
        await desk.passes(2)
    assert desk.events[-1].severity is Severity.WARNING
    (made,) = [event for event in desk.events if event.kind == "backup.succeeded"]
    assert "left out: out (it leads out of the source, to /etc/passwd)" in made.reason
    json.dumps(dict(made.evidence))
    (job, *_) = desk.book.all()
    assert job.state is JobState.FAILED, "whoever waits for it must notice"


async def test_a_broken_snapshot_is_a_condition_until_it_is_whole_or_gone(desk: Desk, site: Site):
    def found() -> list[tuple[str, str]]:
        return [(each.type, each.subject) for each in desk.conditions.active()]

    async with desk.worker(settings(site)):
        await desk.passes(2)
        assert found() == []
        (snapshot,) = desk.view.snapshots
        manifest = site.target / "snapshots" / snapshot.id / "manifest.json"
        whole, damaged = manifest.read_bytes(), manifest.with_suffix(".damaged")
        damaged.write_bytes(whole[:100])
        manifest.rename(manifest.with_suffix(".whole"))
        damaged.rename(manifest)
        await desk.elapse(REFRESH_EVERY + 1)
        assert found() == [("backup_snapshot_broken", snapshot.id)]
        manifest.with_suffix(".whole").rename(manifest)
        await desk.elapse(REFRESH_EVERY + 1)
        assert found() == []
        manifest.unlink()
        await desk.elapse(REFRESH_EVERY + 1)
        assert found() == [("backup_snapshot_broken", snapshot.id)]
        site.target.rename(site.target.with_suffix(".unmounted"))
        await desk.elapse(REFRESH_EVERY + 1)
        assert found() == [("backup_snapshot_broken", snapshot.id)]  # nobody can tell
        site.target.with_suffix(".unmounted").rename(site.target)
        shutil.rmtree(manifest.parent)
        await desk.elapse(REFRESH_EVERY + 1)
        assert found() == []


async def test_without_a_target_no_snapshot_is_broken(desk: Desk, site: Site):
    (site.target / "snapshots" / "20260101T000000Z").mkdir(parents=True)
    async with desk.worker(made(BackupSettings, source=site.source, target=site.target)):
        await desk.passes(1)
        assert [each.subject for each in desk.conditions.active()] == ["20260101T000000Z"]
    async with desk.worker(BackupSettings()):
        await desk.passes(2)
        assert desk.conditions.active() == ()


async def test_the_large_files_of_the_newest_snapshot_are_listed_for_others(desk: Desk, site: Site):
    (site.source / "large").write_bytes(bytes(2 << 20))
    async with desk.worker(settings(site)):
        await desk.passes(2)
        catalog = desk.view.catalog
        assert catalog is not None
        assert catalog.snapshot == desk.view.snapshots[-1].id
        (path,) = catalog.files
        file = catalog.files[path]
        status = (site.source / "large").stat()
        assert (path, file.size_bytes, file.mtime_ms) == ("large", 2 << 20, status.st_mtime_ns // 1_000_000)
        assert file.sha256 == hashlib.sha256(bytes(2 << 20)).hexdigest()
        await outcome(desk.queue.submit())
        await desk.until(lambda: desk.view.catalog is not None and desk.view.catalog.current_at > 0)


def test_a_bad_schedule_is_refused_at_once(desk: Desk):
    with pytest.raises(Misconfigured, match="understand the schedule 'now and then'"):
        desk.made(made(BackupSettings, schedule="now and then"))


def exposition(latest: Latest[BackupView]) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(BackupCollector(latest))
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_metrics_hold_what_is_known_and_nothing_else(desk: Desk):
    assert exposition(desk.latest) == {}
    desk.latest.put(BackupView(configured=False))
    assert exposition(desk.latest) == {"aiidpd_backup_configured": 0}
    desk.latest.put(BackupView(configured=True))
    assert exposition(desk.latest) == {
        "aiidpd_backup_configured": 1,
        "aiidpd_backup_running": 0,
        'aiidpd_backup_snapshots{state="whole"}': 0,
        'aiidpd_backup_snapshots{state="broken"}': 0,
    }
    desk.latest.put(BackupView(configured=True, running=RunProgress("run", "copying", 0, 0, 0, 0)))
    assert exposition(desk.latest)["aiidpd_backup_running"] == 1


async def test_metrics_follow_a_run(desk: Desk, site: Site):
    (site.target / "snapshots" / "stray").mkdir(parents=True)
    async with desk.worker(settings(site)):
        await desk.passes(2)
    values = exposition(desk.latest)
    assert values["aiidpd_backup_last_success_timestamp_seconds"] == desk.clock.time()
    assert values["aiidpd_backup_last_run_success"] == 1
    assert (
        values["aiidpd_backup_last_run_copied_bytes"]
        == values["aiidpd_backup_snapshot_size_bytes"]
        == 300_005
    )
    assert values["aiidpd_backup_snapshot_files"] == 3
    assert values['aiidpd_backup_snapshots{state="broken"}'] == 1
    assert values["aiidpd_backup_next_run_timestamp_seconds"] > desk.clock.time()


def test_metrics_show_the_newest_whole_snapshot_of_this_source(desk: Desk):
    mine, other = SnapshotInfo("1", source="/m", files=1), SnapshotInfo("2", source="/x", files=2)
    broken = SnapshotInfo("3", source="/m", broken="it is damaged")
    desk.latest.put(BackupView(configured=True, source="/m", snapshots=(mine, other, broken)))
    assert exposition(desk.latest)["aiidpd_backup_snapshot_files"] == 1
