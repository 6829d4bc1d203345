"""The daemon, with clocks that a file shifts: ``python -m tests.fakes.shifted_daemon CONFIG SHIFTS``.

``SHIFTS`` holds two numbers of seconds: how far the wall clock was set ahead, and how long the machine slept.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from aiidpd.daemon.app import serve
from aiidpd.kernel.clock import SystemClock


class ShiftedClock(SystemClock):
    """The machine's clock, shifted as the file at ``path`` says."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def boottime(self) -> float:
        return super().boottime() + self._shifts()[1]

    def time(self) -> float:
        return super().time() + sum(self._shifts())

    def _shifts(self) -> tuple[float, float]:
        ahead, slept = map(float, self._path.read_text().split())
        return ahead, slept


def main(config: str, shifts: str) -> None:
    """Serve until SIGTERM."""
    serve(Path(config), os.environ, clock=ShiftedClock(Path(shifts)))


if __name__ == "__main__":
    main(*sys.argv[1:])
