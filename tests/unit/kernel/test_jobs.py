"""Jobs: whoever asks can follow them to an end, and every way out of the work is an end."""

from __future__ import annotations

import anyio
import pytest

from aiidpd.kernel.errors import Conflict, NotFound, Unavailable
from aiidpd.kernel.jobs import JobBook, JobQueue, JobState, JobStatus
from tests.fakes.clock import FakeClock


@pytest.fixture
def book(clock: FakeClock) -> JobBook:
    return JobBook(clock, keep=2)


async def test_a_follower_sees_the_work_through(clock: FakeClock, book: JobBook):
    queue = JobQueue(book, "backup")
    seen: list[JobStatus] = []

    async def work() -> None:
        job = await queue.next()
        with job.running():
            job.progress("copying", 1, 2, "files")
            await clock.sleep(1)
            job.succeed(files=2)

    async with anyio.create_task_group() as group:
        job = queue.submit(reason="asked")

        async def follow() -> None:
            seen.extend([status async for status in job.updates()])

        group.start_soon(follow)
        group.start_soon(work)
        await clock.advance(1)
    assert [status.state for status in seen] == [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]
    assert seen[1].message == "copying"
    assert seen[2].result == {"files": 2}
    assert seen[2].finished_at == clock.time()


def test_an_error_of_ours_ends_the_job_and_stays_inside(book: JobBook):
    job = book.open("bench", {})
    with job.running():
        raise Unavailable("reach", "http://x", reason="refused", remedy="start it")
    assert (job.status.state, job.status.error) == (
        JobState.FAILED,
        "cannot reach http://x: refused; start it",
    )


def test_a_bug_ends_the_job_and_the_worker(book: JobBook):
    job = book.open("bench", {})
    with pytest.raises(ZeroDivisionError), job.running():
        _ = 1 / 0
    assert job.status.state is JobState.FAILED


async def test_a_worker_that_is_cancelled_ends_its_job(book: JobBook):
    job = book.open("bench", {})
    with anyio.CancelScope() as scope, job.running():
        scope.cancel()
        await anyio.sleep(1)
    assert job.status.state is JobState.FAILED
    assert "interrupted" in job.status.error


def test_an_end_is_final(book: JobBook):
    job = book.open("bench", {})
    with job.running():
        job.fail("damage found", damaged=3)
    assert (job.status.state, job.status.result) == (JobState.FAILED, {"damaged": 3})


def test_a_queue_is_bounded(book: JobBook):
    queue = JobQueue(book, "bench", limit=2)
    queue.submit()
    queue.submit()
    with pytest.raises(Conflict, match="wait already"):
        queue.submit()


def test_the_book_forgets_the_oldest_that_ended_and_none_that_runs(book: JobBook):
    waiting = book.open("bench", {})
    for _ in range(5):
        with book.open("bench", {}).running():
            pass
    last = book.open("bench", {})
    assert book.get(waiting.status.id) is waiting
    assert len(book.all()) == 4
    with pytest.raises(NotFound):
        book.get("bench-2")
    assert book.get(last.status.id) is last


async def test_what_lies_between_a_job_s_times_did_pass_whatever_happens_to_the_clock(
    clock: FakeClock,
) -> None:
    job = JobBook(clock).open("backup", {})
    with job.running():
        clock.jump(864_000.0)
        await clock.advance(5.0)
    assert job.status.started_at is not None
    assert job.status.finished_at == job.status.started_at + 5.0
