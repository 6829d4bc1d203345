from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.alerts.rule import AlertRule, by_name, table
from aiidpd.alerts.state import (
    Alert,
    Change,
    Key,
    Observation,
    Stage,
    Status,
    Transition,
    above,
    below,
    step,
)
from aiidpd.kernel.events import Severity

TRUE, BETWEEN, FALSE, UNKNOWN = Status

RULE = AlertRule("Hot", Severity.WARNING, "it is hot.", "{what} is hot", "cool it", dwell=5.0)
KEEPS = AlertRule("Lost", Severity.ERROR, "it is lost.", "{what} is lost", "find it", keep_firing=4.0)
conditions = st.sampled_from(list(Status))


def seen(condition: Status, rule: AlertRule = RULE, subject: str = "x") -> Observation:
    return Observation(rule.name, subject, condition, {"what": subject})


def changes(
    course: Iterable[Status | None], rule: AlertRule = RULE, period: float = 1.0
) -> list[tuple[float, Change]]:
    """Let ``course`` be observed, one a ``period``; None is a pass in which nothing was said."""
    alerts: dict[Key, Alert] = {}
    told = []
    for number, condition in enumerate(course):
        observed = [] if condition is None else [seen(condition, rule)]
        alerts, now_told = step(alerts, observed, number * period, {rule.name: rule})  # type: ignore[assignment]
        told += [(number * period, each.change) for each in now_told]
    return told


def test_a_condition_that_holds_is_pending_for_its_dwell_and_then_fires_until_it_is_clear():
    course = [FALSE, *[TRUE] * 8, BETWEEN, FALSE, FALSE]
    assert changes(course) == [(1, Change.PENDING), (6, Change.FIRING), (10, Change.RESOLVED)]


def test_what_did_not_last_is_cancelled_and_begins_anew():
    course = [*[TRUE] * 5, FALSE, *[TRUE] * 6]
    expected = [(0, Change.PENDING), (5, Change.CANCELLED), (6, Change.PENDING), (11, Change.FIRING)]
    assert changes(course) == expected


def test_in_the_band_the_dwell_rests():
    course = [TRUE, TRUE, *[BETWEEN] * 60, *[TRUE] * 5]
    assert changes(course) == [(0, Change.PENDING), (66, Change.FIRING)]


def test_what_nobody_knows_neither_fires_nor_resolves_nor_counts():
    unknown = [None, UNKNOWN] * 20
    assert changes([TRUE, TRUE, *unknown, *[TRUE] * 5]) == [(0, Change.PENDING), (46, Change.FIRING)]
    assert changes([*[TRUE] * 6, *unknown, FALSE])[1:] == [(5, Change.FIRING), (46, Change.RESOLVED)]


@pytest.mark.parametrize("silence", [None, UNKNOWN])
def test_what_nobody_knows_for_long_expires_which_is_told_apart_from_resolved(silence: Status | None):
    assert changes([*[TRUE] * 6, *[silence] * 400])[1:] == [(5, Change.FIRING), (305, Change.EXPIRED)]
    assert changes([TRUE, *[silence] * 400]) == [(0, Change.PENDING), (300, Change.CANCELLED)]
    assert changes([FALSE, *[silence] * 400]) == []


def test_an_alert_keeps_firing_until_it_is_clear_for_long_enough():
    course = [TRUE, FALSE, FALSE, TRUE, FALSE, BETWEEN, FALSE, FALSE, None, *[FALSE] * 6]
    assert changes(course, KEEPS) == [(0, Change.FIRING), (13, Change.RESOLVED)]


def test_each_subject_has_an_alert_of_its_own():
    rules = {RULE.name: RULE}
    alerts, _ = step({}, [seen(TRUE, subject="a"), seen(FALSE, subject="b")], 0.0, rules)
    assert {key[1]: alert.stage for key, alert in alerts.items()} == {"a": Stage.PENDING, "b": Stage.INACTIVE}


def test_two_words_on_one_thing_and_words_on_no_alert_are_bugs():
    with pytest.raises(ValueError, match="twice"):
        step({}, [seen(TRUE), seen(FALSE)], 0.0, {RULE.name: RULE})
    with pytest.raises(ValueError, match="no alert"):
        step({}, [seen(TRUE)], 0.0, {})
    with pytest.raises(ValueError, match="two alerts"):
        by_name([RULE, RULE])


def test_an_alert_whose_rule_is_gone_ends():
    alerts, _ = step({}, [seen(TRUE)], 0.0, {RULE.name: RULE})
    assert step(alerts, [], 1.0, {KEEPS.name: KEEPS}) == ({}, ())


def test_a_transition_says_what_happened():
    def reason(change: Change) -> str:
        return Transition(RULE, "x", change, 61.4, {"what": "GPU 0"}).reason

    assert [reason(change) for change in Change] == [
        "GPU 0 is hot; fires if that holds for 5 s",
        "GPU 0 is hot",
        "over after 61 s: GPU 0 is hot",
        "did not last: GPU 0 is hot",
        "nothing is known for 300 s, the last was: GPU 0 is hot",
    ]


