"""Blocks on their way from a reader to a hasher and a writer, which all work at the same time."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, NamedTuple

from aiidpd.components.backup.process.reading import aligned

BLOCK: Final = 2 * 1024 * 1024
"""Bytes read at a time."""
DEPTH: Final = 4
"""Number of blocks: one is read, one is hashed, one is written, and one is ready for whoever is first."""
_POLL: Final = 0.2  # seconds
_GIVE_UP: Final = 1.0  # seconds for what is under way, where the work was cancelled

Consumer = Callable[[memoryview, int], None]


class _Late(Exception):
    """It takes too long."""


class _Item(NamedTuple):
    """A block at ``offset`` of a file; ``buffer`` goes back to the reader. No ``writing``: a hash alone."""

    hashing: Consumer
    writing: Consumer | None
    block: memoryview
    offset: int
    buffer: memoryview


class Pipeline:
    """Two threads and the memory between them, for one file after the other.

    Daemon threads: one that hangs in a read or write holds up no exit.
    """

    def __init__(self, block: int = BLOCK, depth: int = DEPTH) -> None:
        self.block = block
        self._depth = depth
        self._zeros = memoryview(mmap.mmap(-1, block))  # never written to, so that it takes no memory
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._hashed: SimpleQueue[_Item | None] = SimpleQueue()
        self._written: SimpleQueue[_Item | None] = SimpleQueue()
        self._error: BaseException | None = None
        self.usable = True
        """False where a thread hangs: it has a part of the memory."""
        for _ in range(depth):
            self._free.put(aligned(block))
        Thread(target=self._hash, name="aiidpd-backup-hash", daemon=True).start()
        Thread(target=self._write, name="aiidpd-backup-write", daemon=True).start()

    def buffer(self, waiting: Callable[[], None]) -> memoryview:
        """Return memory to read into, calling ``waiting`` while there is none.

        Raises what hashing or writing of an earlier block has raised. It has to be given back by
        :meth:`send`, :meth:`send_zeros` or :meth:`give_back`.
        """
        while True:
            if self._error is not None:
                raise self._error
            try:
                return self._free.get(timeout=_POLL)
            except Empty:
                waiting()

    def send(
        self, buffer: memoryview, count: int, offset: int, hashing: Consumer, writing: Consumer | None
    ) -> None:
        """Have ``count`` bytes that lie in ``buffer`` hashed and then written."""
        self._hashed.put(_Item(hashing, writing, buffer[:count], offset, buffer))

    def send_zeros(self, buffer: memoryview, count: int, offset: int, hashing: Consumer) -> None:
        """Have ``count`` zeros hashed, for a hole. ``buffer`` is a token of it; nothing is written."""
        self._hashed.put(_Item(hashing, None, self._zeros[:count], offset, buffer))

    def give_back(self, buffer: memoryview) -> None:
        """Return memory that was not needed."""
        self._free.put(buffer)

    def settle(self, waiting: Callable[[], None]) -> None:
        """Wait until all that was sent is hashed and written; raises what one of both has raised."""
        self._collect(waiting)
        if self._error is not None:
            raise self._error

    def drain(self, waiting: Callable[[], None]) -> bool:
        """Wait as :meth:`settle` does, and forget errors; return whether there was none."""
        self._collect(waiting)
        done, self._error = self._error is None, None
        return done

    def abandon(self) -> bool:
        """Wait a moment, and give up what is not done by then; return whether all is done."""
        until = time.monotonic() + _GIVE_UP

        def check() -> None:
            if time.monotonic() > until:
                raise _Late

        try:
            return self.drain(check)
        except _Late as error:
            self._error, self.usable = error, False  # what is not begun yet is not done either
            return False

    def _collect(self, waiting: Callable[[], None]) -> None:
        held: list[memoryview] = []
        try:
            while len(held) < self._depth:
                try:
                    held.append(self._free.get(timeout=_POLL))
                except Empty:
                    waiting()
        finally:
            for buffer in held:
                self._free.put(buffer)

    def close(self) -> None:
        """End the threads, once they have done what was sent."""
        self._hashed.put(None)

    def _hash(self) -> None:
        while (item := self._hashed.get()) is not None:
            self._run(item.hashing, item)
            if item.writing is None:
                self._free.put(item.buffer)
            else:
                self._written.put(item)
        self._written.put(None)

    def _write(self) -> None:
        while (item := self._written.get()) is not None:
            if item.writing is not None:
                self._run(item.writing, item)
            self._free.put(item.buffer)

    def _run(self, consumer: Consumer, item: _Item) -> None:
        if self._error is None:
            try:
                consumer(item.block, item.offset)
            except Exception as error:  # noqa: BLE001 -- handed to the thread that sends
                self._error = error
