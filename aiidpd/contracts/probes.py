"""Probes of our own that run now (pure): the prober fills it in, the poller of engines reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class OwnProbes:
    """Endpoints that we probe at this moment."""

    def __init__(self) -> None:
        self._running: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._running

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Count the endpoint ``name`` as asked while the block runs."""
        self._running.add(name)
        try:
            yield
        finally:
            self._running.discard(name)
