"""Child processes: real ones, of the shell."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from aiidpd.components.backup.offsite.program import Program, Reader
from aiidpd.kernel.clock import Clock, SystemClock
from aiidpd.kernel.errors import Unavailable
from tests.fakes.clock import FakeClock
from tests.waiting import PATIENCE, Stopwatch

SECRET = "a secret of some length"


def shell(clock: Clock | None = None, stall_after: float = 60.0, command: str = "sh") -> Program:
    return Program(
        command,
        package="restic",
        environment={"GIVEN": "1"},
        clock=clock or SystemClock(),
        stall_after=stall_after,
        known=(SECRET,),
    )


async def output_of(script: str, **given: object) -> list[bytes]:
    lines: list[bytes] = []

    def output(line: bytes) -> bool:
        lines.append(line)
        return True

    secret = given.get("secret")
    assert secret is None or isinstance(secret, tuple)
    sent = given.get("sent", b"")
    assert isinstance(sent, bytes)
    ending = await shell().run(
        ("-c", script), directory=Path("/"), reader=Reader(output=output), secret=secret, sent=sent
    )
    assert ending.code == 0, ending.errors
    return lines


@pytest.mark.anyio
async def test_it_sees_its_own_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIIDPD_BENCH__API_KEY", SECRET)
    names = {line.partition(b"=")[0] for line in await output_of("env")}
    assert names - {b"PWD", b"_", b"SHLVL", b"OLDPWD"} == {b"PATH", b"LANG", b"GIVEN"}


@pytest.mark.anyio
async def test_a_secret_is_in_a_file_that_can_be_read_once_and_nowhere_else() -> None:
    script = 'cat "$SECRET_FILE"; cat "$SECRET_FILE"; env; tr "\\0" " " </proc/self/cmdline'
    lines = await output_of(script, secret=("SECRET_FILE", SECRET))
    assert b"\n".join(lines).count(SECRET.encode()) == 1
    with pytest.raises(Unavailable):
        await output_of(script, secret=("SECRET_FILE", "x" * 100_000))


@pytest.mark.anyio
async def test_its_input_is_what_is_sent_and_else_nothing() -> None:
    assert await output_of("cat", sent=b"one\ntwo") == [b"one", b"two"]
    assert await output_of("cat") == []


@pytest.mark.anyio
async def test_it_works_below_everybody_else() -> None:
    assert await output_of("nice") == [b"19"]
    (ionice,) = await output_of("ionice -p $$")
    assert ionice == b"idle"
    assert await output_of("cat /proc/self/oom_score_adj") == [b"500"]


@pytest.mark.anyio
async def test_lines_of_any_length_and_number_are_bounded() -> None:
    lines = await output_of(
        "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo after; head -c 70000 /dev/zero"
    )
    assert lines == [b"after"]
    ending = await shell().run(
        ("-c", f"seq 100000 >&2; echo '{SECRET}' >&2; head -c 60000 /dev/zero | tr '\\0' y >&2; exit 7"),
        directory=Path("/"),
    )
    assert ending.code == 7
    assert sum(map(len, ending.errors)) < 10_000
    assert SECRET not in "".join(ending.errors)


@pytest.mark.anyio
async def test_a_program_that_is_missing_is_named_with_what_to_install() -> None:
    with pytest.raises(Unavailable, match=r"no such program.*apt-get install restic.*offsite\.restic"):
        await shell(command="no-such-program").run((), directory=Path("/"))
    with pytest.raises(Unavailable):
        await shell().run(("-c", "true"), directory=Path("/no/such/folder"))


@pytest.mark.anyio
async def test_a_program_that_does_not_move_is_ended_and_errors_are_no_movement() -> None:
    clock = FakeClock()
    program = shell(clock, stall_after=100.0)
    errors = 0

    def error(_line: bytes) -> tuple[bool, bool]:
        nonlocal errors
        errors += 1
        return False, True

    async with anyio.create_task_group() as group:

        async def run() -> None:
            with pytest.raises(Unavailable, match="nothing has moved for 100 s"):
                await program.run(
                    ("-c", "while :; do echo retrying >&2; sleep 0.01; done"),
                    directory=Path("/"),
                    reader=Reader(error=error),
                )
            group.cancel_scope.cancel()

        group.start_soon(run)
        with anyio.fail_after(PATIENCE):
            while errors < 3:  # noqa: ASYNC110 -- a process sets no event
                await anyio.sleep(0.01)
        process = program.pid
        while process == program.pid:
            await clock.advance(10.0)
            await anyio.sleep(0.01)
    assert not alive(process)


def transferred(pid: int) -> int:
    """Return the bytes that a process has read so far, as the kernel counts them."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/io").read_text().split()[1])
    return -1


@pytest.mark.anyio
async def test_one_that_prints_nothing_and_transfers_a_lot_does_move() -> None:
    clock = FakeClock()
    program = shell(clock, stall_after=50.0)
    async with anyio.create_task_group() as group:
        started = anyio.Event()

        async def run() -> None:
            started.set()
            await program.run(("-c", "exec dd if=/dev/zero of=/dev/null bs=1M"), directory=Path("/"))

        group.start_soon(run)
        await started.wait()
        with anyio.fail_after(PATIENCE):
            while not program.pid:  # noqa: ASYNC110 -- a process sets no event
                await anyio.sleep(0.01)
            for _ in range(30):
                before = transferred(program.pid)
                while transferred(program.pid) == before:  # noqa: ASYNC110 -- a process sets no event
                    await anyio.sleep(0.01)
                await clock.advance(10.0)
        assert alive(program.pid)
        group.cancel_scope.cancel()


@pytest.mark.anyio
@pytest.mark.parametrize("script", ["sleep 1000", "trap '' TERM; while :; do sleep 0.1; done"])
async def test_a_run_that_is_cancelled_leaves_nothing_within_2_seconds(script: str) -> None:
    program = shell()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: program.run(("-c", f"{script} & wait; {script}"), directory=Path("/")))
        with anyio.fail_after(PATIENCE):
            while not program.pid or children(program.pid) == []:  # noqa: ASYNC110 -- a process sets no event
                await anyio.sleep(0.01)
        process = program.pid
        cancelled = Stopwatch()
        group.cancel_scope.cancel()
    assert cancelled.within(2.0)
    assert not alive(process)


@pytest.mark.anyio
async def test_one_that_leaves_a_process_behind_ends_all_the_same() -> None:
    lines = await output_of("sleep 1000 & echo $!")
    with suppress(ProcessLookupError):
        os.kill(int(lines[0]), signal.SIGKILL)


def alive(process: int) -> bool:
    try:
        return Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(process: int) -> list[str]:
    try:
        return Path("/proc", str(process), "task", str(process), "children").read_text().split()
    except OSError:
        return []
