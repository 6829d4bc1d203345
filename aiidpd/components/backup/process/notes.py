"""Notes of how much of a copy is on the disk, made while the copy goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Thread
from typing import Final

_POLL: Final = 0.2  # seconds
_GIVE_UP: Final = 1.0  # seconds, where the work is cancelled


class Notes:
    """Flushes and notes in a thread of its own: a disk takes its time for a flush.

    ``flush`` has all that was written on the disk; ``note`` is called with a length and the SHA-256 of that
    much, for each ``every`` bytes.
    """

    def __init__(self, flush: Callable[[], None], note: Callable[[int, str], None], every: int) -> None:
        self._flush = flush
        self._note = note
        self._every = every
        self._marks: deque[tuple[int, str]] = deque()
        self._thread: Thread | None = None
        self._error: Exception | None = None

    def hashed(self, start: int, end: int, sha256: Callable[[], str]) -> None:
        """Take what was hashed from ``start`` to ``end``, in the hasher's thread."""
        if end // self._every > start // self._every:
            self._marks.append((end, sha256()))

    def written(self, end: int) -> None:
        """Take that all is written up to ``end``, in the writer's thread; raises what an earlier note did."""
        mark = None
        while self._marks and self._marks[0][0] <= end:
            mark = self._marks.popleft()
        if mark is not None:
            if self._thread is not None:
                self._thread.join()
            self._check()
            self._thread = Thread(target=self._work, args=mark, name="aiidpd-backup-note", daemon=True)
            self._thread.start()

    def settle(self, waiting: Callable[[], None]) -> None:
        """Wait for the last note; raises what it did."""
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(_POLL)
            waiting()
        self._check()

    def abandon(self) -> bool:
        """Wait a moment for the last note; return whether it is made, or there was none."""
        if self._thread is not None:
            self._thread.join(_GIVE_UP)
        return self._error is None and (self._thread is None or not self._thread.is_alive())

    def _work(self, count: int, sha256: str) -> None:
        try:
            self._flush()
            self._note(count, sha256)
        except Exception as error:  # noqa: BLE001 -- handed to the thread that writes
            self._error = error

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
