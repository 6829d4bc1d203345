"""Containers that an emergency stop of ours has stopped: a condition each until it runs again or is gone.

They are on the disk, so that a restart of the daemon does not end what it did not undo.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Final, Literal

from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Severity
from aiidpd.platform.statefile import StateFile

NAME: Final = "emergency-stops.json"
SOURCE: Final = "containers"
STOPPED: Final = "container_emergency_stopped"
NOT_STORED: Final = "container_stops_state"


@dataclass(frozen=True, slots=True)
class StoppedContainer:
    """A container that we stopped at ``at`` (Unix seconds), because ``reason``.

    ``started_at`` identifies the run of it that we ended (Unix seconds), None where it could not be read.
    """

    id: str
    name: str
    started_at: float | None
    at: float
    gpu: str
    reason: str


@dataclass(frozen=True, slots=True)
class StoppedRecords:
    """Containers that are down because we stopped them; none that is made up."""

    version: Literal[1]
    containers: tuple[StoppedContainer, ...]

    def validate(self) -> None:
        """Raise ValueError where an id is empty or there twice."""
        ids = [each.id for each in self.containers]
        if "" in ids or len(set(ids)) < len(ids):
            raise ValueError("an id must not be empty or there twice")


def is_down(stopped: StoppedContainer, reading: ContainerReading | None, *, listed: bool) -> bool:
    """Return whether ``stopped`` is still down because of us.

    ``reading`` is the newest of it, None where it does not exist; ``listed``: it was read after the stop. One
    that has another name now is not missed under the old one.
    """
    if reading is None or reading.name != stopped.name:
        return False
    if stopped.started_at is not None and reading.started_at != stopped.started_at:
        return False  # another run of it began, whatever became of that
    return not (listed and reading.running)


class StoppedContainers:
    """All of them, real and simulated; in ``file`` the real ones alone.

    The file is written in a thread: a disk that hangs holds up no stop. While it can't be written, or could
    not be read, there is a condition.
    """

    def __init__(self, file: StateFile[StoppedRecords], conditions: Conditions, clock: Clock) -> None:
        self._file = file
        self._conditions = conditions
        self._clock = clock
        self._real: dict[str, StoppedContainer] = {}
        self._simulated: dict[str, StoppedContainer] = {}
        self._settled: dict[str, float] = {}  # by name: monotonic second at which the stop had ended
        self._loaded = False
        self._unread = ""

    def load(self) -> None:
        """Take over what an earlier daemon stopped, at the first call. Blocks."""
        if self._loaded:
            return
        self._loaded = True
        records, problem = self._file.load_or_set_aside()
        self._unread = f"{problem}; what was stopped before is not known" if problem else ""
        if records is not None:
            self._real.update((each.id, each) for each in records.containers)
        self._show(simulated=False)

    @contextmanager
    def stopping(self, name: str, *, simulated: bool) -> Iterator[None]:
        """Wrap everything that is done to stop ``name``: no reading of it counts meanwhile."""
        self.load()
        self._settled[name] = inf
        try:
            yield
        finally:
            self._settled[name] = self._clock.monotonic()
            self._show(simulated=simulated)

    def acted(self, identity: str) -> str:
        """Return what is done to the container ``identity`` or was until it runs again; empty for nothing."""
        stopped = self._real.get(identity) or self._simulated.get(identity)
        return "" if stopped is None else f"an emergency stop, because {stopped.reason}"

    def add(self, stopped: StoppedContainer, *, simulated: bool) -> None:
        """Register ``stopped``, which is about to be stopped."""
        register = self._simulated if simulated else self._real
        known = register.get(stopped.id)
        if known is None or known.started_at != stopped.started_at:  # else it is tried again
            register[stopped.id] = stopped
            if not simulated:
                self._save()

    def observe(
        self,
        readings: Iterable[ContainerReading],
        unread: Iterable[str] = (),
        *,
        simulated: bool,
        listed_at: float = -inf,
    ) -> None:
        """Compare with the newest ``readings`` of all containers; of those in ``unread`` nothing is known.

        ``listed_at`` is the monotonic second from which on all of them were read.
        """
        self.load()
        register = self._simulated if simulated else self._real
        known, unknown = {each.id: each for each in readings}, frozenset(unread)
        over = [
            key
            for key, stopped in register.items()
            if key not in unknown and not self._is_down(stopped, known.get(key), listed_at)
        ]
        for key in over:
            del register[key]
        if (over and not simulated) or self._unread or self._file.problem:
            self._save()
        self._show(simulated=simulated)

    def switched_off(self) -> None:
        """Clear the conditions: no container is watched any more. The file keeps what was stopped."""
        self._conditions.update((STOPPED, NOT_STORED), (), announce=False)

    def wait(self, seconds: float) -> None:
        """Wait until the file is written, at most ``seconds``. Blocks."""
        self._file.wait(seconds)

    def _is_down(self, stopped: StoppedContainer, reading: ContainerReading | None, listed_at: float) -> bool:
        settled = self._settled.get(stopped.name, -inf)
        return settled == inf or is_down(stopped, reading, listed=listed_at > settled)

    def _save(self) -> None:
        self._unread = ""
        self._file.save_soon(StoppedRecords(1, tuple(self._real.values())))

    def _show(self, *, simulated: bool) -> None:
        register: Mapping[str, StoppedContainer] = self._simulated if simulated else self._real
        # Events of their own were published: container.emergency_stopped and container.started.
        self._conditions.update(
            (STOPPED,),
            (
                Condition(
                    STOPPED,
                    each.name,
                    Severity.ERROR,
                    f"aiidpd stopped it because {each.reason}; it stays down until somebody starts it",
                    f"see that {each.gpu} is cool, then `docker start {each.name}`",
                    each.at,
                    SOURCE,
                    simulated=simulated,
                )
                for each in register.values()
                if self._settled.get(each.name) != inf
            ),
            announce=False,
        )
        failed = self._file.problem
        problem = f"{failed}; what is stopped now is forgotten at a restart" if failed else self._unread
        if problem:
            remedy = "free space or repair the disk; it is written again with each reading of all containers"
            self._conditions.set(
                Condition(NOT_STORED, self._file.path.name, Severity.WARNING, problem, remedy, source=SOURCE)
            )
        else:
            self._conditions.clear(NOT_STORED, self._file.path.name)
