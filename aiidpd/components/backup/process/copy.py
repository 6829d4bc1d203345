"""Copying and hashing in one pass, in bounded memory: big files overlapped, small ones side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial as bound
from itertools import chain
from pathlib import Path
from typing import Final, Generic, Self, TypeAlias, TypeVar

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.crew import Crew
from aiidpd.components.backup.process.faults import (
    SourceChanged,
    SourceUnreadable,
    source_fault,
    target_fault,
)
from aiidpd.components.backup.process.lane import SMALL, Lane, Passage
from aiidpd.components.backup.process.onefile import (
    Copied,
    Options,
    Site,
    copy_big,
    copy_small,
    digest_source,
    digest_stored,
    is_small,
)
from aiidpd.components.backup.process.pace import Foreground, Rate
from aiidpd.components.backup.process.plan import Entry
from aiidpd.components.backup.process.writing import Sink
from aiidpd.kernel.errors import Unavailable

__all__ = ["Copied", "Copier", "Digested", "Outcome"]

HELPERS: Final = 4
"""Threads for small files: most of their time they wait for a disk."""
BATCH: Final = 16
"""Small files that a thread is given at once."""
_DIGESTS: Final = 2
"""Big files of the target that are hashed at once."""
_MANY_CORES: Final = 4
"""Cores from which on two big files are copied at once: one file has work for two."""

Outcome: TypeAlias = Copied | SourceChanged | SourceUnreadable
Copies: TypeAlias = list[tuple[Entry, Outcome]]
Stored: TypeAlias = tuple[Path, str]
Digested: TypeAlias = tuple[str, int] | Unavailable
J = TypeVar("J")
T = TypeVar("T")


class Copier:
    """Reads, hashes and writes; use it as a context manager in one thread.

    ``rate`` bounds what is read, in bytes a second (0: not at all). ``xattrs``: extended attributes are read.
    ``lanes`` is how many big files are copied at once, 0 for as many as suit the machine. Copies of files
    from ``resumable`` bytes on can be resumed; what is right of them is recorded each ``note_every`` bytes.
    """

    def __init__(
        self,
        control: Control,
        *,
        rate: int = 0,
        xattrs: bool = False,
        lanes: int = 0,
        resumable: int = 256 * 1024 * 1024,
        note_every: int = 256 * 1024 * 1024,
    ) -> None:
        self._control = control
        self._rate = Rate(rate)
        self._options = Options(xattrs, resumable, note_every)
        self._lane = Lane(Foreground(control, self._rate), self._rate)
        self._lanes = lanes or (2 if len(os.sched_getaffinity(0)) >= _MANY_CORES else 1)
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()
        self._lane.close()

    def copy_many(
        self, source: Path, jobs: Iterable[tuple[Entry, Path]], partial: Path
    ) -> Iterator[tuple[Entry, Outcome]]:
        """Copy files of the folder ``source`` to new files; yield each with its outcome, in any order.

        A copy is read-only and has the source's mtime and holes; it need not be on the disk yet. A file that
        differs from its entry, or is written to meanwhile, gives :class:`SourceChanged`, one that can't be
        read :class:`SourceUnreadable`; then no file is left at the destination. A big copy that is cut short
        is left in the folder ``partial`` and resumed the next time. Raises :class:`Unavailable` where the
        target fails.
        """
        crew: Crew[Copies] = self._crew(HELPERS)
        lanes: Crew[Copies] | None = self._crew(self._lanes) if self._lanes > 1 else None
        site = Site(source, partial, _device_of(partial), self._options)
        small = _Batches(crew, bound(_copy_batch, site))
        for entry, destination in jobs:
            ready: Iterator[Copies] = iter(())
            if is_small(entry):
                if small.add((entry, destination)):
                    self._control.start_file(entry.path)
                    ready = crew.results(2 * HELPERS)
            else:
                self._control.start_file(entry.path)
                task = bound(_copy_one, site, entry, destination)
                if lanes is None:
                    ready = iter((task(self._lane),))
                else:
                    lanes.give(task)
                    ready = lanes.results(self._lanes)
            yield from self._outcomes(chain(ready, crew.ready()))
        small.flush()
        for each in (crew, lanes):
            if each is not None:
                yield from self._outcomes(each.results())
                each.close()

    def digest_source(self, source: Path, entry: Entry) -> str:
        """Return the SHA-256 of a file of the source, read without changing what is cached.

        Raises :class:`SourceChanged` and :class:`SourceUnreadable` as an outcome of :meth:`copy_many`.
        """
        self._control.start_file(entry.path)
        return digest_source(self._lane, source, entry)

    def digest(self, path: Path, name: str) -> tuple[str, int]:
        """Return SHA-256 and size of what the disk holds for a file of the target (not the cache).

        Raises :class:`Unavailable`.
        """
        self._control.start_file(name)
        return digest_stored(self._lane, path, name)

    def digest_many(self, jobs: Iterable[Stored]) -> Iterator[tuple[Stored, Digested]]:
        """Yield each path and name with what :meth:`digest` returns or raises for it, in any order.

        Several files are read at once; :meth:`Control.end_file` is left to whoever calls this.
        """
        crew: Crew[list[tuple[Stored, Digested]]] = self._crew(HELPERS)
        lanes: Crew[list[tuple[Stored, Digested]]] = self._crew(_DIGESTS)
        small = _Batches(crew, _digest_batch)
        for job in jobs:
            path, name = job
            if _size(path) <= SMALL:
                if small.add(job):
                    self._control.start_file(name)
                    yield from chain.from_iterable(crew.results(2 * HELPERS))
            else:
                self._control.start_file(name)
                lanes.give(bound(_digest_batch, [job]))
                yield from chain.from_iterable(lanes.results(_DIGESTS))
        small.flush()
        for each in (crew, lanes):
            yield from chain.from_iterable(each.results())
            each.close()

    def pump(self, reading: int, writing: int | None, name: str, limit: int | None) -> tuple[str, int]:
        """Read a file to its end, and write it to ``writing`` where that is given; return SHA-256 and size.

        Both from where they are positioned to; ``writing`` is positioned at its end after it, and has the
        holes of ``reading``. Raises :class:`SourceChanged` where there are more than ``limit`` bytes,
        :class:`Unavailable` for errors: of the target, but for reading with a ``limit``.
        """
        start = os.lseek(reading, 0, os.SEEK_CUR)
        fault = target_fault if limit is None else source_fault
        most = None if limit is None else start + limit
        passage = Passage(reading, name, fault, start=start, limit=most)
        if writing is not None:
            passage.sink = Sink(writing, name, shift=os.lseek(writing, 0, os.SEEK_CUR) - start)
        self._lane.run(passage)
        if writing is not None:
            os.lseek(writing, 0, os.SEEK_END)
        return passage.digest.hexdigest(), passage.at - start

    def _crew(self, threads: int) -> Crew[T]:
        crew: Crew[T] = Crew(self._control, self._rate, threads)
        self._closing.callback(crew.close)
        return crew

    def _outcomes(self, results: Iterable[Copies]) -> Iterator[tuple[Entry, Outcome]]:
        for entry, outcome in chain.from_iterable(results):
            yield entry, outcome
            self._control.end_file()


class _Batches(Generic[J, T]):
    """Jobs that are given to a crew some at a time."""

    def __init__(self, crew: Crew[T], work: Callable[[list[J], Lane], T]) -> None:
        self._crew = crew
        self._work = work
        self._jobs: list[J] = []

    def add(self, job: J) -> bool:
        """Add a job; return whether that was enough of them for a thread."""
        self._jobs.append(job)
        if len(self._jobs) < BATCH:
            return False
        self.flush()
        return True

    def flush(self) -> None:
        """Give the crew what there is."""
        if self._jobs:
            self._crew.give(bound(self._work, self._jobs))
            self._jobs = []


def _copy_one(site: Site, entry: Entry, destination: Path, lane: Lane) -> Copies:
    try:
        return [(entry, copy_big(lane, site, entry, destination))]
    except (SourceChanged, SourceUnreadable) as outcome:
        return [(entry, outcome)]


def _copy_batch(site: Site, jobs: list[tuple[Entry, Path]], lane: Lane) -> Copies:
    outcomes: Copies = []
    for entry, destination in jobs:
        try:
            outcome: Outcome = copy_small(lane, site, entry, destination)
        except (SourceChanged, SourceUnreadable) as error:
            outcome = error
        outcomes.append((entry, outcome))
        lane.meter.step(entry.size)
    return outcomes


def _digest_batch(jobs: list[Stored], lane: Lane) -> list[tuple[Stored, Digested]]:
    found: list[tuple[Stored, Digested]] = []
    for path, name in jobs:
        try:
            found.append(((path, name), digest_stored(lane, path, name)))
        except Unavailable as error:
            found.append(((path, name), error))
    return found


def _device_of(partial: Path) -> int:
    """Return the device of the target, -1 where there is no folder for big copies yet."""
    try:
        return partial.stat().st_dev
    except OSError:
        return -1


def _size(path: Path) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0  # reading it says what is wrong
