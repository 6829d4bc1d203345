"""Copying and hashing of one file, in one pass."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from aiidpd.components.backup.process import syscalls
from aiidpd.components.backup.process.faults import SourceChanged, source_fault, target_fault
from aiidpd.components.backup.process.lane import SMALL, Lane, Passage
from aiidpd.components.backup.process.notes import Notes
from aiidpd.components.backup.process.opened import (
    confirm,
    create,
    created,
    discard,
    open_listed,
    opened,
    read_xattrs,
    set_time,
)
from aiidpd.components.backup.process.partial import Draft
from aiidpd.components.backup.process.plan import Entry
from aiidpd.components.backup.process.reading import READ_FLAGS, Reader, Way
from aiidpd.components.backup.process.writing import Sink
from aiidpd.kernel.errors import Unavailable

_NEVER: Final = (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS)
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_RESERVED: Final = 16 * 1024 * 1024
"""Bytes: room for files from this size on is reserved before they are written."""
_DENSE: Final = 64 * 1024
"""Bytes: smaller files are copied without holes."""
_SHORT: Final = "it is shorter than it was listed"


@dataclass(frozen=True, slots=True)
class Copied:
    """A file that was copied: its hash, its extended attributes, and how many bytes were read for it."""

    sha256: str
    xattrs: Mapping[str, str]
    read_bytes: int


@dataclass(frozen=True, slots=True)
class Options:
    """Properties of all copies of a run.

    Copies of files from ``resumable`` bytes on can be resumed, with a record each ``note_every`` bytes.
    ``no_clones`` has pairs of devices that share no extents, and grows; so does ``modes``, which
    :func:`.opened.create` takes.
    """

    xattrs: bool
    resumable: int
    note_every: int
    no_clones: set[tuple[int, int]] = field(default_factory=set)
    modes: dict[int, bool] = field(default_factory=dict)


class Site(NamedTuple):
    """Folders that copies are made of and, for big ones, in; ``device`` is that of the target."""

    source: Path
    partial: Path
    device: int
    options: Options


def is_small(entry: Entry) -> bool:
    """Return whether a file is handled without a pipeline: small, and without holes that are worth it."""
    return entry.size <= SMALL and (entry.blocks >= entry.size or entry.size <= _DENSE)


def copy_small(lane: Lane, site: Site, entry: Entry, destination: Path) -> Copied:
    """Copy a file for which :func:`is_small` is true; see :func:`copy_big`."""
    reading = open_listed(site.source, entry)
    try:
        writing = create(destination, entry, site.options.modes)
        try:
            copied = _copy_small(lane, site, entry, reading, writing)
            set_time(writing, entry)
        except BaseException as error:
            discard(destination, entry, error)
            raise
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    return copied


def _copy_small(lane: Lane, site: Site, entry: Entry, reading: int, writing: int) -> Copied:
    """Copy what is in an open file to another one. Each call of the system counts."""
    if entry.size == 0:
        digest = sha256().hexdigest()
    elif _clone(reading, writing, entry, site):
        digest = sha256(_read_small(lane, writing, entry, site.device)).hexdigest()
    else:
        block = _read_small(lane, reading, entry, _device(reading, entry))
        lane.written.write(writing, block)
        digest = sha256(block).hexdigest()
    xattrs = read_xattrs(reading) if site.options.xattrs else {}
    confirm(reading, entry)
    return Copied(digest, xattrs, entry.size)


def _device(reading: int, entry: Entry) -> int:
    """Return the device of an open file of the source, which is that of its entry where that is known."""
    return entry.inode[0] or os.fstat(reading).st_dev


def copy_big(lane: Lane, site: Site, entry: Entry, destination: Path) -> Copied:
    """Copy a file to a new file, by sharing its extents where that is possible.

    Its copy can be resumed where it is big enough. Raises :class:`SourceChanged`, :class:`SourceUnreadable`,
    and :class:`Unavailable` where the target fails; then there is no file ``destination``.
    """
    if os.path.lexists(destination):
        raise target_fault(entry.path, FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)))
    with opened(site.source, entry) as reading:
        xattrs = read_xattrs(reading) if site.options.xattrs else {}
        found = _copy_clone(lane, reading, entry, destination, site)
        if found is None and entry.size >= site.options.resumable:
            found = _copy_resumable(lane, reading, entry, destination, site)
        elif found is None:
            with created(destination, entry) as writing:
                passage = _passage(reading, entry)
                passage.sink = _sink(writing, reading, entry)
                found = _passed(lane, passage, entry)
                confirm(reading, entry)
    return Copied(found.digest.hexdigest(), xattrs, found.read_bytes)


def digest_source(lane: Lane, source: Path, entry: Entry) -> str:
    """Return the SHA-256 of a file of the source; raises as :func:`copy_big` for the source."""
    with opened(source, entry) as reading:
        found = _passed(lane, _passage(reading, entry), entry)
        confirm(reading, entry)
        return found.digest.hexdigest()


def digest_stored(lane: Lane, path: Path, name: str) -> tuple[str, int]:
    """Return SHA-256 and size of what the disk holds for a file of the target, past the cache.

    Raises :class:`Unavailable`.
    """
    try:
        descriptor = os.open(path, READ_FLAGS)
        try:
            status = os.fstat(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            # Read ahead by the kernel is faster, and as good where the cache has nothing of the file.
            way = Way.DIRECT if syscalls.is_cached(descriptor) else Way.DROPPING
            reader = Reader(descriptor, status.st_dev, way)
            if status.st_size <= SMALL:
                block = lane.read_small(reader, status.st_size)
                lane.meter.step(len(block))
                return sha256(block).hexdigest(), len(block)
            passage = Passage(descriptor, name, target_fault, reader=reader)
            lane.run(passage)
            return passage.digest.hexdigest(), passage.at
        finally:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
    except OSError as error:
        raise target_fault(name, error) from error
    except SourceChanged as error:  # nobody should write there
        raise target_fault(name, OSError(0, str(error))) from error


def _read_small(lane: Lane, reading: int, entry: Entry, device: int) -> memoryview:
    try:
        block = lane.read_small(Reader(reading, device), entry.size)
    except OSError as error:
        raise source_fault(entry.path, error) from error
    if len(block) != entry.size:
        raise SourceChanged(_SHORT)
    return block


def _passage(reading: int, entry: Entry) -> Passage:
    return Passage(reading, entry.path, source_fault, limit=entry.size)


def _passed(lane: Lane, passage: Passage, entry: Entry) -> Passage:
    lane.run(passage)
    if passage.at != entry.size:
        raise SourceChanged(_SHORT)
    return passage


def _sink(writing: int, reading: int, entry: Entry) -> Sink:
    """Return where to write a copy to, its room reserved where it has no holes."""
    if entry.size >= _RESERVED and os.fstat(reading).st_blocks * 512 >= entry.size:
        try:
            syscalls.allocate(writing, entry.size)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise target_fault(entry.path, error) from error
    return Sink(writing, entry.path)


def _clone(reading: int, writing: int, entry: Entry, site: Site) -> bool:
    """Have a new file share the extents of its source; return False where that is not possible."""
    pair = (_device(reading, entry), site.device)
    if pair in site.options.no_clones:
        return False
    try:
        syscalls.clone(reading, writing)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise target_fault(entry.path, error) from error
        if error.errno in _NEVER:
            site.options.no_clones.add(pair)
        return False
    return True


def _copy_clone(lane: Lane, reading: int, entry: Entry, destination: Path, site: Site) -> Passage | None:
    """Copy by sharing, and hash the copy: it is what the snapshot has. Return None where it can't share."""
    with contextlib.ExitStack() as stack:
        if (_device(reading, entry), site.device) in site.options.no_clones:
            return None
        writing = stack.enter_context(created(destination, entry))
        if _clone(reading, writing, entry, site):
            found = _passed(lane, _passage(writing, entry), entry)
            confirm(reading, entry)
            return found
    destination.unlink()
    return None


