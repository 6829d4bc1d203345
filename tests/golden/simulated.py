"""A whole daemon in this process, with every part simulated, on a clock that a test moves: it repeats."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread
import structlog

from aiidpd.api.client import ControlClient
from aiidpd.config.load import Loaded, load
from aiidpd.daemon.app import Daemon
from aiidpd.daemon.schema import SCHEMA
from aiidpd.demo.model_folder import make_model_folder
from aiidpd.platform.notify import Notifier
from tests.daemon import Daemon as Scraped
from tests.fakes.clock import FakeClock, settle
from tests.waiting import PATIENCE

BEGAN: Final = 1_800_000_000.0
# Cards that soon get too hot for it, so that alerts fire, the governor acts and an incident is recorded.
# The interval is one at which no reading falls on the moment of another task: which of two is first is no
# promise.
CONFIG = """\
[daemon]
state_directory = "{folder}/state"
runtime_directory = "{folder}/run"

[gpu]
library = "simulated"
simulated_gpus = 2
interval = "1300ms"
fast_interval = "1300ms"
warning_celsius = 55
critical_celsius = 62
emergency_stop = ["SIMULATED-llama.cpp-server-1"]

[gpu.alerts]
warning_dwell = "5s"

[gpu.governor]
mode = "on"
target_celsius = 52
power_floor_percent = 98
lock_clocks = false
back_off_containers = ["SIMULATED-vllm-openai-0"]

[containers]
engine = "simulated"

[backup]
source = "{folder}/models"
target = "{folder}/backup"
schedule = "2027-01-15 08:00:30 UTC"
jitter = "0s"

[backup.verify]
within = "3650d"  # the backup process has the machine's clock: how far that is behind changes each day

[bench]
interval = "5m"

[[bench.endpoints]]
name = "simulated"
kind = "simulated"

[audit]
host = false  # what this machine has, and what listens on it, is no promise
listeners = false

[telemetry]
listen = ""

[control]
group = ""
"""

_QUIET_CHECKS: Final = 3


class SteppedClock(FakeClock):
    """A fake clock that says when the next sleeper is due."""

    @property
    def due(self) -> float | None:
        return self._sleepers[0][0] if self._sleepers else None


@dataclass
class Simulated:
    """A daemon that runs in ``folder`` by ``clock``."""

    folder: Path
    clock: SteppedClock
    threads: frozenset[threading.Thread]

    @property
    def state(self) -> Path:
        return self.folder / "state"

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass; none do while a thread is at work, so that what it does takes no time."""
        until = self.clock.monotonic() + seconds
        await self._quiet()
        while (due := self.clock.due) is not None and due <= until:
            await self.clock.advance(due - self.clock.monotonic())
            await self._quiet()
        await self.clock.advance(until - self.clock.monotonic())
        await self._quiet()

    async def get(self, path: str, **query: Any) -> Any:
        """Return the document at ``path`` of the control API."""
        path, _, rest = path.partition("?")
        query |= dict(parse_qsl(rest))
        with ControlClient(str(self.folder / "run" / "control.sock")) as client:
            return await anyio.to_thread.run_sync(lambda: client.get(path, **query))

    async def post(self, path: str, **body: Any) -> Any:
        """Ask for the change at ``path`` of the control API; return the document that answers."""
        with ControlClient(str(self.folder / "run" / "control.sock")) as client:
            return await anyio.to_thread.run_sync(lambda: client.post(path, body))

    async def lines(self, path: str, **query: Any) -> list[Any]:
        """Return the lines at ``path`` of the control API."""
        with ControlClient(str(self.folder / "run" / "control.sock")) as client:
            return await anyio.to_thread.run_sync(lambda: list(client.lines(path, **query)))

    async def metrics(self) -> str:
        """Return the page for Prometheus."""
        page: Any = Scraped.exposition  # which reads the socket in ``folder``, whoever's that is
        return str(await anyio.to_thread.run_sync(page, self))

    async def _quiet(self) -> None:
        deadline = time.monotonic() + PATIENCE
        quiet = 0
        while quiet < _QUIET_CHECKS:  # between a thread's end and the next thread's begin none is at work
            await settle()
            quiet = 0 if self._at_work() else quiet + 1
            assert time.monotonic() < deadline, f"they do not end: {threading.enumerate()}"
            await anyio.sleep(0.001)
        await settle()

    def _at_work(self) -> bool:
        if anyio.to_thread.current_default_thread_limiter().borrowed_tokens:
            return True
        if _children():
            return True  # a process is at work, which has the machine's clock
        others = set(threading.enumerate()) - self.threads
        return any(type(thread) is threading.Thread for thread in others)  # anyio's own wait for work


def _children() -> str:
    """Return the ids of the processes that threads of this process have started."""
    found = ""
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended meanwhile
            found += path.read_text()
    return found


def _prepare(folder: Path, config: str) -> Path:
    """Make what the daemon needs in ``folder``; return the file of its configuration."""
    make_model_folder(folder / "models")
    for file in (folder / "models").iterdir():
        os.utime(file, (BEGAN - 3600, BEGAN - 3600))
    for name in ("state", "run", "backup"):
        (folder / name).mkdir(exist_ok=True)
    file = folder / "aiidpd.toml"
    file.write_text(config.format(folder=folder))
    return file


@contextmanager
def utc() -> Iterator[None]:
    """Have local time be UTC while the block lasts."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        del os.environ["TZ"]
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


@contextmanager
def _silent() -> Iterator[None]:
    """Have nobody print the log while the block lasts."""
    with structlog.testing.capture_logs():
        yield


@asynccontextmanager
async def simulated(folder: Path, began: float = BEGAN, config: str = CONFIG) -> AsyncIterator[Simulated]:
    """Run a daemon in ``folder`` while the block lasts, from Unix second ``began`` on."""
    file = _prepare(folder, config)

    def read() -> Loaded:
        return load(SCHEMA, file, {})

    clock = SteppedClock(began)
    with utc(), _silent():
        daemon = Daemon(read(), read, Notifier.from_environment({}), clock)
        try:
            async with anyio.create_task_group() as group:
                found = Simulated(folder, clock, frozenset(threading.enumerate()))
                group.start_soon(daemon.run)
                await found.advance(0.0)
                yield found
                group.cancel_scope.cancel()
        finally:
            daemon.close()
