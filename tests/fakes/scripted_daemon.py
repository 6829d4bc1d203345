"""A client of a daemon that is scripted: it shows GPUs, and events."""

from __future__ import annotations

from typing import Any, Self

from aiidpd.api.client import ControlClient


class Scripted(ControlClient):
    """A daemon that shows ``gpus``, and ``events`` afterwards."""

    def __init__(
        self, *gpus: dict[str, Any], events: tuple[dict[str, Any], ...] = (), simulated: bool = False
    ) -> None:
        self.gpus = {"gpus": list(gpus), "simulated": simulated}
        self.events = {"events": list(events)}
        self.readings = 0
        self.queries: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def close(self) -> None:
        """There is no connection."""

    def get(self, path: str, **query: Any) -> Any:
        if path == "/v1/gpus":
            self.readings += 1
            return self.gpus
        self.queries.append(query)
        return self.events
