"""Operations that go on: of those that share a key one at a time. For any thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Holds:
    """Keys that are held now; one lock for all of a gate's connections."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: set[str] = set()

    @contextmanager
    def hold(self, key: str, within: float) -> Iterator[bool]:
        """Hold ``key`` for the time of a block; yield False where it was not free ``within`` seconds.

        An empty one is always free, and nobody's.
        """
        if not key:
            yield True
            return
        with self._changed:
            free = self._changed.wait_for(lambda: key not in self._held, within)
            if free:
                self._held.add(key)
        try:
            yield free
        finally:
            if free:
                with self._changed:
                    self._held.discard(key)
                    self._changed.notify_all()
