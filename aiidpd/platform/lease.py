"""A file that says what we have changed outside of us, so that it is put back whatever becomes of us.

It is written, durably, before the change, and goes when all is as it was: a file that is there says that
something may not be as we found it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiidpd.platform.atomic import fsync_directory, write_atomic

_LARGEST: Final = 1 << 20
_LONGEST: Final = 600.0  # seconds


class JournalStore:
    """The file at ``path``, replaced whole. What it does blocks on the disk; one thread at a time gets in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._one_at_a_time = threading.Lock()
        self._asked = 0
        self._newest = 0

    def read(self) -> bytes | None:
        """Return what the file holds, None where there is none. Raises :class:`OSError`."""
        with self._one_at_a_time:
            try:
                with self.path.open("rb") as file:
                    return file.read(_LARGEST)
            except FileNotFoundError:
                return None

    def writing(self, content: bytes | None) -> Callable[[], None]:
        """Return what a thread is to carry out: the file holds ``content``, or is gone where that is None.

        It is on the disk when that returns; it raises :class:`OSError`. One that is overtaken by one that was
        asked for later does nothing: a thread that nobody waits for any more must not bring back what was
        given up meanwhile.
        """
        self._asked += 1
        turn = self._asked

        def write() -> None:
            with self._one_at_a_time:
                if turn > self._newest:
                    self._write(content)
                    self._newest = turn

        return write

    def _write(self, content: bytes | None) -> None:
        if content is None:
            self.path.unlink(missing_ok=True)
            fsync_directory(self.path.parent)
        else:
            write_atomic(self.path, content)


def duration(value: object) -> float | None:
    """Return ``value`` as seconds that a call may take, None where it makes no sense as that.

    What is to be put back does not hang on it: there is a default.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 < value <= _LONGEST else None
