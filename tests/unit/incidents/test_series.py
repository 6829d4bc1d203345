from __future__ import annotations

import csv
import io
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.incidents.series import Flags, Number, Row, Series, decode, encode

BEGAN = 1_800_000_000.0
BITS = {1: "slow", 2: "hot", 4: 'odd, "quoted"'}


def names(bits: int) -> list[str]:
    return [name for bit, name in BITS.items() if bits & bit]


COLUMNS = (Number("temperature_celsius", 1), Number("memory_used_bytes", 0), Flags("clock_events", names))
rows = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-400, 1100).map(lambda tenths: tenths / 10)),
        st.one_of(st.none(), st.integers(0, 2**40)),
        st.one_of(st.none(), st.integers(0, 7)),
    ),
    max_size=20,
)


def table(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def rearranged(data: bytes, places: list[int]) -> bytes:
    """Return the file with those of its columns, in that order."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([line[place] for place in places] for line in table(data))
    return text.getvalue().encode()


def written(known: list[tuple[Any, Any, Any]]) -> bytes:
    lines = [Row(float(at), values) for at, values in enumerate(known)]
    return encode(Series("x.csv", COLUMNS, lines, BEGAN))


def expected(known: list[tuple[Any, Any, Any]]) -> list[list[Any]]:
    return [
        [
            BEGAN + at,
            celsius,
            None if used is None else float(used),
            None if bits is None else "|".join(names(bits)) or "none",
        ]
        for at, (celsius, used, bits) in enumerate(known)
    ]


@given(rows, st.permutations(range(4)), st.integers(0, 3))
def test_a_file_with_fewer_or_reordered_columns_has_what_its_header_names(
    known: list[tuple[Any, Any, Any]], order: list[int], left_out: int
) -> None:
    data = written(known)
    assert decode(data).rows == expected(known)
    places = [place for place in order if place != left_out or place == 0]
    found = decode(rearranged(data, places))
    others = [place for place in places if place != 0]
    assert found.columns == ("time", *(COLUMNS[place - 1].name for place in others))
    assert found.rows == [[row[0], *(row[place] for place in others)] for row in expected(known)]


def test_columns_that_nobody_here_knows_are_read_too() -> None:
    found = decode(
        b"ecc_count,timestamp,state\r\n3,2027-01-15T08:00:00.000Z,well\r\n,2027-01-15T08:00:01.500Z,\r\n"
    )
    assert found.columns == ("time", "ecc_count", "state")
    assert found.rows == [[BEGAN, 3.0, "well"], [BEGAN + 1.5, None, None]]


def test_the_column_of_peaks_is_the_first_that_has_numbers() -> None:
    empty = "timestamp,a,b\r\n"
    assert decode(empty.encode()).peak == 0
    assert decode(f"{empty}2027-01-15T08:00:00Z,,x\r\n".encode()).peak == 0
    assert decode(f"{empty}2027-01-15T08:00:00Z,,1\r\n".encode()).peak == 2
    assert decode(f"{empty}2027-01-15T08:00:00Z,0,1\r\n".encode()).peak == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not name"),
        ("a,b\r\n", "does not name"),
        ("timestamp,a,a\r\n", "each column once"),
        ("timestamp,a\r\n2027-01-15T08:00:00Z\r\n", "line 2 has 1 columns, not 2"),
        ("timestamp,a\r\n2027-01-15T08:00:00Z,1,2\r\n", "line 2 has 3 columns"),
        ("timestamp,a\r\n2027-01-15T08:00:00,1\r\n", "no zone"),
        ("timestamp,a\r\nyesterday,1\r\n", "isoformat"),
        ("timestamp,a\r\n2027-01-15T08:00:00Z,1\r\n2027-01-15T08:00:01Z,1x\r\n", "a has numbers and text"),
        ("timestamp,a\r\n2027-01-15T08:00:00Z,nan\r\n", "nan is not a number"),
        ('timestamp,a\r\n"2027', "end of data"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode(text.encode())


@given(st.one_of(st.binary(max_size=200), st.text('timesap,\r\n"0127-:TZ.x\0', max_size=80).map(str.encode)))
def test_whatever_a_file_holds_is_read_or_refused(data: bytes) -> None:
    for content in (data, b"timestamp,a\r\n2027-01-15T08:00:00Z," + data):
        with suppress(ValueError):
            found = decode(content)
            assert all(len(row) == len(found.columns) for row in found.rows)


def test_a_file_is_for_every_spreadsheet() -> None:
    data = written([(61.25, 2**34, 5), (None, None, 0), (0.0, 0, None)])
    assert data == (
        b"timestamp,temperature_celsius,memory_used_bytes,clock_events\r\n"
        b'2027-01-15T08:00:00.000Z,61.2,17179869184,"slow|odd, ""quoted"""\r\n'
        b"2027-01-15T08:00:01.000Z,,,none\r\n"
        b"2027-01-15T08:00:02.000Z,0.0,0,\r\n"
    )
    assert datetime.fromtimestamp(BEGAN, UTC).isoformat() == "2027-01-15T08:00:00+00:00"


@given(st.one_of(st.none(), st.floats(width=32), st.integers(-(2**70), 2**70)))
def test_a_column_gives_back_what_it_can_hold_and_else_none(value: float | None) -> None:
    number = Number("a", 1)
    unpacked = number.unpack(number.pack(value))
    if value is None or not abs(value) < 3.4e38:
        assert unpacked is None
    else:
        assert unpacked == value
    if value is None or isinstance(value, int):
        flags = Flags("b", names)
        held = value is not None and 0 <= value < 2**63
        assert flags.unpack(flags.pack(value)) == (value if held else None)
