"""Reads how a Docker Engine describes itself."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiidpd.components.containers.docker.connection import Connection, decoded
from aiidpd.components.containers.docker.inspection import engine_facts
from aiidpd.contracts.inspections import EngineFacts

_ACTION: Final = "read the description of"


class DockerInfo:
    """Reads the engine behind the Unix socket ``socket``; a call takes ``call_timeout`` seconds at most."""

    def __init__(self, socket: str | Path, *, call_timeout: float = 10.0) -> None:
        self._connection = Connection(socket, call_timeout, versioned=False)

    async def read(self) -> EngineFacts:
        """Return the engine's facts; raises :class:`~aiidpd.kernel.errors.Unavailable`."""
        body = await self._connection.get(_ACTION, "info")
        with self._connection.translated(_ACTION):
            return engine_facts(decoded(body, dict))

    async def aclose(self) -> None:
        """Release the connection; may be called twice."""
        await self._connection.drop()
