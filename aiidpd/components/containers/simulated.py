"""A simulated container runtime, marked so in every name: for a machine without Docker, and for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import floor, inf
from types import MappingProxyType
from typing import Any, Final

import anyio

from aiidpd.components.containers.actions import LogTail
from aiidpd.components.containers.runtime import ContainerReading, RuntimeEvent, RuntimeSnapshot
from aiidpd.contracts.containers import NOTHING
from aiidpd.contracts.inspections import Inspection, PublishedPort
from aiidpd.kernel.clock import Clock, wait_for
from aiidpd.kernel.errors import Unavailable

PERIOD: Final = 360.0
"""Seconds after which the script begins again: so many that its deaths are no restart loop."""

STOPPED_CODE: Final = 143  # SIGTERM's
_IMAGES = ("vllm-openai", "llama.cpp-server", "text-embeddings")
_LABELS = MappingProxyType({"aiidpd.heal": "restart"})  # of the one that hangs
_ROUNDED: Final = 1e-6  # seconds by which a time of today may lie before its moment, as it is rounded
_UPTIME = 3600.0  # seconds for which every container has run when the simulation begins


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the script: what happens ``offset`` seconds into each period."""

    offset: float
    action: str
    detail: str = ""
    exit_code: int | None = None


_RESTART = (
    Line(0.0, "kill", "15"),
    Line(0.0, "die", exit_code=STOPPED_CODE),
    Line(0.0, "start"),
    Line(0.0, "health_status", "healthy"),
)
_STOP = (Line(0.0, "kill", "15"), Line(0.0, "die", exit_code=STOPPED_CODE))
_ANY = ("running", "paused", "restarting", "exited")
_PAUSE, _UNPAUSE = Line(0.0, "pause"), Line(0.0, "unpause")


def script(number: int) -> tuple[Line, ...]:
    """Return what happens to container ``number``: one hangs a while, one dies, one is well."""
    late = number * 3 % 100
    if number % 3 == 0:
        return (
            Line(60.0 + late, "health_status", "unhealthy"),
            Line(80.0 + late, "health_status", "healthy"),
        )
    if number % 3 == 1:
        return (Line(90.0 + late, "die", exit_code=1), Line(95.0 + late, "start"))
    return ()


