"""Following what runs in a thread, also what never comes back."""

import threading
from collections.abc import Iterator

import anyio
import pytest

from aiidpd.components.backup.cancel import Cancelled, RunControl
from aiidpd.components.backup.progress import follow
from aiidpd.components.backup.view import RunProgress
from aiidpd.kernel.errors import NotFound, Unavailable
from aiidpd.platform.thread import ThreadProbe, in_daemon_thread
from tests.fakes.clock import FakeClock, settle
from tests.waiting import PATIENCE, until


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a thread in a test waits for; opened at the end, so that no thread outlives its test."""
    event = threading.Event()
    yield event
    event.set()
    until(lambda: not threads())


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "aiidpd-backup"]


@pytest.fixture(autouse=True)
def _calm() -> None:
    """What a test of another module left behind has ended."""
    until(lambda: not threads())


async def test_a_thread_returns_and_raises():
    assert await in_daemon_thread(lambda: 7) == 7
    assert await in_daemon_thread(lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(lambda: 1 // 0)


async def test_a_thread_that_hangs_is_left_alone_when_its_caller_is_cancelled(gate: threading.Event):
    with anyio.move_on_after(0.05) as scope:
        await in_daemon_thread(gate.wait)
    assert scope.cancelled_caught
    (thread,) = threads()
    assert thread.daemon  # the process can end without it


def test_a_thread_outlives_the_loop_that_asked_without_a_word(gate: threading.Event):
    async def main() -> None:
        with anyio.move_on_after(0.05):
            await in_daemon_thread(gate.wait)

    anyio.run(main)
    (thread,) = threads()
    gate.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


async def test_follow_hands_on_the_result_the_error_and_the_progress(clock: FakeClock, gate: threading.Event):
    seen: list[RunProgress] = []
    control = RunControl()

    def work() -> str:
        control.enter("copying", files=2, total=10)
        control.step(4)
        gate.wait(PATIENCE)
        return "done"

    async with anyio.create_task_group() as group:
        results: list[str] = []

        async def main() -> None:
            results.append(await follow(work, control, seen.append, clock=clock, stall_after=90))

        group.start_soon(main)
        with anyio.fail_after(PATIENCE):
            while not any(progress.bytes_done == 4 for progress in seen):
                await clock.advance(0.25)
                await anyio.sleep(0.001)
        gate.set()
    assert results == ["done"]
    assert seen[-1] == RunProgress("copying", 0, 2, 4, 10)

    def fail() -> None:
        raise NotFound("find", "it", reason="it is not there")

    with pytest.raises(NotFound):
        await follow(fail, RunControl(), seen.append, clock=clock, stall_after=90)


async def test_a_read_that_never_returns_is_given_up_with_the_name_of_the_file(
    clock: FakeClock, gate: threading.Event
):
    control = RunControl()
    moved: list[RunProgress] = []
    ended = threading.Event()

    def read() -> None:
        control.start_file("blobs/abc")
        gate.wait()
        try:
            control.step()
        except Cancelled:
            ended.set()

    async with anyio.create_task_group() as group:

        async def main() -> None:
            with pytest.raises(
                Unavailable, match=r"nothing has moved for 90 s at blobs/abc; look for a dead disk"
            ):
                await follow(read, control, moved.append, clock=clock, stall_after=90)

        group.start_soon(main)
        with anyio.fail_after(PATIENCE):
            while not control.steps:  # noqa: ASYNC110 -- a thread sets no anyio.Event
                await anyio.sleep(0.001)
        await clock.advance(1)
        beats = len(moved)
        await clock.advance(80)
        assert len(moved) == beats  # no sign of life is made up
        assert not control.cancelled
        await clock.advance(15)
    assert control.cancelled
    gate.set()
    assert ended.wait(PATIENCE)  # where the read comes back after all, the thread ends at its next step


async def test_a_call_that_does_not_return_is_made_once(clock: FakeClock, gate: threading.Event):
    caller = ThreadProbe(clock, 90)
    assert await caller.call(lambda: 7, "the target", "/x") == 7
    calls: list[int] = []

    def hang() -> None:
        calls.append(1)
        gate.wait()

    async with anyio.create_task_group() as group:

        async def main() -> None:
            with pytest.raises(Unavailable, match=r"cannot read the target /x: it has not answered for 90 s"):
                await caller.call(hang, "the target", "/x")

        group.start_soon(main)
        await settle()
        await clock.advance(91)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await caller.call(hang, "the target", "/x")
    assert len(calls) == 1
    gate.set()
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                assert await caller.call(lambda: 8, "the target", "/x") == 8
                break
            except Unavailable:
                await anyio.sleep(0.001)


class LateClock(FakeClock):
    """Its time is up at the very moment at which the thread ends, before the loop has heard of that."""

    async def sleep(self, seconds: float) -> None:  # noqa: ARG002 -- this is how long it lasts
        until(lambda: not threads())  # the loop stands still meanwhile


async def test_an_answer_in_the_moment_that_the_time_is_up_is_no_answer_and_no_bug():
    caller = ThreadProbe(LateClock(), 90)
    with pytest.raises(Unavailable, match=r"cannot read the target /x: it has not answered for 90 s"):
        await caller.call(lambda: 7, "the target", "/x")
    caller.check("the target", "/x")  # the thread has ended: it may be called again


async def test_an_error_of_the_call_is_passed_on(clock: FakeClock):
    def fail() -> None:
        raise NotFound("find", "it", reason="it is not there")

    with pytest.raises(NotFound):
        await ThreadProbe(clock, 90).call(fail, "the target", "/x")
