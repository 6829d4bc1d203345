"""More tokens for engines that are too fast for the first try."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.longer import MOST_TOKENS, MOST_TRIES, longer
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.engines.target import Chunk, EngineTimings, Timeline
from tests.tables import made

SETTINGS = made(BenchSettings, interval=900.0)


def steady(tokens: int, each: float, first: float = 0.05, finish: str = "length") -> Timeline:
    chunks = tuple(Chunk(100 + first + each * at, 1) for at in range(tokens))
    return Timeline(100.0, chunks[-1].at, chunks, finish, 9, tokens, 0)


def test_an_engine_of_a_thousand_tokens_a_second_is_asked_for_as_many_as_tell_its_pace():
    more = longer(steady(64, 0.001), 64, 0.2, 1, SETTINGS)
    assert more == 305  # three times the shortest window
    assert longer(steady(305, 0.001), 305, 0.6, 2, SETTINGS) is None


def test_what_came_in_one_burst_is_asked_for_eight_times_as_much():
    assert longer(steady(64, 0.0), 64, 0.2, 1, SETTINGS) == 512


def test_what_only_the_engine_s_own_clock_confirms_is_long_enough_for_itself_and_not_for_others():
    confirmed = replace(steady(4, 0.0025), engine=EngineTimings(output_tokens=4, output_seconds=0.01))
    assert longer(confirmed, 4, 0.2, 1, SETTINGS) is None
    assert longer(confirmed, 4, 0.2, 1, SETTINGS, for_others=True) == 32


def test_an_answer_that_tells_its_pace_is_not_repeated():
    assert longer(steady(64, 0.02), 64, 0.2, 1, SETTINGS) is None


@pytest.mark.parametrize(
    ("record", "asked", "spent", "tries", "reason"),
    [
        (steady(20, 0.001, finish="stop"), 64, 0.2, 1, "ended by itself"),
        (steady(4096, 0.00001), MOST_TOKENS, 0.2, 1, "more than 4096 tokens are never requested"),
        (
            steady(64, 0.001),
            64,
            4.4,
            1,
            "than 4.5 s, 0.5% of bench.interval or bench.timeout: raise these, or set",
        ),
        (steady(64, 0.0001), 64, 0.2, MOST_TRIES, "3 tries were too short"),
    ],
)
def test_where_more_cannot_be_requested_the_reason_names_a_remedy(
    record: Timeline, asked: int, spent: float, tries: int, reason: str
):
    found = longer(record, asked, spent, tries, SETTINGS)
    assert isinstance(found, str)
    assert reason in found


@given(st.integers(2, 4096), st.floats(0, 0.01), st.floats(0, 10), st.floats(1, 5000), st.floats(1, 100))
def test_it_keeps_to_its_budget(tokens: int, each: float, first: float, interval: float, timeout: float):
    settings = made(BenchSettings, interval=interval, timeout=timeout)
    record = steady(tokens, each, first)
    spent = record.ended - record.started
    more = longer(record, tokens, spent, 1, settings)
    if isinstance(more, int):
        assert tokens < more <= MOST_TOKENS
        assert spent + first + each * (more - 1) <= min(settings.gpu_time_ratio * interval, timeout) + 0.02
