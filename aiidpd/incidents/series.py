"""Rows of one subject as a CSV file, and back: the file's own header names its columns (pure)."""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, TypeAlias

TIME: Final = "timestamp"
"""Column that every file has: UTC in ISO 8601, with milliseconds."""

_AND: Final = "|"  # between two flags in one cell
_NO_FLAG: Final = "none"
_UNKNOWN_FLAGS: Final = -1  # flags are never negative
_LARGEST: Final = 3.4e38  # what 32 bits can hold

Value: TypeAlias = float | int | None
"""One figure of a row; None is what is not known."""


@dataclass(frozen=True, slots=True)
class Number:
    """A column of numbers in single precision (seven digits), written with ``digits`` behind the point."""

    name: str
    digits: int
    typecode: ClassVar[str] = "f"

    def pack(self, value: Value) -> float:
        """Return ``value`` as it is stored, NaN where it is not known or can't be held."""
        return math.nan if value is None or not abs(value) < _LARGEST else value

    def unpack(self, stored: float) -> Value:
        """Return the value of ``stored``; a whole number where there is no digit behind the point."""
        if math.isnan(stored):
            return None
        return stored if self.digits else round(stored)

    def cell(self, value: float) -> str:
        """Return ``value`` as text."""
        return f"{value:.{self.digits}f}"


@dataclass(frozen=True, slots=True)
class Flags:
    """A column of sets of flags, 63 at most; ``names`` gives those of the bits that are set."""

    name: str
    names: Callable[[int], Sequence[str]]
    typecode: ClassVar[str] = "q"

    def pack(self, value: Value) -> int:
        """Return the bits as they are stored, -1 where they are not known or can't be held."""
        return _UNKNOWN_FLAGS if value is None or int(value) >> 63 else int(value)

    def unpack(self, stored: float) -> Value:
        """Return the bits of ``stored``."""
        return None if stored == _UNKNOWN_FLAGS else int(stored)

    def cell(self, value: float) -> str:
        """Return the names of the flags that are set, joined by ``|``; "none" where none is."""
        return _AND.join(self.names(int(value))) or _NO_FLAG


Column: TypeAlias = Number | Flags


def column_array(column: Column, length: int) -> array[Any]:
    """Return an array for ``length`` values of ``column``."""
    return array(column.typecode, bytes(array(column.typecode).itemsize * length))


@dataclass(frozen=True, slots=True)
class Row:
    """One reading: ``at`` in monotonic seconds, ``values`` in the order of the columns."""

    at: float
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """Rows of one subject for ``file``: ``offset`` added to a row's seconds gives Unix seconds."""

    file: str
    columns: Sequence[Column]
    rows: Iterable[Row]
    offset: float


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a file: time in Unix seconds, then numbers or text as ``columns`` names them."""

    columns: tuple[str, ...]
    rows: list[list[Any]]

    @property
    def peak(self) -> int:
        """Place of the first column behind the time that holds a number; 0 where there is none."""
        return next(
            (
                place
                for place in range(1, len(self.columns))
                if any(isinstance(row[place], float) for row in self.rows)
            ),
            0,
        )


def encode(series: Series) -> bytes:
    """Return ``series`` as CSV (RFC 4180: CRLF, quotes where they are needed); unknown cells are empty."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow((TIME, *(column.name for column in series.columns)))
    for row in series.rows:
        cells = (
            "" if value is None else column.cell(value)
            for column, value in zip(series.columns, row.values, strict=True)
        )
        writer.writerow((_iso(row.at + series.offset), *cells))
    return text.getvalue().encode()


def decode(data: bytes) -> Rows:
    """Return the rows of a CSV file whose header names its columns, the time first wherever it was.

    A column holds numbers or text; where it has both the file is damaged. Raises :class:`ValueError`.
    """
    try:
        header, *lines = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True)) or [[]]
    except csv.Error as error:
        raise ValueError(str(error)) from error
    if TIME not in header or len(set(header)) != len(header):
        raise ValueError(f"its header does not name each column once, {TIME} among them")
    when = header.index(TIME)
    for number, cells in enumerate(lines, 2):
        if len(cells) != len(header):
            raise ValueError(f"line {number} has {len(cells)} columns, not {len(header)}")
    others = [place for place in range(len(header)) if place != when]
    columns = [[_unix(cells[when]) for cells in lines]]
    columns += [_values(header[place], [cells[place] for cells in lines]) for place in others]
    names = ("time", *(header[place] for place in others))
    return Rows(names, [list(row) for row in zip(*columns, strict=True)])


def _values(name: str, cells: Sequence[str]) -> list[Any]:
    values = [_value(cell) for cell in cells]
    if len({type(value) for value in values if value is not None}) > 1:
        raise ValueError(f"column {name} has numbers and text")
    return values


def _value(cell: str) -> float | str | None:
    try:
        value = float(cell)
    except ValueError:
        return cell or None
    if not math.isfinite(value):
        raise ValueError(f"{cell} is not a number")
    return value


def _unix(cell: str) -> float:
    moment = datetime.fromisoformat(cell)
    if moment.tzinfo is None:
        raise ValueError(f"the time {cell} has no zone")
    return moment.timestamp()


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
