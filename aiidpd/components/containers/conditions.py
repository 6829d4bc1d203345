"""Conditions of the containers that are watched, and of the runtime itself where it does not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from aiidpd.components.containers.state import ContainersState, Known
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Severity

SOURCE: Final = "containers"
UNHEALTHY: Final = "container_unhealthy"
LOOPING: Final = "container_restart_loop"
WATCHED: Final = (UNHEALTHY, LOOPING)
SILENT: Final = "container_runtime_silent"


def conditions(
    state: ContainersState, *, simulated: bool, failure: Callable[[str], str] = lambda _: ""
) -> Iterator[Condition]:
    """Yield what is wrong with the containers of ``state``, which are or are not ``simulated``.

    ``failure`` returns the last failure of a container (by its id) in words, empty where none has a name.
    The health check of a paused container is suspended: what it found last counts until it is unpaused.
    """
    for known in state.known.values():
        name = known.name or known.id[:12]
        if known.running and known.health == "unhealthy":
            yield _unhealthy(name, simulated=simulated)
        if known.looping:
            yield _looping(name, known, failure(known.id), simulated=simulated)


def silent(fault: Unavailable, *, simulated: bool) -> Condition:
    """Return the condition for a runtime that does not answer, because of ``fault``."""
    return Condition(
        SILENT,
        "engine",
        Severity.ERROR,
        f"{fault.subject}: {fault.reason}; what its containers do is not known meanwhile",
        fault.remedy,
        source=SOURCE,
        simulated=simulated,
    )


def _unhealthy(name: str, *, simulated: bool) -> Condition:
    return Condition(
        UNHEALTHY,
        name,
        Severity.ERROR,
        "its health check fails",
        f"`docker inspect --format '{{{{json .State.Health}}}}' {name}` has what the check says, "
        f"`docker logs {name}` what the container does",
        source=SOURCE,
        simulated=simulated,
    )


def _looping(name: str, known: Known, failure: str, *, simulated: bool) -> Condition:
    restarts = f"; restarts by Docker's own policy: {known.restart_count}" if known.restart_count else ""
    because = f"; the last time because {failure}" if failure else ""
    return Condition(
        LOOPING,
        name,
        Severity.ERROR,
        f"it ends again and again and nobody asked it to{restarts}{because}",
        f"`docker logs {name}` says why; `docker stop {name}` ends the loop",
        source=SOURCE,
        simulated=simulated,
    )
