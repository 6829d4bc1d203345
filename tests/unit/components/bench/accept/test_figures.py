"""Figures of requests alone and together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.accept.figures import (
    Failure,
    Outcome,
    Round,
    alone,
    error_rate,
    failures_in_words,
    memory_failures,
    together,
)
from aiidpd.components.bench.stats import TTFT, BenchSample, Withheld, measure
from aiidpd.engines.target import Chunk, Timeline

REFUSED = Failure("limited", "it answers 429")


def sample(first: float = 0.05, each: float = 0.01, tokens: int = 32) -> BenchSample:
    chunks = tuple(Chunk(first + each * place, 4, 1, 4) for place in range(tokens))
    return measure(Timeline(0.0, chunks[-1].at, chunks, finish="length", output_tokens=tokens))


def outcome(*, ended: float = 2.0, tokens: int | None = 64) -> Outcome:
    return Outcome(0.0, ended, 0.1, tokens)


def test_percentiles_are_of_the_samples():
    found = alone([sample(first) for first in [0.05] * 19 + [0.5, 0.6]], [])
    assert found["ttft_p50"].value == pytest.approx(0.05)
    assert found["ttft_p95"].value == pytest.approx(0.5)
    assert found["tokens_per_second"].value == pytest.approx(100, rel=0.01)
    assert found["ttft_p50"].samples == 21


def test_a_p95_of_few_requests_is_none():
    found = alone([sample()] * 5, [])
    assert found["ttft_p50"].value is not None
    assert found["ttft_p95"].reason == "a p95 needs 20 requests, and 5 gave a figure"


def test_a_p95_of_few_says_why_they_are_few():
    late = replace(sample(), ttft_seconds=None, withheld=(Withheld(TTFT, "this process was late"),))
    found = alone([sample()] * 19 + [late] * 11, [])
    assert found["ttft_p50"].value is not None
    assert found["ttft_p95"].reason == (
        "a p95 needs 20 requests, and 19 gave a figure: this process was late"
    )


def test_where_half_of_the_requests_give_no_figure_there_is_none():
    withheld = replace(sample(), ttft_seconds=None, withheld=(Withheld(TTFT, "the prefix cache answered"),))
    found = alone([sample(), withheld], [])
    assert (found["ttft_p50"].value, found["ttft_p50"].reason) == (None, "the prefix cache answered")
    assert alone([sample()], [REFUSED])["ttft_p50"].reason == "1 limited: it answers 429"
    assert alone([], [])["ttft_p50"].reason == "no request was made"


def test_together_counts_failures_and_sums_tokens():
    found = together([Round((outcome(), outcome(ended=4.0), Outcome(failure=REFUSED), outcome()))])
    assert found["concurrent_success"].value == 0.75
    assert found["concurrent_success"].reason == "1 limited: it answers 429"
    assert found["concurrent_tokens_per_second"].value == 3 * 64 / 4


def test_several_rounds_are_one_load():
    found = together([Round((outcome(),) * 10), Round((outcome(),) * 10)])
    assert found["concurrent_success"].samples == 20
    assert found["concurrent_ttft_p95"].value == 0.1
    assert found["concurrent_tokens_per_second"].value == 20 * 64 / 4


def test_fewer_on_the_wire_than_asked_for_are_no_figures():
    found = together([Round((outcome(),), "8 streams were asked for, and 7 were on the wire at once")])
    assert {each.value for each in found.values()} == {None}
    assert all("7 were on the wire" in each.reason for each in found.values())


def test_answers_without_usage_give_no_speed():
    found = together([Round((outcome(tokens=None),))])
    assert "no usage" in found["concurrent_tokens_per_second"].reason
    assert found["concurrent_success"].value == 1
    failed = together([Round((Outcome(failure=REFUSED),))])
    assert failed["concurrent_tokens_per_second"].reason == "1 limited: it answers 429"


def test_failures_are_counted_by_kind():
    failures = [REFUSED, REFUSED, Failure("cut", "the stream ended")]
    assert failures_in_words(failures) == "2 limited, 1 cut: it answers 429"
    assert error_rate(12, failures).value == 0.25
    assert error_rate(0, []).value is None
    assert memory_failures([Failure("engine_error", "CUDA out of memory"), REFUSED]) == 1
    assert memory_failures([Failure("engine_error", "no room for it")]) == 0


OUTCOMES = st.lists(
    st.one_of(
        st.builds(
            Outcome,
            started=st.floats(0, 10),
            ended=st.floats(10.001, 20),
            ttft=st.one_of(st.none(), st.floats(0, 10)),
            output_tokens=st.one_of(st.none(), st.integers(0, 100)),
        ),
        st.just(Outcome(failure=REFUSED)),
    ),
    max_size=6,
)


@given(st.lists(OUTCOMES.map(lambda each: Round(tuple(each))), max_size=4))
def test_each_figure_is_a_number_or_has_its_reason(rounds: list[Round]):
    for figure in together(rounds).values():
        assert (figure.value is None) <= bool(figure.reason)
        assert figure.value is None or figure.value >= 0
