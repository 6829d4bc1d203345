"""The containers over the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydantic import Field

from aiidpd.api.access import Access
from aiidpd.api.document import Document, SnapshotResponse, current
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.containers.pause.state import PauseView
from aiidpd.components.containers.runtime import RuntimeSnapshot
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import WorkerStatus


class PauseDocument(Document):
    """A pause by aiidpd itself, because a GPU is too hot. Unix seconds."""

    gpu: str
    reason: str
    since: float
    until: float = Field(description="When it goes on at the latest.")


class ContainerDocument(Document):
    """One container, as the engine describes it."""

    id: str
    name: str
    image: str
    state: str
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
    pause: PauseDocument | None = Field(None, description="Where aiidpd has paused it.")


class UnreadableContainer(Document):
    """A container whose details the engine did not give in time."""

    id: str
    name: str


class ContainersDocument(SnapshotResponse):
    """Every container of the engine."""

    version: str = Field("", description="The engine's.")
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
        unreadable = reading.value.unreadable if reading else ()
        document = current(
            ContainersDocument,
            reading,
            status(),
            unreadable=[{"id": key, "name": name} for key, name in unreadable],
        )
        paused = {each.id: PauseDocument.model_validate(each) for each in pauses()}
        return document.model_copy(
            update={
                "containers": tuple(
                    each.model_copy(update={"pause": paused.get(each.id)}) for each in document.containers
                )
            }
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
