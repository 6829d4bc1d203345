"""The loop, on a clock that only the test moves and with a repository that the test answers for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path

import anyio
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from aiidpd.components.backup.offsite import conditions
from aiidpd.components.backup.offsite.local import LocalSnapshot
from aiidpd.components.backup.offsite.metrics import OffsiteCollector
from aiidpd.components.backup.offsite.repository import OffsiteFailed, Restored, Watch
from aiidpd.components.backup.offsite.result import Checked, Failure, Fault, Sent, Sign
from aiidpd.components.backup.offsite.settings import OffsiteSettings, RepositorySettings
from aiidpd.components.backup.offsite.state import OffsiteState
from aiidpd.components.backup.offsite.view import OffsiteView
from aiidpd.components.backup.offsite.worker import OffsiteWorker
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event
from aiidpd.kernel.jobs import JobBook, JobQueue, JobState
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerState, WorkerStatus
from aiidpd.platform.statefile import StateFile
from tests.fakes.clock import FakeClock
from tests.tables import made
from tests.waiting import PATIENCE

FAR = RepositorySettings(name="far", repository="/srv/far", verify_parts=2)


@dataclass
class Answers:
    """Repository that does what the test has set, and counts."""

    sent: int = 0
    tidied: int = 0
    checks: list[tuple[int, int]] = field(default_factory=list)
    error: Unavailable | None = None
    damage: str = ""
    seen: Callable[[], None] = lambda: None

    async def create(self) -> None:
        """Do nothing."""

    async def send(self, snapshot: LocalSnapshot, watch: Watch) -> Sent:
        watch(Sign(50, 100))
        self.seen()
        if self.error is not None:
            raise self.error
        self.sent += 1
        return Sent(f"stored-{snapshot.id}", 10, 100, 2)

    async def check(self, snapshot: LocalSnapshot | None, part: int, parts: int, watch: Watch) -> Checked:
        assert snapshot is not None
        watch(Sign())
        self.checks.append((part, parts))
        return Checked(1, 2, "packs", self.damage)

    async def tidy(self) -> None:
        self.tidied += 1

    async def restore(self, to: Path, watch: Watch, snapshot: str = "") -> Restored:
        watch(Sign())
        (to / f"from-{snapshot or 'newest'}").touch()
        return Restored(1, 0, proven=True)


@dataclass
class Desk:
    """Everything around a worker that outlives it."""

    clock: FakeClock
    folder: Path
    far: Answers = field(default_factory=Answers)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bus = EventBus()
        self.bus.attach(events=self.events.append)
        self.conditions = Conditions(self.clock, self.bus)
        self.latest: Latest[OffsiteView] = Latest(self.clock, 1e9)
        self.book = JobBook(self.clock)
        self.queue = JobQueue(self.book, "backup.offsite")
        self.status = WorkerStatus("backup.offsite")
        self.newest = "A"

    @asynccontextmanager
    async def worker(self, *repositories: RepositorySettings) -> AsyncIterator[None]:
        file = StateFile(self.folder / "offsite.json", OffsiteState)
        worker = OffsiteWorker(
            made(OffsiteSettings, repositories=repositories),
            local=lambda: LocalSnapshot(self.newest, self.folder / self.newest, 0.0) if self.newest else None,
            open_repository=lambda _settings: self.far,
            file=file,
            queue=self.queue,
            latest=self.latest,
            publish=Publisher(self.bus, self.clock, "backup"),
            conditions=self.conditions,
            clock=self.clock,
            zone=UTC,
        )
        assert worker.simulated is False
        first = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run, Heartbeat(self.clock, self.status, first))
            with anyio.fail_after(PATIENCE):
                await first.wait()
            await self.clock.advance(0)
            yield
            group.cancel_scope.cancel()
        file.wait(PATIENCE)

    def wrong(self) -> set[str]:
        return {each.type for each in self.conditions.active()}

    def states(self) -> list[JobState]:
        return [each.state for each in self.book.all()]

    def page(self) -> str:
        registry = CollectorRegistry()
        registry.register(OffsiteCollector(self.latest))
        return generate_latest(registry).decode()


@pytest.fixture
def desk(clock: FakeClock, tmp_path: Path) -> Desk:
    return Desk(clock, tmp_path)


@pytest.mark.anyio
async def test_without_repositories_it_is_inactive_and_nothing_is_wrong(desk: Desk) -> None:
    async with desk.worker():
        assert desk.status.state is WorkerState.INACTIVE
        assert desk.wrong() == set()
        assert desk.page() == "\n" or desk.page() == ""
        desk.queue.submit(act="run", repository="far")
        await desk.clock.advance(1)
        assert "no such one" in desk.book.all()[0].error


@pytest.mark.anyio
async def test_each_new_snapshot_is_sent_once_and_its_next_part_is_read_back(desk: Desk) -> None:
    async with desk.worker(FAR):
        await desk.clock.advance(3600)
        assert desk.far.sent == 1
        desk.newest = "B"
        await desk.clock.advance(60)
        assert (desk.far.sent, desk.far.tidied) == (2, 2)
        assert desk.far.checks == [(1, 2), (2, 2)]
        page = desk.page()
        assert 'aiidpd_backup_offsite_last_run_new_bytes{engine="restic",repository="far"} 10.0' in page
        assert "aiidpd_backup_offsite_covered_timestamp_seconds" in page
    async with desk.worker(FAR):  # what was sent is known over a restart
        await desk.clock.advance(3600)
    assert desk.far.sent == 2


@pytest.mark.anyio
async def test_a_schedule_brings_it_up_to_date_also_where_nothing_is_new(desk: Desk) -> None:
    async with desk.worker(FAR.model_copy(update={"schedule": "*-*-* 03:00:00"})):
        await desk.clock.advance(60)
        assert desk.far.sent == 1  # the first is due at once
        desk.newest = "B"
        await desk.clock.advance(3600)
        assert desk.far.sent == 1
        await desk.clock.advance(2 * 86400)
        assert desk.far.sent == 3


@pytest.mark.anyio
async def test_a_failure_is_a_condition_and_is_tried_again_later_and_later(desk: Desk) -> None:
    desk.far.error = OffsiteFailed("send to", "far", Fault(Failure.UNREACHABLE, "connection refused"))
    async with desk.worker(FAR):
        await desk.clock.advance(60)
        assert desk.states() == [JobState.FAILED]
        assert desk.wrong() == {conditions.FAILED}
        await desk.clock.advance(960)
        assert len(desk.states()) == 2
        await desk.clock.advance(1600)
        assert len(desk.states()) == 2
        await desk.clock.advance(300)
        assert len(desk.states()) == 3
        desk.far.error = None
        await desk.clock.advance(3700)
        assert desk.states()[-1] is JobState.SUCCEEDED
        assert desk.wrong() == set()
    kinds = [each.kind for each in desk.events]
    assert kinds.count("backup.offsite_failed") == 3
    assert kinds.count("backup.offsite_succeeded") == 1


@pytest.mark.anyio
async def test_damage_is_a_condition_of_its_own_nothing_is_removed_and_nothing_tried_again(
    desk: Desk,
) -> None:
    desk.far.damage = "pack 7 is not what it was"
    async with desk.worker(FAR):
        await desk.clock.advance(86400)
        assert desk.states() == [JobState.FAILED]
        assert desk.wrong() == {conditions.DAMAGED}
        assert desk.far.tidied == 0
        assert 'aiidpd_backup_offsite_damaged{engine="restic",repository="far"} 1.0' in desk.page()
    desk.far.damage = ""
    async with desk.worker(FAR):
        assert desk.wrong() == {conditions.DAMAGED}  # over a restart
        desk.queue.submit(act="verify", repository="far")
        await desk.clock.advance(60)
        assert desk.far.checks[-1] == (1, 2)  # the part that was damaged
        assert desk.wrong() == set()


@pytest.mark.anyio
async def test_it_is_overdue_when_nothing_was_sent_for_long(desk: Desk) -> None:
    desk.newest = ""
    async with desk.worker(FAR):
        desk.clock.jump(13 * 86400)
        await desk.clock.advance(120)
        assert desk.wrong() == set()
        desk.clock.jump(2 * 86400)
        await desk.clock.advance(120)
        assert desk.wrong() == {conditions.OVERDUE}
        assert 'aiidpd_backup_offsite_overdue{engine="restic",repository="far"} 1.0' in desk.page()
        desk.newest = "A"
        await desk.clock.advance(60)
        assert desk.wrong() == set()


@pytest.mark.anyio
async def test_the_snapshot_that_is_read_is_named_meanwhile(desk: Desk) -> None:
    seen: list[str] = []

    def note() -> None:
        reading = desk.latest.get()
        assert reading is not None
        seen.append(reading.value.reading)

    desk.far.seen = note
    async with desk.worker(FAR):
        await desk.clock.advance(60)
        reading = desk.latest.get()
        assert reading is not None
        assert (seen, reading.value.reading) == (["A"], "")


@pytest.mark.anyio
async def test_a_repository_at_another_address_is_another_one(desk: Desk) -> None:
    async with desk.worker(FAR):
        await desk.clock.advance(60)
    async with desk.worker(FAR.model_copy(update={"repository": "/srv/other"})):
        await desk.clock.advance(60)
    assert desk.far.sent == 2


@pytest.mark.anyio
async def test_a_restore_goes_to_an_empty_folder_alone(desk: Desk) -> None:
    async with desk.worker(FAR):
        for _ in range(2):
            desk.queue.submit(act="restore", repository="far", to=str(desk.folder / "out"))
            with anyio.fail_after(PATIENCE):
                while not desk.book.all()[-1].state.final:  # noqa: ASYNC110 -- a thread sets no event
                    await anyio.sleep(0.01)
    assert desk.states()[-2:] == [JobState.SUCCEEDED, JobState.FAILED]
    assert "it is not empty" in desk.book.all()[-1].error


@pytest.mark.anyio
async def test_a_state_that_can_not_be_read_is_set_aside_and_said(desk: Desk) -> None:
    (desk.folder / "offsite.json").write_text("garbage")
    async with desk.worker(FAR):
        await desk.clock.advance(60)
    assert desk.far.sent == 1
    assert (desk.folder / "offsite.json.unreadable").read_text() == "garbage"
    assert "backup.offsite_state_lost" in [each.kind for each in desk.events]
