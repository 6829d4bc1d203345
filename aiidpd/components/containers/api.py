"""Containers over the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aiidpd.api.access import Access
from aiidpd.api.document import SnapshotResponse, current, document_of
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.containers.pause.state import PauseView
from aiidpd.components.containers.phase import Phase, phase
from aiidpd.components.containers.runtime import RuntimeSnapshot
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import WorkerStatus


@dataclass(frozen=True, slots=True)
class PauseDocument:
    """A pause by aiidpd itself, because a GPU is too hot. Unix seconds."""

    gpu: str
    reason: str
    since: float
    until: float
    """Time (Unix seconds) by which it is resumed."""


@dataclass(frozen=True, slots=True)
class ContainerDocument:
    """One container, as the engine describes it."""

    id: str
    name: str
    image: str
    state: str
    phase: Phase
    """State in one word: of one that runs, what its health check says, or that it has none."""
    health: str | None
    exit_code: int | None
    oom_killed: bool
    restart_count: int
    started_at: float | None
    finished_at: float | None
    project: str
    service: str
    restart_policy: str
    gpu: bool
    pause: PauseDocument | None = None
    """Pause by aiidpd, where there is one."""


@dataclass(frozen=True, slots=True)
class UnreadableContainer:
    """A container whose details the engine did not give in time."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ContainersDocument(SnapshotResponse):
    """Every container of the engine."""

    version: str = ""
    """Version of the engine."""
    containers: tuple[ContainerDocument, ...] = ()
    unreadable: tuple[UnreadableContainer, ...] = ()


def routes(
    latest: Latest[RuntimeSnapshot],
    pauses: Callable[[], Iterable[PauseView]],
    status: Callable[[], WorkerStatus],
) -> tuple[Route, ...]:
    """Return the route of the containers, each with the pause by the daemon itself where there is one."""

    async def containers(_call: Call) -> Answer:
        reading = latest.get()
        if reading is None:
            return current(ContainersDocument, None, status())
        paused = {each.id: document_of(PauseDocument, each) for each in pauses()}
        return current(
            ContainersDocument,
            reading,
            status(),
            containers=tuple(
                document_of(ContainerDocument, each, pause=paused.get(each.id), phase=phase(each))
                for each in reading.value.containers
            ),
            unreadable=tuple(UnreadableContainer(*each) for each in reading.value.unreadable),
        )

    return (
        Route(
            "GET",
            "/v1/containers",
            Access.READ,
            containers,
            "Every container of the engine.",
            ContainersDocument,
        ),
    )
