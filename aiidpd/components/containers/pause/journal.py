"""Restore journal of pauses: those of ours that may still hold, on disk, so that each can be undone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from aiidpd.components.containers.pause.state import Pause
from aiidpd.platform.statefile import StateFile, StateUnreadable, call_seconds

NAME: Final = "pauses.lease.json"
REMEDY: Final = (
    "see with `docker ps --filter status=paused` what is paused, resume it with `docker unpause NAME`, "
    "and remove the file"
)


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Way to the Docker Engine: its ``socket``, and how many seconds a call may take."""

    socket: Path
    call_timeout: float


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """An :class:`EngineAddress` as it is written down."""

    socket: str
    call_timeout: float

    def validate(self) -> None:
        """Raise ValueError where it leads nowhere."""
        if not self.socket.startswith("/") or "\0" in self.socket or call_seconds(self.call_timeout) is None:
            raise ValueError("it is no way to an engine")


@dataclass(frozen=True, slots=True)
class PausesEntry:
    """Pauses that may hold; by whom and when it was written down (Unix), for people.

    ``engine`` is None in those of earlier versions: then it is the configured one.
    """

    version: Literal[1]
    pid: int | None = field(metadata={"advisory": True})
    written_at: float | None = field(metadata={"advisory": True})
    pauses: tuple[Pause, ...]
    engine: EngineEntry | None = field(default=None, metadata={"advisory": True})

    def validate(self) -> None:
        """Raise ValueError where a pause names no container."""
        if not all(pause.id for pause in self.pauses):
            raise ValueError("an id must not be empty")


class PauseJournal:
    """Journal at ``path``. :meth:`read` blocks on the disk, and so does what :meth:`writing` returns.

    ``engine`` is written down with the pauses: what undoing them needs of the configuration.
    """

    def __init__(self, path: Path, engine: EngineAddress | None = None) -> None:
        self.path = path
        self._engine = None if engine is None else EngineEntry(str(engine.socket), engine.call_timeout)
        # Root may write it, by `aiidpd restore-gpus`, and the daemon has to read it then.
        self._file = StateFile(path, PausesEntry, remedy=REMEDY, indent=1, mode=0o644)

    def read(self) -> tuple[Pause, ...]:
        """Return the pauses that it names, none where there is no file.

        Raises :class:`~aiidpd.platform.statefile.StateUnreadable`.
        """
        entry = self._file.load()
        return () if entry is None else entry.pauses

    def read_engine(self) -> EngineAddress | None:
        """Return the engine that was called to pause, None where the journal does not have it.

        Raises :class:`~aiidpd.platform.statefile.StateUnreadable`.
        """
        entry = self._file.load()
        if entry is None or entry.engine is None:
            return None
        return EngineAddress(Path(entry.engine.socket), entry.engine.call_timeout)

    def writing(self, pauses: Iterable[Pause]) -> Callable[[], None]:
        """Return what a thread is to carry out, so that the journal names ``pauses``.

        It is on the disk when that returns; it raises :class:`OSError`. One that is overtaken by one that was
        requested later does nothing.
        """
        named = tuple(pauses)
        if not named:
            return self._file.saving(None)
        return self._file.saving(PausesEntry(1, os.getpid(), round(time.time(), 3), named, self._engine))

    def unreadable(self, reason: str) -> StateUnreadable:
        """Return the error for a journal that is of no use, with ``reason`` and the way out."""
        return self._file.unreadable(reason)
