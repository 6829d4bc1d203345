"""Copying and hashing in one pass, in bounded memory: reading, hashing and writing overlap."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Self, TypeAlias

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.faults import (
    SourceChanged,
    SourceUnreadable,
    source_fault,
    target_fault,
)
from aiidpd.components.backup.process.plan import Entry

BLOCK = 4 * 1024 * 1024  # bytes read at a time; two blocks are held
WINDOW = 64 * 1024 * 1024  # bytes written before they are flushed, so that no flush takes long
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


@dataclass(frozen=True, slots=True)
class Copied:
    """A file that was copied: its hash, its extended attributes, and how many bytes were read for it."""

    sha256: str
    xattrs: Mapping[str, str]
    read_bytes: int


Outcome: TypeAlias = Copied | SourceChanged | SourceUnreadable


class Copier:
    """Reads, hashes and writes; use it as a context manager in one thread.

    ``rate`` bounds what is read, in bytes a second (0: not at all). ``xattrs``: extended attributes are read.
    """

    def __init__(self, control: Control, *, rate: int = 0, xattrs: bool = False) -> None:
        self._control = control
        self._rate = rate
        self._xattrs = xattrs
        self._buffers = (memoryview(bytearray(BLOCK)), memoryview(bytearray(BLOCK)))
        self._stages = (_Stage(), _Stage())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stage in self._stages:
            stage.close()

    def copy_many(
        self, source: Path, jobs: Iterable[tuple[Entry, Path]], partial: Path
    ) -> Iterator[tuple[Entry, Outcome]]:
        """Copy files of the folder ``source`` to new files; yield each with its outcome, in any order.

        A copy is read-only and has the source's mtime and holes; it need not be on the disk yet. A file that
        differs from its entry, or is written to meanwhile, gives :class:`SourceChanged`, one that can't be
        read :class:`Unavailable`; then no file is left at the destination. A big copy that is cut short is
        left in the folder ``partial`` and resumed the next time. Raises :class:`Unavailable` where the target
        fails.
        """
        del partial
        for entry, destination in jobs:
            self._control.start_file(entry.path)
            try:
                yield entry, self._copy(source, entry, destination)
            except (SourceChanged, SourceUnreadable) as outcome:
                yield entry, outcome
            self._control.end_file()

    def digest_source(self, source: Path, entry: Entry) -> str:
        """Return the SHA-256 of a file of the source, read without changing what is cached.

        Raises :class:`SourceChanged` and :class:`Unavailable` as an outcome of :meth:`copy_many`.
        """
        self._control.start_file(entry.path)
        with _opened(source / entry.path, entry.path) as reading, _unchanged(reading, entry):
            return self.pump(reading, None, entry.path, entry.size)[0]

    def digest(self, path: Path, name: str) -> tuple[str, int]:
        """Return SHA-256 and size of what the disk holds for a file of the target (not the cache)."""
        self._control.start_file(name)
        try:
            with os.fdopen(os.open(path, _READ), "rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                found = self.pump(file.fileno(), None, name, None)
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            raise target_fault(name, error) from error
        return found

    def pump(self, reading: int, writing: int | None, name: str, limit: int | None) -> tuple[str, int]:
        """Read a file to its end, and write it to ``writing`` where that is given; return SHA-256 and size.

        Raises :class:`SourceChanged` where it has more than ``limit`` bytes, :class:`Unavailable` for errors.
        """
        digest = hashlib.sha256()
        consumers: tuple[Consumer, ...] = (digest.update,)
        if writing is not None:
            consumers += (_Writer(writing, name).write,)
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
                    return digest.hexdigest(), total
                total += count
                if limit is not None and total > limit:
                    raise SourceChanged("it grows while it is read")
                for stage, consume in zip(self._stages, consumers, strict=False):
                    stage.give(consume, buffer[:count])
                turn = 1 - turn
                self._control.step(count)
        finally:
            for stage in self._stages:  # the buffers are used again: nobody may still read them
                stage.settle()

    def _copy(self, source: Path, entry: Entry, destination: Path) -> Copied:
        with _opened(source / entry.path, entry.path) as reading, _unchanged(reading, entry):
            with _created(destination, entry) as writing:
                sha256, count = self.pump(reading, writing, entry.path, entry.size)
            xattrs = read_xattrs(reading) if self._xattrs else {}
        return Copied(sha256, xattrs, count)

    def _settle(self) -> None:
        for error in [stage.settle() for stage in self._stages]:
            if error is not None:
                raise error


def read_xattrs(descriptor: int) -> dict[str, str]:
    """Return the extended attributes of an open file, their values in base64; none where it has no such."""
    try:
        names = os.listxattr(descriptor)
        return {name: b64encode(os.getxattr(descriptor, name)).decode("ascii") for name in sorted(names)}
    except OSError:
        return {}


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


@contextlib.contextmanager
def _unchanged(reading: int, entry: Entry) -> Iterator[None]:
    """Raise :class:`SourceChanged` where the open file is not ``entry``, before or after it was read."""
    if _version(os.fstat(reading)) != (True, entry.size, entry.mtime_ns, entry.ctime_ns):
        raise SourceChanged("it is not the file that was listed")
    yield
    if _version(os.fstat(reading)) != (True, entry.size, entry.mtime_ns, entry.ctime_ns):
        raise SourceChanged(_WRITTEN)


def _version(status: os.stat_result) -> tuple[bool, int, int, int]:
    return stat.S_ISREG(status.st_mode), status.st_size, status.st_mtime_ns, status.st_ctime_ns


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
    except BaseException as error:
        with contextlib.suppress(OSError):  # the first error is the one to raise
            path.unlink()
        if isinstance(error, OSError):
            raise target_fault(entry.path, error) from error
        raise
    finally:
        os.close(descriptor)
