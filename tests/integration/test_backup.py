"""Backups against what really happens: kill -9, full disks, writers, other tools, other daemons."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

import aiidpd
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.requests import RunRequest
from aiidpd.components.backup.process.run import BackupRun
from aiidpd.components.backup.process.store import Listed, Store
from aiidpd.components.backup.record import BackupMemory, BackupRecord
from aiidpd.components.backup.settings import BackupSettings
from aiidpd.components.backup.view import BackupView
from aiidpd.components.backup.worker import BackupWorker
from aiidpd.demo.model_folder import make_model_folder
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import Conflict, Unavailable
from aiidpd.kernel.jobs import JobBook, JobQueue, JobState, JobStatus
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerState, WorkerStatus
from aiidpd.platform.statefile import StateFile
from tests.forms import short_and_long
from tests.tables import made
from tests.waiting import PATIENCE

BLOCK = 4 << 20
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(aiidpd.__file__).parents[1])}

# Backs up, says how long that took, then changes a file and backs up for ever: a kill falls into any moment.
BACK_UP_FOR_EVER = """
import sys, time
from pathlib import Path
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.requests import RunRequest
from aiidpd.components.backup.process.run import BackupRun

source, target = Path(sys.argv[1]), Path(sys.argv[2])

def back_up():
    (source / "changes").write_text(str(time.time_ns()))
    BackupRun(RunRequest(str(source), str(target), settle=0.0), Control()).execute()

began = time.monotonic()
back_up()
print("ready", flush=True)
print(time.monotonic() - began, flush=True)
while True:
    back_up()
"""

HOLD_THE_LOCK = """
import sys, time
from pathlib import Path
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.store import Store

with Store(Path(sys.argv[1])).locked(Control()):
    print("ready", flush=True)
    time.sleep(60)
"""

# Takes a lease on a file: whoever opens it then hangs in the kernel, as on a dead network mount.
HOLD_A_LEASE = """
import fcntl, signal, sys, time

signal.signal(signal.SIGIO, signal.SIG_IGN)
file = open(sys.argv[1], "r+b")
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("ready", flush=True)
time.sleep(60)
"""

# Rewrites a file in place, the whole of it with one value each time.
WRITE_FOR_EVER = """
import itertools, sys

print("ready", flush=True)
with open(sys.argv[1], "r+b", buffering=0) as file:
    for number in itertools.count():
        file.seek(0)
        file.write(bytes([number % 256]) * int(sys.argv[2]))
