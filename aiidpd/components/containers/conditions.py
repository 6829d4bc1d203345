"""Conditions of the containers that are watched: a failing health check, a restart loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiidpd.components.containers.state import ContainersState, Known
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.events import Severity

SOURCE: Final = "containers"
UNHEALTHY: Final = "container_unhealthy"
LOOPING: Final = "container_restart_loop"
WATCHED: Final = (UNHEALTHY, LOOPING)


def conditions(state: ContainersState, *, simulated: bool) -> Iterator[Condition]:
    """Yield what is wrong with the containers of ``state``, which are or are not ``simulated``.

    The health check of a paused container is suspended: what it found last counts until it is unpaused.
    """
    for known in state.known.values():
        name = known.name or known.id[:12]
        if known.running and known.health == "unhealthy":
            yield _unhealthy(name, simulated=simulated)
        if known.looping:
            yield _looping(name, known, simulated=simulated)


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


def _looping(name: str, known: Known, *, simulated: bool) -> Condition:
    restarts = f"; restarts by Docker's own policy: {known.restart_count}" if known.restart_count else ""
    return Condition(
        LOOPING,
        name,
        Severity.ERROR,
        f"it ends again and again and nobody asked it to{restarts}",
        f"`docker logs {name}` says why; `docker stop {name}` ends the loop",
        source=SOURCE,
        simulated=simulated,
    )
