"""Acts on the containers of a Docker Engine."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiodocker
import aiohttp
import anyio

from aiidpd.components.containers.actions import LogTail
from aiidpd.components.containers.docker.connection import Connection, GoneError, OtherStateError, decoded
from aiidpd.components.containers.docker.logstream import LogStream

_MOST_LOG_BYTES: Final = 4 * 2**20  # that are held
_MOST_READ_BYTES: Final = 64 * 2**20  # that are read
_UNREADABLE: Final = "configured logging driver does not support reading"  # Docker's words
_REFUSED: Final = 400
_NOT_FOUND: Final = 404
_ELSEWHERE: Final = range(300, 400)
_LONGEST_MESSAGE: Final = 300  # characters
_SLOW: Final = 20.0  # seconds more for what makes the engine walk through a container's files


class DockerActions:
    """Calls the engine behind the Unix socket ``socket``; a call takes ``call_timeout`` seconds at most."""

    def __init__(self, socket: str | Path, *, call_timeout: float = 10.0) -> None:
        self._connection = Connection(socket, call_timeout)

    @property
    def simulated(self) -> bool:
        return False

    async def describe(self, identity: str, *, size: bool = False) -> Mapping[str, Any] | None:
        also, parameters = (_SLOW, {"size": "1"}) if size else (0.0, {})
        try:
            async with self._connection.calling("describe a container of", also=also) as client:
                found: Mapping[str, Any] = await client.containers.container(identity).show(**parameters)
                return found
        except GoneError:
            return None

    async def logs(self, identity: str, *, lines: int, since: float = 0.0) -> LogTail | None:
        stream = LogStream(lines, _MOST_LOG_BYTES)
        parameters = {
            "stdout": "1",
            "stderr": "1",
            "timestamps": "1",
            "tail": str(lines + 1),
            "since": f"{since:.9f}",
        }
        try:
            async with (
                self._connection.calling("read the log of a container of") as client,
                client.session.get(
                    f"{client.docker_host}/containers/{identity}/logs",
                    params=parameters,
                    timeout=aiohttp.ClientTimeout(),
                ) as response,
            ):
                if response.status != 200:  # noqa: PLR2004 -- HTTP's OK
                    message = await _message(response)
                    if _UNREADABLE in message:
                        return LogTail(unreadable=_UNREADABLE)
                    raise aiodocker.DockerError(response.status, message)
                complete = await self._read(response, stream)
        except GoneError:
            return None
        return stream.tail(complete=complete)

    async def _read(self, response: aiohttp.ClientResponse, stream: LogStream) -> bool:
        """Have ``stream`` take the body; return whether it ended before the bounds in bytes and time."""
        with anyio.move_on_after(self._connection.call_timeout / 2):
            async for piece in response.content.iter_any():
                stream.feed(piece)
                if stream.received > _MOST_READ_BYTES:
                    break
                await anyio.lowlevel.checkpoint()
            else:
                return True
        response.close()  # release() would wait for the end of an endless answer
        if not stream.received:
            raise TimeoutError
        return False

    async def start(self, identity: str) -> bool:
        return await self._connection.act("start", identity)

    async def stop(self, identity: str, grace: float) -> bool:
        return await self._connection.act("stop", identity, also=grace, t=math.ceil(grace))

    async def kill(self, identity: str, signal: str = "KILL") -> bool:
        try:
            return await self._connection.act("kill", identity, signal=signal)
        except OtherStateError:
            return False

    async def restart(self, identity: str, grace: float) -> bool:
        return await self._connection.act("restart", identity, also=grace, t=math.ceil(grace))

    async def rename(self, identity: str, name: str) -> bool:
        return await self._connection.act("rename", identity, name=name)

    async def remove(self, identity: str) -> bool:
        try:
            async with self._connection.calling("remove a container of") as client:
                await client.containers.container(identity).delete()
                return True
        except GoneError:
            return False

    async def create(self, name: str, body: Mapping[str, Any], *, image: str = "") -> str:  # noqa: ARG002 -- the body has it
        async with self._connection.calling("create a container of") as client:
            created = await client.containers.create(dict(body), name=name)
            return str(created.id)

    async def connect(self, network: str, identity: str, endpoint: Mapping[str, Any]) -> bool:
        try:
            async with self._connection.calling("connect a container of") as client:
                found = await client.networks.get(network)
                await found.connect({"Container": identity, "EndpointConfig": dict(endpoint)})
                return True
        except GoneError:
            return False

    async def disconnect(self, network: str, identity: str) -> bool:
        try:
            async with self._connection.calling("disconnect a container of") as client:
                found = await client.networks.get(network)
                await found.disconnect({"Container": identity})
                return True
        except GoneError:
            return False

    async def labelled(self, labels: Sequence[str]) -> tuple[Mapping[str, Any], ...]:
        filters = json.dumps({"label": list(labels)})
        found = await self._get("list the containers of", "containers/json", all="1", filters=filters)
        return tuple(found or ())

    async def changes(self, identity: str) -> tuple[Mapping[str, Any], ...] | None:
        found = await self._get(
            "read the changes in a container of", f"containers/{identity}/changes", also=_SLOW
        )
        return None if found is None else tuple(found)

    async def image(self, reference: str) -> Mapping[str, Any] | None:
        return await self._described("an image", f"images/{_quoted(reference)}/json")

    async def image_refusal(self, container: str, image: str) -> str:  # noqa: ARG002 -- it does what it is called for
        return ""

    async def pull(
        self,
        reference: str,
        progress: Callable[[str], None],
        *,
        container: str,  # noqa: ARG002 -- the engine fetches for anybody
        within: float = 3600.0,
    ) -> Mapping[str, Any] | None:
        name, tag = _parted(reference)
        await self._pull("images/create", {"fromImage": name, "tag": tag}, reference, progress, within)
        return await self.image(reference)

    async def _pull(
        self,
        path: str,
        parameters: Mapping[str, str],
        reference: str,
        progress: Callable[[str], None],
        within: float,
    ) -> None:
        last: dict[str, Any] = {}
        async with (
            self._connection.calling(f"pull {reference:.100} by", also=within) as client,
            client.session.post(
                f"{client.docker_host}/{path}",
                params=parameters,
                timeout=aiohttp.ClientTimeout(),
            ) as response,
        ):
            if response.status != 200:  # noqa: PLR2004 -- HTTP's OK
                # Of an image, 404 is the registry's answer.
                status = max(_REFUSED, response.status if response.status != _NOT_FOUND else 0)
                raise aiodocker.DockerError(status, await _message(response))
            async for line in response.content:
                last = decoded(line, dict)
                if "error" in last:
                    raise aiodocker.DockerError(_REFUSED, str(last["error"])[:_LONGEST_MESSAGE])
                words = f"{last.get('status', '')} {last.get('progress', '')}"
                progress(" ".join(words.split())[:_LONGEST_MESSAGE])

    async def network(self, reference: str) -> Mapping[str, Any] | None:
        return await self._described("a network", f"networks/{_quoted(reference)}")

    async def volume(self, name: str) -> Mapping[str, Any] | None:
        return await self._described("a volume", f"volumes/{_quoted(name)}")

    async def execs(self, identity: str) -> tuple[Mapping[str, Any], ...]:
        described = await self.describe(identity)
        found: list[Mapping[str, Any]] = []
        for each in (described or {}).get("ExecIDs") or ():
            try:
                async with self._connection.calling("read what runs in a container of") as client:
                    data = await client.containers.exec(each).inspect()
            except GoneError:
                continue  # it ended meanwhile
            if data.get("Running"):
                found.append(data)
        return tuple(found)

    async def aclose(self) -> None:
        await self._connection.drop()

    async def _described(self, what: str, path: str) -> Mapping[str, Any] | None:
        found = await self._get(f"describe {what} of", path)
        return found if isinstance(found, dict) else None

    async def _get(self, action: str, path: str, *, also: float = 0.0, **parameters: str) -> Any:
        """Return the document at ``path``; None where there is none, or nothing in it."""
        async with (
            self._connection.calling(action, also=also) as client,
            client.session.get(
                f"{client.docker_host}/{path}",
                params=parameters,
                timeout=aiohttp.ClientTimeout(),
                allow_redirects=False,  # of a name with dots and slashes: there is none like that
            ) as response,
        ):
            if response.status == _NOT_FOUND or response.status in _ELSEWHERE:
                return None
            if response.status != 200:  # noqa: PLR2004 -- HTTP's OK
                raise aiodocker.DockerError(response.status, await _message(response))
            return await response.json(content_type=None)


def _quoted(name: str) -> str:
    """Return ``name`` for a path: it is whatever a container says, and an image's may have slashes."""
    return quote(name, safe="/:@") if ".." not in name else quote(name, safe="")


def _parted(reference: str) -> tuple[str, str]:
    """Return name and tag (or digest) of an image, as the engine wants them apart; all tags are none."""
    if "@" in reference:
        name, _, digest = reference.partition("@")
        return name, digest
    head, colon, tag = reference.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (reference, "latest")


async def _message(response: aiohttp.ClientResponse) -> str:
    """Return the engine's own words about a failure."""
    try:
        return str((await response.json(content_type=None))["message"])
    except (ValueError, KeyError, TypeError):
        return (await response.text(errors="replace"))[:200]
