"""Choice of what is read now: tables, and days of it by chance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.process.scrub_plan import (
    DAY,
    bytes_needed,
    in_order,
    oldest,
    sampled,
    within_budget,
)

NOW = 1_000 * DAY


@dataclass(frozen=True)
class Content:
    key: str
    size: int = 100
    since: float = NOW - DAY
    proven_at: float | None = None
    suspect: bool = False


def read(days_ago: float, key: str = "", size: int = 100) -> Content:
    return Content(key or f"{days_ago:g}", size, NOW - 500 * DAY, NOW - days_ago * DAY)


def keys(contents: list[Content]) -> str:
    return " ".join(each.key for each in contents)


def test_suspects_come_first_then_those_never_read_then_the_oldest_proof():
    late, early = Content("late"), Content("early", since=NOW - 9 * DAY)
    bad = replace(read(1), key="bad", suspect=True)
    assert keys(in_order([read(3), late, read(20), bad, early])) == "bad early late 20 3"


@pytest.mark.parametrize(
    ("budget", "chosen"),
    [(0, "bad"), (1, "bad 20"), (100, "bad 20"), (101, "bad 20 3"), (10_000, "bad 20 3 1")],
)
def test_a_budget_is_used_up_and_bounds_no_suspect(budget: int, chosen: str):
    bad = replace(read(0), key="bad", suspect=True, size=1_000_000)
    assert keys(within_budget([read(1), read(3), read(20), bad], budget)) == chosen


def test_a_budget_may_be_one_that_no_content_goes_beyond():
    found = [read(20, size=100), read(3, size=50), read(1, size=1)]
    chosen = [keys(within_budget(found, budget, beyond=False)) for budget in (99, 100, 149, 151)]
    assert chosen == ["", "20", "20", "20 3 1"]


@pytest.mark.parametrize(
    ("contents", "needed"),
    [
        ([], 0),
        ([read(0)], 4),  # 100 bytes in 31 runs: today's and one a day
        ([read(29)], 50),
        ([read(30)], 100),
        ([read(300)], 100),  # overdue: in this run
        ([read(29), read(0)], 50),
        ([read(30), read(30, "b"), read(0)], 200),
        ([Content("new", since=NOW)], 4),
        ([Content("new", since=NOW, size=10_000), read(30)], 10_100),  # which is read after it
        ([replace(read(30), suspect=True)], 0),  # read whatever the budget
    ],
)
def test_the_bytes_needed_follow_from_the_time_left(contents: list[Content], needed: int):
    assert bytes_needed(contents, within=30 * DAY, every=DAY, now=NOW) == needed


contents = st.lists(
    st.builds(
        Content,
        key=st.uuids().map(str),
        size=st.integers(0, 1000),
        since=st.floats(NOW - 40 * DAY, NOW),
        proven_at=st.none() | st.floats(NOW - 40 * DAY, NOW),
    ),
    max_size=20,
    unique_by=lambda each: each.key,
)


@given(contents, st.integers(1, 40), st.sampled_from([DAY / 4, DAY, 7 * DAY]), st.data())
def test_no_proof_grows_older_than_configured(
    found: list[Content], days: int, every: float, data: st.DataObject
) -> None:
    within, now = max(days * DAY, every), NOW
    for run in range(12):
        budget = bytes_needed(found, within=within, every=every, now=now)
        done = {each.key for each in within_budget(found, budget, beyond=False)}
        found = [replace(each, proven_at=now) if each.key in done else each for each in found]
        for each in found:  # the next run is in time for each
            begun = each.since if each.proven_at is None else each.proven_at
            assert begun + within >= now + every - 1e-3 or each.key in done
        for number in range(data.draw(st.integers(0, 2))):
            size = data.draw(st.integers(0, 5000))
            found.append(Content(f"{run}.{number}", size, since=now + every / 2))
        now += every


@given(contents, st.floats(0, 1), st.integers())
def test_a_sample_has_its_share_of_the_bytes(found: list[Content], share: float, seed: int):
    chosen = sampled(found, share, seed)
    assert sum(each.size for each in chosen) >= share * sum(each.size for each in found) - len(found)
    assert chosen == sampled(list(reversed(found)), share, seed)
    assert set(chosen) <= set(found)
    if share == 1:
        assert len(chosen) == len(found)


def test_each_content_has_its_turn_in_samples():
    found = [Content(str(number)) for number in range(50)]
    drawn = [each.key for seed in range(200) for each in sampled(found, 0.1, seed)]
    assert len(drawn) == 200 * 5
    assert all(5 <= drawn.count(each.key) <= 40 for each in found)


def test_a_suspect_is_in_each_sample():
    found = [Content(str(number), suspect=number == 7) for number in range(50)]
    assert all("7" in keys(sampled(found, 0.0, seed)).split() for seed in range(10))


def test_the_oldest_proof_and_the_bytes_without_any():
    assert oldest([]) == (None, 0)
    assert oldest([read(3), read(9), Content("new", 7)]) == (NOW - 9 * DAY, 7)
