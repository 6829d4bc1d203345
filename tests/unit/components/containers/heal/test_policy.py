"""The policy that a container's labels, the rules and the defaults make together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.heal.policy import (
    LONGEST_LABEL,
    Budget,
    HealMode,
    Hours,
    policy_of,
)
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.components.containers.settings import HealRule, HealSettings
from aiidpd.config.units import Malformed, parse_budget, parse_hours
from tests.tables import made

DEFAULTS = HealSettings()
RULED = made(
    HealSettings,
    rules=(
        HealRule(container="vllm-*", mode="recreate", budget="2/10m", grace="1m"),
        HealRule(project="home", service="web", mode="off", depends_on=("db",), follow_restarts=True),
    ),
)


def container(name: str = "vllm", project: str = "", service: str = "", **labels: str) -> ContainerReading:
    found = {f"aiidpd.{key.replace('_', '-')}": text for key, text in labels.items()}
    return ContainerReading(
        "a" * 64, name, "image", "running", project=project, service=service, labels=found
    )


def test_without_a_label_it_notifies() -> None:
    policy = policy_of(container(), DEFAULTS)
    assert (policy.mode, policy.origin, policy.budget) == (HealMode.NOTIFY, "default", Budget(5, 3600.0))
    assert (policy.grace, policy.drain, policy.problems) == (300.0, 30.0, ())


def test_labels_win_over_rules_over_defaults() -> None:
    ruled = policy_of(container("vllm-a"), RULED)
    assert (ruled.mode, ruled.budget, ruled.grace) == (HealMode.RECREATE, Budget(2, 600.0), 60.0)
    assert ruled.origin == "containers.heal.rules[0]"
    labelled = policy_of(container("vllm-a", heal="restart", grace="5m"), RULED)
    assert (labelled.mode, labelled.budget, labelled.grace) == (HealMode.RESTART, Budget(2, 600.0), 300.0)
    assert labelled.origin == "label aiidpd.heal"
    assert policy_of(container("other"), RULED).mode is HealMode.NOTIFY


def test_a_rule_matches_by_all_that_it_names() -> None:
    found = policy_of(container("x", "home", "web"), RULED)
    assert (found.mode, found.depends_on, found.follow_restarts) == (HealMode.OFF, ("db",), True)
    assert policy_of(container("x", "home", "db"), RULED).mode is HealMode.NOTIFY


def test_every_label_is_read() -> None:
    policy = policy_of(
        container(
            heal="restart", budget="3/30m", grace="90s", drain="0s", stop_grace="2s",
            depends_on="db, cache,db", follow_restarts="true", quiet_hours="22:00-06:00",
        ),
        DEFAULTS,
    )  # fmt: skip
    assert policy.problems == ()
    assert (policy.budget, policy.grace, policy.drain, policy.stop_grace) == (
        Budget(3, 1800.0),
        90.0,
        0.0,
        2.0,
    )
    assert (policy.depends_on, policy.follow_restarts) == (("db", "cache"), True)
    assert policy.quiet_hours == Hours(22 * 60, 6 * 60)


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("heal", "reboot"),
        ("heal", ""),
        ("budget", "often"),
        ("budget", "0/1h"),
        ("budget", "5/0s"),
        ("budget", "1001/1h"),
        ("budget", "5/99999d"),
        ("grace", "5"),
        ("grace", "2d"),
        ("drain", "-1s"),
        ("stop-grace", "11m"),
        ("depends-on", "a,b c"),
        ("depends-on", ",".join(f"c{number}" for number in range(33))),
        ("follow-restarts", "yes"),
        ("quiet-hours", "25:00-06:00"),
        ("quiet-hours", "06:00-06:00"),
    ],
)
def test_a_label_that_makes_no_sense_is_named_and_nothing_is_healed(label: str, text: str) -> None:
    labels = {"aiidpd.heal": "restart", f"aiidpd.{label}": text}
    policy = policy_of(ContainerReading("a", "vllm", "image", "running", labels=labels), DEFAULTS)
    assert policy.mode is HealMode.NOTIFY
    (problem,) = policy.problems
    assert problem.label == f"aiidpd.{label}"
    assert problem.reason


@pytest.mark.parametrize("text", ["x" * 60_000, "5/1h\x1b[2J\n", "\x00", "\u202e5/1h", "\u0665/1h"])
@pytest.mark.parametrize("label", ["heal", "budget", "grace", "depends-on", "quiet-hours"])
def test_a_hostile_label_is_bounded_and_cannot_steer_a_terminal(label: str, text: str) -> None:
    labels = {"aiidpd.heal": "restart", f"aiidpd.{label}": text}
    policy = policy_of(ContainerReading("a", "vllm", "image", "running", labels=labels), DEFAULTS)
    assert policy.mode is HealMode.NOTIFY
    (problem,) = policy.problems
    assert problem.reason.isprintable()
    assert len(problem.reason) < 200


@given(
    st.dictionaries(
        st.sampled_from(["heal", "budget", "grace", "drain", "depends_on", "quiet_hours"]), st.text()
    )
)
def test_any_labels_give_a_policy(labels: dict[str, str]) -> None:
    policy = policy_of(container(**labels), DEFAULTS)
    if policy.problems:
        assert policy.mode is HealMode.NOTIFY
    assert all(each.reason.isprintable() for each in policy.problems)


@given(st.integers(1, 1000), st.integers(1, 30 * 24))
def test_a_budget_is_read_as_it_is_written(often: int, hours: int) -> None:
    assert parse_budget(f"{often}/{hours}h") == (often, hours * 3600.0)


@given(st.text(max_size=LONGEST_LABEL))
def test_any_text_is_a_budget_or_refused(text: str) -> None:
    try:
        often, window = parse_budget(text)
    except Malformed:
        return
    assert 1 <= often <= 1000
    assert 1 <= window <= 30 * 86_400


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 1439))
def test_hours_and_the_rest_of_the_day_are_the_whole_day(begin: int, end: int, minute: int) -> None:
    if begin == end:
        return

    def text(first: int, last: int) -> str:
        return f"{first // 60:02}:{first % 60:02}-{last // 60:02}:{last % 60:02}"

    hours, rest = parse_hours(text(begin, end)), parse_hours(text(end, begin))
    assert hours is not None
    assert rest is not None
    assert Hours(*hours).contain(minute) != Hours(*rest).contain(minute)
    assert str(Hours(*hours)) == text(begin, end)
