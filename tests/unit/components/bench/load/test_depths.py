"""Speeds by depth, from records that are known."""

from __future__ import annotations

import pytest

from aiidpd.components.bench.load.depths import continued, filled, per_estimated, row_of
from aiidpd.components.bench.load.draws import Draws
from aiidpd.engines.target import Chunk, EngineTimings, Timeline


def record(cached: int | None, engine: EngineTimings | None = None, late: float = 0.0) -> Timeline:
    chunks = tuple(Chunk(10.25 + 0.02 * place, 4, 1, late=late) for place in range(128))
    return Timeline(10.0, 13, chunks, "length", 4608, 128, cached, engine)


def test_the_speed_of_reading_is_that_of_what_had_to_be_read():
    row = row_of(4096, record(4096))
    assert (row.prompt_tokens, row.read, row.reason) == (4608, 512, "")
    assert row.prompt_tokens_per_second == pytest.approx(2048)
    assert row.output_tokens_per_second == pytest.approx(50)


def test_the_engine_s_own_count_says_it_too():
    assert row_of(4096, record(None, EngineTimings(prompt_tokens=500))).read == 500


def test_where_nobody_says_what_was_read_there_is_no_speed():
    row = row_of(4096, record(None))
    assert row.prompt_tokens_per_second is None
    assert "does not say" in row.reason
    assert row_of(0, record(None)).read == 4608


def test_a_client_that_was_late_has_no_speed_of_reading():
    row = row_of(4096, record(4096, late=0.1))
    assert row.prompt_tokens_per_second is None
    assert "late" in row.reason


def test_the_second_prompt_goes_on_where_the_first_ended():
    draws = Draws(1)
    beginning = filled(draws, "nonce", 400)
    assert beginning.startswith("nonce ")
    longer = continued(draws, beginning, 400, 100)
    assert longer.startswith(beginning)
    assert len(longer.split()) == len(beginning.split()) + 75
    assert filled(draws, "nonce", 0) == "nonce"


@pytest.mark.parametrize(
    ("counts", "factor"), [([150, 600], 1.5), ([None, 600], None), ([600, 150], None), ([150, 150], None)]
)
def test_the_server_s_tokens_are_counted_in_estimated_ones(counts: list[int | None], factor: float | None):
    assert per_estimated(counts) == factor
