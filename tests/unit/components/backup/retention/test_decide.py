from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.retention.decide import decide
from aiidpd.components.backup.retention.snapshots import (
    FIRM,
    PRUNES,
    SOFT,
    Retention,
    Rule,
    SourceContents,
    StoredSnapshot,
)
from aiidpd.components.backup.settings import RetentionSettings
from tests.forms import examples
from tests.tables import made
from tests.unit.components.backup.retention.worlds import SIZES, World, policies, worlds

NUMBERS = ("keep_last", "keep_daily", "keep_weekly", "keep_monthly")
OLD = SourceContents(frozenset({"elsewhere"}), frozenset())  # a source that has none of what is stored


def whole(each: StoredSnapshot) -> bool:
    return not each.broken and not each.in_future


def held(snapshots: list[StoredSnapshot] | tuple[StoredSnapshot, ...]) -> set[str]:
    return {digest for each in snapshots for digest in each.contents or ()}


def still_there(world: World, snapshots: list[StoredSnapshot] | tuple[StoredSnapshot, ...]) -> set[str]:
    """Return the digests that a source has, or may have by what ``snapshots`` hold of it."""
    found = {digest for source in world.sources.values() for digest in source.digests}
    for each in snapshots:
        if each.source not in world.sources or not world.sources[each.source].digests:
            found |= held([each])
    return found


def versions(snapshots: list[StoredSnapshot], world: World) -> dict[tuple[str, str], frozenset[str]]:
    """Return the newest whole version of each model that its source has, or may have."""
    found = {}
    for each in sorted(snapshots, key=lambda each: (each.created_at, each.id)):
        source = world.sources.get(each.source)
        for name, files in each.models.items():
            there = source is None or not source.digests or name in source.models
            if whole(each) and there and files and files <= held([each]):
                found[each.source, name] = files
    return found


@examples(1000)
@given(worlds(), policies)
def test_never_is_the_last_copy_of_what_the_source_has_removed(world: World, policy: RetentionSettings):
    before, kept = world.snapshots, world.kept(policy)
    there = still_there(world, before)
    assert held(kept) & there == held(before) & there
    there = still_there(world, [each for each in before if whole(each)])  # the others stay themselves
    # An unknown source has its content in its own snapshots: proven copies of it elsewhere may go.
    known = frozenset().union(*(source.digests for source in world.sources.values()))
    for good, needed in ((whole, there), (lambda each: whole(each) and each.proven, there & known)):
        assert held([each for each in kept if good(each)]) & needed >= (
            held([each for each in before if good(each)]) & needed
        )
        all_versions = versions([each for each in before if good(each)], world)
        assert versions([each for each in kept if good(each)], world) == all_versions


@examples(500)
@given(worlds(), policies)
def test_what_is_broken_or_from_the_future_is_never_lost_and_counts_for_nothing(
    world: World, policy: RetentionSettings
):
    gone = set(world.decide(policy).removals)
    reasons = {each.id: {reason.rule for reason in each.reasons} for each in world.decide(policy).decisions}
    for each in world.snapshots:
        if not whole(each):
            assert not reasons[each.id] & {Rule.LAST, Rule.DAILY, Rule.WEEKLY, Rule.MONTHLY, Rule.NEWEST}
            if each.id in gone:
                assert each.broken
                assert held([each])
                same = [other for other in world.snapshots if whole(other) and other.source == each.source]
                assert held([each]) <= held(same)
    ours = world.sources
    without = World(
        tuple(each for each in world.snapshots if whole(each)), ours, world.protected, world.zone, True
    )
    numbered = {Rule.LAST, Rule.DAILY, Rule.WEEKLY, Rule.MONTHLY}
    for decision in without.decide(policy).decisions:
        alone = {reason.rule for reason in decision.reasons}
        assert alone & numbered == reasons[decision.id] & numbered


@examples(500)
@given(worlds(), policies)
def test_the_newest_whole_one_of_each_source_stays_and_what_a_person_or_another_part_holds(
    world: World, policy: RetentionSettings
):
    kept = {each.id for each in world.kept(policy)}
    for folder in {each.source for each in world.snapshots}:
        mine = [each for each in world.snapshots if whole(each) and each.source == folder]
        if mine:
            assert max(mine, key=lambda each: (each.created_at, each.id)).id in kept
    for each in world.snapshots:
        if each.pinned or each.id in policy.pins or each.id in world.protected or each.contents is None:
            assert each.id in kept
    named = {each.id for each in world.snapshots}
    assert set(world.decide(policy).unknown_pins) == set(policy.pins) - named


