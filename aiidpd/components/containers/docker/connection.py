"""Connection to a Docker Engine: one client, a deadline for each call, and its errors in words."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, Self

import aiodocker
import aiohttp
import anyio

from aiidpd.components.containers.actions import Refused
from aiidpd.components.containers.docker.faults import Faults
from aiidpd.components.containers.docker.payload import name
from aiidpd.kernel.errors import NotInstalled, Unavailable

_NOT_MODIFIED = 304
_NOT_FOUND = 404
_CANNOT_CONNECT = 900  # aiodocker's own number
# With status 409 or, from some versions, 500.
_OTHER_STATE = re.compile(
    r"\bis (already paused|not paused|not running|restarting)\b"
    r"|container state improper"  # Podman's words
)
_LONGEST_VERSION = 64
_LONGEST_MESSAGE = 1000
LARGEST_ANSWER: Final = 64 << 20
"""Bytes of an answer at the most: of 500 containers with all that a person can write into their labels."""


class GoneError(Exception):
    """No such container (any more)."""


class RefusedError(Refused):
    """Answer of the engine that is an error."""

    @classmethod
    def of(cls, fault: Unavailable) -> Self:
        """Return one with the words of ``fault``."""
        return cls(fault.action, fault.subject, reason=fault.reason, remedy=fault.remedy)


class OtherStateError(RefusedError):
    """A container in another state than the call is about."""


class Connection:
    """Client of the engine behind the Unix socket ``socket``; a call takes at most ``call_timeout`` seconds.

    The client is made at the first call, and again after :meth:`drop`: then the version is read anew too,
    where it is of interest.
    """

    def __init__(self, socket: str | Path, call_timeout: float, *, versioned: bool = True) -> None:
        self._versioned = versioned
        self.call_timeout = call_timeout
        self.version = ""
        self._socket = Path(socket)
        self.faults = Faults(self._socket, call_timeout)
        self._client: aiodocker.Docker | None = None

    @asynccontextmanager
    async def calling(
        self, action: str, also: float = 0.0, *, within: float | None = None
    ) -> AsyncIterator[aiodocker.Docker]:
        """Give the client for one call, which may take ``also`` seconds more; ``action`` is for its errors.

        ``within`` is its deadline in seconds, where it is shorter than that of all calls.

        Raises :class:`Unavailable`, :class:`OtherStateError` and :class:`GoneError`.
        """
        timeout = self.call_timeout if within is None else min(within, self.call_timeout)
        with self.translated(action, timeout), anyio.fail_after(timeout + also):
            if self._client is None:
                self._client = self.new_client()
                self.version = ""
            client = self._client
            if self._versioned and not self.version:
                self.version = await read_version(client)
            yield client

    async def get(self, action: str, path: str, *, within: float | None = None, **parameters: str) -> bytes:
        """Return the answer to a GET of ``path``; raises as :meth:`calling` does, for a long one too."""
        async with (
            self.calling(action, within=within) as client,
            client.session.get(
                f"{client.docker_host}/{path}", params=parameters, timeout=aiohttp.ClientTimeout()
            ) as response,
        ):
            data = bytearray()
            async for piece in response.content.iter_any():
                data += piece
                if len(data) > LARGEST_ANSWER:
                    response.close()
                    raise ValueError(f"its answer is longer than {LARGEST_ANSWER >> 20} MiB")
            if response.status != 200:  # noqa: PLR2004 -- HTTP's OK
                raise aiodocker.DockerError(response.status, message_of(bytes(data)))
            return bytes(data)

    async def post(self, action: str, path: str, *, also: float = 0.0, **parameters: str | int) -> bool:
        """Have the engine do what ``path`` says; return whether it did: False where nothing was to do."""
        async with (
            self.calling(action, also=also) as client,
            client.session.post(
                f"{client.docker_host}/{path}", params=parameters, timeout=aiohttp.ClientTimeout()
            ) as response,
        ):
            if response.status >= 400:  # noqa: PLR2004 -- HTTP's errors
                raise aiodocker.DockerError(response.status, message_of(await response.read()))
            return response.status != _NOT_MODIFIED

    async def act(self, verb: str, identity: str, *, also: float = 0.0, **parameters: str | int) -> bool:
        """Have the engine stop, restart ... a container; False where nothing was to do or there is none.

        Of two calls that restart a container at the same time, the engine answers one now and then that there
        is no such container: so that answer counts only where it can't be described either.
        """
        action = f"{verb} a container of"
        try:
            return await self.post(action, f"containers/{identity}/{verb}", also=also, **parameters)
        except GoneError as error:
            try:
                await self.get(action, f"containers/{identity}/json")
            except GoneError:
                return False
            raise RefusedError.of(self.faults.contradicted(action, str(error))) from error

    async def drop(self) -> None:
        """Close the client; may be called twice."""
        client, self._client = self._client, None
        if client is not None:
            with anyio.CancelScope(shield=True):
                await client.close()

    def new_client(self) -> aiodocker.Docker:
        """Return a client that belongs to the caller."""
        # No timeout of aiohttp's own: each call stands in a cancel scope, and one deadline is enough.
        return aiodocker.Docker(url=f"unix://{self._socket}", timeout=aiohttp.ClientTimeout(total=None))

    @contextmanager
    def translated(self, action: str, within: float | None = None) -> Iterator[None]:
        """Turn whatever goes wrong in a call into one of this room's errors."""
        try:
            yield
        except TimeoutError as error:
            raise self.faults.hung(action, within) from error
        except aiodocker.DockerError as error:
            if error.status == _NOT_FOUND and "no such container" in error.message.lower():
                raise GoneError(error.message) from error
            cause = error.__context__
            if error.status == _CANNOT_CONNECT and isinstance(cause, aiohttp.ClientConnectionError):
                raise self._disconnected(action, cause) from error
            fault = self.faults.refused(action, error.status, error.message)
            if isinstance(fault, NotInstalled):
                raise fault from error
            kind = OtherStateError if _OTHER_STATE.search(error.message) else RefusedError
            raise kind.of(fault) from error
        except aiohttp.ClientConnectionError as error:
            raise self._disconnected(action, error) from error
        except aiohttp.ClientPayloadError as error:
            raise self.faults.closed(action) from error
        except (aiohttp.ClientError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise self.faults.foreign(action, f"{type(error).__name__}: {error}") from error

    def _disconnected(self, action: str, error: aiohttp.ClientConnectionError) -> Unavailable:
        if isinstance(error, aiohttp.ServerDisconnectedError):
            return self.faults.closed(action)
        number = error.errno if isinstance(error, OSError) else None
        return self.faults.unreachable(action, number, str(error))


async def read_version(client: aiodocker.Docker) -> str:
    """Return the version of the engine; raises ValueError for an answer that has none."""
    version = (await client.version())["Version"]
    if not isinstance(version, str):
        raise ValueError(f"its version is {version!r:.40}")  # noqa: TRY004 -- a bad answer, not a bad argument
    return name(version[:_LONGEST_VERSION])


def message_of(body: bytes) -> str:
    """Return the engine's own words about a failure."""
    try:
        return str(json.loads(body)["message"])[:_LONGEST_MESSAGE]
    except (ValueError, KeyError, TypeError, RecursionError):
        return body[:_LONGEST_MESSAGE].decode(errors="replace")


def decoded(body: bytes, kind: type[Any]) -> Any:
    """Return the JSON in ``body``, which must be a ``kind``; raises ValueError."""
    data = json.loads(body)
    if not isinstance(data, kind):
        raise ValueError(f"not a {kind.__name__}: {body[:40]!r}")  # noqa: TRY004 -- a bad answer
    return data
