"""Log of the gate: lines with their priority on standard error, so bounded that nobody floods the journal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Final

WARNING: Final = 4
INFO: Final = 6
_BURST: Final = 30.0  # lines
_LINES_PER_SECOND: Final = 1.0
_LONGEST: Final = 400  # characters
_RARELY: Final = 3600.0  # seconds


class Log:
    """Writes lines; of too many it counts those that it leaves out, and says so with the next."""

    def __init__(
        self, write: Callable[[str], object] | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = sys.stderr.write if write is None else write
        self._now = now
        self._lock = threading.Lock()
        self._budget = _BURST
        self._at = now()
        self._left_out = 0
        self._rare: tuple[str, float] | None = None

    def rarely(self, priority: int, text: str) -> None:
        """Write one line, unless the last one that was written so is the same and less than an hour old."""
        now = self._now()
        with self._lock:
            if self._rare is not None and self._rare[0] == text and now < self._rare[1] + _RARELY:
                return
            self._rare = text, now
        self.line(priority, text)

    def line(self, priority: int, text: str) -> None:
        """Write one line; what is not printable ASCII in ``text`` is escaped. Raises nothing."""
        with self._lock:
            now = self._now()
            self._budget = min(_BURST, self._budget + (now - self._at) * _LINES_PER_SECOND)
            self._at = now
            if self._budget < 1:
                self._left_out += 1
                return
            self._budget -= 1
            more = f" ({self._left_out} lines before it were left out)" if self._left_out else ""
            self._left_out = 0
            try:
                self._write(f"<{priority}>{printable(text)}{more}\n")
            except OSError:
                return  # nobody reads it any more


def printable(text: str) -> str:
    """Return ``text`` bounded and in printable ASCII."""
    cut = text[:_LONGEST]
    return "".join(each if " " <= each <= "~" else ascii(each)[1:-1] for each in cut)
