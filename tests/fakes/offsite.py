"""A real target with real snapshots, a worker that sends them elsewhere by the real restic and rclone."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
from pydantic import SecretStr

from aiidpd.components.backup.offsite.local import LocalSnapshot
from aiidpd.components.backup.offsite.open import opener
from aiidpd.components.backup.offsite.settings import OffsiteSettings, RepositorySettings
from aiidpd.components.backup.offsite.state import OffsiteState, RepositoryRecord
from aiidpd.components.backup.offsite.view import OffsiteView
from aiidpd.components.backup.offsite.worker import OffsiteWorker
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.requests import RunRequest
from aiidpd.components.backup.process.run import BackupRun
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock, SystemClock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event
from aiidpd.kernel.jobs import Job, JobBook, JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerStatus
from aiidpd.platform.statefile import StateFile
from tests.ports import free_port
from tests.tables import made
from tests.waiting import PATIENCE, until

PASSWORD: Final = "correct horse battery"
HOST: Final = "machine"


@dataclass
class OffsiteSite:
    """A source, a target with its snapshots, a state folder, and what outlives the worker."""

    root: Path
    clock: Clock = field(default_factory=SystemClock)
    now: float = 1_800_000_000.0
    events: list[Event] = field(default_factory=list)
    stall_after: float = 60.0
    restic: str = "restic"
    rclone: str = "rclone"

    def __post_init__(self) -> None:
        self.source, self.target, self.state = (self.root / name for name in ("models", "target", "state"))
        for folder in (self.source, self.target, self.state):
            folder.mkdir()
        self.bus = EventBus()
        self.bus.attach(events=self.events.append)
        self.conditions = Conditions(self.clock, self.bus)
        self.latest: Latest[OffsiteView] = Latest(self.clock, 1e9)
        self.book = JobBook(self.clock)
        self.queue = JobQueue(self.book, "backup.offsite")
        self.file = StateFile(self.state / "offsite.json", OffsiteState)
        self.snapshot: LocalSnapshot | None = None

    def write(self, name: str, size: int) -> Path:
        """Make the file ``name`` of the source hold ``size`` bytes that its name alone determines."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(name).randbytes(size))
        return path

    def backup(self) -> LocalSnapshot:
        """Make a snapshot of the source, by the component's own run."""
        self.now += 60
        request = RunRequest(str(self.source), str(self.target), settle=0.0, now=self.now)
        info = BackupRun(request, Control()).execute()
        self.snapshot = LocalSnapshot(info.snapshot, self.target / "snapshots" / info.snapshot, self.now)
        return self.snapshot

    def settings(self, *repositories: RepositorySettings) -> OffsiteSettings:
        return made(
            OffsiteSettings,
            repositories=repositories,
            stall_after=self.stall_after,
            restic=self.restic,
            rclone=self.rclone,
        )

    @asynccontextmanager
    async def worker(self, *repositories: RepositorySettings) -> AsyncIterator[None]:
        """Run a worker with ``repositories`` meanwhile."""
        settings = self.settings(*repositories)
        worker = OffsiteWorker(
            settings,
            local=lambda: self.snapshot,
            open_repository=opener(
                lambda: settings, directory=self.state / "offsite", host=HOST, clock=self.clock
            ),
            file=self.file,
            queue=self.queue,
            latest=self.latest,
            publish=Publisher(self.bus, self.clock, "backup"),
            conditions=self.conditions,
            clock=self.clock,
        )
        self.status = WorkerStatus("backup.offsite")
        first = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run, Heartbeat(self.clock, self.status, first))
            with anyio.fail_after(PATIENCE):
                await first.wait()
            yield
            group.cancel_scope.cancel()
        self.file.wait(PATIENCE)

    async def act(self, act: str, name: str, **arguments: Any) -> Job:
        """Request ``act`` of a worker that runs, and return the job when it has ended."""
        job = self.queue.submit(act=act, repository=name, **arguments)
        with anyio.fail_after(2 * PATIENCE):
            async for status in job.updates():
                if status.state.final:
                    return job
        raise AssertionError("a job without an end")

    async def ended(self) -> None:
        """Wait until the job that was requested last has ended."""
        with anyio.fail_after(2 * PATIENCE):
            while not self.book.all()[-1].state.final:  # noqa: ASYNC110 -- it may not be there yet
                await anyio.sleep(0.02)

    async def done(self, act: str, repository: RepositorySettings, **arguments: Any) -> Job:
        """Run a worker for ``act`` alone."""
        snapshot, self.snapshot = self.snapshot, None  # else the worker sends it by itself
        async with self.worker(repository):
            self.snapshot = snapshot
            return await self.act(act, repository.name, **arguments)

    def record(self, name: str = "far") -> RepositoryRecord:
        reading = self.latest.get()
        assert reading is not None
        return next(each.record for each in reading.value.repositories if each.record.name == name)

    def wrong(self) -> dict[str, str]:
        """Return the reason of each active condition by its type."""
        return {each.type: each.reason for each in self.conditions.active()}


def restic_at(place: Path | str, **values: Any) -> RepositorySettings:
    """Return the settings of a restic repository at ``place``."""
    given = {"name": "far", "engine": "restic", "repository": str(place), "password": SecretStr(PASSWORD)}
    return RepositorySettings.model_validate({"name": "far", "repository": "/nowhere"}).model_copy(
        update={"verify_parts": 1, **given, **values}
    )


def rclone_at(place: str, config: Path, **values: Any) -> RepositorySettings:
    """Return the settings of an rclone repository at ``place``."""
    given = {"engine": "rclone", "password": None, "rclone_config": config}
    return restic_at(place, **{**given, **values})


def rclone_config(path: Path, **remotes: Mapping[str, str]) -> Path:
    """Write an rclone.conf with ``remotes``."""
    lines = [
        line
        for name, options in remotes.items()
        for line in (f"[{name}]", *(f"{key} = {value}" for key, value in options.items()), "")
    ]
    path.write_text("\n".join(lines))
    return path


def obscured(secret: str) -> str:
    """Return ``secret`` as an rclone.conf holds it."""
    return subprocess.run(
        ["rclone", "obscure", secret], check=True, capture_output=True, text=True
    ).stdout.strip()


def is_installed(program: str) -> bool:
    """Return whether ``program`` is on the path."""
    return shutil.which(program) is not None


@contextmanager
def served(*arguments: str, folder: Path, port: int = 0) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Serve ``folder`` by ``rclone serve`` with ``arguments`` on a loopback port meanwhile."""
    port = port or free_port()
    environment = {**os.environ, "RCLONE_CONFIG": str(folder.parent / "none.conf")}
    command = ["rclone", "serve", *arguments, str(folder), "--addr", f"127.0.0.1:{port}"]
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    ) as process:
        try:
            until(lambda: process.poll() is not None or _listens(port))
            assert process.poll() is None, f"{command} ended"
            yield port, process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
