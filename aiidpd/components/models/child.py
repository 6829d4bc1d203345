"""Runs the child process that scans and verifies, from a thread of the daemon."""

from __future__ import annotations

import pickle
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from aiidpd.components.models.process import LENGTH_BYTES, Failed, Frame, Request, Step
from aiidpd.kernel.errors import Unavailable
from aiidpd.platform.programs import program

PROGRAM: Final = program("aiidpd.components.models")
_MOST_BYTES: Final = 256 * 2**20  # of one frame: a model of 50,000 files has 20 MB
_ENDING: Final = 5.0  # seconds that a process may take to end once it has said all

T = TypeVar("T")


class ChildCancelled(Exception):
    """End of a child process that nobody waits for any more."""


class ChildControl:
    """Link to the thread that reads from a child: ``steps`` counts its frames, ``step`` is its last sign."""

    def __init__(self) -> None:
        self.steps = 0
        self.step = Step("")
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False

    @property
    def at(self) -> str:
        """Return where the work is."""
        return self.step.at

    def cancel(self) -> None:
        """Kill the child, if there is one, and have no other started."""
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                with suppress(OSError):
                    self._process.kill()

    def run(self, request: Request, last: type[T], take: Callable[[Frame], None]) -> T:
        """Return the frame of the type ``last``, with which the child ends; ``take`` gets those before it.

        Blocks. Raises :class:`ChildCancelled` after :meth:`cancel`, and :class:`Unavailable`.
        """
        process = self._start()
        try:
            assert process.stdin is not None  # noqa: S101 -- it is a pipe
            with suppress(BrokenPipeError):
                pickle.dump(request, process.stdin)
                process.stdin.close()
            while True:
                frame = self._frame(process)
                self.steps += 1
                if isinstance(frame, last):
                    return frame
                if isinstance(frame, Failed):
                    raise _failed(frame.reason)
                if isinstance(frame, Step):
                    self.step = frame
                else:
                    take(frame)
        finally:
            self._end(process)

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._cancelled:
                raise ChildCancelled
            try:
                self._process = subprocess.Popen(  # noqa: S603 -- ourselves
                    PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                )
            except OSError as error:
                raise _failed(error.strerror or str(error)) from error
            return self._process

    def _frame(self, process: subprocess.Popen[bytes]) -> Frame:
        assert process.stdout is not None  # noqa: S101 -- it is a pipe
        head = process.stdout.read(LENGTH_BYTES)
        size = int.from_bytes(head, "big")
        usable = len(head) == LENGTH_BYTES and size <= _MOST_BYTES
        data = process.stdout.read(size) if usable else b""
        if not data or len(data) < size:
            if self._cancelled:
                raise ChildCancelled
            raise _failed("the process that reads them ended before its work")
        frame: Frame = pickle.loads(data)  # noqa: S301 -- of the child that this started
        return frame

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        try:
            process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_ENDING)  # one that hangs on a dead disk is left behind
        with self._lock:
            self._process = None


def _failed(reason: str) -> Unavailable:
    return Unavailable("read", "the files of models", reason=reason, remedy="it is tried again")
