"""Figures from the record of a probe, and when none is given."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.stats import DECODE, GAPS, TTFT, BenchSample, cached_reason, measure, percentile
from aiidpd.engines.target import Chunk, EngineTimings, Timeline


def timeline(*arrivals: float, tokens: int | None = None, characters: int = 4) -> Timeline:
    """A request that starts at 100 s; ``arrivals`` count from there."""
    chunks = tuple(Chunk(100.0 + at, characters) for at in arrivals)
    return Timeline(
        started=100.0,
        ended=chunks[-1].at + 0.01 if chunks else 101.0,
        chunks=chunks,
        finish="length",
        prompt_tokens=100,
        output_tokens=len(chunks) if tokens is None else tokens,
        cached_tokens=0,
    )


def steady(tokens: int, first: float, each: float) -> Timeline:
    return timeline(*(first + each * index for index in range(tokens)))


def why(sample: BenchSample, figure: str) -> str:
    return next((each.reason for each in sample.withheld if each.figure == figure), "")


def test_where_usage_does_not_say_what_the_cache_held_the_engine_s_prompt_does():
    record = replace(steady(64, 0.2, 0.02), cached_tokens=None, prompt_tokens=100)
    assert measure(record).cached_tokens is None
    cached = replace(record, engine=EngineTimings(prompt_tokens=10))
    assert measure(cached).cached_tokens == 90
    assert "90 of 100" in (cached_reason(cached) or "")
    assert cached_reason(replace(record, engine=EngineTimings(prompt_tokens=95))) is None


def test_a_steady_stream_gives_every_figure():
    sample = measure(steady(64, first=0.2, each=0.02))
    assert sample.ttft_seconds == pytest.approx(0.2)
    assert sample.time_per_output_token_seconds == pytest.approx(0.02)
    assert sample.output_tokens_per_second == pytest.approx(50)
    assert sample.chunk_gap_p50_seconds == pytest.approx(0.02)
    assert sample.chunk_gap_max_seconds == pytest.approx(0.02)
    assert sample.total_seconds == pytest.approx(0.2 + 63 * 0.02 + 0.01)
    assert sample.withheld == ()


def test_the_time_per_token_counts_tokens_and_not_chunks():
    record = timeline(*(0.1 + 0.06 * index for index in range(10)), tokens=28)
    sample = measure(replace(record, chunks=(Chunk(record.chunks[0].at, 1), *record.chunks[1:])))
    assert sample.time_per_output_token_seconds == pytest.approx(0.02)
    assert sample.chunk_gap_p50_seconds == pytest.approx(0.06)


def test_a_stall_shows_in_the_gaps():
    arrivals = list(itertools.accumulate([0.1] + [0.02] * 30 + [1.5] + [0.02] * 30))
    sample = measure(timeline(*arrivals))
    assert sample.chunk_gap_max_seconds == pytest.approx(1.5)
    assert sample.chunk_gap_p50_seconds == pytest.approx(0.02)


def test_a_burst_is_no_speed():
    """24 tokens in 18 ms are 1,333 tokens/s on paper, from a model that cannot do that."""
    sample = measure(steady(24, first=1.2, each=0.018 / 23))
    assert sample.time_per_output_token_seconds is None
    assert sample.output_tokens_per_second is None
    assert "24 tokens in 18 ms, in one burst" in why(sample, DECODE)
    assert sample.ttft_seconds == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("arrivals", "tokens", "reason"),
    [
        ([0.5], 24, "in one burst"),
        ([0.5, 0.5, 0.5], 3, "in one burst"),
        ([0.1 + 0.002 * index for index in range(24)], 24, "too short to tell"),
        ([0.5] * 16 + [0.6 + 0.1 * index for index in range(8)], 24, "67% of the text came at once"),
        ([0.5, 1.0], 64, "50% of the text came at once"),
        ([0.1, *([0.5] * 10), *([0.9] * 12)], 64, "64 tokens came in 3 bursts"),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], 3, "counted 3 tokens and sent 7 chunks"),
        ([0.5], 1, "counted 1 tokens"),
        ([0.5], 0, "counted 0 tokens"),
    ],
)
def test_what_cannot_be_known_is_withheld_with_its_reason(arrivals: list[float], tokens: int, reason: str):
    sample = measure(timeline(*arrivals, tokens=tokens, characters=32))
    assert sample.time_per_output_token_seconds is None
    assert sample.output_tokens_per_second is None
    assert reason in why(sample, DECODE)
    assert sample.ttft_seconds is not None


def test_without_usage_there_is_no_time_per_token():
    sample = measure(replace(steady(20, 0.1, 0.05), output_tokens=None))
    assert sample.time_per_output_token_seconds is None
    assert "no usage" in why(sample, DECODE)
    assert sample.chunk_gap_p50_seconds == pytest.approx(0.05)


def test_an_answer_without_text_has_no_figure():
    sample = measure(timeline())
    assert (sample.ttft_seconds, sample.time_per_output_token_seconds, sample.chunk_gap_max_seconds) == (
        None,
        None,
        None,
    )
    assert why(sample, TTFT) == why(sample, DECODE) == "no text arrived"


def test_the_engine_s_own_time_confirms_a_window_that_is_too_short():
    record = steady(64, first=0.01, each=0.0002)
    assert measure(record).time_per_output_token_seconds is None
    sample = measure(replace(record, engine=EngineTimings(100, 0.01, 64, 64 * 0.00021)))
    assert sample.time_per_output_token_seconds == pytest.approx(0.0002)
    assert sample.withheld == ()


def test_the_engine_s_own_time_exposes_what_was_held_back_on_the_way():
    record = replace(steady(64, first=2.0, each=0.005), engine=EngineTimings(100, 0.1, 64, 64 * 0.03))
    sample = measure(record)
    assert sample.time_per_output_token_seconds is None
    assert "the engine says 30 ms a token" in why(sample, DECODE)


def test_the_engine_s_figures_never_stand_in_for_ours():
    engine = EngineTimings(100, 0.1, 64, 64 * 0.03)
    sample = measure(replace(timeline(0.5, tokens=64), engine=engine))
    assert sample.time_per_output_token_seconds is None
    assert sample.engine is engine


def test_an_engine_that_took_less_than_we_waited_leaves_our_figure():
    record = replace(steady(64, first=0.1, each=0.03), engine=EngineTimings(100, 0.1, 64, 64 * 0.01))
    assert measure(record).time_per_output_token_seconds == pytest.approx(0.03)


@pytest.mark.parametrize(("cached", "given_"), [(0, True), (25, True), (26, False), (100, False)])
def test_a_prompt_from_the_prefix_cache_gives_no_ttft(cached: int, given_: bool):
    sample = measure(replace(steady(64, 0.2, 0.02), cached_tokens=cached))
    assert (sample.ttft_seconds is not None) == given_
    assert sample.time_per_output_token_seconds is not None
    if not given_:
        assert f"the prefix cache answered: {cached} of 100" in why(sample, TTFT)


def test_percentiles_are_readings_that_occurred():
    ordered = [float(value) for value in range(1, 21)]
    assert [percentile(ordered, share) for share in (0.0, 0.5, 0.95, 1.0)] == [1.0, 10.0, 19.0, 20.0]
    assert percentile([], 0.5) is None


counts = st.none() | st.integers(0, 300)
nanoseconds = st.integers(0, 2_000_000_000).map(lambda value: value / 1e9)
engines = st.none() | st.builds(
    EngineTimings, counts, st.none() | nanoseconds, counts, st.none() | nanoseconds
)


@given(
    st.lists(st.tuples(nanoseconds, st.integers(1, 50)), max_size=40),
    counts,
    counts,
    counts,
    engines,
)
def test_no_record_gives_a_figure_that_contradicts_it(
    gaps: list[tuple[float, int]],
    prompt: int | None,
    output: int | None,
    cached: int | None,
    engine: EngineTimings | None,
):
    moments = list(itertools.accumulate(gap for gap, _ in gaps))
    chunks = tuple(Chunk(at, size) for at, (_, size) in zip(moments, gaps, strict=True))
    ended = moments[-1] if moments else 1.0
    sample = measure(Timeline(0.0, ended, chunks, None, prompt, output, cached, engine))

    assert (sample.ttft_seconds is None) == bool(why(sample, TTFT))
    assert (sample.time_per_output_token_seconds is None) == bool(why(sample, DECODE))
    assert (sample.time_per_output_token_seconds is None) == (sample.output_tokens_per_second is None)
    if sample.ttft_seconds is not None:
        assert 0 <= sample.ttft_seconds <= sample.total_seconds
    if sample.time_per_output_token_seconds is not None:
        assert output is not None
        assert output >= 2
        least, most = sample.time_per_output_token_least_seconds, sample.time_per_output_token_most_seconds
        assert least is not None
        assert most is not None
        assert least <= sample.time_per_output_token_seconds * (1 + 1e-9)
        assert sample.time_per_output_token_seconds <= most * (1 + 1e-9)
        assert most <= least * 1.05 * (1 + 1e-9)
        assert least * (output - 1) >= (moments[-1] - moments[0]) * (1 - 1e-9)
        assert sample.output_tokens_per_second is not None
        assert math.isfinite(sample.output_tokens_per_second)
    if len(chunks) > 1:
        p50, p95, most = (
            sample.chunk_gap_p50_seconds,
            sample.chunk_gap_p95_seconds,
            sample.chunk_gap_max_seconds,
        )
        assert p50 is not None
        assert p95 is not None
        assert most is not None
        assert 0 <= p50 <= p95 <= most


@given(st.integers(8, 200), st.floats(0.0, 5.0), st.floats(0.02, 1.0), st.integers(1, 8))
def test_a_steady_stream_gives_its_pace_however_tokens_share_chunks(
    tokens: int, first: float, each: float, per: int
):
    """An engine that puts ``per`` tokens into each chunk after the first."""
    count = (tokens - 1) // per
    arrivals = [first, *(first + each * per * (index + 1) for index in range(count))]
    chunks = (Chunk(100 + arrivals[0], 1), *(Chunk(100 + at, per) for at in arrivals[1:]))
    record = Timeline(100.0, chunks[-1].at, chunks, "length", 100, count * per + 1, 0)
    sample = measure(record)
    if sample.time_per_output_token_seconds is None:
        assert len(chunks) <= 4 or len(chunks) * 8 < count * per + 1
    else:
        assert sample.time_per_output_token_seconds == pytest.approx(each, rel=1e-6)


def late(record: Timeline, **seconds: float) -> Timeline:
    """Return ``record`` with chunks marked late: the first, the last or all."""
    chunks = [replace(each, late=seconds.get("all", 0.0)) for each in record.chunks]
    chunks[0] = replace(chunks[0], late=seconds.get("first", chunks[0].late))
    chunks[-1] = replace(chunks[-1], late=seconds.get("last", chunks[-1].late))
    return replace(record, chunks=tuple(chunks))


def test_a_client_that_was_late_makes_no_figure_that_it_could_have_changed():
    record = steady(64, first=0.1, each=0.02)
    assert measure(late(record, all=0.0009)).invalid == ""
    first = measure(late(record, first=0.004))
    assert first.ttft_seconds is None
    assert first.time_per_output_token_seconds is not None  # 4 ms of 1,260
    assert "this process was late to read it, by up to 4 ms" in first.invalid
    assert why(first, TTFT) == first.invalid
    last = measure(late(record, last=0.03))
    assert last.ttft_seconds is not None
    assert last.time_per_output_token_seconds is None
    assert last.output_tokens_per_second is None
    every = measure(late(record, all=0.0019))
    assert every.chunk_gap_p95_seconds is every.chunk_gap_max_seconds is None
    assert every.ttft_seconds == pytest.approx(0.1)  # less than 2 % of it
    assert "late" in why(every, GAPS)


def test_the_delay_of_the_client_stands_beside_the_figures():
    sample = measure(replace(steady(64, 0.1, 0.02), delays=(0.0, 0.001, 0.03), connect_seconds=0.004))
    assert (sample.client_delay_p95_seconds, sample.client_delay_max_seconds) == (0.03, 0.03)
    assert sample.connect_seconds == 0.004
    assert measure(steady(64, 0.1, 0.02)).client_delay_max_seconds is None


def test_the_speed_of_the_request_counts_its_first_token_s_time_too():
    sample = measure(steady(64, first=0.74, each=0.004))
    assert sample.request_tokens_per_second == pytest.approx(64 / (0.74 + 63 * 0.004 + 0.01))
