"""The last words of a child process, kept without a task and without a limitless buffer."""

from __future__ import annotations

import os
from contextlib import suppress


class StderrTail:
    """A pipe to hand to a child as its standard error, of which the last ``limit`` bytes are kept.

    Neither side ever waits: what the child writes while the pipe is full is dropped, and :meth:`drain`
    takes what is there. Call it now and then, so that what is kept is the tail and not the head.
    """

    def __init__(self, limit: int = 2048) -> None:
        self._limit = limit
        self._kept = b""
        # O_NONBLOCK belongs to the open file, so the child inherits it: a full pipe can't stall it.
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def close_writer(self) -> None:
        """Close this process's copy of the child's end, once the child has its own."""
        os.close(self.writer)

    def drain(self) -> None:
        """Take what was written since the last call, at most one pipe full."""
        with suppress(BlockingIOError):
            self._kept = (self._kept + os.read(self._reader, 65536))[-self._limit :]

    def last_line(self) -> str:
        """Return the last line that was written, or nothing: of a traceback that is the error itself."""
        self.drain()
        lines = self._kept.decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """Close the reading end."""
        os.close(self._reader)
