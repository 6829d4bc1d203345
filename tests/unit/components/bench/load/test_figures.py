"""Figures of a load, from records that are known."""

from __future__ import annotations

import math
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.load.figures import Goals, LoadFigures, Window, figures_of, spread
from aiidpd.components.bench.load.records import Record, failed, record_of
from aiidpd.engines.faults import Fault
from aiidpd.engines.target import Chunk, Timeline

WINDOW = Window(100.0, 110.0)
SPANS = st.lists(st.floats(0, 1e4), max_size=300)


def answer(planned: float = 101.0, tokens: int | None = 10, *, gap: float = 0.1, **more: Any) -> Record:
    """Return an answer of 10 chunks, the first 0.5 s after it was sent on time."""
    chunks = more.pop("chunks", 10)
    arrivals = array("d", (planned + 0.5 + gap * place for place in range(chunks)))
    given = {
        "late": 0.0,
        "sent": planned,
        "ended": arrivals[-1],
        "ttft": 0.5,
        "tpot": gap,
        "prompt_tokens": 100,
        "output_tokens": tokens,
        "arrivals": arrivals,
    }
    return Record("x", planned, arrivals[-1], **{**given, **more})


def figures(*records: Record, goals: Goals = Goals()) -> LoadFigures:  # noqa: B008 -- it is frozen
    return figures_of(records, WINDOW, goals)


@given(SPANS)
def test_percentiles_are_those_of_the_nearest_rank(values: list[float]):
    found = spread(values)
    ordered = sorted(values)
    assert found.count == len(values)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
        value = getattr(found, name)
        if value is None:
            assert not values or len(values) * (1 - share) < 1
        else:
            assert sum(each <= value for each in ordered) >= share * len(ordered) - 1e-9
            assert value == ordered[max(0, math.ceil(share * len(ordered)) - 1)]
    assert found.most == (ordered[-1] if ordered else None)


@pytest.mark.parametrize(("count", "known"), [(9, 1), (10, 2), (19, 2), (20, 3), (99, 3), (100, 4)])
def test_a_percentile_needs_a_sample_above_it(count: int, known: int):
    found = spread([1.0] * count)
    assert sum(each is not None for each in (found.p50, found.p90, found.p95, found.p99)) == known


def test_what_is_not_known_counts_for_nothing():
    assert spread([None, 1.0, None]).count == 1


@given(st.floats(90, 115), st.floats(0.001, 2), st.integers(1, 40), st.integers(1, 80))
def test_tokens_count_by_when_they_came(planned: float, gap: float, chunks: int, tokens: int):
    found = figures(answer(planned, tokens, gap=gap, chunks=chunks)).output_tokens_per_second
    inside = sum(WINDOW.has(planned + 0.5 + gap * place) for place in range(chunks))
    assert found == pytest.approx(tokens * inside / chunks / 10)


@given(st.lists(st.floats(90, 115), max_size=20))
def test_each_request_counts_once_by_its_planned_time(times: list[float]):
    found = figures(*map(answer, times))
    assert found.requests == found.answered == sum(map(WINDOW.has, times))
    assert found.ttft.count == found.requests


def test_chunks_are_no_tokens_where_nobody_counted():
    found = figures(answer(), answer(tokens=None))
    assert found.output_tokens_per_second is None
    assert "1 answers had no usage" in found.notes[0]


def test_what_was_cut_off_counts_like_the_others():
    half = answer(108.5, tokens=None, cut=True, tpot=None)
    found = figures(answer(tokens=20), half)
    assert found.cut == 1
    assert found.output_tokens_per_second == pytest.approx((20 + 2 * 10) / 10)
    assert (found.answered, found.answered_share, found.ttft.count) == (1, 1.0, 1)


def test_failures_have_their_labels_and_first_reasons():
    lost = [failed("x", 101 + n, 102 + n, Fault.LATE, f"reason {n}", late=0.0) for n in range(3)]
    found = figures(answer(), *lost, failed("x", 104, 104, Fault.CUT, "the stream ended", late=0.0))
    assert found.faults == {"late": 3, "cut": 1}
    assert found.reasons == {"late": "reason 0", "cut": "the stream ended"}
    assert found.answered_share == 0.2