@dataclass(slots=True)
class Life:
    """One container by the seconds since the simulation began: script, pauses, restarts, stop."""

    lines: tuple[Line, ...]
    pauses: list[tuple[float, float]] = field(default_factory=list)
    restarted: list[float] = field(default_factory=list)
    stopped: float = inf

    @property
    def paused(self) -> bool:
        """True while it is paused."""
        return bool(self.pauses) and self.pauses[-1][1] == inf

    def pause(self, at: float) -> None:
        """Begin a pause at ``at``."""
        self.pauses.append((at, inf))

    def unpause(self, at: float) -> None:
        """End the pause at ``at``, where there is one."""
        if self.paused:
            self.pauses[-1] = (self.pauses[-1][0], at)

    def stop(self, at: float) -> None:
        """End at ``at``; from then on nothing happens."""
        self.unpause(at)
        self.stopped = at

    def restart(self, at: float) -> None:
        """End and start anew at ``at``: it is well then."""
        self.unpause(at)
        self.restarted = [*self.restarted[-9:], at]
        self.stopped = inf

    def past(self, elapsed: float) -> Iterator[tuple[float, Line]]:
        """Yield what happened by the script in this period and the one before, each with its moment."""
        lived = self._lived(elapsed)
        turns = floor(lived / PERIOD)
        for turn in range(max(0, turns - 1), turns + 1):
            for line in self.lines:
                if PERIOD * turn + line.offset <= lived:
                    yield self._moment(PERIOD * turn + line.offset), line

    def restarts(self, elapsed: float) -> int:
        """Return how often it was started again."""
        starts = [line.offset for line in self.lines if line.action == "start"]
        return sum(max(0, 1 + floor((self._lived(elapsed) - offset) / PERIOD)) for offset in starts)

    def after(self, moment: float, *, inclusive: bool) -> Iterator[tuple[float, Line]]:
        """Yield the next time of each thing that happens, those at ``moment`` itself where ``inclusive``."""

        def counts(at: float) -> bool:
            return at > moment or (inclusive and at == moment)

        lived = self._lived(moment)
        for line in self.lines:
            period = max(0, floor((lived - line.offset) / PERIOD))
            moments = (self._moment(line.offset + PERIOD * turn) for turn in range(period, period + 3))
            at = next(each for each in moments if counts(each) or each == inf)
            if at <= self.stopped and at != inf:
                yield at, line
        for begin, end in self.pauses:
            if counts(begin):
                yield begin, _PAUSE
            if end not in (inf, self.stopped) and counts(end):
                yield end, _UNPAUSE
        for at in self.restarted:
            if counts(at):
                yield from ((at, line) for line in _RESTART)
        if self.stopped != inf and counts(self.stopped):
            yield from ((self.stopped, line) for line in _STOP)

    def _lived(self, elapsed: float) -> float:
        until = min(elapsed, self.stopped)
        return until - sum(max(0.0, min(end, until) - begin) for begin, end in self.pauses)

    def _moment(self, lived: float) -> float:
        """Return the second at which it has lived for ``lived``; infinity where it is paused before that."""
        for begin, end in self.pauses:
            if lived > begin:
                lived += end - begin
        return lived


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
            after, inclusive = moment + _ROUNDED, False
            for event in batch:
                yield event

    async def recall(
        self,
        since: float,
        until: float,
        *,
        within: float | None = None,  # noqa: ARG002 -- it takes no time
    ) -> tuple[RuntimeEvent, ...]:
        found: list[RuntimeEvent] = []
        after, inclusive = since - self._epoch, True
        end = min(until - self._epoch, self._elapsed())
        while (batch := self._next(after, inclusive=inclusive)) and batch[0].time - self._epoch <= end:
            found += batch
            after, inclusive = batch[0].time - self._epoch + _ROUNDED, False
        return tuple(found)

    async def find(self, name: str) -> str | None:
        numbers = range(len(self._lives))
        return next((_identity(number) for number in numbers if _name(number) == name), None)

    async def stop(self, identity: str, grace: float) -> bool:  # noqa: ARG002 -- it ends at once
        return self._change(identity, ("running", "paused"), lambda life: life.stop(self._elapsed()))

    async def pause(self, identity: str) -> bool:
        return self._change(identity, ("running",), lambda life: life.pause(self._elapsed()))

    async def unpause(self, identity: str) -> bool:
        return self._change(identity, ("paused",), lambda life: life.unpause(self._elapsed()))

    async def start(self, identity: str) -> bool:
        return self._change(identity, ("exited",), lambda life: life.restart(self._elapsed()))

    async def restart(self, identity: str, grace: float) -> bool:  # noqa: ARG002 -- it ends at once
        self._change(identity, _ANY, lambda life: life.restart(self._elapsed()))
        return self._number(identity) is not None

    async def kill(self, identity: str, signal: str = "KILL") -> bool:  # noqa: ARG002 -- each ends it
        return await self.stop(identity, 0.0)

    async def describe(self, identity: str, *, size: bool = False) -> Mapping[str, Any] | None:
        del size
        number = self._number(identity)
        if number is None:
            return None
        return {"Id": identity, "Name": f"/{_name(number)}", "Config": {"Image": _image(number)}}

    async def logs(self, identity: str, *, lines: int, since: float = 0.0) -> LogTail | None:
        del lines, since
        return None if self._number(identity) is None else LogTail()

    async def execs(self, identity: str) -> tuple[Mapping[str, Any], ...]:
        del identity
        return ()

    async def labelled(self, labels: Sequence[str]) -> tuple[Mapping[str, Any], ...]:
        del labels
        return ()

    async def changes(self, identity: str) -> tuple[Mapping[str, Any], ...] | None:
        del identity
        return None

    async def image(self, reference: str) -> Mapping[str, Any] | None:
        del reference
        return None

    async def network(self, reference: str) -> Mapping[str, Any] | None:
        del reference
        return None

    async def volume(self, name: str) -> Mapping[str, Any] | None:
        del name
        return None

    async def disconnect(self, network: str, identity: str) -> bool:
        raise _refusal(f"disconnect container {identity} from network {network}")

    async def rename(self, identity: str, name: str) -> bool:
        raise _refusal(f"rename container {identity} to {name}")

    async def remove(self, identity: str) -> bool:
        raise _refusal(f"remove container {identity}")

    async def create(self, name: str, body: Mapping[str, Any], *, image: str = "") -> str:
        del body, image
        raise _refusal(f"create container {name}")

    async def connect(self, network: str, identity: str, endpoint: Mapping[str, Any]) -> bool:
        del endpoint
        raise _refusal(f"connect container {identity} to network {network}")

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
        anew = [(at, line) for at in life.restarted for line in _RESTART]
        for at, line in sorted([*life.past(elapsed), *anew], key=lambda each: each[0]):
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
            labels=_LABELS if number % 3 == 0 else NOTHING,
            inspection=_inspection(number, running=state in ("running", "paused")),
        )


def _refusal(action: str) -> Unavailable:
    return Unavailable(action, "", reason="simulated containers are neither created nor removed")


def _inspection(number: int, *, running: bool) -> Inspection:
    """Return how container ``number`` was created: well, but that one in three is open to every network."""
    port = 8000 + number
    return Inspection(
        id=_identity(number),
        name=_name(number),
        image=f"{_image(number)}@sha256:{'0' * 64}",
        running=running,
        gpu=number % 3 != 2,  # noqa: PLR2004 -- the third image needs none
        user="1000:1000",
        cap_drop=("ALL",),
        security_options=("no-new-privileges:true",),
        network_mode="simulated",
        read_only=True,
        ports=(PublishedPort(port, host_ip="" if number % 3 == 1 else "127.0.0.1", host_port=port),),
        memory_bytes=16 << 30,
        cpu_limited=True,
        pids_limit=1024,
        restart="on-failure",
        restart_maximum=5,
        log_driver="local",
        health_check=True,
    )


def _identity(number: int) -> str:
    return f"{number:064x}"


def _name(number: int) -> str:
    return f"SIMULATED-{_IMAGES[number % 3]}-{number}"


def _image(number: int) -> str:
    return f"SIMULATED/{_IMAGES[number % 3]}:latest"
