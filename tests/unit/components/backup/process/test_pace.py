"""Rates, pauses and ends of the work."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.process.control import Cancelled, Control
from aiidpd.components.backup.process.pace import Foreground, Gate, Rate, Stopped
from tests.waiting import until


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(1, 10**10), st.lists(st.integers(0, 10**8), min_size=1, max_size=50))
def test_no_more_than_the_rate_passes_and_no_less_where_there_is_enough(rate: int, counts: list[int]):
    clock = Clock()
    pace = Rate(rate, clock)
    for count in counts:
        clock.now += pace.delay(count)
    took = clock.now - 100.0
    assert took == pytest.approx(max(0.0, sum(counts) / rate - 0.1), rel=1e-6, abs=1e-6)


@given(st.integers(1, 10**10), st.floats(0, 1000))
def test_an_idle_time_is_not_caught_up_on(rate: int, idle: float):
    clock = Clock()
    pace = Rate(rate, clock)
    clock.now += pace.delay(rate)
    clock.now += idle
    assert pace.delay(rate) >= 1 - 0.1 - 1e-6


def test_without_a_limit_nobody_waits():
    assert Rate(0).delay(10**12) == 0
    assert Rate(0).portion(4096) == 4096


@given(st.integers(1, 10**10))
def test_a_low_rate_reads_little_at_once(rate: int):
    portion = Rate(rate).portion(1 << 21)
    assert portion % 4096 == 0
    assert 65536 <= portion <= 1 << 21
    assert portion <= max(65536, rate / 8)


def test_helpers_pause_go_on_and_end_as_the_control_says():
    control = Control()
    counts: list[int] = []
    gate = Gate(control, Rate(0), counts.append)
    gate.step(5)
    control.paused = "an engine loads"
    thread = threading.Thread(target=lambda: gate.step(7), daemon=True)
    thread.start()
    until(lambda: counts == [5, 7])
    assert thread.is_alive()
    control.paused = ""
    thread.join(10)
    assert not thread.is_alive()
    control.paused, control.cancelled = "an engine loads", True
    with pytest.raises(Stopped):
        gate.step()
    control.paused, control.cancelled = "", False
    gate.stopped = True
    with pytest.raises(Stopped):
        gate.step()


def test_whoever_waits_for_the_rate_is_cancelled():
    control = Control()
    rate = Rate(1)
    threading.Timer(0.2, lambda: setattr(control, "cancelled", True)).start()
    with pytest.raises(Cancelled):
        Foreground(control, rate).spend(1000)
    with pytest.raises(Stopped):
        Gate(control, rate, lambda _: None).spend(1000)
    assert time.monotonic() > 0