def test_goodput_is_what_kept_both_limits():
    goals = Goals(ttft=0.6, tpot=0.2)
    slow, dull = answer(gap=0.3), answer(ttft=0.7)
    late = answer(sent=101.2)  # a user waits from the planned time
    unknown = answer(tpot=None)
    found = figures(answer(), slow, dull, late, unknown, goals=goals)
    assert (found.good, found.unjudged) == (0.25, 1)
    assert found.good_per_second == pytest.approx(0.1)
    assert figures(answer()).good is None


def test_a_failed_request_is_no_good_one_and_one_token_has_no_pace():
    goals = Goals(ttft=0.6, tpot=0.2)
    one = answer(tokens=1, chunks=1, tpot=None)
    lost = failed("x", 101, 102, Fault.LATE, "no token", late=0.0)
    assert figures(one, lost, goals=goals).good == 0.5


def test_a_client_that_was_late_makes_all_of_it_invalid():
    late = [answer(late=0.02) for _ in range(3)]
    assert "3 of 10 requests left more than 10 ms late" in figures(*late, *[answer()] * 7).invalid
    assert figures(answer(late=0.02), *[answer()] * 9).invalid == ""
    read = [answer(invalid="this process was late")] * 3
    assert "3 of 10 answers: this process was late" in figures(*read, *[answer()] * 7).invalid


def test_gaps_that_were_read_late_are_left_out_and_cost_nothing_else():
    uneven = [answer(uneven=True) for _ in range(3)]
    found = figures(*uneven, *[answer()] * 7)
    assert (found.gaps.count, found.ttft.count, found.invalid) == (7 * 9, 10, "")
    assert "the gaps of 3 answers are left out" in found.notes[0]


def test_lateness_takes_what_it_may_have_changed():
    chunks = tuple(Chunk(1 + 0.1 * place, 4, 1, late=0.01 if place in (5, 9) else 0.0) for place in range(20))
    late = Timeline(0.0, 3, chunks, "length", 100, 20)
    record = record_of("x", 0.0, 3.0, late, late=0.0)
    assert (record.ttft, record.invalid, record.uneven) == (1.0, "", True)
    assert record.tpot == pytest.approx(0.1)
    first = Timeline(0.0, 3, (Chunk(1.0, 4, 1, late=0.5), *chunks[1:]), "length", 100, 20)
    record = record_of("x", 0.0, 3.0, first, late=0.0)
    assert record.ttft is None
    assert record.invalid.startswith("this process was late")


def test_a_page_has_no_tokens_and_no_first_one():
    page = Record("models", 101, 101.1, late=0.0, sent=101, ended=101.1, page=True)
    found = figures(page, answer())
    assert (found.answered, found.ttft.count, found.whole.count) == (2, 1, 1)
    assert figures(page, goals=Goals(ttft=0.1)).good == 1


def test_of_nothing_there_are_no_figures():
    found = figures()
    assert (found.requests, found.answered_share, found.requests_per_second) == (0, 0.0, 0.0)
    assert found.ttft.p50 is None


def timeline(cached: int | None, first: float = 1.0) -> Timeline:
    chunks = tuple(Chunk(first + 0.1 * place, 4, 1) for place in range(20))
    return Timeline(0.0, first + 2, chunks, "length", 100, 20, cached)


def test_a_prompt_from_the_cache_has_no_first_token_unless_a_conversation_goes_on():
    fresh = record_of("x", 0.0, 3.0, timeline(0), late=0.0)
    cached = record_of("x", 0.0, 3.0, timeline(90), late=0.0)
    grown = record_of("x", 0.0, 3.0, timeline(90), late=0.0, growing=True)
    assert (fresh.ttft, cached.ttft, grown.ttft) == (1.0, None, 1.0)
    assert "prefix cache" in cached.from_cache
    assert fresh.tpot == pytest.approx(0.1)
    found = figures_of([cached], Window(0, 10), Goals())
    assert "of 1 requests the first token is left out" in found.notes[0]


def test_the_wait_begins_when_the_request_was_planned():
    record = record_of("x", -0.3, 3.0, timeline(0), late=0.3)
    assert record.waited == pytest.approx(1.3)
    assert record.whole == 3.0
