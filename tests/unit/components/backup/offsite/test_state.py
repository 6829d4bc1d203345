"""Records of repositories: what is covered, what is damaged, over any sequence of runs."""

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.offsite import state
from aiidpd.components.backup.offsite.result import Checked, Failure, Sent
from aiidpd.components.backup.offsite.state import OffsiteState, RepositoryRecord

NEW = RepositoryRecord("far", "restic /srv/far", added_at=1.0)
GOOD, BAD = Checked(3, 12, "packs"), Checked(3, 12, "packs", "pack 7 is not what it was")


def check(record: RepositoryRecord, result: Checked, parts: int, now: float) -> RepositoryRecord:
    part = state.next_part(record, parts)
    return state.checked(record, result, part, parts, now=now, seconds=1.0)


@given(st.integers(1, 256))
def test_all_is_read_within_as_many_runs_as_there_are_parts(parts: int) -> None:
    record = NEW
    for run in range(parts):
        assert record.covered_at == 0
        record = check(record, GOOD, parts, 100.0 + run)
    assert record.covered_at == 100.0
    record = check(record, GOOD, parts, 1000.0)
    assert record.covered_at == (101.0 if parts > 1 else 1000.0)


def test_damage_lasts_until_its_part_or_all_is_read_and_well() -> None:
    record = check(check(NEW, GOOD, 4, 10.0), BAD, 4, 20.0)
    assert (record.damage, record.damaged_part) == (BAD.damage, 2)
    assert state.next_part(record, 4) == 2  # again, before any other
    assert state.checked(record, GOOD, 3, 4, now=30.0, seconds=1.0).damage
    assert not check(record, GOOD, 4, 30.0).damage
    assert not check(record, GOOD, 1, 30.0).damage
    # Damage found somewhere in all of it is not over because one part is well.
    everywhere = check(NEW, BAD, 1, 20.0)
    assert check(everywhere, GOOD, 4, 30.0).damage
    assert not check(everywhere, GOOD, 1, 30.0).damage


def test_another_number_of_parts_claims_no_more_than_was_read() -> None:
    record = check(NEW, GOOD, 3, 10.0)
    assert check(record, GOOD, 5, 20.0).covered_at == 0
    for now in (20.0, 30.0):
        record = check(record, GOOD, 3, now)
    assert record.covered_at == 10.0
    assert check(record, GOOD, 5, 40.0).covered_at == 10.0
    assert check(record, GOOD, 1, 50.0).parts_read_at == (50.0, 50.0, 50.0)


def test_a_failure_changes_nothing_that_was_known_and_a_success_ends_it() -> None:
    record = state.sent(NEW, "20270115T080100Z", Sent("ab", 5, 10, 2), now=10.0, seconds=2.0)
    assert record.rate == 2.5
    failed = state.failed(record, Failure.LOCKED, "locked", now=20.0)
    assert (failed.snapshot, failed.failures, failed.failure) == (record.snapshot, 1, "locked")
    assert state.failed(failed, None, "x", now=30.0).failures == 2
    assert state.well(failed) == record


def test_what_is_known_is_of_one_place_and_another_address_begins_anew() -> None:
    stored = OffsiteState(repositories=(NEW, RepositoryRecord("gone", "rclone nas:x", added_at=1.0)))
    assert state.records_of(stored, [("far", NEW.place)], 5.0) == {"far": NEW}
    moved = state.records_of(stored, [("far", "restic /srv/other")], 5.0)["far"]
    assert moved.added_at == 5.0
    assert state.records_of(None, [], 5.0) == {}


@given(st.integers(2, 8), st.lists(st.tuples(st.booleans(), st.integers(1, 8)), max_size=30))
def test_nothing_counts_as_covered_while_a_damaged_part_was_not_read_well_since(
    parts: int, steps: list[tuple[bool, int]]
) -> None:
    record, read = NEW, dict.fromkeys(range(1, parts + 1), 0.0)
    for now, (rot, where) in enumerate(steps, 1):
        bad = (where - 1) % parts + 1 if rot else 0
        part = state.next_part(record, parts)
        well = part != bad
        record = state.checked(record, GOOD if well else BAD, part, parts, now=float(now), seconds=1.0)
        if well:
            read[part] = float(now)
        assert record.covered_at == min(read.values())
        assert bool(record.damage) == (not well)  # the damaged part is always the next