"""


@pytest.fixture
def site(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "models", tmp_path / "backup"
    make_model_folder(source)
    target.mkdir()
    return source, target


def back_up(source: Path, target: Path, control: Control | None = None) -> str:
    """Back up something new, and return the snapshot."""
    (source / "changes").write_text(str(time.time_ns()))
    return BackupRun(request(source, target), control or Control()).execute().snapshot


def request(source: Path, target: Path, reserve: int = 0) -> RunRequest:
    return RunRequest(str(source), str(target), reserve=reserve, settle=0.0)


def list_snapshots(target: Path) -> list[Listed]:
    return list(Store(target).all())


def sums_are_right(snapshot: Path) -> bool:
    command = ["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"]
    return subprocess.run(command, cwd=snapshot, check=False, capture_output=True).returncode == 0


def child(code: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.timeout(900)
@short_and_long("least", 25, 200)
def test_kill_9_at_any_moment_leaves_whole_snapshots_or_none(site: tuple[Path, Path], least: int):
    source, target = site
    for number in range(20):
        (source / f"shard-{number}").write_bytes(random.Random(number).randbytes(100_000))
    numbers = random.Random(9)
    kills = interrupted = whole = 0
    # More of them where the kills fell beside the runs: else this would show nothing.
    while kills < least or interrupted < least // 4:
        assert kills < 10 * least
        kills += 1
        process = child(BACK_UP_FOR_EVER, source, target)
        try:
            assert process.stdout is not None
            time.sleep(numbers.uniform(0.0, 2.0) * float(process.stdout.readline()))
        finally:
            kill(process)
        assert process.returncode == -signal.SIGKILL
        interrupted += any((target / "incomplete").glob("*"))
        for info in list_snapshots(target):
            assert info.broken == ""
            assert info.manifest is not None
            assert len(info.manifest.files) == 24
            assert sums_are_right(target / "snapshots" / info.id)
            whole += 1
        for old in list_snapshots(target)[:-1]:  # the newest stays, for the next run to link from
            shutil.rmtree(target / "snapshots" / old.id)
    assert whole >= least
    identity = back_up(source, target)
    assert sums_are_right(target / "snapshots" / identity)
    assert list((target / "incomplete").iterdir()) == []


def test_another_daemon_on_the_same_target_is_kept_off_until_it_dies(site: tuple[Path, Path]):
    source, target = site
    process = child(HOLD_THE_LOCK, target)
    try:
        with (
            pytest.raises(Conflict, match=r"another backup runs on it"),
            Store(target, 0.2).locked(Control()),
        ):
            pytest.fail("both hold the lock")
    finally:
        kill(process)
    assert back_up(source, target)


@pytest.fixture
def small_disk(tmp_path: Path, missing: Callable[[str, str], None]) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "aiidpd-test", str(path)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        missing("mount", "apt-get install mount")
    else:
        if done.returncode:
            missing("small file system", f"mounting a tmpfs needs root: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", str(path)], check=True)


class FillingDisk(Control):
    """Fills the target when copying begins: what free space there was is gone."""

    def __init__(self, target: Path) -> None:
        super().__init__()
        self._filler = target / "filler"

    def enter(self, phase: str, *, files: int = 0, total: int = 0) -> None:
        super().enter(phase, files=files, total=total)
        if phase == "copying":
            self._filler.write_bytes(bytes(1024 * 1024))


def test_a_disk_that_fills_up_is_named_and_nothing_is_left_on_it(small_disk: Path, tmp_path: Path):
    source = tmp_path / "models"
    source.mkdir()
    (source / "model").write_bytes(random.Random(1).randbytes(1_500_000))
    free = shutil.disk_usage(small_disk).free
    with pytest.raises(
        Unavailable, match=r"cannot write the target model: its file system is full; free space"
    ):
        back_up(source, small_disk, FillingDisk(small_disk))
    assert list_snapshots(small_disk) == []
    assert list((small_disk / "incomplete").iterdir()) == []
    (small_disk / "filler").unlink()
    assert shutil.disk_usage(small_disk).free >= free - 16 * 4096  # a few folders stay
    identity = back_up(source, small_disk)
    assert sums_are_right(small_disk / "snapshots" / identity)
    (source / "second").write_bytes(bytes(1_500_000))
    with pytest.raises(Unavailable, match=r"1\.4 MiB are needed with the reserve, .* KiB are free"):
        back_up(source, small_disk)
    assert [info.id for info in list_snapshots(small_disk)] == [identity]


def test_a_file_that_somebody_writes_to_all_the_time_is_not_stored_torn(site: tuple[Path, Path]):
    source, target = site
    model = source / "model"
    model.write_bytes(bytes(4 * BLOCK))
    writer = child(WRITE_FOR_EVER, model, str(model.stat().st_size))
    refused = 0
    try:
        for _ in range(3):
            (source / "changes").write_text(str(time.time_ns()))
            asked = replace(request(source, target), settle=1.0)  # one long write sets the time once
            result = BackupRun(asked, Control()).execute()
            assert "model" not in result.left_out or "written to" in result.left_out["model"]
            refused += "model" in result.left_out
    finally:
        kill(writer)
    stored = [target / "snapshots" / info.id / "files" / "model" for info in list_snapshots(target)]
    assert refused + sum(path.exists() for path in stored) == 3  # a run between two writes may succeed
    for path in stored:
        assert not path.exists() or len(set(path.read_bytes())) == 1, "a torn file was stored"
    model.write_bytes(b"at rest")
    assert sums_are_right(target / "snapshots" / back_up(source, target))


@dataclass
class Office:
    """A running worker and all that is around it, on real time."""

    queue: JobQueue
    latest: Latest[BackupView]
    status: WorkerStatus

    async def job(self) -> JobStatus:
        job = self.queue.submit()
        with anyio.fail_after(PATIENCE):
            async for status in job.updates():
                last = status
        return last


@asynccontextmanager
async def at_work(settings: BackupSettings, folder: Path) -> AsyncIterator[Office]:
    clock = SystemClock()
    first_pass = anyio.Event()
    office = Office(JobQueue(JobBook(clock), "backup"), Latest(clock, 60), WorkerStatus("backup"))
    bus = EventBus()
    conditions = Conditions(clock, bus)
    worker = BackupWorker(
        settings,
        queue=office.queue,
        latest=office.latest,
        publish=Publisher(bus, clock, "backup"),
        conditions=conditions,
        memory=BackupMemory(StateFile(folder / "backup.json", BackupRecord), conditions),
        clock=clock,
        scratch=folder / "drill",
        stall_after=8.0,
        settle=0.0,
    )
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run, Heartbeat(clock, office.status, first_pass))
        with anyio.fail_after(PATIENCE):
            await first_pass.wait()
        yield office
        group.cancel_scope.cancel()


def processes() -> list[int]:
    """Return the backup processes that this process has started."""
    found = []
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            with suppress(OSError):
                if b"aiidpd.components.backup.process" in Path("/proc", pid, "cmdline").read_bytes():
                    found.append(int(pid))
    return found


async def test_a_run_that_hangs_is_given_up_and_its_process_ended(
    site: tuple[Path, Path], tmp_path: Path
) -> None:
    source, target = site
    back_up(source, target)
    settings = made(BackupSettings, source=source, target=target, schedule="", reserve=0)
    async with at_work(settings, tmp_path) as office:
        holder = child(HOLD_A_LEASE, target / ".lock")
        try:
            assert "nothing has moved for 8 s" in (await office.job()).error
            assert processes() == []
        finally:
            kill(holder)
        assert (await office.job()).state is JobState.SUCCEEDED


async def test_a_target_that_does_not_answer_degrades_the_worker_and_is_let_in_again(
    site: tuple[Path, Path], tmp_path: Path
) -> None:
    source, target = site
    identity = back_up(source, target)
    settings = made(BackupSettings, source=source, target=target, schedule="", reserve=0)
    manifest = target / "snapshots" / identity / "manifest.json"
    manifest.chmod(0o600)  # whoever is not root could not open it for writing, which a lease needs
    holder = child(HOLD_A_LEASE, manifest)
    try:
        async with at_work(settings, tmp_path) as office:
            assert office.status.state is WorkerState.DEGRADED
            assert "nothing has moved for 8 s while listing" in office.status.reason
            kill(holder)
            assert (await office.job()).state is JobState.SUCCEEDED
    finally:
        kill(holder)


async def test_work_that_is_cancelled_ends_within_two_seconds(
    site: tuple[Path, Path], tmp_path: Path
) -> None:
    source, target = site
    with (source / "big").open("wb") as file:
        file.write(random.Random(1).randbytes(1 << 20) * 1500)
    settings = made(BackupSettings, source=source, target=target, schedule="", reserve=0)
    async with at_work(settings, tmp_path) as office:
        office.queue.submit()
        with anyio.fail_after(PATIENCE):
            while (view := office.latest.get()) is None or not (  # noqa: ASYNC110 -- a process brings it about
                view.value.running is not None and view.value.running.bytes_done
            ):
                await anyio.sleep(0.01)
    assert processes() == []
    assert list((target / "incomplete").glob("*/manifest.json")) == []


def test_a_file_system_without_room_for_hard_links_gets_copies(
    site: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    """More than a file system's limit of links to one file is no error."""
    source, target = site
    first = target / "snapshots" / back_up(source, target) / "files" / "config.json"
    crowd = target / "crowd"
    crowd.mkdir()
    try:
        for number in range(70_000):
            os.link(first, crowd / str(number))
    except OSError:
        pass
    else:
        # This file system has no limit within reach: one that has refuses with these words.
        link = os.link

        def refuse(source: str | Path, *where: Any, **how: Any) -> None:
            if Path(os.fsdecode(source)).name == first.name:
                raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
            link(source, *where, **how)

        monkeypatch.setattr(os, "link", refuse)
    second = list_snapshots(target)[-1].manifest if back_up(source, target) else None
    assert second is not None
    assert second.copied_files == 2, "what has changed, and what can't be linked"
