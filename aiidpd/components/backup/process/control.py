"""Control of the work: its progress, its cancellation, a pause of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from aiidpd.components.backup.process.progress import Progress

_REPORT_EVERY: Final = 0.2  # seconds
_POLL: Final = 0.05


class Cancelled(BaseException):
    """Cancellation of the work. Not an :class:`Exception`: no handler of errors may take it for one."""


class Control:
    """Shared by those who work, who count, and those who follow, who read, pause and cancel.

    ``report`` is called with the progress now and then, by a thread that works. ``paused`` is why the work
    waits, empty where it does not. Each attribute is written by one side.
    """

    def __init__(self, report: Callable[[Progress], None] | None = None) -> None:
        self.cancelled = False
        self.paused = ""
        self.phase = "listing"
        self.at = ""
        self._files_done = self._files = self._bytes_done = self._bytes = 0
        self._report = report
        self._reported = 0.0

    def enter(self, phase: str, *, files: int = 0, total: int = 0) -> None:
        """Begin a phase that handles ``files`` files of ``total`` bytes together."""
        self.phase, self._files, self._bytes = phase, files, total
        self._files_done = self._bytes_done = 0
        self._reported = 0.0
        self.step()

    def start_file(self, path: str) -> None:
        """Note the file that the work is at, which explains a stall."""
        self.at = path
        self.step()

    def end_file(self, count: int = 1) -> None:
        """Count files as done."""
        self._files_done += count
        self.step()

    def step(self, count: int = 0) -> None:
        """Count ``count`` bytes as done and continue; raises :class:`Cancelled` where the work shall stop.

        Returns only when nothing pauses the work.
        """
        self._bytes_done += count
        if self.cancelled:
            raise Cancelled
        if self.paused:
            self._wait()
        if self._report is not None:
            now = time.monotonic()
            if now - self._reported >= _REPORT_EVERY:
                self._reported = now
                self._report(self.progress)

    def sleep(self, seconds: float) -> None:
        """Wait so long, unless cancelled."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _POLL))
            self.step()

    @property
    def progress(self) -> Progress:
        """Progress of the present phase."""
        return Progress(
            self.phase, self._files_done, self._files, self._bytes_done, self._bytes, self.at, self.paused
        )

    def _wait(self) -> None:
        if self._report is not None:
            self._report(self.progress)
        while self.paused:
            if self.cancelled:
                raise Cancelled
            time.sleep(_POLL)
        self._reported = 0.0
