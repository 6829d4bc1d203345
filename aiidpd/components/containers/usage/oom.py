"""Rises of the kernel's count of processes that it killed for memory, on the whole machine."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VMSTAT: Final = Path("/proc/vmstat")
_SLACK: Final = 2.0  # seconds between a kill and the end of its container, as the runtime stamps it
_MOST: Final = 256


@dataclass(frozen=True, slots=True)
class Rise:
    """``kills`` after ``since`` and until ``until``, both in Unix seconds."""

    since: float
    until: float
    kills: int


class MachineOomKills:
    """Counts kills for memory around a moment.

    The control group of a container is gone as soon as it has ended, and its own counter with it: this one
    remains. It says that something was killed, and not what.
    """

    def __init__(self, path: Path = VMSTAT) -> None:
        self._path = path
        self._last: tuple[float, int] | None = None
        self._rises: deque[Rise] = deque(maxlen=_MOST)

    def read(self, now: float) -> None:
        """Take the count at ``now`` (Unix seconds); what can't be read changes nothing."""
        count = _count(self._path)
        if count is None:
            return
        if self._last is not None and count > self._last[1]:
            self._rises.append(Rise(self._last[0], now, count - self._last[1]))
        self._last = now, count

    def around(self, at: float, now: float) -> int:
        """Return how many processes of the machine were killed about ``at``, at most; 0 where none was."""
        self.read(now)
        return sum(rise.kills for rise in self._rises if rise.since - _SLACK <= at <= rise.until + _SLACK)


def _count(path: Path) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    name, _, count = next((line for line in lines if line.startswith("oom_kill ")), "").partition(" ")
    return int(count) if name and count.isdecimal() else None
