"""Reads a Docker Engine, or Podman by the same API: containers and events; stops and pauses."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiodocker
import aiohttp
import anyio

from aiidpd.components.containers.docker import payload
from aiidpd.components.containers.docker.connection import (
    Connection,
    GoneError,
    OtherStateError,
    decoded,
    message_of,
    read_version,
)
from aiidpd.components.containers.docker.lines import lines
from aiidpd.components.containers.docker.payload import Summary
from aiidpd.components.containers.runtime import ContainerReading, RuntimeEvent, RuntimeSnapshot
from aiidpd.kernel.errors import Unavailable

_STRAGGLER: Final = 2.0  # seconds that a reading waits for one container once others have answered
_FILTERS: Final = json.dumps({"type": ["container"], "event": list(payload.FOLLOWED)})


class DockerRuntime:
    """Reads the engine behind the Unix socket ``socket``.

    Every call has a deadline of ``call_timeout`` seconds; at most ``concurrency`` containers are
    read at once.
    """

    def __init__(self, socket: str | Path, *, call_timeout: float = 10.0, concurrency: int = 8) -> None:
        self._connection = Connection(socket, call_timeout)
        self._witness = Connection(socket, call_timeout, versioned=False)
        self._call_timeout = call_timeout
        self._concurrency = concurrency
        self._read: dict[str, tuple[Summary, ContainerReading]] = {}

    @property
    def simulated(self) -> bool:
        return False

    async def containers(self, *, fresh: bool = False) -> RuntimeSnapshot:
        action = "list the containers of"
        try:
            body = await self._connection.get(action, "containers/json", all="1")
            with self._connection.translated(action):
                summaries = {
                    payload.identity(entry["Id"]): payload.summary(entry) for entry in decoded(body, list)
                }
        except Unavailable:
            await self._connection.drop()  # the next call makes a new client, and asks for the version again
            raise
        if fresh:
            self._read.clear()
        readings: dict[str, ContainerReading] = {}
        unread: list[str] = []
        now = time.time()
        for identity, summary in summaries.items():
            known = self._read.get(identity)
            if known is not None and known[0].text == summary.text and summary.fits(known[1], now):
                readings[identity] = known[1]
            else:
                unread.append(identity)
        gone, broken = await self._inspect(unread, readings)
        self._read = {key: (summaries[key], value) for key, value in readings.items()}
        unreadable = tuple(
            (key, summaries[key].name) for key in unread if key not in readings and key not in gone
        )
        if unreadable and len(unreadable) == len(unread) > 1:
            await self._connection.drop()
            raise broken or self._connection.faults.hung("read the containers of")
        ordered = tuple(readings[key] for key in summaries if key in readings)
        return RuntimeSnapshot(ordered, self._connection.version, unreadable=unreadable)

    async def _inspect(
        self, identities: list[str], into: dict[str, ContainerReading]
    ) -> tuple[set[str], Unavailable | None]:
        """Read ``identities`` into ``into``; return those that do not exist any more, and one failure.

        One container whose lock is stuck in the engine costs the pass ``call_timeout`` at most, and two
        seconds once any other has answered.
        """
        gone: set[str] = set()
        failures: list[Unavailable] = []
        waiting = iter(identities)

        async def read() -> None:
            for identity in waiting:
                try:
                    found = await self.container(identity)
                except Unavailable as error:
                    failures.append(error)
                    continue
                scope.deadline = anyio.current_time() + min(_STRAGGLER, self._call_timeout)
                if found is None:
                    gone.add(identity)
                else:
                    into[identity] = found

        with anyio.move_on_after(self._call_timeout) as scope:
            async with anyio.create_task_group() as group:
                for _ in range(min(self._concurrency, len(identities))):
                    group.start_soon(read)
        return gone, failures[0] if failures else None

    async def container(self, identity: str) -> ContainerReading | None:
        action = "read a container of"
        try:
            body = await self._connection.get(action, f"containers/{identity}/json")
        except GoneError:
            return None
        with self._connection.translated(action):
            return payload.reading(decoded(body, dict))

    async def find(self, name: str) -> str | None:
        action = "find a container of"
        # The engine takes a part of a name too, and by the path of a container the beginning of an id.
        filters = json.dumps({"name": [re.escape(name)]})
        body = await self._connection.get(action, "containers/json", all="1", filters=filters)
        with self._connection.translated(action):
            for entry in decoded(body, list):
                if f"/{name}" in (entry.get("Names") or ()):
                    return payload.identity(entry["Id"])
        return None

    async def stop(self, identity: str, grace: float) -> bool:
        return await self._act("stop", identity, also=grace, t=math.ceil(grace))

    async def pause(self, identity: str) -> bool:
        return await self._act("pause", identity)

    async def unpause(self, identity: str) -> bool:
        return await self._act("unpause", identity)

    async def _act(self, action: str, identity: str, *, also: float = 0.0, **parameters: int) -> bool:
        try:
            # The engine answers a stop once the container has ended, so the grace comes on top.
            return await self._connection.act(action, identity, also=also, **parameters)
        except OtherStateError:
            return False

    async def recall(
        self, since: float, until: float, *, within: float | None = None
    ) -> tuple[RuntimeEvent, ...]:
        action = "read past events of"
        try:
            body = await self._witness.get(
                action,
                "events",
                within=within,
                since=_moment(since),
                until=_moment(until),
                filters=_FILTERS,
            )
            with self._witness.translated(action):
                found = (payload.event(json.loads(line)) for line in body.splitlines() if line.strip())
                return tuple(event for event in found if event is not None)
        except Unavailable:
            await self._witness.drop()
            raise

    @asynccontextmanager
    async def events(self, since: float) -> AsyncIterator[AsyncIterator[RuntimeEvent]]:
        # Not aiodocker.DockerEvents: it does not tell when the engine has accepted, so a hung engine
        # looks like a quiet one; its queue is unbounded; and it swallows a broken connection. Its
        # session is public, and the engine's stream is one JSON object a line. A client of its own
        # keeps the stream's state apart from the calls' and dies with the stream.
        client = self._connection.new_client()
        try:
            with self._connection.translated("follow events of"):
                with anyio.fail_after(self._call_timeout):
                    await read_version(client)
                    response = await client.session.get(
                        f"{client.docker_host}/events",
                        params={"since": _moment(since), "filters": _FILTERS},
                        timeout=aiohttp.ClientTimeout(),
                    )
                if response.status != 200:  # noqa: PLR2004 -- HTTP's OK
                    raise aiodocker.DockerError(
                        response.status, message_of(await response.content.read(1000))
                    )
            try:
                yield self._followed(response)
            finally:
                response.close()  # release() would wait for the end of an endless answer
        finally:
            with anyio.CancelScope(shield=True):
                await client.close()

    async def _followed(self, response: aiohttp.ClientResponse) -> AsyncIterator[RuntimeEvent]:
        source: AsyncIterator[bytes] = lines(response.content.iter_any())
        while True:
            with self._connection.translated("follow events of"):
                line = await anext(source, None)
                if line is None:
                    return
                data: Any = json.loads(line)
                event = payload.event(data)
            if event is not None:
                yield event

    async def aclose(self) -> None:
        await self._connection.drop()
        await self._witness.drop()


def _moment(seconds: float) -> str:
    """Return Unix ``seconds`` for the API, from just before: a float of today is off by up to 0.2 us."""
    return f"{seconds - 1e-6:.9f}"
