"""State of a container in one word, for people and metrics (pure)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from aiidpd.components.containers.runtime import ContainerReading


class Phase(StrEnum):
    """States of a container. One that runs is named by its health check, where that speaks."""

    CREATED = "created"
    RUNNING = "running"  # it has a health check, which says nothing at the moment
    NO_HEALTHCHECK = "no_healthcheck"  # it runs
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"  # it could not be removed
    GONE = "gone"


_HEALTH: Final = {
    "starting": Phase.STARTING,
    "healthy": Phase.HEALTHY,
    "unhealthy": Phase.UNHEALTHY,
}
_OTHER: Final = {
    each.value: each
    for each in (
        Phase.CREATED,
        Phase.PAUSED,
        Phase.RESTARTING,
        Phase.REMOVING,
        Phase.EXITED,
        Phase.DEAD,
    )
}


def phase(reading: ContainerReading | None) -> Phase:
    """Return the state that ``reading`` shows; None is a container that does not exist."""
    if reading is None:
        return Phase.GONE
    if reading.state != "running":
        return _OTHER.get(reading.state, Phase.EXITED)
    if reading.health is not None:
        return _HEALTH.get(reading.health, Phase.RUNNING)
    return Phase.RUNNING if reading.checked else Phase.NO_HEALTHCHECK
