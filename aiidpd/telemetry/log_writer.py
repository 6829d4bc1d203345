"""Writes the log's lines from a thread of its own, so that a stalled terminal or journal stalls no worker."""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO

_LIMIT = 10_000  # lines that wait for a reader who does not read


class LogWriter:
    """A bounded queue before a stream.

    A line too many is lost and counted; ``report`` turns the count into a line that is written later.
    """

    def __init__(self, stream: TextIO, report: Callable[[int], str], limit: int = _LIMIT) -> None:
        self._report = report
        self._put = _putter(stream)
        self._limit = limit
        self._changed = threading.Condition()
        self._lines: deque[str] = deque()
        self._stopping = False
        self.lost = 0
        self._thread = threading.Thread(target=self._run, name="log-outlet", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue ``line``; never waits and never fails."""
        with self._changed:
            if len(self._lines) >= self._limit or self._stopping:
                self.lost += 1
                return
            self._lines.append(line)
            if len(self._lines) == 1:
                self._changed.notify()

    def close(self, timeout: float = 1.0) -> bool:
        """Write what waits, within ``timeout`` seconds; return whether that was possible."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        reported = 0
        while True:
            with self._changed:
                while not self._lines and not self._stopping:
                    self._changed.wait()
                lines = list(self._lines)
                self._lines.clear()
                lost, stopping = self.lost, self._stopping
            if lost > reported and not stopping:
                lines.append(self._report(lost - reported))
                reported = lost
            if lines:
                try:
                    self._put("".join(f"{line}\n" for line in lines))
                except (OSError, ValueError):  # the reader is gone (a closed pipe or stream)
                    with self._changed:
                        self.lost += len(lines)
                    reported = self.lost
            elif stopping:
                return


def _putter(stream: TextIO) -> Callable[[str], None]:
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):

        def put(text: str) -> None:
            stream.write(text)
            stream.flush()

        return put
    # Past the stream's buffer: a thread that hangs inside it would hold its lock when the process ends.
    return lambda text: _write_all(descriptor, text.encode("utf-8", "backslashreplace"))


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # somebody who shares this terminal made it non-blocking
            select.select([], [descriptor], [], 1.0)
