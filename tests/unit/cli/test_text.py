from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.cli.text import Paint, counted, cut, number, plain, since, size, span, table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0 s"),
        (2.5e-6, "2.5 µs"),
        (0.0123, "12.3 ms"),
        (1.2, "1.2 s"),
        (59.94, "59.9 s"),
        (300, "5 min"),
        (5400, "1.5 h"),
        (200 * 86400, "200 d"),
        (1e9, "11574 d"),
    ],
)
def test_spans(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"), [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5e15, "4547.5 TiB")]
)
def test_sizes(amount: float | None, text: str) -> None:
    assert size(amount) == text


@pytest.mark.parametrize(
    ("at", "text"), [(None, "-"), (100.0, "now"), (90.0, "10 s ago"), (220.0, "in 2 min"), (99.5, "now")]
)
def test_since(at: float | None, text: str) -> None:
    assert since(at, 100.0) == text


def test_what_is_not_known_is_a_dash() -> None:
    assert number(None, "W") == "-"
    assert number(0.0, "W") == "0 W"


@given(st.text())
def test_nothing_from_elsewhere_steers_the_terminal(text: str) -> None:
    assert all(character.isprintable() for character in plain(text))


def test_what_can_not_be_printed_is_shown_as_an_escape_sequence() -> None:
    assert plain("a\x1b[31m\nb\u202ec\ud800") == "a\\x1b[31m b\\u202ec\\ud800"
    assert len(plain("x" * 60_000)) == 2000
    assert plain("x" * 60_000).endswith("x…")


@given(
    st.lists(st.tuples(*[st.text(st.characters(min_codepoint=32, max_codepoint=126))] * 4), min_size=1),
    st.integers(24, 100),
    st.text("lr", min_size=4, max_size=4),
)
def test_a_table_is_as_wide_as_it_may_be_and_cut_cells_are_marked(
    rows: list[tuple[str, str, str, str]], width: int, right: str
) -> None:
    head = ("A", "B", "C", "D")
    narrow, wide = (table(head, rows, Paint(width=most), right=right) for most in (width, 0))
    assert max(map(len, narrow)) <= width
    for cut_line, line in zip(narrow, wide, strict=True):
        assert cut_line == line or "…" in cut_line or len(cut_line) < len(line)
    if max(map(len, wide)) <= width and right == "llll":
        assert narrow == wide


@given(st.lists(st.tuples(st.text(), st.text(), st.text())), st.booleans())
def test_columns_are_aligned(rows: list[tuple[str, str, str]], colour: bool) -> None:
    lines = [re.sub("\x1b.*?m", "", line) for line in table(("A", "B", "C"), rows, Paint(colour), right="r")]
    assert len(lines) == len(rows) + 1
    places = {line.find("B") for line in lines[:1]}
    for line, row in zip(lines[1:], rows, strict=True):
        assert line.startswith(f"{plain(row[0]):>{len(lines[0].split('B')[0]) - 2}}".rstrip() or "")
        assert plain(row[1]).rstrip() in line
    assert len(places) == 1


PIECES = st.lists(st.tuples(st.text(st.characters(codec="ascii", categories=("L", "N"))), st.booleans()))


@given(PIECES, st.integers(1, 40))
def test_a_line_is_cut_by_what_is_seen_of_it(pieces: list[tuple[str, bool]], width: int) -> None:
    paint = Paint(colour=True)
    line = "".join(paint.bad(text) if painted else text for text, painted in pieces)
    seen = re.sub("\x1b.*?m", "", line)
    result = cut(line, width)
    shown = re.sub("\x1b.*?m", "", result)
    assert shown == (seen if len(seen) <= width else seen[: width - 1] + "…")
    assert result.count("\x1b[0m") == line.count("\x1b[0m")  # no colour runs on


def test_one_of_a_thing_and_several() -> None:
    assert [counted(number, "snapshot") for number in (0, 1, 2)] == [
        "0 snapshots",
        "1 snapshot",
        "2 snapshots",
    ]


def test_a_name_is_whole_where_other_words_or_headings_can_be_cut() -> None:
    name = "a-container-with-a-name"
    head = ("CONTAINER", "RESTARTS", "IMAGE")
    lines = table(head, [(name, "0", "registry/" + "i" * 40)], Paint(width=50), right="lr")
    assert lines == [f"{'CONTAINER':<23}  RESTARTS  IMAGE", f"{name}         0  registry/iiiii…"]
    lines = table(head, [(name, "0", "registry/" + "i" * 40)], Paint(width=44), right="lr")
    assert lines == [f"{'CONTAINER':<23}  REST…  IMAGE", f"{name}      0  registry/ii…"]


def test_what_is_simulated_says_so_in_full_where_the_rest_of_the_note_is_cut() -> None:
    row = ("x" * 60, "SIMULATED  and why, at length")
    assert table(("INCIDENT", ""), [row], Paint(width=40))[1].endswith("…  SIMULATED…")
