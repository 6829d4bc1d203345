"""Acts on containers of which a test scripts the descriptions and logs; everything else is not there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import anyio

from aiidpd.components.containers.actions import LogTail
from aiidpd.kernel.errors import Unavailable


def stamped(at: float, text: str) -> bytes:
    """Return a line of a log as the runtime gives it, at ``at`` (Unix seconds)."""
    moment = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    return f"{moment} {text}".encode()


class ScriptedLogs:
    """``written`` are the lines of each container with their times, ``described`` its descriptions."""

    simulated = False

    def __init__(self) -> None:
        self.written: dict[str, list[tuple[float, str]]] = {}
        self.described: dict[str, Mapping[str, Any]] = {}
        self.refuses: Unavailable | None = None
        self.hangs: set[str] = set()
        self.unreadable: set[str] = set()
        self.asked: list[tuple[str, int, float]] = []
        self.closed = 0

    def write(self, identity: str, at: float, *texts: str) -> None:
        """Have a container write lines at ``at``."""
        self.written.setdefault(identity, []).extend((at, text) for text in texts)

    async def describe(self, identity: str) -> Mapping[str, Any] | None:
        await self._answer("describe")
        return self.described.get(identity)

    async def logs(self, identity: str, *, lines: int, since: float = 0.0) -> LogTail | None:
        self.asked.append((identity, lines, since))
        await self._answer("logs")
        if identity in self.unreadable:
            return LogTail(unreadable="configured logging driver does not support reading")
        if identity not in self.written:
            return None
        found = [stamped(*each) for each in self.written[identity] if each[0] >= since]
        shown = tuple(found[-lines:])
        return LogTail(shown, sum(map(len, shown)), full=len(found) > lines)

    async def aclose(self) -> None:
        self.closed += 1

    async def _answer(self, call: str) -> None:
        await anyio.lowlevel.checkpoint()
        if call in self.hangs:
            await anyio.sleep_forever()
        if self.refuses is not None:
            raise self.refuses
