"""Views of the containers for other components, from a reading (pure)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.contracts.containers import ContainerSummary
from aiidpd.contracts.inspections import EngineFacts, Inspections
from aiidpd.kernel.reading import Reading

OURS: Final = "aiidpd."
"""Prefix of the labels by which a container says what aiidpd may do with it."""


def summary(reading: ContainerReading, *, paused_by_us: bool) -> ContainerSummary:
    """Return what other components may know of ``reading``."""
    return ContainerSummary(
        reading.id,
        reading.name,
        reading.image,
        reading.state,
        reading.health,
        reading.gpu,
        reading.running,
        started_at=reading.started_at,
        paused_by_us=paused_by_us,
        labels={key: value for key, value in reading.labels.items() if key.startswith(OURS)},
        arguments=reading.arguments,
        environment=reading.environment,
        addresses=reading.addresses,
        host_network=reading.network_mode == "host",
        mounts=reading.mounts,
        image_id=reading.image_id,
    )


class Inspected:
    """View of how the containers were created, made once for each reading of them and of the engine."""

    def __init__(
        self,
        containers: Callable[[], Reading[RuntimeSnapshot] | None],
        engine: Callable[[], Reading[EngineFacts] | None],
    ) -> None:
        self._containers = containers
        self._engine = engine
        self._made: tuple[object, object, Reading[Inspections]] | None = None

    def view(self) -> Reading[Inspections] | None:
        """Return the view; None where the containers are not known now."""
        reading, engine = self._containers(), self._engine()
        if reading is None:
            return None
        facts = engine.value if engine is not None else None
        if self._made is None or self._made[0] is not reading or self._made[1] is not facts:
            found = (each.inspection for each in reading.value.containers)
            view = Inspections(
                tuple(each for each in found if each is not None), facts, reading.value.simulated
            )
            self._made = reading, facts, Reading(view, reading.at, reading.read)
        return self._made[2]
