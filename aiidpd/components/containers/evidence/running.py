"""Evidence of containers for incidents: those that ran when it began."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiidpd.components.containers.runtime import RuntimeSnapshot
from aiidpd.incidents.evidence import Evidence, Moment
from aiidpd.kernel.latest import Latest

NAME: Final = "containers"
_SHOWN: Final = ("id", "name", "image", "state", "health", "gpu")
NOT_READ: Final = "no current reading of the containers"


class ContainerEvidence(Evidence):
    """Gives the running containers of the last reading."""

    def __init__(self, latest: Latest[RuntimeSnapshot]) -> None:
        self._latest = latest

    def documents(self, moment: Moment) -> Mapping[str, Any]:
        """Return the containers that run at the beginning."""
        return {NAME: self._running()} if moment is Moment.BEGINNING else {}

    def _running(self) -> dict[str, Any]:
        reading = self._latest.get()
        if reading is None:
            return {"read_at": None, "reason": NOT_READ, "containers": []}
        return {
            "read_at": reading.at,
            "reason": "",
            "containers": [
                {name: getattr(each, name) for name in _SHOWN}
                for each in reading.value.containers
                if each.running
            ],
        }
