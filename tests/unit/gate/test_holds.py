from __future__ import annotations

import threading

import pytest

from aiidpd.gate.holds import Holds
from tests.waiting import PATIENCE


def test_of_one_key_there_is_one_at_a_time():
    holds = Holds()
    with holds.hold("a", 0) as first, holds.hold("a", 0) as second, holds.hold("b", 0) as other:
        assert (first, second, other) == (True, False, True)
    with holds.hold("a", 0) as again:
        assert again


def test_an_empty_key_is_nobody_s():
    holds = Holds()
    with holds.hold("", 0) as first, holds.hold("", 0) as second:
        assert first
        assert second


def test_one_that_waits_goes_on_when_the_other_ends_however_that_ends():
    holds, inside, taken = Holds(), threading.Event(), []

    def wait() -> None:
        inside.set()
        with holds.hold("a", PATIENCE) as free:
            taken.append(free)

    thread = threading.Thread(target=wait)

    def fail() -> None:
        with holds.hold("a", 0):
            thread.start()
            assert inside.wait(PATIENCE)
            raise ValueError("cut short")

    with pytest.raises(ValueError, match="cut short"):
        fail()
    thread.join(PATIENCE)
    assert taken == [True]
