"""A small file that keeps something over a restart: replaced whole, in a thread, the newest content last."""

from __future__ import annotations

import threading
from pathlib import Path

from aiidpd.kernel.errors import describe
from aiidpd.platform.atomic import write_atomic


class JsonFile:
    """The file at ``path``. A disk that hangs holds up nobody: one write is under way, and one waits.

    ``problem`` is why the last write failed, empty where it did not.
    """

    def __init__(self, path: Path, *, largest: int = 1 << 20) -> None:
        self.path = path
        self.problem = ""
        self._largest = largest
        self._lock = threading.Lock()
        self._next: bytes | None = None
        self._writer: threading.Thread | None = None

    def read(self) -> bytes | None:
        """Return what was kept, None where there is no file. Blocks.

        Raises :class:`OSError`, or ValueError where it is too large.
        """
        try:
            with self.path.open("rb") as file:
                data = file.read(self._largest + 1)
        except FileNotFoundError:
            return None
        if len(data) > self._largest:
            raise ValueError(f"it is larger than {self._largest} bytes")
        return data

    def write(self, data: bytes) -> None:
        """Have ``data`` written; what waited for its turn is left out for it."""
        with self._lock:
            self._next = data
            if self._writer is None:
                self._writer = threading.Thread(target=self._run, name=f"write {self.path.name}")
                self._writer.start()

    def wait(self, seconds: float) -> None:
        """Wait until nothing is left to write, at most ``seconds``."""
        writer = self._writer
        if writer is not None:
            writer.join(seconds)

    def set_aside(self) -> None:
        """Move the file to the same name with ``.unreadable`` behind it; raises :class:`OSError`. Blocks."""
        self.path.replace(self.path.with_name(f"{self.path.name}.unreadable"))

    def _run(self) -> None:
        while True:
            with self._lock:
                data, self._next = self._next, None
                if data is None:
                    self._writer = None
                    return
            try:
                write_atomic(self.path, data, mode=0o640)
            except OSError as error:
                self.problem = f"cannot write {self.path}: {describe(error)}"
            else:
                self.problem = ""
