"""When a run is due, and what is wrong."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.offsite import conditions, decide
from aiidpd.components.backup.offsite.settings import RepositorySettings
from aiidpd.components.backup.offsite.state import RepositoryRecord

NOW = 1_800_000_000.0
EACH = RepositorySettings(name="far", repository="/srv/far")
WEEKLY = EACH.model_copy(update={"schedule": "Sun 03:00"})
SENT = RepositoryRecord("far", "restic /srv/far", added_at=NOW, snapshot="A", succeeded_at=NOW)
DAY = 86400.0


@pytest.mark.parametrize(
    ("settings", "newest", "scheduled", "expected"),
    [
        (EACH, "", None, None),  # nothing to send
        (EACH, "A", None, None),  # it is there
        (EACH, "B", None, NOW),
        (WEEKLY, "B", NOW + DAY, NOW + DAY),
        (WEEKLY, "A", NOW, NOW),  # its next part is read back
        (WEEKLY, "A", None, None),
    ],
)
def test_a_run_is_due_by_schedule_or_after_each_new_snapshot(
    settings: RepositorySettings, newest: str, scheduled: float | None, expected: float | None
) -> None:
    assert decide.due_at(SENT, settings, newest=newest, scheduled=scheduled, now=NOW) == expected


def test_after_a_failure_it_is_tried_again_later_and_later() -> None:
    def due(failures: int) -> float | None:
        failed = replace(SENT, failures=failures, failed_at=NOW)
        return decide.due_at(failed, EACH, newest="A", scheduled=None, now=NOW)

    assert [due(count) for count in (1, 2, 3)] == [NOW + 900, NOW + 1800, NOW + 3600]
    assert due(100) == NOW + 6 * 3600


@given(st.integers(1, 10**9), st.floats(0, 4e9), st.floats(0, 4e9))
def test_a_wrong_clock_delays_no_retry_for_more_than_its_pause(
    failures: int, failed_at: float, now: float
) -> None:
    record = replace(SENT, failures=failures, failed_at=failed_at)
    due = decide.due_at(record, EACH, newest="B", scheduled=None, now=now)
    assert due is not None
    assert due <= now + 6 * 3600


def wrong(record: RepositoryRecord, now: float = NOW) -> dict[str, str]:
    return {each.type: each.reason for each in conditions.conditions(record, EACH, now)}


def test_each_thing_that_is_wrong_is_a_condition_of_its_own() -> None:
    assert wrong(SENT) == {}
    assert set(wrong(SENT, NOW + 15 * DAY)) == {conditions.OVERDUE}
    never = RepositoryRecord("far", "x", added_at=NOW)
    assert wrong(never, NOW + 13 * DAY) == {}
    assert "never" in wrong(never, NOW + 15 * DAY)[conditions.OVERDUE]
    assert set(wrong(replace(SENT, damage="pack 7"))) == {conditions.DAMAGED}
    assert set(wrong(replace(SENT, failures=1, error="x"))) == {conditions.FAILED}
