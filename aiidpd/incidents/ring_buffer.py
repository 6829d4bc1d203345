"""Last minutes of each subject at full rate, in memory that is bounded beforehand (pure)."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aiidpd.incidents.incident import BEFORE
from aiidpd.incidents.series import Column, Row, Series, Value, column_array


class RingBuffer:
    """A buffer of the newest ``capacity`` rows of one subject.

    An array a column, made whole at once: a row costs no allocation that stays, and the memory is the same
    from the first row to the last.
    """

    def __init__(self, columns: Sequence[Column], capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a ring holds at least one row")
        self._columns = tuple(columns)
        self._capacity = capacity
        self._times = array("d", bytes(8 * capacity))
        self._cells = tuple(column_array(column, capacity) for column in columns)
        self._next = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def capacity(self) -> int:
        """Number of rows that it can hold."""
        return self._capacity

    @property
    def nbytes(self) -> int:
        """Bytes that its arrays take."""
        return sum(len(each) * each.itemsize for each in (self._times, *self._cells))

    @property
    def newest(self) -> float:
        """Time of the newest row, minus infinity where there is none."""
        return self._times[self._next - 1] if self._length else -math.inf

    def add(self, at: float, values: Sequence[Value]) -> None:
        """Append the ``values`` read at ``at`` (monotonic seconds); the oldest gives way in a full ring."""
        place = self._next
        self._times[place] = at
        for column, cells, value in zip(self._columns, self._cells, values, strict=True):
            cells[place] = column.pack(value)
        self._next = (place + 1) % self._capacity
        self._length = min(self._length + 1, self._capacity)

    def rows(self, since: float = -math.inf) -> Iterator[Row]:
        """Yield the rows from ``since`` (monotonic seconds) on, the oldest first.

        Those that are added meanwhile are not among them, so a thread may read what a loop fills.
        """
        behind, length = self._next, self._length
        for step in range(length):
            place = (behind - length + step) % self._capacity
            at = self._times[place]
            if at >= since:
                values = (
                    column.unpack(cells[place])
                    for column, cells in zip(self._columns, self._cells, strict=True)
                )
                yield Row(at, tuple(values))

    def copy(self, capacity: int, since: float = -math.inf) -> RingBuffer:
        """Return a ring of ``capacity`` with the newest rows of this one from ``since`` on."""
        # Moves of memory, no loop over rows: an incident begins while readings continue.
        twin = RingBuffer(self._columns, capacity)
        oldest = self._next - self._length
        first = bisect_left(
            range(self._length), since, key=lambda step: self._times[(oldest + step) % self._capacity]
        )
        count = min(self._length - first, capacity)
        start = (self._next - count) % self._capacity
        until_edge = min(count, self._capacity - start)
        for place, length in ((start, until_edge), (0, count - until_edge)):
            into, end = twin._length, place + length
            twin._times[into : into + length] = self._times[place:end]
            for cells, copied in zip(self._cells, twin._cells, strict=True):
                copied[into : into + length] = cells[place:end]
            twin._length += length
        twin._next = twin._length % capacity
        return twin


class RingBuffers:
    """A ring for each subject, by a name that can never be another's: a GPU's UUID, an endpoint's name.

    ``key`` is what that name is called in documents. A ring reaches back ``reach`` seconds where two rows
    are ``fastest`` seconds apart or more. At most ``most`` are held; the one that was added to the longest
    ago gives way to a new one.
    """

    def __init__(
        self,
        key: str,
        columns: Sequence[Column],
        *,
        reach: float = BEFORE,
        fastest: float = 0.25,
        most: int = 32,
    ) -> None:
        self.key = key
        self.columns = tuple(columns)
        self.most = most
        self._fastest = fastest
        self._capacity = self.rows_in(reach)
        self._rings: dict[str, RingBuffer] = {}
        self._windows: list[Window] = []

    @property
    def nbytes(self) -> int:
        """Bytes that all rings take."""
        return sum(ring.nbytes for ring in self._rings.values())

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects that have a ring."""
        return tuple(self._rings)

    def rows_in(self, seconds: float) -> int:
        """Return how many rows of one subject may fall into ``seconds``."""
        return math.ceil(seconds / self._fastest) + 1

    def newest(self, subject: str) -> float:
        """Return the time of the newest row of ``subject``, minus infinity where there is none."""
        ring = self._rings.get(subject)
        return ring.newest if ring else -math.inf

    def add(self, subject: str, at: float, values: Sequence[Value]) -> None:
        """Append the ``values`` of ``subject`` that were read at ``at`` (monotonic seconds)."""
        ring = self._rings.get(subject)
        if ring is None:
            if len(self._rings) >= self.most:
                del self._rings[min(self._rings, key=self.newest)]
            ring = self._rings[subject] = RingBuffer(self.columns, self._capacity)
        ring.add(at, values)
        for window in self._windows:
            window.add(subject, at, values)

    def window(self, since: float, until: float, *, longest: float, offset: float = 0.0) -> Window:
        """Return a window from ``since`` to ``until``, to which rows are added until it is closed.

        ``longest`` bounds how many seconds of rows may be added; ``offset`` gives Unix seconds.
        """
        room = self.rows_in(longest)
        held = {
            subject: ring.copy(ring.capacity + room, since)
            for subject, ring in self._rings.items()
            if ring.newest >= since
        }
        window = Window(self, held, until, room=room, offset=offset, close=self._close)
        self._windows.append(window)
        return window

    def _close(self, window: Window) -> None:
        if window in self._windows:
            self._windows.remove(window)


