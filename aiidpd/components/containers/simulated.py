"""A made-up engine that says so in every name: for a machine without Docker, and for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from aiidpd.components.containers.runtime import ContainerReading, RuntimeEvent, RuntimeSnapshot
from aiidpd.components.containers.simulated_life import PERIOD, STOPPED_CODE, Life, script
from aiidpd.kernel.clock import Clock, wait_for

_IMAGES = ("vllm-openai", "llama.cpp-server", "text-embeddings")
_UPTIME = 3600.0  # seconds for which every container has run when the simulation begins


class SimulatedRuntime:
    """``count`` containers that follow a script by ``clock``; the same at every run."""

    def __init__(self, clock: Clock, count: int = 3) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._epoch = clock.time()
        self._lives = tuple(Life(script(number)) for number in range(count))
        self._changed = anyio.Event()

    @property
    def simulated(self) -> bool:
        return True

    async def containers(self, *, fresh: bool = False) -> RuntimeSnapshot:  # noqa: ARG002 -- always fresh
        readings = tuple(self._reading(number) for number in range(len(self._lives)))
        return RuntimeSnapshot(readings, "SIMULATED", simulated=True)

    async def container(self, identity: str) -> ContainerReading | None:
        number = self._number(identity)
        return None if number is None else self._reading(number)

    @asynccontextmanager
    async def events(self, since: float) -> AsyncIterator[AsyncIterator[RuntimeEvent]]:
        yield self._follow(since)

    async def _follow(self, since: float) -> AsyncIterator[RuntimeEvent]:
        after = since - self._epoch
        inclusive = True
        while True:
            batch = self._next(after, inclusive=inclusive)
            moment = batch[0].time - self._epoch if batch else self._elapsed() + PERIOD
            if await wait_for(self._clock, self._changed, max(0.0, moment - self._elapsed())) or not batch:
                continue  # something was done to a container meanwhile, which is not in the script
            after, inclusive = moment, False
            for event in batch:
                yield event

    async def stop(self, identity: str, grace: float) -> bool:  # noqa: ARG002 -- it ends at once
        return self._change(identity, ("running", "paused"), lambda life: life.stop(self._elapsed()))

    async def pause(self, identity: str) -> bool:
        return self._change(identity, ("running",), lambda life: life.pause(self._elapsed()))

    async def unpause(self, identity: str) -> bool:
        return self._change(identity, ("paused",), lambda life: life.go_on(self._elapsed()))

    def _change(self, identity: str, states: tuple[str, ...], change: Callable[[Life], None]) -> bool:
        """Do ``change`` to the container if it is in one of ``states``; return whether it was."""
        number = self._number(identity)
        if number is None or self._reading(number).state not in states:
            return False
        change(self._lives[number])
        self._changed.set()
        self._changed = anyio.Event()
        return True

    def _number(self, identity: str) -> int | None:
        numbers = range(len(self._lives))
        return next((number for number in numbers if _identity(number) == identity), None)

    async def aclose(self) -> None:
        """Hold nothing, release nothing."""

    def _elapsed(self) -> float:
        return self._clock.monotonic() - self._began

    def _next(self, after: float, *, inclusive: bool) -> list[RuntimeEvent]:
        """Return the events of the first moment after ``after`` (seconds since the begin)."""
        found = [
            (moment, number, line)
            for number, life in enumerate(self._lives)
            for moment, line in life.after(after, inclusive=inclusive)
        ]
        first = min((moment for moment, _, _ in found), default=0.0)
        return [
            RuntimeEvent(
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

    def _reading(self, number: int) -> ContainerReading:
        state, health, code = "running", "healthy", None
        started, finished = self._epoch - _UPTIME, None
        life, elapsed = self._lives[number], self._elapsed()
        for at, line in life.past(elapsed):
            if line.action == "health_status":
                health = line.detail
            elif line.action == "die":
                state, code, finished = "restarting", line.exit_code, self._epoch + at
            elif line.action == "start":
                state, code, started = "running", None, self._epoch + at
        if life.paused:
            state = "paused"
        if life.stopped <= elapsed:
            state, code, finished = "exited", STOPPED_CODE, self._epoch + life.stopped
        return ContainerReading(
            id=_identity(number),
            name=_name(number),
            image=_image(number),
            state=state,
            health=health if state == "running" else None,
            exit_code=code,
            restart_count=life.restarts(elapsed),
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
