"""Time per output token where chunks are not tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.pace import pace
from aiidpd.engines.target import Chunk, EngineTimings, Timeline

EACH = 0.02  # seconds a token, in truth


def gathered(
    *sizes: int, each: float = EACH, counted: bool = False, engine: bool = False, characters: int = 4
) -> Timeline:
    """An engine of ``each`` seconds a token that sends so many of them a chunk, when the last is there."""
    chunks, tokens = [], 0
    for size in sizes:
        tokens += size
        chunks.append(Chunk(100 + each * tokens, characters * size, size if counted else None))
    timings = EngineTimings(9, 0.1, tokens, each * (tokens - 1)) if engine else None
    return Timeline(100.0, chunks[-1].at, tuple(chunks), "length", 9, tokens, 0, timings)


def test_eight_tokens_a_chunk_are_not_12_percent_faster_than_they_are():
    """(last - first) / (n - 1) gave 17.8 ms and 56.2 tokens/s for a true 20 ms."""
    found = pace(gathered(*[8] * 8))
    assert found.seconds is None
    assert found.least == pytest.approx(1.12 / 63)
    assert found.most == pytest.approx(1.12 / 32)
    assert "how many tokens the first chunk held is not known" in str(found.withheld)
    assert "from 17.8 ms to 35 ms a token" in str(found.withheld)


def test_the_engine_s_count_in_each_chunk_makes_it_exact():
    assert pace(gathered(*[8] * 8, counted=True)).seconds == pytest.approx(EACH)


def test_the_engine_s_own_time_tells_how_many_the_first_chunk_held():
    found = pace(gathered(*[8] * 8, engine=True))
    assert found.seconds == pytest.approx(EACH)
    assert found.least == found.most


def test_a_first_chunk_of_one_token_needs_no_count():
    assert pace(gathered(*[1] * 64)).seconds == pytest.approx(EACH)
    found = pace(gathered(1, *[3] * 21, characters=1))  # its one byte can be no more
    assert found.seconds == pytest.approx(EACH)


def test_close_bounds_are_a_figure():
    found = pace(gathered(2, *[1] * 62))
    assert found.least is not None
    assert found.most is not None
    assert found.seconds is not None
    assert found.least <= found.seconds <= found.most < 1.05 * found.least
    assert found.least < EACH <= found.most * 1.0001


def test_tokens_that_came_at_once_in_chunks_of_their_own_are_no_interval_either():
    chunks = [Chunk(100.5, 4), Chunk(100.5, 4), *(Chunk(100.5 + EACH * (at + 1), 4) for at in range(62))]
    found = pace(Timeline(100.0, chunks[-1].at, tuple(chunks), "length", 9, 64, 0))
    assert found.seconds == pytest.approx(EACH)


def test_a_count_that_the_text_cannot_hold_is_no_count():
    record = gathered(*[1] * 64, characters=1)
    found = pace(Timeline(100.0, record.ended, record.chunks, "length", 9, 128, 0))
    assert found.withheld == "the server counted 128 tokens for 64 bytes of text"


def test_the_end_of_a_text_is_a_token_without_a_chunk():
    record = gathered(*[1] * 64)
    found = pace(Timeline(100.0, record.ended, record.chunks, "stop", 9, 65, 0))
    assert found.least is not None
    assert found.most is not None
    assert found.least < EACH <= found.most * 1.0001


def test_a_fast_engine_s_tokens_are_no_burst_and_a_buffer_s_are():
    assert pace(gathered(*[1] * 600, each=0.0005)).seconds == pytest.approx(0.0005)
    moments = [0.1 * (at // 100) + 0.00001 * (at % 100) for at in range(600)]
    chunks = tuple(Chunk(100.5 + at, 4) for at in moments)
    found = pace(Timeline(100.0, chunks[-1].at, chunks, "length", 9, 600, 0))
    assert "600 tokens came in 6 bursts" in str(found.withheld)
    assert not found.short


@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=60),
    st.floats(0.002, 0.5),
    st.booleans(),
    st.booleans(),
    st.integers(1, 6),
)
def test_no_chunking_gives_a_figure_that_is_wrong(
    sizes: list[int], each: float, counted: bool, engine: bool, characters: int
):
    record = gathered(*sizes, each=each, counted=counted, engine=engine, characters=characters)
    found = pace(record)
    if found.least is not None:
        assert found.least <= each * (1 + 1e-6)
    if found.most is not None:
        assert found.most >= each * (1 - 1e-6)
    if found.seconds is not None:
        assert found.seconds == pytest.approx(each, rel=0.026)
    if found.seconds is not None and counted:
        assert found.seconds == pytest.approx(each, rel=1e-6)
