"""Control of a run in a thread: its progress and its cancellation, from outside."""

from __future__ import annotations

from aiidpd.components.backup.view import RunProgress


class Cancelled(BaseException):
    """Cancellation of a run. Not an :class:`Exception`: no handler of errors may take it for one."""


class RunControl:
    """Shared by a run's thread, which writes the figures, and its follower, who reads and cancels.

    ``steps`` grows with every sign of life. Plain attributes: each is written by one side only.
    """

    def __init__(self) -> None:
        self.cancelled = False
        self.steps = 0
        self._phase = "listing"
        self._at = ""
        self._files_done = self._files = self._bytes_done = self._bytes = 0

    def enter(self, phase: str, *, files: int = 0, total: int = 0) -> None:
        """Begin a phase that handles ``files`` files of ``total`` bytes together."""
        self._phase, self._files, self._bytes = phase, files, total
        self._files_done = self._bytes_done = 0
        self.step()

    def start_file(self, path: str) -> None:
        """Note the file that the thread is at, which explains a stall."""
        self._at = path
        self.step()

    def end_file(self) -> None:
        """Count a file as done."""
        self._files_done += 1
        self.step()

    def step(self, count: int = 0) -> None:
        """Count ``count`` bytes as done and continue; raises :class:`Cancelled` where the run shall stop."""
        self._bytes_done += count
        self.steps += 1
        if self.cancelled:
            raise Cancelled

    @property
    def at(self) -> str:
        """File that the thread was last at."""
        return self._at

    @property
    def progress(self) -> RunProgress:
        """Progress of the present phase."""
        return RunProgress(self._phase, self._files_done, self._files, self._bytes_done, self._bytes)
