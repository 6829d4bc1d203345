"""Threads that work on several files at once."""

import threading

import pytest

from aiidpd.components.backup.process.control import Cancelled, Control
from aiidpd.components.backup.process.crew import Crew
from aiidpd.components.backup.process.lane import Lane
from aiidpd.components.backup.process.pace import Rate
from tests.waiting import until


def test_results_come_in_any_order_and_what_is_done_is_counted():
    control = Control()
    control.enter("copying")
    crew: Crew[int] = Crew(control, Rate(0), 3)

    def work(number: int, lane: Lane) -> int:
        lane.meter.step(number)
        return number

    for number in range(20):
        crew.give(lambda lane, number=number: work(number, lane))
    found = list(crew.ready())
    found += crew.results(5)
    assert len(found) >= 15
    found += crew.results()
    assert sorted(found) == list(range(20))
    assert control.progress.bytes_done == sum(range(20))
    crew.close()


def test_an_error_of_a_thread_ends_the_work():
    crew: Crew[int] = Crew(Control(), Rate(0), 2)

    def fail(_: Lane) -> int:
        raise OSError(5, "broken")

    crew.give(fail)
    with pytest.raises(OSError, match="broken"):
        list(crew.results())


def test_cancelled_it_does_not_wait_for_a_thread_that_hangs():
    control = Control()
    crew: Crew[bool] = Crew(control, Rate(0), 1)
    hang, begun = threading.Event(), threading.Event()

    def work(_: Lane) -> bool:
        begun.set()
        return hang.wait(30)

    crew.give(work)
    until(begun.is_set)
    control.cancelled = True
    with pytest.raises(Cancelled):
        list(crew.results())
    hang.set()


def test_a_cancelled_helper_stops_between_two_files():
    control = Control()
    crew: Crew[None] = Crew(control, Rate(0), 1)
    steps: list[int] = []

    def work(lane: Lane) -> None:
        for number in range(1000):
            steps.append(number)
            control.cancelled = number == 5
            lane.meter.step()

    crew.give(work)
    with pytest.raises(Cancelled):
        list(crew.results())
    assert steps == list(range(6))
