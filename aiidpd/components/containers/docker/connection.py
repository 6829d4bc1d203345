"""Connection to a Docker Engine: one client, a deadline for each call, and its errors in words."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Self

import aiodocker
import aiohttp
import anyio

from aiidpd.components.containers.actions import Refused
from aiidpd.components.containers.docker.faults import Faults
from aiidpd.kernel.errors import Unavailable

_NOT_FOUND = 404
_CANNOT_CONNECT = 900  # aiodocker's own number
# With status 409 or, from some versions, 500.
_OTHER_STATE = re.compile(r"\bis (already paused|not paused|not running|restarting)\b")


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

    The client is made at the first call, and again after :meth:`drop`: then the version is read anew too.
    """

    def __init__(self, socket: str | Path, call_timeout: float) -> None:
        self.call_timeout = call_timeout
        self.version = ""
        self._socket = Path(socket)
        self.faults = Faults(self._socket, call_timeout)
        self._client: aiodocker.Docker | None = None

    @asynccontextmanager
    async def calling(self, action: str, also: float = 0.0) -> AsyncIterator[aiodocker.Docker]:
        """Give the client for one call, which may take ``also`` seconds more; ``action`` is for its errors.

        Raises :class:`Unavailable`, :class:`OtherStateError` and :class:`GoneError`.
        """
        with self.translated(action), anyio.fail_after(self.call_timeout + also):
            if self._client is None:
                self._client = self.new_client()
                self.version = ""
            client = self._client
            if not self.version:
                self.version = await read_version(client)
            yield client

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
    def translated(self, action: str) -> Iterator[None]:
        """Turn whatever goes wrong in a call into one of this room's errors."""
        try:
            yield
        except TimeoutError as error:
            raise self.faults.hung(action) from error
        except aiodocker.DockerError as error:
            if error.status == _NOT_FOUND and "No such container" in error.message:
                raise GoneError from error
            cause = error.__context__
            if error.status == _CANNOT_CONNECT and isinstance(cause, aiohttp.ClientConnectionError):
                raise self._disconnected(action, cause) from error
            fault = self.faults.refused(action, error.status, error.message)
            kind = OtherStateError if _OTHER_STATE.search(error.message) else RefusedError
            raise kind.of(fault) from error
        except aiohttp.ClientConnectionError as error:
            raise self._disconnected(action, error) from error
        except aiohttp.ClientPayloadError as error:
            raise self.faults.closed(action) from error
        except (aiohttp.ClientError, ValueError, KeyError, TypeError) as error:
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
    return version
