"""Tasks, the workers that they run, and their heartbeat."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import anyio

from aiidpd.kernel.clock import Clock, wait_for
from aiidpd.kernel.errors import Inactive, Unavailable

_IDLE_BEAT = 5.0  # seconds; every task's deadline is longer


class Worker(Protocol):
    """One of the daemon's concurrent tasks: a loop around a pure step.

    A worker object lives for one run. After a failure or a reload the supervisor builds a new one,
    so a worker holds nothing that must outlive it.
    """

    @property
    def simulated(self) -> bool:
        """True where this worker reads what is made up."""

    async def run(self, heartbeat: Heartbeat) -> None:
        """Work until cancelled. To return is a failure."""


@dataclass(frozen=True, slots=True)
class Task:
    """One long-running task: ``make`` returns its worker.

    After ``deadline`` seconds without a beat it counts as hung. Both are called anew for each run: a reload
    may have changed the answer. A component names its first task like itself, and others below that
    (``thermal.energy``).
    """

    name: str
    make: Callable[[], Worker]
    deadline: Callable[[], float]


class WorkerState(StrEnum):
    """States of a worker."""

    STARTING = "starting"  # no pass has ended yet
    RUNNING = "running"  # the last pass succeeded
    DEGRADED = "degraded"  # alive, but the last pass could not do its work
    INACTIVE = "inactive"  # switched off, or what it would work on is not installed: nothing is wrong
    RESTARTING = "restarting"  # ended; waits for its backoff
    WEDGED = "wedged"  # was cancelled and did not end
    STOPPED = "stopped"


@dataclass(slots=True)
class WorkerStatus:
    """Counts of one worker over all its runs. Durations in seconds, ``*_at`` in Unix seconds."""

    name: str
    state: WorkerState = WorkerState.STARTING
    reason: str = ""
    simulated: bool = False
    started_at: float | None = None
    last_success_at: float | None = None
    last_duration: float | None = None
    passes: int = 0
    failed_passes: int = 0
    restarts: int = 0

    @property
    def up(self) -> bool:
        """True where all is well: the last pass succeeded, or there is nothing to do."""
        return self.state in (WorkerState.RUNNING, WorkerState.INACTIVE)


class InactiveWorker:
    """Worker of a task that is switched off; it reports why, and waits to be replaced."""

    simulated = False

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def run(self, heartbeat: Heartbeat) -> None:
        """Wait until cancelled."""
        heartbeat.inactive(self._reason)
        await heartbeat.idle(anyio.Event())


class Heartbeat:
    """Sign of life of a worker. It times and counts passes, so that no worker does."""

    def __init__(self, clock: Clock, status: WorkerStatus, first_pass: anyio.Event) -> None:
        self._clock = clock
        self._status = status
        self._first_pass = first_pass
        self.last = clock.monotonic()

    def beat(self) -> None:
        """Report that the task lives; long work calls this at least once per deadline."""
        self.last = self._clock.monotonic()

    async def idle(self, arrived: anyio.Event, seconds: float = math.inf) -> bool:
        """Wait for ``arrived``, at most ``seconds``, and beat meanwhile; return whether it came."""
        end = self._clock.monotonic() + seconds
        while not arrived.is_set():
            self.beat()
            left = end - self._clock.monotonic()
            if left <= 0:
                return False
            await wait_for(self._clock, arrived, min(left, _IDLE_BEAT))
        self.beat()
        return True

    def inactive(self, reason: str) -> None:
        """Report that there is nothing to do, because ``reason``, and that nothing is wrong."""
        self._status.state = WorkerState.INACTIVE
        self._status.reason = reason
        self.beat()
        self._first_pass.set()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Wrap one pass of the loop.

        A pass that raises :class:`Unavailable` makes the worker degraded, one that raises :class:`Inactive`
        inactive, and the loop continues; any other error leaves the block and ends the run.
        """
        self.beat()
        started = self._clock.monotonic()
        try:
            yield
        except Inactive as inactive:
            self.inactive(str(inactive))
        except Unavailable as error:
            self._status.failed_passes += 1
            self._status.state = WorkerState.DEGRADED
            self._status.reason = str(error)
        else:
            self._status.passes += 1
            self._status.state = WorkerState.RUNNING
            self._status.reason = ""
            self._status.last_success_at = self._clock.time()
        self._status.last_duration = self._clock.monotonic() - started
        self.beat()
        self._first_pass.set()
