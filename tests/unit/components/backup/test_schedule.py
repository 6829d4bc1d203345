from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.localzone import LocalZone
from aiidpd.components.backup.schedule import (
    NO_JITTER,
    Jitter,
    due,
    next_run_at,
    parse_schedule,
)
from aiidpd.kernel.errors import Misconfigured

BERLIN = ZoneInfo("Europe/Berlin")
EXPRESSIONS = ("daily", "Sun *-*-* 03:00:00", "*:45", "*-*-* 02:30:00", "hourly", "monthly", "*-*~1 01:00")
expressions = st.sampled_from(EXPRESSIONS)
moments = st.integers(1_700_000_000, 1_900_000_000).map(float)
zones = st.sampled_from(
    [UTC]
    + [
        ZoneInfo(name)
        for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
    ]
)
jitters = st.builds(Jitter, st.text(max_size=40), st.sampled_from([0.0, 1.0, 600.0, 7200.0, 86400.0]))
AUTUMN = 1792886400.0
"""Sunday, 25 October 2026, 02:00 in Berlin, the first time; an hour later it is 02:00 again."""


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
    missed = schedule.next_new_after(last, zone)
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


@given(expressions, moments, zones, jitters)
def test_a_delay_is_below_its_limit_and_ends_before_the_next_run(
    expression: str, last: float, zone: ZoneInfo, jitter: Jitter
):
    schedule = parse_schedule(expression)
    named = schedule.next_new_after(last, zone)
    assert named is not None
    following = schedule.next_new_after(named, zone)
    assert following is not None
    run = next_run_at(schedule, zone, last_success=last, now=last, jitter=jitter)
    assert run is not None
    assert named <= run < following
    assert run - named < max(jitter.limit, 1)
    # What ran then leads to the next, whose delay is its own.
    then = next_run_at(schedule, zone, last_success=run, now=run, jitter=jitter)
    assert then is not None
    assert then >= following


@given(expressions, moments, zones, jitters, st.floats(0, 1e6))
def test_a_restart_changes_no_delay(
    expression: str, last: float, zone: ZoneInfo, jitter: Jitter, later: float
):
    schedule, again = parse_schedule(expression), Jitter(jitter.seed, jitter.limit)
    first = next_run_at(schedule, zone, last_success=last, now=last, jitter=jitter)
    assert next_run_at(schedule, zone, last_success=last, now=last + later, jitter=again) == first


def test_delays_are_spread_over_machines_and_over_weeks():
    schedule, start = parse_schedule("Sun 03:00"), at("2026-01-01 00:00")
    machines = [Jitter(f"machine {number}", 600.0) for number in range(200)]
    runs = {next_run_at(schedule, BERLIN, last_success=start, now=start, jitter=each) for each in machines}
    delays = [run - at("2026-01-04 02:00") for run in runs if run is not None]
    assert len(delays) > 100
    assert min(delays) < 60
    assert max(delays) > 540
    weeks = set()
    moment = start
    for _ in range(20):
        run = next_run_at(schedule, BERLIN, last_success=moment, now=moment, jitter=machines[0])
        assert run is not None
        weeks.add(run % 604800)
        moment = run
    assert len(weeks) > 15


def test_what_was_missed_and_what_never_ran_is_due_at_once_without_a_delay():
    schedule, jitter, now = parse_schedule("Sun 03:00"), Jitter("machine", 600.0), at("2026-11-25 12:00")
    assert next_run_at(schedule, BERLIN, last_success=None, now=now, jitter=jitter) == now
    assert due(schedule, BERLIN, last_success=at("2026-11-15 02:04"), now=now, jitter=jitter)
    assert not due(schedule, BERLIN, last_success=now, now=now + 3600, jitter=jitter)


def test_a_run_that_jitter_moved_into_the_hour_that_comes_again_is_not_repeated():
    schedule, twice = parse_schedule("*-*-* 02:30"), AUTUMN + 4200  # 02:10, the second time
    assert schedule.next_after(twice, BERLIN) == AUTUMN + 5400  # 02:30, the second time, as systemd has it
    run = next_run_at(schedule, BERLIN, last_success=twice, now=twice)
    assert run == at("2026-10-26 01:30")
    before = next_run_at(schedule, BERLIN, last_success=AUTUMN, now=AUTUMN)
    assert before == AUTUMN + 1800


@pytest.mark.parametrize("zone", [UTC, ZoneInfo("America/New_York")])
def test_neither_is_one_whose_schedule_names_the_zone(zone: ZoneInfo):
    schedule = parse_schedule("*-*-* 02:30 Europe/Berlin")
    twice = AUTUMN + 4200
    assert next_run_at(schedule, zone, last_success=twice, now=twice) == at("2026-10-26 01:30")


@given(
    st.sampled_from(["daily", "*-*-* 02:30", "Sun 03:00", "*-*-* 00/8:00"]),
    zones,
    st.sampled_from([NO_JITTER, Jitter("machine", 600.0), Jitter("other", 86400.0)]),
    st.integers(1_770_000_000, 1_800_000_000).map(float),
    st.lists(st.tuples(st.integers(0, 100), st.integers(-40 * 86400, 40 * 86400)), max_size=4),
)
def test_whatever_the_clock_does_every_time_has_its_run_and_no_more_than_one(
    expression: str,
    zone: ZoneInfo,
    jitter: Jitter,
    wall: float,
    stretches: list[tuple[int, int]],
):
    """The clock is right for some hours, jumps, and so on; of each run the wall clock's time is recorded."""
    schedule, stamps = parse_schedule(expression), [wall]
    for hours, jump in stretches:
        begin, runs = wall, 0
        for _ in range(hours):
            last = max((each for each in stamps if each <= wall + 60), default=None)
            if due(schedule, zone, last_success=last, now=wall, jitter=jitter):
                stamps.append(wall)
                runs += 1
            wall += 3600
        named, passed = schedule.next_after(begin, zone), 0
        while named is not None and named <= wall:
            passed += 1
            named = schedule.next_after(named, zone)
        assert runs <= passed + 1  # what was missed, or seems to be after a jump, is caught up once
        late = next_run_at(schedule, zone, last_success=begin, now=begin, jitter=jitter)
        assert late is not None
        if hours and late < wall - 3600:
            assert max(each for each in stamps if each <= wall) >= late
        wall += jump
