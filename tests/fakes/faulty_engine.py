"""A container engine made up whose events are lost, late, doubled, forgotten and cut off, by a seed."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio

from aiidpd.components.containers.runtime import ContainerReading, RuntimeEvent, RuntimeSnapshot
from aiidpd.kernel.errors import Unavailable
from tests.fakes.clock import FakeClock

FAULTS = ("cut", "stall", "drop", "reorder", "double", "refuse", "slow", "forget", "calm")
BROKEN = Unavailable("follow events of", "the engine", reason="the connection broke")
KINDS = {"create": "appeared", "start": "started", "die": "died", "destroy": "removed"}
KINDS |= {"pause": "paused", "unpause": "unpaused"}


@dataclass
class Real:
    """One container as it is."""

    id: str
    state: str = "created"
    health: str | None = None
    started: float | None = None
    finished: float | None = None
    count: int = 0
    runs: int = 0
    codes: list[int] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)

    @property
    def running(self) -> bool:
        return self.state in ("running", "paused")

    def reading(self) -> ContainerReading:
        return ContainerReading(
            self.id,
            self.id,
            "image",
            self.state,
            health=self.health if self.state == "running" else None,
            exit_code=self.runs if self.state in ("exited", "restarting") else None,
            restart_count=self.count,
            started_at=self.started,
            finished_at=self.finished,
            pid=1000 + self.runs if self.running else None,
        )


class FaultyEngine:
    """Does to its containers what :meth:`act` is told, and to what it says of them :meth:`fault`.

    It remembers ``ring`` events. ``faults`` counts what was done: a call, or an event that it befell.
    """

    simulated = True

    def __init__(self, clock: FakeClock, seed: int, *, ring: int = 256, names: int = 5) -> None:
        self.containers_: dict[str, Real] = {}
        self.gone: dict[str, Real] = {}
        self.faults = Counter[str]()
        self._clock = clock
        self._numbers = random.Random(seed)
        self._ring: deque[RuntimeEvent] = deque(maxlen=ring)
        self._names = names
        self._made = 0
        self._streams: list[anyio.abc.ObjectSendStream[RuntimeEvent | None]] = []
        self._drop = 0.0
        self._reorder = 0.0
        self._held: list[RuntimeEvent] = []
        self._stalled = False
        self._forget = 0
        self._refuses = 0
        self._slow = 0.0

    @property
    def followed(self) -> bool:
        return bool(self._streams)

    # Containers

    def act(self) -> None:
        """Do one thing to one container."""
        if len(self.containers_) < self._names:
            self._made += 1
            real = Real(f"c{self._made}")
            self.containers_[real.id] = real
            self._say(real, "create")
            return
        real = self._numbers.choice(list(self.containers_.values()))
        choice = self._numbers.random()
        if not real.running:
            if choice < 0.2 and real.state != "restarting":
                del self.containers_[real.id]
                self.gone[real.id] = real
                self._say(real, "destroy")
            else:
                self._start(real)
                if choice > 0.8:  # it ends before its start is noted
                    self._end(real, (real.started or 0.0) - 0.0005)
        elif choice < 0.35:
            real.state = "running" if real.state == "paused" else "paused"
            self._say(real, "pause" if real.state == "paused" else "unpause")
        elif choice < 0.6 and real.state == "running":
            real.health = "unhealthy" if real.health == "healthy" else "healthy"
            self._say(real, "health_status", detail=real.health)
        else:
            self._end(real, self._clock.time() - 0.004)

    def _start(self, real: Real) -> None:
        if real.state != "restarting":
            real.count = 0
        real.state, real.health, real.started = "running", "starting", self._clock.time() - 0.002
        real.runs += 1
        self._say(real, "start")

    def _end(self, real: Real, finished: float) -> None:
        policy = self._numbers.random() < 0.5
        real.state, real.health, real.finished = "restarting" if policy else "exited", None, finished
        real.count += policy
        real.codes.append(real.runs)
        self._say(real, "die", exit_code=real.runs)

    def _say(self, real: Real, action: str, **more: object) -> None:
        real.happened[str(more.get("detail") or KINDS[action])] += 1
        self._clock.jump(1e-5)  # no two are of one moment
        event = RuntimeEvent(self._clock.time(), action, real.id, real.id, "image", **more)  # type: ignore[arg-type]
        if self._forget:
            self._forget -= 1
            self.faults["forgotten"] += 1
            return
        self._ring.append(event)
        if self._stalled:
            self.faults["stalled"] += 1
        elif self._numbers.random() < self._drop:
            self.faults["dropped"] += 1
        elif self._numbers.random() < self._reorder:
            self.faults["reordered"] += 1
            self._held.append(event)
        else:
            self._send(event)
            for late in self._held:
                self._send(late)
            self._held.clear()

    def _send(self, event: RuntimeEvent) -> None:
        for stream in self._streams:
            with suppress(anyio.WouldBlock):
                stream.send_nowait(event)

    # Faults

    def fault(self, *, forgetting: bool) -> None:
        """Begin or do one fault."""
        numbers = self._numbers
        match numbers.choice(FAULTS):
            case "cut":
                self.cut()
                self.faults["cut"] += 1
            case "stall":
                self._stalled = True
            case "drop":
                self._drop = numbers.random()
            case "reorder":
                self._reorder = numbers.random()
            case "double":
                self._double()
            case "refuse":
                self._refuses = numbers.randrange(1, 5)
            case "slow":
                self._slow = numbers.random()
            case "forget" if forgetting:
                self._forget = numbers.randrange(1, 12)
            case _:
                self.calm()

    def _double(self) -> None:
        for event in self._numbers.sample(list(self._ring), min(3, len(self._ring))):
            if event.time > self._clock.time() - 20:
                self._send(event)
                self.faults["doubled"] += 1

    def calm(self) -> None:
        """End what lasts; what a stalled stream held back stays lost to it."""
        self._stalled = False
        self._drop = self._reorder = self._slow = 0.0
        self._refuses = self._forget = 0

    def cut(self) -> None:
        """End every stream."""
        for stream in self._streams:
            with suppress(anyio.WouldBlock):
                stream.send_nowait(None)
        self._streams.clear()

    # As a runtime

    async def _call(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self._slow:
            await self._clock.sleep(self._slow * self._numbers.random())
        if self._refuses:
            self._refuses -= 1
            self.faults["refused"] += 1
            raise BROKEN

    async def containers(self, *, fresh: bool = False) -> RuntimeSnapshot:
        del fresh
        await self._call()
        readings = tuple(real.reading() for real in self.containers_.values())
        await self._call()
        return RuntimeSnapshot(readings, "1", simulated=True)

    async def container(self, identity: str) -> ContainerReading | None:
        await self._call()
        real = self.containers_.get(identity)
        found = None if real is None else real.reading()
        await self._call()
        return found

    async def recall(
        self, since: float, until: float, *, within: float | None = None
    ) -> tuple[RuntimeEvent, ...]:
        del within
        await self._call()
        return tuple(event for event in self._ring if since <= event.time <= until)

    async def find(self, name: str) -> str | None:
        await self._call()
        return name if name in self.containers_ else None

    @asynccontextmanager
    async def events(self, since: float) -> AsyncIterator[AsyncIterator[RuntimeEvent]]:
        await self._call()
        send, receive = anyio.create_memory_object_stream[RuntimeEvent | None](2000)
        for event in self._ring:
            if event.time >= since:
                send.send_nowait(event)
        self._streams.append(send)
        with send, receive:
            try:
                yield self._follow(receive)
            finally:
                if send in self._streams:
                    self._streams.remove(send)

    async def _follow(
        self, receive: anyio.abc.ObjectReceiveStream[RuntimeEvent | None]
    ) -> AsyncIterator[RuntimeEvent]:
        async for event in receive:
            if event is None:
                raise BROKEN
            yield event

    async def stop(self, identity: str, grace: float) -> bool:
        raise NotImplementedError

    async def pause(self, identity: str) -> bool:
        raise NotImplementedError

    async def unpause(self, identity: str) -> bool:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass
