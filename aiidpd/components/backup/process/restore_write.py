"""Writing of a restore: a few files at once, each put in its place when it is whole and on the disk."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, TypeAlias

from aiidpd.components.backup.process.control import Cancelled, Control
from aiidpd.components.backup.process.copy import Copier
from aiidpd.components.backup.process.destination import Destination, closing, dress, unfinished
from aiidpd.components.backup.process.manifest import FileEntry
from aiidpd.components.backup.process.names import shown
from aiidpd.components.backup.process.plan import Entry
from aiidpd.components.backup.process.requests import RestoreRequest
from aiidpd.components.backup.process.restore_plan import RestorePlan, hard_links
from aiidpd.components.backup.process.store import sync_file_system
from aiidpd.components.backup.process.stored import Contents, Damaged, Pace
from aiidpd.kernel.errors import AiidpdError

_MOST_AT_ONCE: Final = 3
_SMALL: Final = 8 * 1024 * 1024  # bytes; smaller files are flushed together
_CHUNK: Final = 64  # small files that a thread takes at a time
_BATCH_FILES: Final = 1024
_BATCH_BYTES: Final = 64 * 1024 * 1024
_FATAL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENODEV, errno.ESTALE)

Action: TypeAlias = "Callable[[_Worker, FileEntry], None]"


@dataclass(slots=True)
class Outcome:
    """Account of a restore; the maps are of paths to reasons."""

    restored_files: int = 0
    restored_bytes: int = 0
    links: int = 0
    folders: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    healed: dict[str, str] = field(default_factory=dict)
    noted: dict[str, str] = field(default_factory=dict)


class Writing:
    """Writer to ``destination``, of which ``there`` says what it had when the restore was planned."""

    def __init__(
        self,
        request: RestoreRequest,
        control: Control,
        destination: Destination,
        contents: Contents,
        there: Mapping[str, Entry],
    ) -> None:
        self.request = request
        self.destination = destination
        self.contents = contents
        self.there = there
        self.outcome = Outcome()
        self.control = _Shared(control)
        self._right: set[str] = set()
        self._counting = Lock()

    def check(self, files: Sequence[FileEntry]) -> set[str]:
        """Return the paths of those that have their content in the destination already."""
        self.control.outer.enter("checking", files=len(files), total=sum(file.size for file in files))
        self._run(files, self._check_one)
        return self._right

    def write(self, plan: RestorePlan) -> Outcome:
        """Carry out ``plan``; raises :class:`OSError` where the destination fails as a whole."""
        self.control.outer.enter("restoring", files=len(plan.write), total=sum(f.size for f in plan.write))
        self._make_folders(plan)
        aliases = self._aliases(plan)
        self._run([file for file in plan.write if file.path not in aliases], _Worker.write)
        self._run([file for file in plan.same if self._differs(file)], _Worker.dress)
        apart = [file for file in plan.write if file.path in aliases and not self._alias(file, aliases)]
        self._run(apart, _Worker.write)
        for path, target in plan.links:
            self._link(path, target)
        self.control.outer.enter("finishing")
        for folder in plan.finish:
            with self._named(folder.path, self.outcome.noted):
                note = self.destination.finish_folder(folder, owner=self.request.owner)
                if note:
                    self.outcome.noted[folder.path] = note
            self.control.step()
        sync_file_system(self.destination.place)
        return self.outcome

    def count(self, file: FileEntry) -> None:
        """Count a file as restored."""
        with self._counting:
            self.outcome.restored_files += 1
            self.outcome.restored_bytes += file.size

    def _make_folders(self, plan: RestorePlan) -> None:
        known = {folder.path for folder in plan.finish}
        for path in plan.make:
            with self._named(path, self.outcome.failed):
                self.destination.make_folder(path, private=path in known)
                self.outcome.folders += 1
            self.control.step()

    def _aliases(self, plan: RestorePlan) -> dict[str, str]:
        """Return what becomes a hard link: the path of it, and of the file that is there before."""
        present = {file.path for file in (*plan.write, *plan.same)}
        linked = hard_links(sorted((*plan.same, *plan.write), key=lambda file: file.path))
        return {path: first for path, first in linked.items() if first in present}

    def _alias(self, file: FileEntry, aliases: Mapping[str, str]) -> bool:
        """Link one name of a file to another that was written; return False where that can't be."""
        self.control.start_file(file.path)
        first = aliases[file.path]
        if first in self.outcome.failed:
            return False
        temporary = unfinished(file.path.rpartition("/")[0])
        try:
            self.destination.link(first, temporary)
        except OSError:
            return False
        with self._named(file.path, self.outcome.failed):
            self.put(self.destination, temporary, file.path)
            self.outcome.restored_files += 1
        self.control.end_file()
        return True

    def _link(self, path: str, target: str) -> None:
        temporary = unfinished(path.rpartition("/")[0])
        with self._named(path, self.outcome.failed):
            self.destination.symlink(target, temporary)
            self.put(self.destination, temporary, path)
            self.outcome.links += 1
        self.control.step()

    def put(self, destination: Destination, temporary: str, path: str) -> None:
        """Give what is whole its name, unless what has that name is not what was there before."""
        try:
            destination.expect(path, self.there.get(path))
            destination.rename(temporary, path)
        except OSError:
            destination.remove(temporary)
            raise

    def _differs(self, file: FileEntry) -> bool:
        found = self.there.get(file.path)
        seen = None if found is None else (found.mode, found.mtime_ns)
        return seen != (file.mode, file.mtime_ns) or self.request.owner or bool(file.xattrs)

    def _check_one(self, worker: _Worker, file: FileEntry) -> None:
        self.control.start_file(file.path)
        with contextlib.suppress(OSError, AiidpdError), closing(worker.destination.open(file.path)) as opened:
            if file.size <= _SMALL:
                digest = hashlib.sha256()
                while block := os.read(opened, 1024 * 1024):
                    digest.update(block)
                    worker.pace.step(len(block))
                sha256 = digest.hexdigest()
            else:
                sha256 = worker.copier.pump(opened, None, file.path, None)[0]
            if sha256 == file.sha256:
                self._right.add(file.path)
        self.control.end_file()

    @contextlib.contextmanager
    def _named(self, path: str, found: dict[str, str]) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            found[path] = reason(error)

    def _run(self, files: Sequence[FileEntry], action: Action) -> None:
        """Have ``action`` done to all, by a few threads; raises the first error that ends it."""
        jobs = _jobs(files)
        if not jobs:
            return
        rated = bool(self.request.rate)  # one thread follows a rate
        count = 1 if rated else min(_MOST_AT_ONCE, len(os.sched_getaffinity(0)), len(jobs))
        with ThreadPoolExecutor(count) as pool:
            futures = [pool.submit(self._work, jobs, action) for _ in range(count)]
        errors = [error for future in futures if (error := future.exception()) is not None]
        errors.sort(key=lambda error: isinstance(error, Cancelled))
        if errors:
            raise errors[0]

    def _work(self, jobs: deque[list[FileEntry]], action: Action) -> None:
        rate = self.request.rate
        with (
            self.destination.another() as destination,
            Copier(self.control, rate=rate) as copier,
        ):
            worker = _Worker(self, destination, copier, Pace(self.control, rate))
            try:
                with contextlib.suppress(IndexError):
                    while True:
                        for file in jobs.popleft():
                            action(worker, file)
                worker.flush()
            except BaseException:
                self.control.stopped = True
                worker.drop()
                raise


class _Worker:
    """Part of the writing that one thread does. ``_pending`` is what is not flushed: its temporary names."""

    def __init__(self, writing: Writing, destination: Destination, copier: Copier, pace: Pace) -> None:
        self._writing = writing
        self._outcome = writing.outcome
        self.destination = destination
        self.copier = copier
        self.pace = pace
        self._pending: list[tuple[str, FileEntry]] = []
        self._bytes = 0

    def write(self, file: FileEntry) -> None:
        self._writing.control.start_file(file.path)
        try:
            self._pending.append((self._written(file), file))
            self._bytes += file.size
        except Damaged as error:
            self._outcome.failed[file.path] = f"no stored copy of it is right: {error}"
        except OSError as error:
            if error.errno in _FATAL:
                raise
            self._outcome.failed[file.path] = reason(error)
        self._writing.control.end_file()
        many = len(self._pending) >= _BATCH_FILES or self._bytes >= _BATCH_BYTES
        if many or (file.size > _SMALL and self._pending):
            self.flush()

    def _written(self, file: FileEntry) -> str:
        """Write a file under a temporary name; return that."""
        request = self._writing.request
        temporary, descriptor = self.destination.create(file.path.rpartition("/")[0])
        try:
            with closing(descriptor):
                place, faults = self._writing.contents.write(file, descriptor, self.copier, self.pace)
                note = dress(descriptor, file, owner=request.owner, xattrs=request.xattrs)
                if file.size > _SMALL:
                    os.fsync(descriptor)
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        except BaseException:
            self.destination.remove(temporary)
            raise
        if faults:
            self._outcome.healed[file.path] = f"taken from {shown(place)}, for {faults}"
        if note:
            self._outcome.noted[file.path] = note
        return temporary

    def dress(self, file: FileEntry) -> None:
        request = self._writing.request
        try:
            with closing(self.destination.open(file.path)) as descriptor:
                note = dress(descriptor, file, owner=request.owner, xattrs=request.xattrs)
        except OSError as error:
            note = reason(error)
        if note:
            self._outcome.noted[file.path] = note

    def flush(self) -> None:
        """Wait until what is pending is on the disk, then put all of it in its place."""
        if self._bytes and any(file.size <= _SMALL for _, file in self._pending):
            sync_file_system(self.destination.place)
        while self._pending:
            temporary, file = self._pending[-1]
            try:
                self._writing.put(self.destination, temporary, file.path)
            except OSError as error:
                self._outcome.failed[file.path] = reason(error)
            else:
                self._writing.count(file)
            self._pending.pop()
        self._bytes = 0

    def drop(self) -> None:
        """Remove what is pending."""
        for temporary, _ in self._pending:
            with contextlib.suppress(OSError):  # the next restore removes it
                self.destination.remove(temporary)


class _Shared(Control):
    """Control that several threads share; ``stopped`` ends them all, for one of them has failed."""

    def __init__(self, outer: Control) -> None:
        super().__init__()
        self.outer = outer
        self.stopped = False
        self._lock = Lock()

    def start_file(self, path: str) -> None:
        with self._lock:
            self.outer.start_file(path)

    def end_file(self, count: int = 1) -> None:
        with self._lock:
            self.outer.end_file(count)

    def step(self, count: int = 0) -> None:
        if self.stopped:
            raise Cancelled
        with self._lock:
            self.outer.step(count)


def reason(error: OSError) -> str:
    """Return why something can't be done to a file."""
    return os.strerror(error.errno) if error.errno else str(error)


def _jobs(files: Sequence[FileEntry]) -> deque[list[FileEntry]]:
    """Return the files in portions: the big ones first, the largest ahead, the small ones some at a time."""
    large = sorted((file for file in files if file.size > _SMALL), key=lambda file: -file.size)
    small = sorted((file for file in files if file.size <= _SMALL), key=lambda file: file.path)
    chunks = [small[begin : begin + _CHUNK] for begin in range(0, len(small), _CHUNK)]
    return deque([*([file] for file in large), *chunks])
