"""Reads a Docker Engine: its containers and its events; stops and pauses."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiodocker
import aiohttp
import anyio

from aiidpd.components.containers.docker import payload
from aiidpd.components.containers.docker.connection import (
    Connection,
    GoneError,
    OtherStateError,
    read_version,
)
from aiidpd.components.containers.runtime import ACTIONS, ContainerReading, RuntimeEvent, RuntimeSnapshot
from aiidpd.kernel.errors import Unavailable

_LONGEST_EVENT = 1 << 20  # bytes; an event carries all labels of its container


class DockerRuntime:
    """Reads the engine behind the Unix socket ``socket``.

    Every call has a deadline of ``call_timeout`` seconds; at most ``concurrency`` containers are
    read at once.
    """

    def __init__(self, socket: str | Path, *, call_timeout: float = 10.0, concurrency: int = 8) -> None:
        self._connection = Connection(socket, call_timeout)
        self._call_timeout = call_timeout
        self._concurrency = concurrency
        self._read: dict[str, tuple[tuple[object, ...], ContainerReading]] = {}

    @property
    def simulated(self) -> bool:
        return False

    async def containers(self, *, fresh: bool = False) -> RuntimeSnapshot:
        try:
            async with self._connection.calling("list the containers of") as client:
                listed = await client.containers.list(all=True)
                summaries = {str(entry["Id"]): _Summary(entry) for entry in listed}
        except Unavailable:
            await self._connection.drop()  # the next call makes a new client, and asks for the version again
            raise
        if fresh:
            self._read.clear()
        readings: dict[str, ContainerReading] = {}
        unread: list[str] = []
        for identity, summary in summaries.items():
            known = self._read.get(identity)
            if known is not None and known[0] == summary.fingerprint:
                readings[identity] = known[1]
            else:
                unread.append(identity)
        gone, broken = await self._inspect(unread, readings)
        self._read = {key: (summaries[key].fingerprint, value) for key, value in readings.items()}
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

        The deadline is for all of them together: one container whose lock is stuck in the engine
        costs the pass ``call_timeout`` once, not once per container.
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
                if found is None:
                    gone.add(identity)
                else:
                    into[identity] = found

        with anyio.move_on_after(self._call_timeout):
            async with anyio.create_task_group() as group:
                for _ in range(min(self._concurrency, len(identities))):
                    group.start_soon(read)
        return gone, failures[0] if failures else None

    async def container(self, identity: str) -> ContainerReading | None:
        try:
            async with self._connection.calling("read a container of") as client:
                return payload.reading(await client.containers.container(identity).show())
        except GoneError:
            return None

    async def stop(self, identity: str, grace: float) -> bool:
        try:
            # The engine answers once the container has ended, so the grace comes on top of the deadline.
            async with self._connection.calling("stop a container of", also=grace) as client:
                before = await client.containers.container(identity).show()
                await client.containers.container(identity).stop(t=math.ceil(grace))
                return bool(before["State"]["Running"])
        except GoneError:
            return False

    async def pause(self, identity: str) -> bool:
        return await self._switched("pause", identity)

    async def unpause(self, identity: str) -> bool:
        return await self._switched("unpause", identity)

    async def _switched(self, action: str, identity: str) -> bool:
        try:
            async with self._connection.calling(f"{action} a container of") as client:
                container = client.containers.container(identity)
                await (container.pause() if action == "pause" else container.unpause())
                return True
        except (GoneError, OtherStateError):
            return False

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
                        params={
                            # A float of today's time is off by up to 0.2 us: ask from just before.
                            "since": f"{since - 1e-6:.9f}",
                            "filters": json.dumps({"type": ["container"], "event": list(ACTIONS)}),
                        },
                        timeout=aiohttp.ClientTimeout(),
                        read_bufsize=_LONGEST_EVENT,
                    )
                if response.status != 200:  # noqa: PLR2004 -- HTTP's OK
                    raise aiodocker.DockerError(response.status, (await response.text())[:200])
            try:
                yield self._lines(response)
            finally:
                response.close()  # release() would wait for the end of an endless answer
        finally:
            with anyio.CancelScope(shield=True):
                await client.close()

    async def _lines(self, response: aiohttp.ClientResponse) -> AsyncIterator[RuntimeEvent]:
        while True:
            with self._connection.translated("follow events of"):
                line = await response.content.readline()
                if not line:
                    return
                event = payload.event(json.loads(line))
            if event is not None:
                yield event

    async def aclose(self) -> None:
        await self._connection.drop()


class _Summary:
    """Fields of one entry of the list that are used."""

    def __init__(self, entry: Any) -> None:
        data: Mapping[str, Any] = {
            key: entry[key] for key in ("Names", "Image", "State", "Status", "NetworkSettings")
        }
        names = data["Names"] or [entry["Id"]]
        self.name = str(names[0]).removeprefix("/")
        self.fingerprint = payload.fingerprint(data)