def test_what_fires_on_says_what_it_fired_for_and_its_end_has_words_of_its_own():
    rule = AlertRule(
        "Odd", Severity.INFO, "", "gave {count} odd ones", "", keep_firing=4.0, ended="odd no more"
    )
    rules = {rule.name: rule}

    def odd(condition: Status, count: int) -> list[Observation]:
        return [Observation("Odd", "x", condition, {"count": count})]

    alerts, (fired,) = step({}, odd(TRUE, 3), 0.0, rules)
    assert fired.reason == "gave 3 odd ones"
    alerts, _ = step(alerts, odd(BETWEEN, 2), 1.0, rules)
    for now in (2.0, 3.0, 4.0, 5.0):
        alerts, _ = step(alerts, odd(FALSE, 0), now, rules)
        assert rule.summarize(alerts["Odd", "x"].evidence) == "gave 2 odd ones"
    alerts, (resolved,) = step(alerts, odd(FALSE, 0), 6.0, rules)
    assert resolved.reason == "over after 6 s: odd no more"


def test_above_and_below_have_a_band_and_know_what_is_not_known():
    assert [above(value, 85, 82) for value in (85.0, 84.9, 82.1, 82.0, None)] == [
        TRUE, BETWEEN, BETWEEN, FALSE, UNKNOWN,
    ]  # fmt: skip
    assert [below(value, 5, 8) for value in (5.0, 5.1, 7.9, 8.0, None)] == [
        TRUE, BETWEEN, BETWEEN, FALSE, UNKNOWN,
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [{"dwell": -1.0}, {"keep_firing": -1.0}, {"stale_after": 0.0}])
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="Odd"):
        AlertRule("Odd", Severity.INFO, "", "", "", **wrong)


def test_the_table_has_a_line_for_each_rule():
    assert "| [Hot](../aiidpd/alerts/runbooks/Hot.md) | warning | it is hot. | 5 s | 0 s |" in table(
        [RULE, KEEPS]
    )


@given(
    st.lists(conditions | st.none(), max_size=60),
    st.sampled_from([0.0, 1.0, 3.5]),
    st.sampled_from([0.0, 2.0]),
)
def test_changes_chain(course: list[Status | None], dwell: float, keep: float):
    rule = AlertRule("R", Severity.INFO, "", "", "", dwell=dwell, keep_firing=keep, stale_after=10)
    told = [change for _, change in changes(course, rule)]
    ends = {Change.RESOLVED, Change.EXPIRED}
    may_follow = {
        None: {Change.PENDING} if dwell else {Change.FIRING},
        Change.PENDING: {Change.FIRING, Change.CANCELLED},
        Change.FIRING: ends,
    }
    for before, change in itertools.pairwise([None, *told]):
        ended = before in (*ends, Change.CANCELLED)
        assert change in may_follow[None if ended else before]


@given(st.lists(conditions | st.none(), max_size=60), st.floats(0.5, 8))
def test_pending_never_skips_its_dwell_and_fires_only_on_what_holds(
    course: list[Status | None], dwell: float
):
    rule = AlertRule("R", Severity.INFO, "", "", "", dwell=dwell)
    for at, change in changes(course, rule):
        if change is Change.FIRING:
            now = int(at)
            assert course[now] is TRUE
            since = max((n for n in range(now) if course[n] is FALSE), default=-1) + 1
            both = [n for n in range(since, now) if course[n] is TRUE and course[n + 1] is TRUE]
            assert len(both) >= dwell


@given(
    st.floats(0, 200),
    st.floats(0.5, 10),
    st.lists(st.floats(-0.999, 0.999), min_size=1, max_size=200),
    st.sampled_from([0.0, 5.0]),
)
def test_noise_within_the_hysteresis_fires_at_most_once(
    threshold: float, band: float, noise: list[float], dwell: float
):
    rule = AlertRule("R", Severity.INFO, "", "", "", dwell=dwell)
    course = [above(threshold + band * each, threshold, threshold - band) for each in noise]
    told = [change for _, change in changes(course, rule)]
    assert told in ([], [Change.FIRING], [Change.PENDING], [Change.PENDING, Change.FIRING])


@given(st.lists(conditions, max_size=40), st.lists(st.none() | st.just(UNKNOWN), max_size=30))
def test_silence_changes_nothing_before_it_is_too_long(course: list[Status], silence: list[Status | None]):
    told = changes([*course, *silence])
    assert told == changes(course)


def test_a_day_of_noise_around_the_threshold_makes_no_second_transition():
    rule = AlertRule("R", Severity.INFO, "", "", "", dwell=10.0)
    rng = random.Random(7)
    course = (above(85 + rng.uniform(-2, 2), 85, 82) for _ in range(86_400))
    assert [change for _, change in changes(course, rule)] == [Change.PENDING, Change.FIRING]
