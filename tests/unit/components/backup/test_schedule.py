from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.schedule import LocalZone, due, next_run_at, parse_schedule
from aiidpd.kernel.errors import Misconfigured

BERLIN = ZoneInfo("Europe/Berlin")
EXPRESSIONS = ("daily", "Sun *-*-* 03:00:00", "*:45", "*-*-* 02:30:00", "hourly", "monthly", "*-*~1 01:00")
expressions = st.sampled_from(EXPRESSIONS)
moments = st.integers(1_700_000_000, 1_900_000_000).map(float)
zones = st.sampled_from([UTC, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")])


def at(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp()


def following(expression: str, moment: str) -> str:
    found = parse_schedule(expression).next_after(at(moment), BERLIN)
    assert found is not None
    return datetime.fromtimestamp(found, UTC).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("expression", "moment", "expected"),  # all in UTC, as systemd-analyze 252 calculates for Berlin
    [
        ("*-*-* 02:30:00", "2026-03-28 22:10", "2026-03-30 00:30"),  # the clocks skip 02:30 on the 29th
        ("*:45", "2026-03-29 00:50", "2026-03-29 01:45"),
        ("*-*-* 02:30:00", "2026-10-24 21:10", "2026-10-25 00:30"),  # 02:30 comes twice on the 25th
        ("*-*-* 02:30:00", "2026-10-25 00:35", "2026-10-26 01:30"),
        ("*:45", "2026-10-25 00:50", "2026-10-25 02:45"),
        ("hourly", "2026-10-25 01:35", "2026-10-25 02:00"),
        ("*:45", "2026-10-25 01:35", "2026-10-25 01:45"),
        ("*-*-* 02:30:00", "2026-10-25 01:10", "2026-10-25 01:30"),
        ("Sun *-*-* 03:00:00 UTC", "2026-11-22 03:00", "2026-11-29 03:00"),
    ],
)
def test_clock_changes_are_those_of_systemd(expression: str, moment: str, expected: str):
    assert following(expression, moment) == expected


@given(expressions, moments, zones)
def test_the_next_run_is_later_and_there_is_none_between(expression: str, moment: float, zone: ZoneInfo):
    schedule = parse_schedule(expression)
    found = schedule.next_after(moment, zone)
    assert found is not None
    assert found > moment
    halfway = moment + (found - moment) // 2
    between = schedule.next_after(halfway, zone)
    assert between is not None
    # Only the second half of a repeated hour holds a run that is not seen from before it.
    repeated = (
        datetime.fromtimestamp(halfway, zone).fold == 1 or datetime.fromtimestamp(moment, zone).fold == 1
    )
    assert between == found or repeated


@given(expressions, moments, st.floats(0, 40 * 86400), zones)
def test_a_missed_run_is_caught_up_once(expression: str, last: float, passed: float, zone: ZoneInfo):
    schedule = parse_schedule(expression)
    now = last + passed
    missed = schedule.next_after(last, zone)
    assert missed is not None
    assert due(schedule, zone, last_success=last, now=now) == (missed <= now)
    assert not due(schedule, zone, last_success=now, now=now)  # however many were missed, one run is enough


@given(moments, st.floats(1, 1e9))
def test_a_success_in_the_future_does_not_stop_the_schedule(now: float, ahead: float):
    run = next_run_at(parse_schedule("daily"), UTC, last_success=now + ahead, now=now)
    assert run is not None
    assert run <= now + 86400


def test_without_any_success_a_run_is_due_now():
    assert due(parse_schedule("Sun *-*-* 03:00:00"), UTC, last_success=None, now=1.8e9)


def test_a_failure_delays_the_next_run():
    schedule = parse_schedule("daily")
    assert next_run_at(schedule, UTC, last_success=None, now=1.8e9, not_before=1.8e9 + 900) == 1.8e9 + 900
    later = next_run_at(schedule, UTC, last_success=1.8e9, now=1.8e9, not_before=1.8e9 + 900)
    assert later == schedule.next_after(1.8e9, UTC)


def test_no_schedule_and_one_that_is_over_never_run():
    assert next_run_at(None, UTC, last_success=None, now=1.8e9) is None
    over = parse_schedule("2020-01-01")
    assert over.next_after(1.8e9, UTC) is None
    assert not due(over, UTC, last_success=1.8e9, now=1.9e9)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "never", "25:00", "Sun Mon", "*:*:1.5", "daily Mars/Olympus", "daily ../../etc/passwd"),
        *("daily \0", "9" * 5000, "mon" + "," * 3000, "*-*-* 00:00:00 1 2 3", "éé", "daily\n\nhourly"),
    ],
)
def test_what_is_no_schedule_is_refused_with_a_remedy(text: str):
    with pytest.raises(Misconfigured, match=r"cannot understand the schedule .*systemd\.time\(7\)"):
        parse_schedule(text)


@given(st.text(alphabet="*-:/,.~0123456789 SunModaily\n", max_size=60))
def test_any_text_is_a_schedule_or_refused(text: str):
    try:
        schedule = parse_schedule(text)
    except Misconfigured:
        return
    found = schedule.next_after(1.8e9, BERLIN)
    assert found is None or found > 1.8e9


@given(moments)
def test_the_local_zone_is_that_of_the_c_library(moment: float):
    zone = LocalZone()
    local = datetime.fromtimestamp(moment, zone)
    plain = datetime.fromtimestamp(moment)  # noqa: DTZ006 -- local time is the point
    assert local.replace(tzinfo=None) == plain
    assert local.fold == plain.fold
    assert local.timestamp() == moment
    assert local.utcoffset() == plain.astimezone().utcoffset()
    assert local + timedelta(0) == local
