"""Work that was requested: handed to a worker, followed by whoever waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

import anyio

from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import AiidpdError, Conflict, NotFound, describe
from aiidpd.kernel.events import Scalar

_NOTHING: Mapping[str, Scalar] = MappingProxyType({})


class JobState(StrEnum):
    """Stages of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """True where the job will not change any more."""
        return self in (JobState.SUCCEEDED, JobState.FAILED)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job at one moment. ``done`` of ``total`` are in ``unit``.

    ``*_at`` in Unix seconds, all by the wall clock as it was when the job was made: what lies between two
    of them did pass, also where the clock was set meanwhile.
    """

    id: str
    kind: str
    state: JobState
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    message: str = ""
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    result: Mapping[str, Scalar] = field(default_factory=lambda: _NOTHING)
    error: str = ""


class Job:
    """One piece of work and its progress."""

    def __init__(self, clock: Clock, identity: str, kind: str, arguments: Mapping[str, Scalar]) -> None:
        self._clock = clock
        self._offset = clock.time() - clock.monotonic()
        self._changed = anyio.Event()
        self.arguments = arguments
        self.status = JobStatus(identity, kind, JobState.QUEUED, self._now())

    def progress(self, message: str, done: float = 0.0, total: float = 0.0, unit: str = "") -> None:
        """Report how far the work is."""
        self._set(replace(self.status, message=message, done=done, total=total, unit=unit))

    def succeed(self, **result: Scalar) -> None:
        """End the job well, with what came of it."""
        self._finish(JobState.SUCCEEDED, result=MappingProxyType(result))

    def fail(self, error: str, **result: Scalar) -> None:
        """End the job badly, with a message for people; ``result`` may hold what was found."""
        self._finish(JobState.FAILED, error=error, result=MappingProxyType(result))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Wrap the work: an error inside ends the job as failed, and an own error stays inside.

        Work that leaves the block without having called :meth:`succeed` or :meth:`fail` succeeded.
        """
        self._set(replace(self.status, state=JobState.RUNNING, started_at=self._now()))
        try:
            yield
        except AiidpdError as error:
            self.fail(str(error))
        except Exception as error:
            self.fail(describe(error))
            raise
        except BaseException:
            self.fail("it was interrupted: the worker was stopped or replaced")
            raise
        else:
            self.succeed()

    async def updates(self) -> AsyncIterator[JobStatus]:
        """Yield the status now and after each change (changes in quick succession count as one)."""
        while True:
            changed, status = self._changed, self.status
            yield status
            if status.state.final:
                return
            await changed.wait()

    def _finish(self, state: JobState, *, error: str = "", result: Mapping[str, Scalar] = _NOTHING) -> None:
        if not self.status.state.final:
            at = self._now()
            self._set(replace(self.status, state=state, finished_at=at, error=error, result=result))

    def _now(self) -> float:
        return self._clock.monotonic() + self._offset

    def _set(self, status: JobStatus) -> None:
        self.status = status
        self._changed.set()
        self._changed = anyio.Event()


class JobQueue:
    """Jobs that wait for one worker; it outlives the worker. At most ``limit`` wait."""

    def __init__(self, book: JobBook, kind: str, limit: int = 16) -> None:
        self._book = book
        self._kind = kind
        self._limit = limit
        self._waiting: deque[Job] = deque()
        self._arrived = anyio.Event()

    @property
    def waiting(self) -> bool:
        """True where a job waits."""
        return bool(self._waiting)

    def submit(self, **arguments: Scalar) -> Job:
        """Queue a job and return it; raises :class:`Conflict` when too many wait."""
        if len(self._waiting) >= self._limit:
            reason = f"{self._limit} such jobs wait already"
            raise Conflict("queue", self._kind, reason=reason, remedy="wait for one of them to end")
        job = self._book.open(self._kind, arguments)
        self._waiting.append(job)
        self._arrived.set()
        return job

    async def next(self) -> Job:
        """Return the job that has waited longest; wait for one where there is none."""
        while not self._waiting:
            self._arrived = anyio.Event()
            await self._arrived.wait()
        return self._waiting.popleft()


class JobBook:
    """Every job of this process, by id; finished ones are stored up to ``keep``."""

    def __init__(self, clock: Clock, keep: int = 100) -> None:
        self._clock = clock
        self._keep = keep
        self._jobs: dict[str, Job] = {}
        self._opened = 0

    def open(self, kind: str, arguments: Mapping[str, Scalar]) -> Job:
        """Enter a new job."""
        self._opened += 1
        job = Job(self._clock, f"{kind}-{self._opened}", kind, MappingProxyType(dict(arguments)))
        self._jobs[job.status.id] = job
        finished = [key for key, known in self._jobs.items() if known.status.state.final]
        for key in finished[: max(0, len(finished) - self._keep)]:
            del self._jobs[key]
        return job

    def get(self, identity: str) -> Job:
        """Return the job ``identity``; raises :class:`NotFound`."""
        job = self._jobs.get(identity)
        if job is None:
            raise NotFound(
                "find job", identity, reason="this daemon has no such job", remedy="ids end with a restart"
            )
        return job

    def all(self) -> tuple[JobStatus, ...]:
        """Return every job known, in the order they were opened."""
        return tuple(job.status for job in self._jobs.values())