class Window:
    """Rows of one incident: a copy of those before it began, and all that follow ``until`` its end."""

    def __init__(
        self,
        rings: RingBuffers,
        held: dict[str, RingBuffer],
        until: float,
        *,
        room: int,
        offset: float,
        close: Callable[[Window], None],
    ) -> None:
        self.until = until
        self._rings = rings
        self._held = held
        self._room = room
        self._offset = offset
        self._close = close

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects that have rows, in the order in which they came."""
        return tuple(self._held)

    def add(self, subject: str, at: float, values: Sequence[Value]) -> None:
        """Append a row, unless it was read after the end."""
        if at > self.until:
            return
        ring = self._held.get(subject)
        if ring is None:
            if len(self._held) >= self._rings.most:
                return
            ring = self._held[subject] = RingBuffer(self._rings.columns, self._room)
        ring.add(at, values)

    def close(self) -> None:
        """Add nothing more."""
        self._close(self)

    def files(
        self, stem: str, subjects: Sequence[str], describe: Callable[[str], Mapping[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[Series]]:
        """Return an entry of a document for each of ``subjects``, and its rows for ``STEM-NUMBER.csv``.

        ``describe`` gives what else is known of a subject.
        """
        entries, files = [], []
        for place, subject in enumerate(subjects):
            ring, file = self._held[subject], f"{stem}-{place}.csv"
            files.append(Series(file, self._rings.columns, ring.rows(), self._offset))
            last = ring.newest
            entries.append(
                {
                    self._rings.key: subject,
                    "file": file,
                    "rows": len(ring),
                    "last_read_at": self._offset + last if math.isfinite(last) else None,
                    **describe(subject),
                }
            )
        return entries, files

    def table(self, most: int) -> dict[str, Any]:
        """Return the newest ``most`` rows of all subjects as one table, ordered by their time."""
        rows = sorted(
            ((row, subject) for subject, ring in self._held.items() for row in ring.rows()),
            key=lambda pair: pair[0].at,
        )
        return {
            "columns": ["time", self._rings.key, *(column.name for column in self._rings.columns)],
            "data": [[row.at + self._offset, subject, *row.values] for row, subject in rows[-most:]],
        }
