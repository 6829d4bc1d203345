"""Verdicts: passed, failed, impossible, not measured, left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.accept.criteria import FIGURES, Bound, Criterion, Profile
from aiidpd.components.bench.accept.limits import Limits, Machine, limits
from aiidpd.components.bench.accept.verdict import (
    Measured,
    Outcome,
    Verdict,
    accepted,
    assess,
    plausible,
)

SEED = limits(Machine(bandwidth=102.4e9, weights=2e9, stated=True), prompt_tokens=None, streams=8)
ASSUMED = limits(Machine(bandwidth=102.4e9, weights=2e9), prompt_tokens=None, streams=8)


def verdict(criterion: Criterion, measured: Measured, of: Limits, engine: str = "") -> Verdict:
    figures = plausible({criterion.figure: measured}, of)
    (found,) = assess(Profile("own", (criterion,)), engine, figures, of)
    return found


def speed(limit: float, bound: Bound = Bound.ABOVE) -> Criterion:
    return Criterion("speed", "tokens_per_second", bound, limit)


def test_a_figure_on_its_side_passes_and_on_the_other_fails():
    assert verdict(speed(40), Measured(45), SEED).outcome is Outcome.PASSED
    assert verdict(speed(40), Measured(40), SEED).outcome is Outcome.FAILED
    assert verdict(speed(40, Bound.AT_LEAST), Measured(40), SEED).outcome is Outcome.PASSED


def test_a_criterion_that_physics_forbids_is_impossible_by_its_figure():
    found = verdict(speed(100), Measured(45), SEED)
    assert found.outcome is Outcome.IMPOSSIBLE
    assert found.reason == "at most 51.2 tok/s = 1 / (2 GB / 102.4 GB/s)"
    assert found.value == 45
    late = Criterion("ttft", "ttft_p50", Bound.BELOW, 0.01)
    assert verdict(late, Measured(0.04), SEED).reason == "at least 19.5 ms = 2 GB / 102.4 GB/s"
    assert verdict(speed(100), Measured(reason="it is gone"), SEED).outcome is Outcome.IMPOSSIBLE


def test_beyond_a_limit_that_is_an_assumption_a_criterion_fails_and_says_what_it_would_need():
    found = verdict(speed(100), Measured(45), ASSUMED)
    assert found.outcome is Outcome.FAILED
    assert found.reason == (
        "at most 51.2 tok/s = 1 / (2 GB / 102.4 GB/s), if all these weights are read from this memory"
    )


def test_a_figure_that_physics_forbids_is_none():
    found = verdict(speed(40), Measured(120.0, samples=9), SEED)
    assert (found.outcome, found.value, found.samples) == (Outcome.NOT_MEASURED, None, 9)
    assert found.reason.startswith(
        "120 tok/s is more than 51.2 tok/s = 1 / (2 GB / 102.4 GB/s) allow: weights"
    )


def test_where_the_limit_is_an_assumption_the_figure_disproves_it():
    found = verdict(speed(100), Measured(120.0), ASSUMED)
    assert (found.outcome, found.value) == (Outcome.PASSED, 120)
    assert found.reason.startswith("beyond the limit for these weights and this memory, 51.2 tok/s")


def test_a_derived_limit_is_a_share_of_the_expected_speed():
    assert SEED.expected is not None
    criterion = speed(0.5, Bound.OF_EXPECTED)
    found = verdict(criterion, Measured(SEED.expected.value * 0.51), SEED)
    assert (found.outcome, found.limit) == (Outcome.PASSED, pytest.approx(0.5 * SEED.expected.value))
    assert "50 % of the expected" in found.wanted
    gone = verdict(criterion, Measured(reason="it is gone"), Limits(reason="give --weights"))
    assert (gone.outcome, gone.reason) == (Outcome.NOT_MEASURED, "it is gone")
    unknown = verdict(criterion, Measured(45), Limits(reason="give --weights"))
    assert (unknown.outcome, unknown.reason) == (Outcome.NOT_MEASURED, "no limit follows: give --weights")


def test_what_was_not_measured_counts_as_not_passed_unless_it_may_be_left_open():
    missing = Measured(reason="no daemon")
    required = verdict(Criterion("gpu", "gpu_utilization", Bound.ABOVE, 0.75), missing, SEED)
    assert (required.outcome, required.reason, required.good) == (Outcome.NOT_MEASURED, "no daemon", False)
    optional = Criterion("gpu", "gpu_utilization", Bound.ABOVE, 0.75, required=False)
    assert verdict(optional, missing, SEED).good


def test_a_criterion_for_another_engine_is_left_out_and_alone_accepts_nothing():
    criterion = Criterion("ttft", "ttft_p50", Bound.BELOW, 0.1, engine="vllm")
    found = verdict(criterion, Measured(5), SEED, engine="llama.cpp")
    assert (found.outcome, found.reason) == (Outcome.LEFT_OUT, "for vllm alone, and this is llama.cpp")
    assert found.good
    assert not accepted((found,))
    assert not accepted(())
    assert verdict(criterion, Measured(0.05), SEED, engine="vllm").outcome is Outcome.PASSED


LIMITS = st.sampled_from((SEED, ASSUMED, Limits(reason="not known")))
CRITERIA = st.builds(
    Criterion,
    name=st.just("one"),
    figure=st.sampled_from(list(FIGURES)),
    bound=st.sampled_from([each for each in Bound if not each.derived]),
    limit=st.floats(0, 1e4),
    required=st.booleans(),
)


@given(CRITERIA, st.one_of(st.none(), st.floats(0, 1e4)), LIMITS)
def test_a_verdict_contradicts_neither_its_figure_nor_physics(
    criterion: Criterion, value: float | None, of: Limits
):
    found = verdict(criterion, Measured(value, "" if value is not None else "none"), of)
    assert found.wanted
    assert found.found
    if found.outcome is Outcome.PASSED:
        assert found.value is not None
        assert criterion.bound.holds(found.value, criterion.limit)
    if found.outcome is Outcome.FAILED:
        assert found.value is not None
        assert not criterion.bound.holds(found.value, criterion.limit)
    if found.outcome in (Outcome.IMPOSSIBLE, Outcome.NOT_MEASURED):
        assert found.reason
    bound = of.bounds.get(criterion.figure)
    if bound is not None and of.certain and found.value is not None:
        slower = found.value >= bound.value if "ttft" in criterion.figure else found.value <= bound.value
        assert slower
