"""A made-up engine that says so in every name: for a machine without Docker, and for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import floor, inf

import anyio

from aiidpd.kernel.clock import Clock, wait_for
from aiidpd.workers.containers.engine import ContainerReading, EngineEvent, EngineSnapshot

PERIOD = 300.0
"""Seconds after which the script begins again."""

_IMAGES = ("vllm-openai", "llama.cpp-server", "text-embeddings")
_UPTIME = 3600.0  # seconds for which every container has run when the simulation begins


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the script: what happens to a container ``offset`` seconds into each period."""

    offset: float
    action: str
    detail: str = ""
    exit_code: int | None = None


def _script(number: int) -> tuple[_Line, ...]:
    """Return what happens to container ``number``: one hangs a while, one dies, one is well."""
    late = number * 3 % 100
    if number % 3 == 0:
        return (
            _Line(60.0 + late, "health_status", "unhealthy"),
            _Line(80.0 + late, "health_status", "healthy"),
        )
    if number % 3 == 1:
        return (_Line(90.0 + late, "die", exit_code=1), _Line(95.0 + late, "start"))
    return ()


_STOPPED_CODE = 143  # SIGTERM's
_STOP = (_Line(0.0, "kill", "15"), _Line(0.0, "die", exit_code=_STOPPED_CODE))


class SimulatedEngine:
    """``count`` containers that follow a script by ``clock``; the same at every run."""

    def __init__(self, clock: Clock, count: int = 3) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._epoch = clock.time()
        self._count = count
        self._stopped: dict[int, float] = {}
        self._changed = anyio.Event()

    @property
    def simulated(self) -> bool:
        return True

    async def containers(self, *, fresh: bool = False) -> EngineSnapshot:  # noqa: ARG002 -- always fresh
        readings = tuple(self._reading(number) for number in range(self._count))
        return EngineSnapshot(readings, "SIMULATED", simulated=True)

    async def container(self, identity: str) -> ContainerReading | None:
        for number in range(self._count):
            if _identity(number) == identity:
                return self._reading(number)
        return None

    @asynccontextmanager
    async def events(self, since: float) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        yield self._follow(since)

    async def _follow(self, since: float) -> AsyncIterator[EngineEvent]:
        after = since - self._epoch
        inclusive = True
        while True:
            batch = self._next(after, inclusive=inclusive)
            moment = batch[0].time - self._epoch if batch else self._elapsed() + PERIOD
            if await wait_for(self._clock, self._changed, max(0.0, moment - self._elapsed())) or not batch:
                continue  # a container was stopped meanwhile, which is not in the script
            after, inclusive = moment, False
            for event in batch:
                yield event

    async def stop(self, identity: str, grace: float) -> bool:  # noqa: ARG002 -- it ends at once
        for number in range(self._count):
            if _identity(number) == identity and self._reading(number).running:
                # From now on nothing happens to it.
                self._stopped[number] = self._elapsed()
                self._changed.set()
                self._changed = anyio.Event()
                return True
        return False

    async def aclose(self) -> None:
        """Hold nothing, release nothing."""

    def _elapsed(self) -> float:
        return self._clock.monotonic() - self._began

    def _next(self, after: float, *, inclusive: bool) -> list[EngineEvent]:
        """Return the events of the first moment after ``after`` (seconds since the begin)."""
        found: list[tuple[float, int, _Line]] = []
        for number in range(self._count):
            for line in _script(number):
                period = max(0, floor((after - line.offset) / PERIOD))
                moments = (line.offset + PERIOD * turn for turn in range(period, period + 3))
                moment = next(at for at in moments if at > after or (inclusive and at == after))
                if moment <= self._stopped.get(number, inf):
                    found.append((moment, number, line))
        for number, moment in self._stopped.items():
            if moment > after or (inclusive and moment == after):
                found += ((moment, number, line) for line in _STOP)
        first = min((moment for moment, _, _ in found), default=0.0)
        return [
            EngineEvent(
                time=self._epoch + moment,
                action=line.action,
                id=_identity(number),
                name=_name(number),
                image=_image(number),
                exit_code=line.exit_code,
                detail=line.detail,
            )
            for moment, number, line in found
            if moment == first
        ]

    def _past(self, number: int) -> Iterator[tuple[float, _Line]]:
        """Yield what happened to container ``number`` so far, with its time in seconds since the begin."""
        elapsed = min(self._elapsed(), self._stopped.get(number, inf))
        turns = floor(elapsed / PERIOD)
        for turn in range(max(0, turns - 1), turns + 1):
            for line in _script(number):
                if PERIOD * turn + line.offset <= elapsed:
                    yield PERIOD * turn + line.offset, line

    def _reading(self, number: int) -> ContainerReading:
        state, health, code = "running", "healthy", None
        started, finished = self._epoch - _UPTIME, None
        for at, line in self._past(number):
            if line.action == "health_status":
                health = line.detail
            elif line.action == "die":
                state, code, finished = "restarting", line.exit_code, self._epoch + at
            elif line.action == "start":
                state, code, started = "running", None, self._epoch + at
        if number in self._stopped:
            state, code, finished = "exited", _STOPPED_CODE, self._epoch + self._stopped[number]
        starts = [line.offset for line in _script(number) if line.action == "start"]
        lived = min(self._elapsed(), self._stopped.get(number, inf))
        restarts = sum(max(0, 1 + floor((lived - offset) / PERIOD)) for offset in starts)
        return ContainerReading(
            id=_identity(number),
            name=_name(number),
            image=_image(number),
            state=state,
            health=health if state == "running" else None,
            exit_code=code,
            restart_count=restarts,
            started_at=started,
            finished_at=finished,
            project="SIMULATED",
            service=_IMAGES[number % 3],
            restart_policy="unless-stopped",
            gpu=number % 3 != 2,  # noqa: PLR2004 -- the third image needs none
        )


def _identity(number: int) -> str:
    return f"{number:064x}"


def _name(number: int) -> str:
    return f"SIMULATED-{_IMAGES[number % 3]}-{number}"


def _image(number: int) -> str:
    return f"SIMULATED/{_IMAGES[number % 3]}:latest"
