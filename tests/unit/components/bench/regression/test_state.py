"""States of a figure: what alarms and what does not."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.regression.baseline import FIRST, FULL
from aiidpd.components.bench.regression.state import MOST_RECENT, FigureState, after, rebaselined
from bench.regression import (
    FALSE_ALARMS_LIMIT,
    INTERVAL,
    NOISES,
    PROBES_LIMIT,
    percentile,
    simulate,
)
from tests.forms import short_and_long
from tests.unit.components.bench.regression.series import shifted, timed


def fed(state: FigureState, values: list[float], start: float = 0.0) -> FigureState:
    for at, value in timed(values, start):
        state = after(state, at, value)
    return state


def steady(count: int = 200, seed: int = 0, sign: int = 1) -> FigureState:
    """Return a state after so many samples about 80, the last one at 0."""
    values = shifted("iid", seed, 1.0, before=count, after=0)
    state = fed(FigureState(sign), values, -INTERVAL * (count - 1))
    assert state.status == "steady"
    return state


def test_it_learns_at_first_and_says_nothing():
    state = FigureState(1)
    for at, value in timed(shifted("iid", 1, 0.5, before=20, after=FIRST - 21)):
        state = after(state, at, value)
        assert (state.status, state.baseline, state.level) == ("learning", None, None)
    state = after(state, 1e6, 80.0)
    assert state.status == "steady"
    assert state.baseline is not None
    assert state.baseline.count == FIRST


def test_a_baseline_of_two_weeks_is_complete_and_changes_no_more():
    state = fed(FigureState(1), shifted("iid", 2, 1.0, before=FULL + 100, after=0))
    assert state.complete
    assert state.learned == ()
    assert len(state.recent) == MOST_RECENT
    again = fed(state, shifted("iid", 3, 1.0, before=300, after=0), 1e7)
    assert again.baseline == state.baseline


@pytest.mark.parametrize("sign", [1, -1])
def test_a_shift_is_an_alarm_once_with_size_and_onset(sign: int):
    state, begun = steady(sign=sign), []
    factor = 0.9 if sign == 1 else 1.1
    for at, value in timed(shifted("iid", 5, factor, before=0, after=60), INTERVAL):
        before, state = state, after(state, at, value)
        if state.status != before.status:
            begun.append((at, state.status))
    assert [status for _, status in begun] == ["regressed"]
    assert begun[0][0] <= 5 * INTERVAL
    assert state.shift is not None
    assert state.shift.ratio == pytest.approx(factor, abs=0.01)
    assert state.shift.ratio_low < state.shift.ratio < state.shift.ratio_high
    assert state.shift.confidence > 0.999
    assert abs(state.shift.onset - INTERVAL) <= INTERVAL
    assert state.shift.onset_from <= state.shift.onset <= state.shift.onset_to
    assert state.shift.shape == "step"


def test_an_improvement_is_no_regression():
    state = fed(steady(), shifted("iid", 5, 1.1, before=0, after=20), INTERVAL)
    assert state.status == "improved"
    assert state.shift is not None
    assert state.shift.ratio == pytest.approx(1.1, abs=0.02)


def test_figures_that_are_back_end_it():
    state = fed(steady(), shifted("iid", 5, 0.8, before=0, after=40), INTERVAL)
    assert state.status == "regressed"
    state = fed(state, shifted("iid", 6, 1.0, before=12, after=0), 1e6)
    assert state.status == "steady"
    assert state.shift is None
    assert state.found_at is None
    assert fed(state, shifted("iid", 7, 1.0, before=100, after=0), 2e6).status == "steady"


def test_what_is_half_back_is_no_end():
    state = fed(steady(), shifted("iid", 5, 0.8, before=0, after=40), INTERVAL)
    state = fed(state, shifted("iid", 6, 0.94, before=0, after=100), 1e6)
    assert state.status == "regressed"
    assert state.shift is not None
    assert state.shift.ratio == pytest.approx(0.94, abs=0.01)


@given(st.floats(0.001, 1000), st.integers(0, 30), st.integers(0, 50))
def test_one_outlier_is_never_an_alarm(factor: float, place: int, seed: int):
    state, values = steady(seed=11), shifted("iid", seed, 1.0, before=61, after=0, noise=0.01)
    values[10 + place] *= factor
    for at, value in timed(values, INTERVAL):
        state = after(state, at, value)
        assert state.status == "steady"


def test_no_alarm_makes_itself_usual_however_long_it_lasts():
    state = steady(150)
    for at, value in timed(shifted("iid", 8, 0.9, before=0, after=3 * FULL), INTERVAL):
        state = after(state, at, value)
    assert state.status == "regressed"
    assert state.baseline is not None
    assert state.baseline.value == pytest.approx(80, rel=0.01)
    assert 0.0 < INTERVAL - (state.shift.onset if state.shift else 0.0) + INTERVAL <= 4 * INTERVAL


def test_a_new_baseline_is_learned_from_the_shift_on():
    state = fed(steady(), shifted("iid", 8, 0.9, before=0, after=30), INTERVAL)
    assert state.status == "regressed"
    fresh = rebaselined(state)
    assert fresh.status == "learning"
    assert 28 <= len(fresh.learned) <= 31
    fresh = fed(fresh, shifted("iid", 9, 0.9, before=0, after=FIRST), 1e6)
    assert fresh.status == "steady"
    assert fresh.baseline is not None
    assert fresh.baseline.value == pytest.approx(72, rel=0.01)


def test_without_a_shift_a_new_baseline_begins_with_nothing():
    assert rebaselined(steady()) == FigureState(1)


def test_a_figure_that_gets_worse_little_by_little_is_called_gradual():
    state = fed(FigureState(1), shifted("iid", 1, 1.0, before=FULL, after=0))
    source = random.Random(3)
    values = [80 * (1 - 0.0012 * place) * math.exp(0.01 * source.gauss(0, 1)) for place in range(90)]
    state = fed(state, values, 1e7)
    assert state.status == "regressed"
    assert state.shift is not None
    assert state.shift.shape == "gradual"


def test_a_day_and_a_night_belong_to_the_noise():
    # 5 % slower by day than by night, for six weeks: the baseline has seen it.
    source, state, alarms = random.Random(1), FigureState(1), 0
    for place in range(3 * FULL):
        season = 0.025 * math.sin(2 * math.pi * place / 96)
        before, state = state, after(state, place * INTERVAL, 80 * math.exp(season + source.gauss(0, 0.01)))
        alarms += state.status != before.status
    assert alarms == 1  # from learning to steady


def test_a_clock_that_goes_back_breaks_nothing():
    state = steady(150)
    for at, value in timed(shifted("iid", 8, 0.9, before=0, after=100), -1e6):
        state = after(state, at, value)
    assert state.status == "regressed"
    assert rebaselined(state).learned


def test_figures_that_never_differ_are_no_alarm_at_the_first_breath():
    state = fed(FigureState(1), [80.0] * 200)
    assert state.status == "steady"
    assert fed(state, [79.0] * 50, 1e6).status == "steady"  # below what is worth a word
    assert fed(state, [70.0] * 4, 1e6).status == "regressed"


@given(
    st.lists(
        st.one_of(st.floats(), st.sampled_from([0.0, -1.0, math.nan, math.inf, 5e-324, 1e308, 80.0, 76.0])),
        max_size=30,
    ),
    st.sampled_from([1, -1]),
)
def test_whatever_is_given_the_state_holds_true_numbers_alone(values: list[float], sign: int):
    state = steady(sign=sign)
    for at, value in timed(values * 4, INTERVAL):
        before, state = state, after(state, at, value)
        if not (math.isfinite(value) and value > 0):
            assert state == before
        assert all(math.isfinite(each.value) and each.value > 0 for each in state.recent)
        assert (state.shift is not None) == (state.status in ("regressed", "improved"))
        assert (state.baseline is None) == (state.status == "learning")
        assert state.waiting <= len(state.recent)
        assert state.since <= MOST_RECENT
        if state.shift is not None:
            assert all(
                math.isfinite(each) and each > 0 for each in (state.shift.ratio, state.shift.ratio_low)
            )
            assert 0 <= state.shift.confidence <= 1
            assert state.shift.onset_from <= state.shift.onset <= state.shift.onset_to


@given(st.lists(st.sampled_from([1.0, 0.9, 0.8, 1.2, 0.97]), max_size=12), st.integers(0, 1000))
def test_every_alarm_follows_quiet_and_every_end_an_alarm(levels: list[float], seed: int):
    state = steady(seed=1)
    seen, at = ["steady"], 0.0
    for number, level in enumerate(levels):
        for value in shifted("ar1", seed + number, level, before=0, after=15):
            at += INTERVAL
            state = after(state, at, value)
            if state.status != seen[-1]:
                seen.append(state.status)
    assert all("steady" in pair for pair in pairwise(seen))


@short_and_long("months", 6, 300)
@pytest.mark.parametrize("noise", NOISES)
def test_a_shift_of_5_percent_is_found_within_six_probes_with_one_false_alarm_a_month(
    noise: str, months: int
):
    outcome = simulate(noise, months)
    # Of few months the figures vary: those of the long form are judged by what their number leaves open.
    slack = 3 * math.sqrt(FALSE_ALARMS_LIMIT / months)
    assert sum(outcome.alarms) / months <= FALSE_ALARMS_LIMIT + slack
    assert percentile(outcome.found, 0.95) <= PROBES_LIMIT + (0 if months > 100 else 3)