@examples(500)
@given(worlds(), policies, st.tuples(*[st.integers(0, 3)] * 4))
def test_who_keeps_more_prunes_no_more(
    world: World, policy: RetentionSettings, more: tuple[int, int, int, int]
):
    policy = policy.model_copy(update={"max_size": 0})
    if not any(getattr(policy, name) for name in NUMBERS):
        return  # no number at all keeps everything
    larger = {name: getattr(policy, name) + extra for name, extra in zip(NUMBERS, more, strict=True)}
    greater = policy.model_copy(update=larger)
    assert set(world.decide(greater).removals) <= set(world.decide(policy).removals)


@examples(500)
@given(worlds(), policies, st.integers(1, 2000), st.integers(0, 2000))
def test_a_larger_bound_prunes_no_more(world: World, policy: RetentionSettings, bound: int, more: int):
    small, large = (policy.model_copy(update={"max_size": size}) for size in (bound, bound + more))
    assert set(world.decide(large).removals) <= set(world.decide(small).removals)
    unbounded = policy.model_copy(update={"max_size": 0})
    assert set(world.decide(unbounded).removals) <= set(world.decide(large).removals)


@examples(1000)
@given(worlds(), policies, st.integers(0, 10))
def test_deciding_again_after_pruning_removes_the_rest_and_nothing_more(
    world: World, policy: RetentionSettings, removed: int
):
    first = world.decide(policy)
    gone = first.removals[:removed]
    again = world.decide(policy, [each for each in world.snapshots if each.id not in gone])
    assert again.removals == first.removals[removed:]
    assert (again.bytes_after, again.excess_bytes) == (first.bytes_after, first.excess_bytes)


@given(worlds(), policies, st.data())
def test_the_order_in_which_they_are_given_changes_nothing(
    world: World, policy: RetentionSettings, data: st.DataObject
):
    shuffled = data.draw(st.permutations(world.snapshots))
    assert world.decide(policy, list(shuffled)) == world.decide(policy)


@examples(500)
@given(worlds(), policies)
def test_bytes_are_those_that_nothing_which_remains_shares(world: World, policy: RetentionSettings):
    def size(snapshots: list[StoredSnapshot]) -> int:
        if world.shared:
            return sum(SIZES[digest] for digest in held(snapshots))
        return sum(sum((each.contents or {}).values()) for each in snapshots)

    result = world.decide(policy)
    remaining = {each.id: each for each in world.snapshots}
    freed = {each.id: each.freed_bytes for each in result.decisions}
    for id_ in result.removals:
        before = size(list(remaining.values()))
        del remaining[id_]
        assert before - size(list(remaining.values())) == freed[id_]
    assert result.bytes_before == size(list(world.snapshots))
    assert result.bytes_after == size(list(remaining.values()))
    above = result.bytes_after - policy.max_size
    assert result.excess_bytes == (max(0, above) if policy.max_size else 0)
    assert bool(result.excess) == bool(result.excess_bytes)
    if result.excess_bytes:  # then nothing that may go would free anything
        for each in result.decisions:
            if each.kept and not any(reason.rule in FIRM for reason in each.reasons):
                rest = [other for other in remaining.values() if other.id != each.id]
                assert size(rest) == result.bytes_after


@given(worlds(), policies)
def test_every_decision_has_its_reasons_in_words(world: World, policy: RetentionSettings):
    result = world.decide(policy)
    assert [each.id for each in result.decisions] == [
        each.id for each in sorted(world.snapshots, key=lambda each: (each.created_at, each.id))
    ]
    assert {each.id for each in result.decisions if not each.kept} == set(result.removals)
    for each in result.decisions:
        assert each.reasons
        assert all(reason.words for reason in each.reasons)
        rules = {reason.rule for reason in each.reasons}
        assert not (rules & PRUNES and rules & FIRM)
    assert set(Rule) == FIRM | SOFT | PRUNES


# -- single cases


def stored(name: str, moment: str, contents: str = "a", **more: object) -> StoredSnapshot:
    created_at = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
    values = {"contents": {digest: SIZES[digest] for digest in contents}, "proven": True, **more}
    return StoredSnapshot(name, created_at, **values)  # type: ignore[arg-type]


def decided(*snapshots: StoredSnapshot, zone: str = "UTC", **policy: object) -> Retention:
    none = dict.fromkeys(NUMBERS, 0)
    settings = made(RetentionSettings, **{**none, **policy})
    return decide(snapshots, settings, zone=ZoneInfo(zone), sources={"": OLD})


def test_a_day_is_that_of_local_time_on_both_sides_of_a_change_of_clocks():
    # Berlin's 29 March 2026 has 23 hours and begins at 23:00 UTC, 25 October has 25 and begins at 22:00 UTC.
    spring = [
        stored("28th", "2026-03-28 22:59"),
        stored("29th", "2026-03-28 23:01"),
        stored("29th-late", "2026-03-29 21:59"),
        stored("30th", "2026-03-29 22:01"),
    ]
    assert decided(*spring, zone="Europe/Berlin", keep_daily=9).removals == ("29th",)
    autumn = [
        stored("24th", "2026-10-24 21:59"),
        stored("25th", "2026-10-24 22:01"),
        stored("25th-late", "2026-10-25 22:59"),
        stored("26th", "2026-10-25 23:01"),
    ]
    assert decided(*autumn, zone="Europe/Berlin", keep_daily=9).removals == ("25th",)


