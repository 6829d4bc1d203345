"""Processes that do not die of SIGKILL."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.usage.unkillable import (
    DWELL_SECONDS,
    PendingKill,
    Undying,
    cannot_be_killed,
    step,
)

STUCK = PendingKill(7, 100, "D", "uvm_spin_loop")


def watch(readings: list[tuple[float, tuple[PendingKill, ...]]]) -> Undying | None:
    seen: dict[tuple[int, int], Undying] = {}
    for now, pending in readings:
        seen = step(seen, pending, now)
    return cannot_be_killed(seen.values())


def test_it_counts_after_a_minute_and_says_where() -> None:
    assert watch([(now, (STUCK,)) for now in range(0, 60, 2)]) is None
    found = watch([(now, (STUCK,)) for now in range(0, 62, 2)])
    assert found is not None
    assert found.sentence() == (
        "its process 7 has not obeyed SIGKILL for 60 s: it waits inside of the kernel (state D) "
        "in uvm_spin_loop"
    )
    spinning = PendingKill(7, 100, "R")
    found = watch([(now, (spinning,)) for now in range(0, 62, 2)])
    assert found is not None
    assert "runs inside of the kernel (state R)" in found.sentence()


def test_it_may_change_between_waiting_and_running() -> None:
    running = PendingKill(7, 100, "R")
    assert watch([(now, (STUCK if now % 4 else running,)) for now in range(0, 62, 2)]) is not None


def test_one_that_dies_or_sleeps_is_no_such() -> None:
    for end in ((), (PendingKill(7, 100, "Z"),), (PendingKill(7, 100, "S"),), (PendingKill(7, 999, "D"),)):
        assert watch([*((now, (STUCK,)) for now in range(0, 62, 2)), (62, end)]) is None


def test_a_gap_in_the_readings_begins_anew() -> None:
    assert watch([(0, (STUCK,)), (1000, (STUCK,))]) is None


@given(st.lists(st.tuples(st.floats(0, 50), st.sets(st.integers(1, 5))), max_size=60))
def test_nothing_is_unkillable_that_was_not_stuck_throughout(readings: list[tuple[float, set[int]]]) -> None:
    now, seen = 0.0, dict[tuple[int, int], Undying]()
    since: dict[int, float] = {}
    for wait, pids in readings:
        now += wait
        seen = step(seen, [PendingKill(pid, 1, "D") for pid in pids], now)
        since = {pid: since.get(pid, now) for pid in pids}
        long = {pid for pid, at in since.items() if now - at >= DWELL_SECONDS}
        found = cannot_be_killed(seen.values())
        assert (found is not None) == bool(long)
        assert found is None or found.process.pid in long
