"""Delay of an event loop that is held up."""

from __future__ import annotations

import time

import anyio

from aiidpd.platform.loop_delay import GRAIN, LoopDelay

HELD_UP = 0.05


async def test_a_loop_that_is_held_up_says_for_how_long():
    delay = LoopDelay()
    began = time.monotonic()
    with delay.measured():
        await anyio.sleep(0.01)
        time.sleep(HELD_UP)  # noqa: ASYNC251 -- this is what holds it up
        assert delay.before_now(began) >= HELD_UP - 0.002  # the beat was due within a period
        await anyio.sleep(0.01)
        assert HELD_UP - 0.002 <= delay.delays()[-1] <= time.monotonic() - began
    assert len(delay.delays()) >= 3


async def test_what_was_before_counts_from_then_on():
    delay = LoopDelay()
    with delay.measured():
        time.sleep(HELD_UP)  # noqa: ASYNC251
        since = time.monotonic()
        assert delay.before_now(since) <= time.monotonic() - since + GRAIN


async def test_after_its_end_it_beats_no_more_and_a_new_one_forgets():
    delay = LoopDelay()
    assert delay.before_now(0.0) == 0.0
    with delay.measured():
        await anyio.sleep(0.01)
    beats = len(delay.delays())
    await anyio.sleep(0.01)
    assert len(delay.delays()) == beats
    with delay.measured():
        assert delay.delays() == []


def test_the_rounds_of_the_loop_add_up():
    times = iter([10.0])
    delay = LoopDelay(lambda: next(times))
    delay._beats.extend([(1.0, 2.0), (9.0, 9.1), (9.1, 9.3), (9.5, 9.501)])
    assert round(delay.before_now(9.05), 6) == 0.25
