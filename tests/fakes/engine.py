"""A container engine that a test scripts: what it shows, what it says, and how it fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from aiidpd.components.containers.runtime import ContainerReading, RuntimeEvent, RuntimeSnapshot
from aiidpd.kernel.errors import Unavailable


class ScriptedEngine:
    """``shown`` is what it shows; ``say`` reaches whoever follows, unless ``deaf``."""

    simulated = True

    def __init__(self, *readings: ContainerReading) -> None:
        self.shown = {reading.id: reading for reading in readings}
        self.refuses: Unavailable | None = None
        self.refuses_events: Unavailable | None = None
        self.deaf = False
        self.stuck: set[str] = set()
        self.on_list: list[RuntimeEvent] = []  # said while the next list is being made
        self.subscriptions: list[float] = []
        self.lists: list[bool] = []
        self.looks: list[str] = []
        self.closed = 0
        self.stops: list[tuple[str, float]] = []
        self.switches: list[tuple[str, str]] = []
        self.refuses_switch: dict[str, Unavailable] = {}
        self.late: dict[str, Unavailable] = {}
        self.on_switch: Callable[[str, str], None] | None = None  # called before it is carried out
        self.ring: list[RuntimeEvent] = []  # what it remembers, brought or not
        self._streams: list[anyio.abc.ObjectSendStream[RuntimeEvent]] = []

    async def containers(self, *, fresh: bool = False) -> RuntimeSnapshot:
        self.lists.append(fresh)
        await anyio.lowlevel.checkpoint()
        if self.refuses is not None:
            raise self.refuses
        for event in self.on_list:
            self.say(event)
        self.on_list.clear()
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        seen = tuple(one for one in self.shown.values() if one.id not in self.stuck)
        unreadable = tuple((one.id, one.name) for one in self.shown.values() if one.id in self.stuck)
        return RuntimeSnapshot(seen, "1.0", simulated=True, unreadable=unreadable)

    async def container(self, identity: str) -> ContainerReading | None:
        self.looks.append(identity)
        await anyio.lowlevel.checkpoint()
        if self.refuses is not None:
            raise self.refuses
        if identity in self.stuck:
            raise Unavailable("read", identity, reason="stuck")
        return self.shown.get(identity)

    async def recall(
        self,
        since: float,
        until: float,
        *,
        within: float | None = None,  # noqa: ARG002 -- it takes no time
    ) -> tuple[RuntimeEvent, ...]:
        await anyio.lowlevel.checkpoint()
        if self.refuses is not None:
            raise self.refuses
        return tuple(event for event in self.ring if since <= event.time <= until)

    async def find(self, name: str) -> str | None:
        await anyio.lowlevel.checkpoint()
        if self.refuses is not None:
            raise self.refuses
        return next((each.id for each in self.shown.values() if each.name == name), None)

    async def stop(self, identity: str, grace: float) -> bool:
        await anyio.lowlevel.checkpoint()
        if self.refuses is not None:
            raise self.refuses
        self.stops.append((identity, grace))
        found = self.shown.get(identity)
        if found is not None and found.running:
            self.shown[identity] = replace(found, state="exited", exit_code=143, finished_at=0.0)
            return True
        return False

    async def pause(self, identity: str) -> bool:
        return await self._switch("pause", identity, "running", "paused")

    async def unpause(self, identity: str) -> bool:
        return await self._switch("unpause", identity, "paused", "running")

    async def _switch(self, action: str, identity: str, before: str, after: str) -> bool:
        """Carry it out, refuse it, or (``late``) carry it out and give no answer."""
        self.switches.append((action, identity))
        await anyio.lowlevel.checkpoint()
        if self.on_switch is not None:
            self.on_switch(action, identity)
        if self.refuses is not None or action in self.refuses_switch:
            raise self.refuses or self.refuses_switch[action]
        found = self.shown.get(identity)
        if found is None or found.state != before:
            return False
        self.shown[identity] = replace(found, state=after)
        if action in self.late:
            raise self.late[action]
        return True

    @asynccontextmanager
    async def events(self, since: float) -> AsyncIterator[AsyncIterator[RuntimeEvent]]:
        self.subscriptions.append(since)
        error = self.refuses_events or self.refuses
        if error is not None:
            raise error
        send, receive = anyio.create_memory_object_stream[RuntimeEvent](100)
        for event in self.ring:
            if event.time >= since:
                send.send_nowait(event)
        self._streams.append(send)
        with send, receive:
            try:
                yield receive
            finally:
                if send in self._streams:
                    self._streams.remove(send)

    def say(self, event: RuntimeEvent) -> None:
        self.ring.append(event)
        if not self.deaf:
            for stream in self._streams:
                stream.send_nowait(event)

    def cut(self) -> None:
        for stream in self._streams:
            stream.close()
        self._streams.clear()

    async def aclose(self) -> None:
        self.closed += 1
