"""Verdict on a new image: what is not clear is not kept."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.compare.agreement import Agreement
from aiidpd.components.bench.compare.result import Times
from aiidpd.components.bench.guard.document import CriterionRecord, ImageRecord, Measurement, Upgrade
from aiidpd.components.bench.guard.options import Options
from aiidpd.components.bench.guard.verdict import figures_of, judge

OPTIONS = Options("llm", "llm:2")
UPGRADE = Upgrade(
    1, "20261128T000000Z", "llm", 0.0, ImageRecord("llm:1", "1"), ImageRecord("llm:2", "2"), "in place", "",
    "judge", "running", answers=Agreement(4, 4, 1.0, (), "4 of 4 answers are the same to the last character"),
)  # fmt: skip


def measured(ratio: float, noise: float = 0.01, count: int = 20, seed: int = 1) -> tuple[Measurement, ...]:
    """Return measurements of which the new one takes ``ratio`` times as long."""
    chance = random.Random(seed)

    def times(factor: float) -> Times:
        return Times(*(base * factor * (1 + chance.gauss(0, noise)) for base in (0.1, 0.02, 1.4)))

    old = [Measurement("old", 0, times(1.0)) for _ in range(count)]
    return (*old, *(Measurement("new", 0, times(ratio)) for _ in range(count)))


def upgrade(ratio: float, **fields: object) -> Upgrade:
    found = replace(UPGRADE, measurements=measured(ratio, **fields))  # type: ignore[arg-type]
    return replace(found, figures=figures_of(found.measurements))


@pytest.mark.parametrize("ratio", [0.5, 0.9, 1.0, 1.02])
def test_one_that_is_as_fast_or_faster_is_kept(ratio: float) -> None:
    assert judge(upgrade(ratio), OPTIONS) == ()


def test_one_that_is_slower_is_not() -> None:
    found = judge(upgrade(1.2), OPTIONS)
    assert {(each.criterion, each.clear) for each in found} == {("speed", True)}
    assert "at most 5 % slower is allowed" in found[0].text
    assert judge(upgrade(1.2), replace(OPTIONS, slower=0.3)) == ()


def test_one_of_which_it_is_not_clear_is_not_and_what_would_make_it_clear() -> None:
    found = judge(upgrade(1.02, noise=0.1, seed=3), OPTIONS)
    assert found
    assert not any(each.clear for each in found)
    assert any("--pairs" in each.remedy for each in found)
    assert judge(upgrade(1.0, count=400, noise=0.1, seed=3), OPTIONS) == ()


def test_too_few_measurements_are_not_clear() -> None:
    found = judge(upgrade(1.0, count=3), OPTIONS)
    assert {each.remedy for each in found} == {"--pairs 40"}


def test_a_figure_that_only_one_of_them_has_is_not_clear() -> None:
    old = tuple(each for each in measured(1.0) if each.side == "old")
    found = replace(UPGRADE, measurements=old, figures=figures_of(old))
    assert "of the new one there is no figure" in judge(found, OPTIONS)[0].text


def test_nothing_measured_is_not_clear() -> None:
    found = judge(replace(UPGRADE, figures=figures_of(())), OPTIONS)
    assert [(each.criterion, each.clear) for each in found] == [("speed", False)]


@pytest.mark.parametrize(
    ("share", "agree", "kept"), [(1.0, 0.5, True), (0.5, 0.5, True), (0.25, 0.5, False), (0.0, 0.0, True)]
)
def test_so_many_answers_must_be_the_same(share: float, agree: float, kept: bool) -> None:
    found = replace(upgrade(1.0), answers=Agreement(4, round(4 * share), share, (), "some"))
    assert (judge(found, replace(OPTIONS, agree=agree)) == ()) is kept


def test_answers_that_can_t_be_compared_are_not_clear() -> None:
    found = judge(replace(upgrade(1.0), answers=Agreement(text="not judged")), OPTIONS)
    assert [(each.criterion, each.clear) for each in found] == [("answers", False)]
    assert "--agree 0" in found[0].remedy


@pytest.mark.parametrize(
    ("outcome", "value", "reason", "kept", "clear"),
    [
        ("passed", 1.0, "", True, True),
        ("left out", None, "", True, True),
        ("failed", 1.0, "", False, True),
        ("impossible", None, "", False, True),
        ("not measured", 60.0, "no limit follows: the GPU is not known", True, True),
        ("not measured", None, "no answer came", False, False),
    ],
)
def test_criteria_of_acceptance(
    outcome: str, value: float | None, reason: str, kept: bool, clear: bool
) -> None:
    criteria = (CriterionRecord("speed", ">= 1", outcome, value, reason),)
    found = judge(replace(upgrade(1.0), acceptance=criteria), OPTIONS)
    assert (found == ()) is kept
    assert all(each.clear is clear for each in found)


def test_an_acceptance_that_could_not_be_tried_is_not_clear() -> None:
    (found,) = judge(replace(upgrade(1.0), acceptance_problem="it ended"), OPTIONS)
    assert not found.clear


@given(st.floats(0.5, 2.0), st.floats(0.001, 0.3), st.integers(0, 60), st.integers(0, 1000))
def test_every_finding_says_something(ratio: float, noise: float, count: int, seed: int) -> None:
    for each in judge(upgrade(ratio, noise=noise, count=count, seed=seed), OPTIONS):
        assert each.text
        assert each.clear or each.remedy or "of the" in each.text


def test_noise_alone_is_hardly_ever_found_slower() -> None:
    slower = sum(
        any(each.clear for each in judge(upgrade(1.05, noise=0.02, seed=seed), OPTIONS))
        for seed in range(100)
    )
    assert slower <= 8
