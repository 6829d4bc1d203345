"""Tail of a process's standard error, in a bounded buffer, read without a task of its own."""

from __future__ import annotations

import os
from contextlib import suppress


class StderrTail:
    """A pipe to hand to a process as its standard error, of which the last ``limit`` bytes are stored.

    Neither side ever waits: what the process writes while the pipe is full is dropped, and :meth:`drain`
    takes what is there. Call it now and then, so that what is stored is the tail and not the head.
    """

    def __init__(self, limit: int = 2048) -> None:
        self._limit = limit
        self._tail = b""
        # O_NONBLOCK belongs to the open file, so the process inherits it: a full pipe can't stall it.
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def close_writer(self) -> None:
        """Close our copy of the writing end, once the process has its own."""
        os.close(self.writer)

    def drain(self) -> None:
        """Take what was written since the last call, at most one pipe full."""
        with suppress(BlockingIOError):
            self._tail = (self._tail + os.read(self._reader, 65536))[-self._limit :]

    def last_line(self) -> str:
        """Return the last line that was written, or nothing: of a traceback that is the error itself."""
        self.drain()
        lines = self._tail.decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """Close the reading end."""
        os.close(self._reader)
