"""Containers as an earlier daemon saw them last, from a file: what changed meanwhile is published."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from aiidpd.components.containers.reconcile import LONGEST_ERROR
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.components.containers.state import NEVER, PAUSED, UNPAUSED, ContainersState, Known
from aiidpd.components.containers.toggle import Toggle
from aiidpd.platform.statefile import StateFile

NAME: Final = "containers-known.json"
LIMIT: Final = 4 << 20
_MOST: Final = 2000


@dataclass(frozen=True, slots=True)
class KnownRecord:
    """One container. Times in Unix seconds."""

    id: str
    name: str
    image: str
    state: str
    health: str
    started_at: float | None
    finished_at: float | None
    restart_count: int
    pid: int | None
    oom_killed: bool
    error: str
    deaths: tuple[float, ...]
    looping: bool


@dataclass(frozen=True, slots=True)
class KnownRecords:
    """All of them, as of ``seen`` (Unix seconds), behind the socket ``socket``."""

    version: Literal[1]
    socket: str
    seen: float
    containers: tuple[KnownRecord, ...]


def records(state: ContainersState, seen: float, socket: str) -> KnownRecords:
    """Return what a later daemon needs of ``state``, bounded."""
    found = (_record(known, known.reading) for known in state.known.values() if known.reading is not None)
    return KnownRecords(1, socket, seen, tuple(found)[:_MOST])


def _record(known: Known, reading: ContainerReading) -> KnownRecord:
    return KnownRecord(
        known.id,
        known.name,
        known.image,
        reading.state,
        known.health or "",
        reading.started_at,
        reading.finished_at,
        reading.restart_count,
        reading.pid,
        known.oom,
        reading.error[:LONGEST_ERROR],
        known.deaths,
        known.looping,
    )


def restored(found: KnownRecords, now: float) -> ContainersState:
    """Return the state that an earlier daemon left, taken over at ``now`` (Unix seconds)."""
    known = {each.id: _known(each, found.seen) for each in found.containers}
    return ContainersState(MappingProxyType(known), listed=True, resumed_at=now)


def _known(record: KnownRecord, seen: float) -> Known:
    reading = ContainerReading(
        record.id,
        record.name,
        record.image,
        record.state,
        started_at=record.started_at,
        finished_at=record.finished_at,
        restart_count=record.restart_count,
        pid=record.pid,
        error=record.error,
    )
    return Known(
        record.id,
        record.name,
        record.image,
        running=reading.running,
        started=record.started_at,
        exact=True,
        ended=NEVER if record.finished_at is None else record.finished_at,
        settled=True,
        check=Toggle(record.health),
        pause=Toggle(PAUSED if record.state == "paused" else UNPAUSED),
        oom=record.oom_killed,
        deaths=record.deaths,
        looping=record.looping and bool(record.deaths),
        since=seen,
        as_of=seen,
        read_at=seen,
        latest=seen,
        reading=reading,
    )


class RememberedContainers:
    """Keeps the file of those behind ``socket`` up to date, in a thread."""

    def __init__(self, file: StateFile[KnownRecords], socket: str) -> None:
        self._file = file
        self._socket = socket

    def load(self) -> KnownRecords | None:
        """Return what an earlier daemon saw, None where that is not known or of another runtime. Blocks."""
        found, _ = self._file.load_or_set_aside()
        return found if found is not None and found.socket == self._socket else None

    def save(self, state: ContainersState, seen: float) -> None:
        """Save ``state`` soon."""
        self._file.save_soon(records(state, seen, self._socket))

    def wait(self, seconds: float) -> None:
        """Wait until it is on the disk, at most ``seconds``. Blocks."""
        self._file.wait(seconds)
