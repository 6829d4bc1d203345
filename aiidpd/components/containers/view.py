"""View of the containers for other components, from a reading (pure)."""

from __future__ import annotations

from typing import Final

from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.contracts.containers import ContainerSummary

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
