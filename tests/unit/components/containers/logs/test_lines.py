from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.logs.lines import clean, most_repeated, parse, text_of, time_of
from tests.fakes.container_logs import stamped


def test_a_line_has_its_time_and_its_text() -> None:
    (line,) = parse([stamped(1_800_000_000.25, "loaded")])
    assert (line.time, line.text) == (1_800_000_000.25, "loaded")


def test_a_line_without_a_time_is_all_text() -> None:
    assert time_of(b"loaded") is None
    assert text_of(b"loaded") == "loaded"
    assert time_of(b"2026-99-99T99:99:99.000000000Z x") is None


def test_nothing_in_it_steers_a_terminal() -> None:
    assert (
        clean(b"\x1b[31mred\x1b[0m\tx\x1b]0;title\x07\x07\x1b[2J\x9b\xff\r") == "red    x\\x07\ufffd\ufffd\\r"
    )


@given(st.binary(max_size=300))
def test_any_line_becomes_text_that_can_be_printed(line: bytes) -> None:
    assert clean(line).isprintable()


def test_the_line_that_repeats_is_found_whatever_its_figures_are() -> None:
    texts = ["slot 1 is stuck", "slot 2 is stuck", "other", "slot 33 is stuck"]
    assert most_repeated(texts) == ("slot 1 is stuck", 3)
    assert most_repeated([]) == ("", 0)