def test_a_week_is_that_of_iso_8601_over_new_year():
    snapshots = [
        stored("w52", "2026-12-27 12:00"),
        stored("w53-mon", "2026-12-28 12:00"),
        stored("w53-sun", "2027-01-03 12:00"),
        stored("w01", "2027-01-04 12:00"),
    ]
    assert decided(*snapshots, keep_weekly=9).removals == ("w53-mon",)


@given(
    st.lists(st.integers(0, 400 * 24), unique=True, max_size=30),
    st.integers(1, 8),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_the_newest_of_the_newest_days_stay(hours: list[int], days: int, zone: str):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    snapshots = [
        StoredSnapshot(f"{hour:05}", (start + timedelta(hours=hour)).timestamp(), {"a": 1}, proven=True)
        for hour in hours
    ]
    newest: dict[str, str] = {}
    for each in sorted(snapshots, key=lambda each: each.created_at):
        newest[f"{datetime.fromtimestamp(each.created_at, ZoneInfo(zone)):%F}"] = each.id
    expected = [newest[day] for day in sorted(newest)[-days:]]
    result = decided(*snapshots, zone=zone, keep_daily=days)
    assert [each.id for each in result.decisions if each.kept] == expected


def test_with_no_numbers_nothing_goes_but_for_its_size():
    snapshots = [stored(f"s{day}", f"2026-01-0{day} 12:00", letter) for day, letter in enumerate("abcd", 1)]
    assert decided(*snapshots).removals == ()
    assert decided(*snapshots, max_size=1100).removals == ("s1", "s2")


def test_one_that_would_free_nothing_does_not_go_for_the_size():
    snapshots = [
        stored("s1", "2026-01-01 12:00", "d"),
        stored("s2", "2026-01-02 12:00", "c"),
        stored("s3", "2026-01-03 12:00", "d"),
    ]
    result = decided(*snapshots, max_size=1050)
    assert result.removals == ("s2",)
    assert (result.bytes_before, result.bytes_after, result.excess) == (1100, 1000, "")


def test_a_bound_that_cannot_be_met_says_by_how_much():
    snapshots = [
        stored("s1", "2026-01-01 12:00", "b"),
        stored("s2", "2026-01-02 12:00", "cd", pinned=True),
        stored("s3", "2026-01-03 12:00", "c"),
    ]
    result = decided(*snapshots, max_size=600)
    assert result.removals == ("s1",)
    assert result.excess_bytes == 500
    assert "max_size (600 B) can't be met: 1.1 KiB remain, 500 B too much" in result.excess


def test_two_folders_count_apart_and_share_their_contents():
    snapshots = [
        stored("a1", "2026-01-01 12:00", "ab", source="/a"),
        stored("b1", "2026-01-02 12:00", "a", source="/b"),
        stored("a2", "2026-01-03 12:00", "a", source="/a"),
        stored("b2", "2026-01-04 12:00", "b", source="/b"),
    ]
    policy = made(RetentionSettings, keep_last=1, keep_daily=0, keep_weekly=0, keep_monthly=0)
    result = decide(snapshots, policy, zone=UTC, sources={"/a": OLD, "/b": OLD})
    assert result.removals == ("a1", "b1")


def test_a_model_that_is_no_longer_whole_in_newer_snapshots_keeps_the_last_that_is():
    llama = frozenset("ab")
    snapshots = [
        stored("older", "2026-01-01 12:00", "ab", models={"llama": llama}),
        stored("last-whole", "2026-01-02 12:00", "ab", models={"llama": llama}),
        stored("torn", "2026-01-03 12:00", "a", models={"llama": llama}),
    ]
    policy = made(RetentionSettings, keep_last=1, keep_daily=0, keep_weekly=0, keep_monthly=0)
    there = SourceContents(frozenset("x"), frozenset({"llama"}))
    result = decide(snapshots, policy, zone=UTC, sources={"": there})
    assert result.removals == ("older",)
    (reason,) = result.decisions[1].reasons
    assert reason.rule is Rule.COPY_OF_MODEL
    gone = decide(snapshots, policy, zone=UTC, sources={"": OLD})
    assert gone.removals == ("older", "last-whole")


LAST_ONLY = made(RetentionSettings, keep_last=1, keep_daily=0, keep_weekly=0, keep_monthly=0)


def test_a_copy_that_is_proven_is_kept_beside_a_newer_one_that_is_not():
    snapshots = [
        stored("proven", "2026-01-01 12:00", "b"),
        stored("newer", "2026-01-02 12:00", "b", proven=False),
        stored("newest-proven", "2026-01-03 12:00", "a"),
        stored("newest", "2026-01-04 12:00", "a", proven=False),
    ]
    has = {"": SourceContents(frozenset("b"), frozenset())}
    result = decide(snapshots, LAST_ONLY, zone=UTC, sources=has)
    assert result.removals == ("newer",)
    (reason,) = result.decisions[0].reasons
    assert reason.words == "the newest copy that is proven of 1 file that the source still has"
    # One that stays anyway does for it only if it is proven.
    pinned = [replace(each, pinned=each.id == "newer") for each in snapshots]
    assert decide(pinned, LAST_ONLY, zone=UTC, sources=has).removals == ()
    pinned[1] = replace(pinned[1], proven=True)
    assert decide(pinned, LAST_ONLY, zone=UTC, sources=has).removals == ("proven",)


def test_the_newest_whole_copy_of_a_model_is_kept_and_the_newest_that_is_proven():
    one, two = {"llama": frozenset("b")}, {"llama": frozenset("c")}
    snapshots = [
        stored("oldest", "2026-01-01 12:00", "b", models=one),
        stored("proven", "2026-01-02 12:00", "b", models=one),
        stored("newer", "2026-01-03 12:00", "c", models=two, proven=False),
        stored("newest", "2026-01-04 12:00", "a"),
    ]
    has = {"": SourceContents(frozenset("x"), frozenset({"llama"}))}
    result = decide(snapshots, LAST_ONLY, zone=UTC, sources=has)
    assert result.removals == ("oldest",)


def test_what_is_of_a_folder_that_is_not_known_is_not_left_to_the_snapshots_of_another():
    snapshots = [
        stored("broken", "2026-01-01 12:00", "b", source="/not/known", broken=True),
        stored("whole", "2026-01-02 12:00", "c", source="/not/known"),
        stored("newest", "2026-01-03 12:00", "a", source="/not/known"),
        stored("other", "2026-01-04 12:00", "bc", source="/known"),
        stored("newest-other", "2026-01-05 12:00", "a", source="/known"),
    ]
    result = decide(snapshots, LAST_ONLY, zone=UTC, sources={"/known": OLD})
    assert result.removals == ("other",)
    assert result.decisions[1].reasons[0].words == "the only copy of 1 file that the source may still have"


def test_broken_ones_go_first():
    snapshots = [
        stored("s1", "2026-01-01 12:00", "b"),
        stored("s2", "2026-01-02 12:00", "b", broken=True),
        stored("s3", "2026-01-03 12:00", "a"),
    ]
    assert decided(*snapshots, keep_last=1).removals == ("s2", "s1")


def test_an_empty_source_is_a_disk_that_is_not_mounted():
    snapshots = [stored("s1", "2026-01-01 12:00", "ab"), stored("s2", "2026-01-02 12:00", "b")]
    policy = made(RetentionSettings, keep_last=1, keep_daily=0, keep_weekly=0, keep_monthly=0)
    nothing = SourceContents(frozenset(), frozenset())
    for sources in ({}, {"": nothing}):
        assert decide(snapshots, policy, zone=UTC, sources=sources).removals == ()


def test_names_from_outside_are_one_bounded_line():
    hostile = "x\x1b[2J\n" + "y" * 5000 + "\ud800"
    snapshots = [
        stored("s1", "2026-01-01 12:00", "a", models={hostile: frozenset("a"), "\ud800": frozenset("a")}),
        stored("s2", "2026-01-02 12:00", "b"),
    ]
    policy = made(RetentionSettings, keep_last=1, keep_daily=0, keep_weekly=0, keep_monthly=0)
    result = decide(snapshots, policy, zone=UTC, sources={}, protected={"s2": hostile})
    words = [reason.words for each in result.decisions for reason in each.reasons]
    assert all(text.isprintable() and len(text) < 300 for text in words)


@pytest.mark.parametrize("moment", [math.nan, math.inf, -math.inf, 1e300, -1e300, 1e12])
def test_a_time_that_is_no_date_is_kept_and_counts_for_nothing(moment: float):
    odd = StoredSnapshot("odd", moment, {"b": 10})
    result = decided(odd, stored("s1", "2026-01-01 12:00"), stored("s2", "2026-01-02 12:00"), keep_last=1)
    assert result.removals == ("s1",)
    assert {reason.rule for each in result.decisions if each.id == "odd" for reason in each.reasons} == {
        Rule.WRONG_TIME
    }


def test_two_of_one_id_are_refused():
    with pytest.raises(ValueError, match="one id"):
        decided(stored("s1", "2026-01-01 12:00"), stored("s1", "2026-01-02 12:00"))
