"""A reading is shown while it is true."""

from __future__ import annotations

from aiidpd.kernel.latest import Latest
from tests.fakes.clock import FakeClock


async def test_a_value_goes_when_it_is_too_old(clock: FakeClock):
    cell: Latest[int] = Latest(clock, max_age=3)
    assert cell.get() is None
    cell.put(7)
    await clock.advance(3)
    reading = cell.get()
    assert reading is not None
    assert (reading.value, reading.at) == (7, clock.time() - 3)
    await clock.advance(0.1)
    assert cell.get() is None


def test_a_value_goes_when_it_is_known_to_be_gone(clock: FakeClock):
    cell: Latest[int] = Latest(clock, max_age=3)
    cell.put(7)
    cell.clear()
    assert cell.get() is None