def _copy_resumable(lane: Lane, reading: int, entry: Entry, destination: Path, site: Site) -> Passage:
    draft = Draft(site.partial, entry)
    with draft.opened(destination) as writing:
        passage = _passage(reading, entry)
        if draft.done and not _resume(lane, draft, writing, passage):
            draft.forget()
            os.ftruncate(writing, 0)
            passage = _passage(reading, entry)
        passage.sink = _sink(writing, reading, entry)
        passage.notes = Notes(passage.sink.flush, draft.note, site.options.note_every)
        try:
            _passed(lane, passage, entry)
            confirm(reading, entry)
        except Exception:
            raise
        except BaseException:  # it was cancelled
            if passage.settled and not passage.sink.slow and passage.at > draft.done:
                passage.sink.flush()
                draft.note(passage.at, passage.digest.hexdigest())
            raise
        return passage


def _resume(lane: Lane, draft: Draft, writing: int, passage: Passage) -> bool:
    """Read back what there is of a copy, for ``passage`` to go on from there; return whether it is right."""
    os.ftruncate(writing, draft.done)  # what comes after it is not known
    os.posix_fadvise(writing, 0, 0, os.POSIX_FADV_DONTNEED)
    back = Passage(writing, passage.name, target_fault, limit=draft.done)
    back.reader = Reader(writing, 0, Way.DIRECT)
    try:
        lane.run(back)
    except Unavailable:
        return False
    passage.digest, passage.start = back.digest, back.at
    return back.at == draft.done and back.digest.hexdigest() == draft.sha256
