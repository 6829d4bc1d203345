"""Lane: one file after the other is read, hashed and maybe written, in memory that is allocated once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from aiidpd.components.backup.process.faults import SourceChanged
from aiidpd.components.backup.process.notes import Notes
from aiidpd.components.backup.process.pace import Meter, Rate
from aiidpd.components.backup.process.pipeline import Pipeline
from aiidpd.components.backup.process.reading import ALIGNMENT, Reader, aligned
from aiidpd.components.backup.process.sparse import Segment, has_holes, segments
from aiidpd.components.backup.process.writing import Sink, SmallSink
from aiidpd.kernel.errors import Unavailable

if TYPE_CHECKING:
    from hashlib import _Hash

SMALL: Final = 1024 * 1024
"""Bytes: files up to this size are handled without a pipeline."""
_GROWS: Final = "it grows while it is read"

Fault = Callable[[str, OSError], Unavailable]


@dataclass(slots=True)
class Passage:
    """Way of one file through a lane, from ``start``; ``read_bytes`` are those that are not in holes.

    ``limit`` is the size that it must not exceed, ``fault`` makes the error for what can't be read.
    ``settled``: all before ``at`` is hashed and written, also after an error.
    """

    reading: int
    name: str
    fault: Fault
    sink: Sink | None = None
    reader: Reader | None = None
    start: int = 0
    limit: int | None = None
    notes: Notes | None = None
    digest: _Hash = field(default_factory=sha256)
    at: int = 0
    read_bytes: int = 0
    settled: bool = True

    def hash(self, block: memoryview, offset: int) -> None:
        """Hash a block, in the hasher's thread."""
        self.digest.update(block)
        if self.notes is not None:
            self.notes.hashed(offset, offset + len(block), self.digest.hexdigest)

    def write(self, block: memoryview, offset: int) -> None:
        """Write a block that is hashed, in the writer's thread."""
        if self.sink is not None:
            self.sink.write(block, offset)
        if self.notes is not None:
            self.notes.written(offset + len(block))


class Lane:
    """Reads in the thread that calls it, always the same; hashes and writes in threads of its own."""

    def __init__(self, meter: Meter, rate: Rate) -> None:
        self.meter = meter
        self._rate = rate
        self._pipeline: Pipeline | None = None
        self._buffer: memoryview | None = None
        self.written = SmallSink()

    def close(self) -> None:
        """End its threads."""
        with contextlib.suppress(OSError):  # what could not be written is noticed when all is flushed
            self.written.settle()
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    def run(self, passage: Passage) -> None:
        """Have a file pass; then its ``digest``, ``at`` (its end) and ``read_bytes`` are what was found.

        Raises :class:`SourceChanged` where it has more than ``limit`` bytes, :class:`Unavailable` for errors.
        What was passed on before an error is hashed and written, if possible.
        """
        pipeline = self._pipeline = self._pipeline or Pipeline()
        passage.at = passage.start
        try:
            status = os.fstat(passage.reading)
            passage.reader = passage.reader or Reader(passage.reading, status.st_dev)
            for segment in _parts(passage, status):
                if segment.data:
                    self._pass_data(pipeline, passage, segment.length)
                else:
                    self._pass_hole(pipeline, passage, segment.length)
            pipeline.settle(self.meter.step)
            if passage.notes is not None:
                passage.notes.settle(self.meter.step)
        except BaseException as error:
            passage.settled = False
            passage.settled = self._drain(pipeline, passage, error)
            if isinstance(error, OSError):
                raise passage.fault(passage.name, error) from error
            raise
        if passage.sink is not None:
            passage.sink.finish(passage.at)

    def _drain(self, pipeline: Pipeline, passage: Passage, error: BaseException) -> bool:
        """Wait for what is under way after ``error``; return whether all that was sent is done.

        Nobody may still write to a file when its descriptor is closed, unless the process ends anyway.
        """
        try:
            if isinstance(error, Exception):
                done = pipeline.drain(self.meter.step)
                if passage.notes is not None:
                    with contextlib.suppress(Exception):  # the first error is the one to raise
                        passage.notes.settle(self.meter.step)
                return done
        except BaseException:
            self._pipeline = None
            pipeline.abandon()
            raise
        done = pipeline.abandon() and (passage.notes is None or passage.notes.abandon())
        if not pipeline.usable:
            self._pipeline = None  # whoever hangs in it has its memory
        return done

    def read_small(self, reader: Reader, size: int) -> memoryview:
        """Return the content of a file of at most ``SMALL`` bytes, valid until the next call.

        Raises :class:`SourceChanged` where it has more than ``size`` bytes, :class:`OSError`.
        """
        if self._buffer is None:
            self._buffer = aligned(SMALL + ALIGNMENT)
        total = 0
        while total <= size and (count := reader.read(self._buffer[total:], total)):
            total += count
            if total == size:
                break
        if total > size:
            raise SourceChanged(_GROWS)
        self.meter.spend(total)
        return self._buffer[:total]

    def _pass_data(self, pipeline: Pipeline, passage: Passage, length: int) -> None:
        """Have ``length`` bytes pass; all that there are where it is negative."""
        reader = passage.reader
        assert reader is not None  # noqa: S101 -- made by run()
        portion = self._rate.portion(pipeline.block)
        writing = None if passage.sink is None else passage.write
        end = passage.at + length if length >= 0 else None
        while end is None or passage.at < end:
            buffer = pipeline.buffer(self.meter.step)
            most = portion if end is None else min(portion, end - passage.at)
            try:
                count = reader.read(buffer[:most], passage.at)
            except BaseException:
                pipeline.give_back(buffer)
                raise
            if count == 0 or (passage.limit is not None and passage.at + count > passage.limit):
                pipeline.give_back(buffer)
                if count:
                    raise SourceChanged(_GROWS)
                return
            pipeline.send(buffer, count, passage.at, passage.hash, writing)
            passage.at += count
            passage.read_bytes += count
            self.meter.spend(count)
            self.meter.step(count)

    def _pass_hole(self, pipeline: Pipeline, passage: Passage, length: int) -> None:
        end = passage.at + length
        while passage.at < end:
            buffer = pipeline.buffer(self.meter.step)
            count = min(pipeline.block, end - passage.at)
            pipeline.send_zeros(buffer, count, passage.at, passage.hash)
            passage.at += count
            self.meter.step(count)


def _parts(passage: Passage, status: os.stat_result) -> Iterator[Segment]:
    if not has_holes(status):
        return iter((Segment(passage.start, -1, data=True),))
    end = status.st_size if passage.limit is None else min(status.st_size, passage.limit)
    return segments(passage.reading, passage.start, end)
