"""Holes of files: parts that read as zeros and take no room."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Final, NamedTuple

_BLOCK: Final = 512  # bytes, the unit of st_blocks whatever the file system


class Segment(NamedTuple):
    """Part of a file, in bytes; ``data`` is false for a hole."""

    offset: int
    length: int
    data: bool


def has_holes(status: os.stat_result) -> bool:
    """Return whether a file takes less room than it is long."""
    return status.st_blocks * _BLOCK < status.st_size


def segments(descriptor: int, start: int, end: int) -> Iterator[Segment]:
    """Yield the parts of a file from ``start`` to ``end``; all of it is data where nobody knows.

    Raises :class:`OSError`.
    """
    while start < end:
        try:
            data = min(os.lseek(descriptor, start, os.SEEK_DATA), end)
        except OSError as error:
            if error.errno != errno.ENXIO:  # no data from here on
                yield Segment(start, end - start, data=True)
                return
            data = end
        if data > start:
            yield Segment(start, data - start, data=False)
        if data >= end:
            return
        try:
            hole = min(os.lseek(descriptor, data, os.SEEK_HOLE), end)
        except OSError:
            hole = end  # the file shrinks meanwhile, which its reader notices
        yield Segment(data, hole - data, data=True)
        start = hole
