"""Docker Engine through aiodocker; no other module imports aiodocker or aiohttp's client."""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

import aiodocker
import aiohttp
import anyio

from aiidpd.components.containers.docker import payload
from aiidpd.components.containers.docker.faults import Faults
from aiidpd.components.containers.runtime import ACTIONS, ContainerReading, RuntimeEvent, RuntimeSnapshot
from aiidpd.kernel.errors import Unavailable

_NOT_FOUND = 404
_CANNOT_CONNECT = 900  # aiodocker's own number
# With status 409 or, from some versions, 500.
_OTHER_STATE = re.compile(r"\bis (already paused|not paused|not running|restarting)\b")
_LONGEST_EVENT = 1 << 20  # bytes; an event carries all labels of its container


class DockerRuntime:
    """Reads the engine behind the Unix socket ``socket``.

    Every call has a deadline of ``call_timeout`` seconds; at most ``concurrency`` containers are
    read at once.
    """

    def __init__(self, socket: str | Path, *, call_timeout: float = 10.0, concurrency: int = 8) -> None:
        self._socket = Path(socket)
        self._call_timeout = call_timeout
        self._faults = Faults(self._socket, call_timeout)
        self._concurrency = concurrency
        self._client: aiodocker.Docker | None = None
        self._version = ""
        self._read: dict[str, tuple[tuple[object, ...], ContainerReading]] = {}

    @property
    def simulated(self) -> bool:
        return False

    async def containers(self, *, fresh: bool = False) -> RuntimeSnapshot:
        try:
            async with self._calling("list the containers of") as client:
                listed = await client.containers.list(all=True)
                summaries = {str(entry["Id"]): _Summary(entry) for entry in listed}
        except Unavailable:
            await self._drop()  # the next call makes a new client, and asks for the version again
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
            await self._drop()
            raise broken or self._faults.hung("read the containers of")
        ordered = tuple(readings[key] for key in summaries if key in readings)
        return RuntimeSnapshot(ordered, self._version, unreadable=unreadable)

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
            async with self._calling("read a container of") as client:
                return payload.reading(await client.containers.container(identity).show())
        except _GoneError:
            return None

    async def stop(self, identity: str, grace: float) -> bool:
        try:
            # The engine answers once the container has ended, so the grace comes on top of the deadline.
            async with self._calling("stop a container of", also=grace) as client:
                before = await client.containers.container(identity).show()
                await client.containers.container(identity).stop(t=math.ceil(grace))
                return bool(before["State"]["Running"])
        except _GoneError:
            return False

    async def pause(self, identity: str) -> bool:
        return await self._switched("pause", identity)

    async def unpause(self, identity: str) -> bool:
        return await self._switched("unpause", identity)

    async def _switched(self, action: str, identity: str) -> bool:
        try:
            async with self._calling(f"{action} a container of") as client:
                container = client.containers.container(identity)
                await (container.pause() if action == "pause" else container.unpause())
                return True
        except (_GoneError, _OtherStateError):
            return False

    @asynccontextmanager
    async def events(self, since: float) -> AsyncIterator[AsyncIterator[RuntimeEvent]]:
        # Not aiodocker.DockerEvents: it does not tell when the engine has accepted, so a hung engine
        # looks like a quiet one; its queue is unbounded; and it swallows a broken connection. Its
        # session is public, and the engine's stream is one JSON object a line. A client of its own
        # keeps the stream's state apart from the calls' and dies with the stream.
        client = self._new_client()
        try:
            with self._translated("follow events of"):
                with anyio.fail_after(self._call_timeout):
                    await _version(client)
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
            with self._translated("follow events of"):
                line = await response.content.readline()
                if not line:
                    return
                event = payload.event(json.loads(line))
            if event is not None:
                yield event

    async def aclose(self) -> None:
        await self._drop()

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with anyio.CancelScope(shield=True):
                await client.close()

    def _new_client(self) -> aiodocker.Docker:
        # No timeout of aiohttp's own: each call stands in a cancel scope, and one deadline is enough.
        return aiodocker.Docker(url=f"unix://{self._socket}", timeout=aiohttp.ClientTimeout(total=None))

    @asynccontextmanager
    async def _calling(self, action: str, also: float = 0.0) -> AsyncIterator[aiodocker.Docker]:
        with self._translated(action), anyio.fail_after(self._call_timeout + also):
            if self._client is None:
                self._client = self._new_client()
                self._version = ""
            client = self._client
            if not self._version:
                self._version = await _version(client)
            yield client

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        """Turn whatever goes wrong in a call into one of this room's errors."""
        try:
            yield
        except TimeoutError as error:
            raise self._faults.hung(action) from error
        except aiodocker.DockerError as error:
            if error.status == _NOT_FOUND and "No such container" in error.message:
                raise _GoneError from error
            cause = error.__context__
            if error.status == _CANNOT_CONNECT and isinstance(cause, aiohttp.ClientConnectionError):
                raise self._disconnected(action, cause) from error
            fault = self._faults.refused(action, error.status, error.message)
            raise (_OtherStateError.of(fault) if _OTHER_STATE.search(error.message) else fault) from error
        except aiohttp.ClientConnectionError as error:
            raise self._disconnected(action, error) from error
        except aiohttp.ClientPayloadError as error:
            raise self._faults.closed(action) from error
        except (aiohttp.ClientError, ValueError, KeyError, TypeError) as error:
            raise self._faults.foreign(action, f"{type(error).__name__}: {error}") from error

    def _disconnected(self, action: str, error: aiohttp.ClientConnectionError) -> Unavailable:
        if isinstance(error, aiohttp.ServerDisconnectedError):
            return self._faults.closed(action)
        number = error.errno if isinstance(error, OSError) else None
        return self._faults.unreachable(action, number, str(error))


async def _version(client: aiodocker.Docker) -> str:
    version = (await client.version())["Version"]
    if not isinstance(version, str):
        raise ValueError(f"its version is {version!r:.40}")  # noqa: TRY004 -- a bad answer, not a bad argument
    return version


class _GoneError(Exception):
    """No such container (any more)."""


class _OtherStateError(Unavailable):
    """A container in another state than the call is about."""

    @classmethod
    def of(cls, fault: Unavailable) -> Self:
        return cls(fault.action, fault.subject, reason=fault.reason, remedy=fault.remedy)


class _Summary:
    """Fields of one entry of the list that are used."""

    def __init__(self, entry: Any) -> None:
        data: Mapping[str, Any] = {
            key: entry[key] for key in ("Names", "Image", "State", "Status", "NetworkSettings")
        }
        names = data["Names"] or [entry["Id"]]
        self.name = str(names[0]).removeprefix("/")
        self.fingerprint = payload.fingerprint(data)
