"""Copying and hashing in one pass, in bounded memory: reading, hashing and writing overlap."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Self

from aiidpd.components.backup.cancel import RunControl
from aiidpd.components.backup.faults import SourceChanged, source_fault, target_fault
from aiidpd.components.backup.plan import Entry

BLOCK = 4 * 1024 * 1024  # bytes read at a time; two blocks are held
WINDOW = 64 * 1024 * 1024  # bytes written before they are flushed, so that no flush takes long
_FRESH = 10.0  # seconds since the last change, within which a file is read twice
_WRITTEN = "it was written to while it was read"
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # non-blocking for what became a pipe
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW

Consumer = Callable[[memoryview], None]


class _Stage:
    """A thread that consumes one block at a time. A daemon thread: one that blocks holds up no exit."""

    def __init__(self) -> None:
        self._given: SimpleQueue[tuple[Consumer, memoryview] | None] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._owed = 0
        Thread(target=self._work, name="aiidpd-backup-stage", daemon=True).start()

    def give(self, consume: Consumer, block: memoryview) -> None:
        self._given.put((consume, block))
        self._owed += 1

    def settle(self) -> BaseException | None:
        """Wait for what was given; return the error that it ended with."""
        error = None
        while self._owed:
            error = self._done.get() or error
            self._owed -= 1
        return error

    def close(self) -> None:
        self._given.put(None)

    def _work(self) -> None:
        while (task := self._given.get()) is not None:
            consume, block = task
            try:
                consume(block)
            except Exception as error:  # noqa: BLE001 -- handed to the thread that gave the block
                self._done.put(error)
            else:
                self._done.put(None)


class Copier:
    """Copies files one after the other; use it as a context manager in one thread."""

    def __init__(self, control: RunControl) -> None:
        self._control = control
        self._buffers = (memoryview(bytearray(BLOCK)), memoryview(bytearray(BLOCK)))
        self._stages = (_Stage(), _Stage())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stage in self._stages:
            stage.close()

    def copy(self, source: Path, entry: Entry, destination: Path) -> str:
        """Copy ``entry`` of the folder ``source`` to the new file ``destination``; return its SHA-256.

        The copy is read-only, has the source's mtime, and is on the disk. Raises
        :class:`SourceChanged` where the file differs from ``entry``, or is written to meanwhile (one that
        changed just now is read twice),
        and :class:`Unavailable`; then no file is left at ``destination``.
        """
        self._control.start_file(entry.path)
        with _opened(source / entry.path, entry.path) as reading:
            before = os.fstat(reading)
            if not stat.S_ISREG(before.st_mode) or _version(before) != (entry.size, entry.mtime_ns):
                raise SourceChanged("it is not the file that was listed")
            os.posix_fadvise(reading, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            with _created(destination, entry) as writing:
                digest = hashlib.sha256()
                writer = _Writer(writing, entry.path)
                count = self._pump(reading, entry.path, (digest.update, writer.write), entry.size)
                after = os.fstat(reading)
                if count != entry.size or (*_version(after), after.st_ctime_ns) != (
                    *_version(before),
                    before.st_ctime_ns,
                ):
                    raise SourceChanged(_WRITTEN)
                # One write that is under way sets the time when it begins, and not again.
                if (
                    abs(time.time() - before.st_mtime) < _FRESH
                    and self._again(reading, entry) != digest.digest()
                ):
                    raise SourceChanged(_WRITTEN)
        return digest.hexdigest()

    def _again(self, reading: int, entry: Entry) -> bytes:
        """Return the SHA-256 of the source read once more."""
        os.lseek(reading, 0, os.SEEK_SET)
        digest = hashlib.sha256()
        self._pump(reading, entry.path, (digest.update,), entry.size, counted=False)
        return digest.digest()

    def digest(self, path: Path, name: str) -> tuple[str, int]:
        """Return SHA-256 and size of what the disk holds for a file of the target (not the cache)."""
        self._control.start_file(name)
        try:
            with os.fdopen(os.open(path, _READ), "rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                digest = hashlib.sha256()
                count = self._pump(file.fileno(), name, (digest.update,), None)
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            raise target_fault(name, error) from error
        return digest.hexdigest(), count

    def _pump(
        self,
        reading: int,
        name: str,
        consumers: tuple[Consumer, ...],
        limit: int | None,
        *,
        counted: bool = True,
    ) -> int:
        """Hand the file's bytes to all ``consumers``, which work while the next block is read."""
        total, turn = 0, 0
        try:
            while True:
                buffer = self._buffers[turn]
                try:
                    count = os.readv(reading, [buffer])
                except OSError as error:
                    raise (target_fault if limit is None else source_fault)(name, error) from error
                self._settle()
                if count == 0:
                    return total
                total += count
                if limit is not None and total > limit:
                    raise SourceChanged("it grows while it is read")
                for stage, consume in zip(self._stages, consumers, strict=False):
                    stage.give(consume, buffer[:count])
                turn = 1 - turn
                self._control.step(count if counted else 0)
        finally:
            for stage in self._stages:  # the buffers are used again: nobody may still read them
                stage.settle()

    def _settle(self) -> None:
        for error in [stage.settle() for stage in self._stages]:
            if error is not None:
                raise error


class _Writer:
    """Writes blocks to a file, flushing and dropping from the cache what is a window behind."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name
        self._since_flush = 0

    def write(self, block: memoryview) -> None:
        try:
            while block:
                count = os.write(self._descriptor, block)
                self._since_flush += count
                block = block[count:]
            if self._since_flush >= WINDOW:
                os.fdatasync(self._descriptor)
                os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                self._since_flush = 0
        except OSError as error:
            raise target_fault(self._name, error) from error


def _version(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def _opened(path: Path, name: str) -> Iterator[int]:
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        raise SourceChanged("it is gone") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SourceChanged("it is a symbolic link now") from None
        raise source_fault(name, error) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _created(path: Path, entry: Entry) -> Iterator[int]:
    """Yield a new file that is flushed and given the entry's times and mode, or removed on an error."""
    try:
        descriptor = os.open(path, _CREATE, 0o600)
    except OSError as error:
        raise target_fault(entry.path, error) from error
    try:
        yield descriptor
        os.fchmod(descriptor, (entry.mode & 0o555) | 0o400)  # snapshots share files: nobody may write to one
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except BaseException as error:
        with contextlib.suppress(OSError):  # the first error is the one to raise
            path.unlink()
        if isinstance(error, OSError):
            raise target_fault(entry.path, error) from error
        raise
    finally:
        os.close(descriptor)
