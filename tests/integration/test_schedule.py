"""Schedules, compared with what systemd makes of them, in many zones around changes of their clocks."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.localzone import LocalZone
from aiidpd.components.backup.schedule import next_run_at, parse_schedule
from tests.forms import examples

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour
    "Asia/Kathmandu",  # 5:45, and never another
    "CET-1CEST,M3.5.0,M10.5.0/3",
    "NPT-5:45",
    "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",  # Lord Howe, by its rule alone
)
CHANGES = (  # of clocks in 2026: Berlin, New York, Lord Howe
    *(1774746000, 1792890000, 1772953200, 1793512800, 1775314800, 1790953200),
    1798758000,  # the new year in Berlin
)
EXPRESSIONS = (
    *("Sun 03:00", "daily", "*-*-* 02:30:00", "*-*-* 01:45", "*:0/20", "hourly", "Mon..Fri 02:15", "weekly"),
    *(
        "*-*~1 00:30",
        "quarterly",
        "*-*-* 01,02:15:30",
        "Sat,Sun *-03,10-* 2:00",
        "*-02-29",
        "2026-10-25 02:30",
    ),
)


@pytest.fixture(scope="module")
def systemd_analyze(missing: Callable[[str, str], None]) -> str:
    path = shutil.which("systemd-analyze")
    if path is None:
        missing("systemd-analyze", "apt-get install systemd")
    return str(path)


@contextmanager
def local(zone: str) -> Iterator[None]:
    """Have local time be that of ``zone``, in any form that ``TZ`` may have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()


def by_systemd(program: str, expression: str, moment: float, zone: str) -> float | None:
    base = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    shown = subprocess.run(
        [program, "calendar", f"--base-time={base}", expression],
        env={"TZ": zone, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = re.search(r"\(in UTC\): \w+ (\S+ \S+) UTC", shown) or re.search(
        r"elapse: \w+ (\S+ \S+) UTC", shown
    )
    if found is None:
        assert "never" in shown
        return None
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()


moments = st.one_of(
    st.integers(1_700_000_000, 1_900_000_000),
    st.builds(int.__add__, st.sampled_from(CHANGES), st.integers(-14400, 14400)),
).map(float)


@examples(300)
@given(st.sampled_from(EXPRESSIONS), moments, st.sampled_from(ZONES))
def test_the_next_time_is_that_of_systemd_in_any_zone(
    systemd_analyze: str, expression: str, moment: float, zone: str
):
    expected = by_systemd(systemd_analyze, expression, moment, zone)
    with local(zone):
        assert parse_schedule(expression).next_after(moment, LocalZone()) == expected


@examples(100)
@given(st.sampled_from(EXPRESSIONS), st.sampled_from(CHANGES), st.integers(1, 12), st.sampled_from(ZONES))
def test_from_run_to_run_it_is_the_chain_of_systemd(
    systemd_analyze: str, expression: str, change: int, hours: int, zone: str
):
    moment = float(change - hours * 3600)
    with local(zone):
        schedule, ours = parse_schedule(expression), LocalZone()
        fold = datetime.fromtimestamp(moment, ours).fold
    if fold:
        return  # systemd repeats what the clocks repeat where it begins within, and we do not
    for _ in range(6):
        expected = by_systemd(systemd_analyze, expression, moment, zone)
        with local(zone):
            assert next_run_at(schedule, ours, last_success=moment, now=moment) == expected
        if expected is None:
            return
        moment = expected
