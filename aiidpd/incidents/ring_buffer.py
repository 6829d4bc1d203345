"""The last minutes of each GPU at full rate, in memory that is bounded beforehand (pure)."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from aiidpd.components.thermal.gpu import GpuReading

FIGURES: Final = (
    "temperature_celsius",
    "memory_temperature_celsius",
    "hotspot_temperature_celsius",
    "temperature_margin_celsius",
    "power_watts",
    "power_instant_watts",
    "power_limit_watts",
    "fan_ratio",
    "utilisation_ratio",
    "memory_controller_utilisation_ratio",
    "memory_used_bytes",
    "graphics_clock_hertz",
    "memory_clock_hertz",
)
"""The figures of a reading that are recorded, in the order of a row."""

NOT_KNOWN: Final = -1  # the clock event bits of a reading that has none: bits are never negative
_EMPTY: Final = math.nan
ROW_BYTES: Final = 8 + 4 * len(FIGURES) + 8
"""What one reading takes: its time, each figure in single precision (seven digits), the clock event bits."""


@dataclass(frozen=True, slots=True)
class Row:
    """One reading as it was recorded: ``at`` in the recorder's seconds, ``figures`` as in :data:`FIGURES`."""

    at: float
    figures: tuple[float | None, ...]
    clock_event_bits: int | None


class RingBuffer:
    """The newest ``capacity`` readings of one GPU.

    Three arrays, made whole at once: a reading costs no allocation that stays, and the memory is
    ``capacity * ROW_BYTES`` from the first reading to the last.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a ring holds at least one reading")
        self._capacity = capacity
        self._times = array("d", bytes(8 * capacity))
        self._figures = array("f", bytes(4 * len(FIGURES) * capacity))
        self._bits = array("q", bytes(8 * capacity))
        self._next = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def capacity(self) -> int:
        """How many readings it can hold."""
        return self._capacity

    @property
    def nbytes(self) -> int:
        """How many bytes its arrays take."""
        arrays: tuple[array[float] | array[int], ...] = (self._times, self._figures, self._bits)
        return sum(len(each) * each.itemsize for each in arrays)

    @property
    def newest(self) -> float:
        """The time of the newest reading, minus infinity where there is none."""
        return self._times[self._next - 1] if self._length else -math.inf

    def add(self, at: float, reading: GpuReading) -> None:
        """Take ``reading``, made at ``at`` (monotonic seconds); the oldest gives way in a full ring."""
        place, wide = self._next, len(FIGURES)
        self._times[place] = at
        row = array("f", (_single(getattr(reading, figure)) for figure in FIGURES))
        self._figures[place * wide : (place + 1) * wide] = row
        bits = reading.clock_event_bits
        self._bits[place] = NOT_KNOWN if bits is None or bits >> 63 else bits
        self._next = (place + 1) % self._capacity
        self._length = min(self._length + 1, self._capacity)

    def rows(self, since: float = -math.inf) -> Iterator[Row]:
        """Yield the readings from ``since`` (the recorder's seconds) on, the oldest first.

        Those that are added meanwhile are not among them, so a thread may read what a loop fills.
        """
        wide, behind, length = len(FIGURES), self._next, self._length
        for step in range(length):
            place = (behind - length + step) % self._capacity
            at = self._times[place]
            if at >= since:
                figures = self._figures[place * wide : (place + 1) * wide]
                bits = self._bits[place]
                yield Row(
                    at,
                    tuple(None if math.isnan(value) else value for value in figures),
                    None if bits == NOT_KNOWN else bits,
                )

    def copy(self, capacity: int, since: float = -math.inf) -> RingBuffer:
        """Return a ring of ``capacity`` with the newest readings of this one from ``since`` on."""
        # What frees the ring to go on while the copy is kept: moves of memory, no loop over readings.
        twin, wide = RingBuffer(capacity), len(FIGURES)
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
            twin._bits[into : into + length] = self._bits[place:end]
            twin._figures[into * wide : (into + length) * wide] = self._figures[place * wide : end * wide]
            twin._length += length
        twin._next = twin._length % capacity
        return twin


class RingBuffers:
    """A ring for each GPU, by UUID, since an index can name another card later.

    At most ``gpus`` are held; the one that was read the longest ago gives way to a new one. ``keep`` is how
    many seconds a ring reaches back, ``fastest`` the shortest time between two readings.
    """

    def __init__(self, *, keep: float = 600.0, fastest: float = 0.25, gpus: int = 32) -> None:
        self.keep = keep
        self._capacity = math.ceil(keep / fastest) + 1
        self._most = gpus
        self._rings: dict[str, RingBuffer] = {}

    @property
    def nbytes(self) -> int:
        """How many bytes all rings take."""
        return sum(ring.nbytes for ring in self._rings.values())

    @property
    def uuids(self) -> tuple[str, ...]:
        """The GPUs that are held."""
        return tuple(self._rings)

    def add(self, now: float, readings: Sequence[GpuReading]) -> None:
        """Take what was read at ``now`` (monotonic seconds)."""
        for reading in readings:
            ring = self._rings.get(reading.uuid)
            if ring is None:
                if len(self._rings) >= self._most:
                    del self._rings[min(self._rings, key=lambda uuid: self._rings[uuid].newest)]
                ring = self._rings[reading.uuid] = RingBuffer(self._capacity)
            ring.add(now, reading)

    def freeze(self, now: float, room: int) -> dict[str, RingBuffer]:
        """Return a copy of every ring with readings of the last ``keep`` seconds, with ``room`` for more."""
        since = now - self.keep
        return {
            uuid: ring.copy(ring.capacity + room, since)
            for uuid, ring in self._rings.items()
            if ring.newest >= since
        }


def _single(value: float | None) -> float:
    """Return ``value`` as single precision can hold it, NaN where it is not known."""
    if value is None or not math.isfinite(value):
        return _EMPTY
    return value if abs(value) < 3.4e38 else _EMPTY  # noqa: PLR2004 -- the largest float of 32 bits
