from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.rc_model import (
    Card,
    CardState,
    advance,
    fan_ratio,
    hotspot_celsius,
    memory_celsius,
)

CARD = Card()
STILL = replace(CARD, fan_limit=0.0)


def run(card: Card, load: float, seconds: int, start: float = 24.0) -> list[CardState]:
    states = [CardState(start)]
    for _ in range(seconds):
        states.append(advance(card, states[-1], load, 1.0))
    return states


def test_a_loaded_card_settles_where_power_meets_conductance() -> None:
    settled = run(CARD, 1.0, 1200)[-1]
    conductance = CARD.conductance_still + CARD.conductance_fan * settled.fan_ratio

    assert settled.power_watts == CARD.power_limit_watts
    assert settled.capped
    assert settled.temperature_celsius == pytest.approx(24 + 300 / conductance, abs=0.1)
    assert 60 < settled.temperature_celsius < 85


def test_one_step_follows_the_exponential_of_its_time_constant() -> None:
    tau = STILL.heat_capacity / STILL.conductance_still
    settled = STILL.ambient_celsius + STILL.idle_watts / STILL.conductance_still
    after = advance(STILL, CardState(60.0), 0.0, tau).temperature_celsius

    assert (after - settled) / (60.0 - settled) == pytest.approx(0.367879, abs=1e-6)


def test_without_a_fan_the_driver_throttles_and_holds_the_card_near_its_slowdown() -> None:
    states = run(STILL, 1.0, 1200)
    throttled = [state for state in states if state.throttled]

    assert throttled
    assert all(state.power_watts <= 0.25 * STILL.full_watts for state in throttled)
    assert max(state.temperature_celsius for state in states) < STILL.slowdown_celsius + 1


def test_a_lower_limit_makes_a_cooler_card() -> None:
    cool = run(replace(CARD, power_limit_watts=200.0), 1.0, 1200)[-1]

    assert cool.power_watts == 200.0
    assert cool.temperature_celsius < run(CARD, 1.0, 1200)[-1].temperature_celsius


def test_lower_clocks_draw_less_by_the_cube_of_the_ratio() -> None:
    half = run(replace(CARD, clock_ratio=0.5), 1.0, 10)[-1]

    assert half.power_watts == pytest.approx(15 + (320 - 15) / 8)


def test_the_counters_add_up_energy_and_the_time_held_back() -> None:
    states = run(STILL, 1.0, 600)[1:]

    assert states[-1].energy_joules == pytest.approx(sum(state.power_watts for state in states))
    assert states[-1].throttled_seconds == sum(state.throttled for state in states) > 0
    assert states[-1].capped_seconds == sum(state.capped for state in states) > 0


def test_the_hottest_spot_and_the_memory_are_hotter_than_the_core_under_load() -> None:
    busy = run(CARD, 1.0, 600)[-1]

    assert busy.temperature_celsius < hotspot_celsius(CARD, busy) < busy.temperature_celsius + 25
    assert busy.temperature_celsius < memory_celsius(CARD, busy) < busy.temperature_celsius + 25


@given(st.floats(-20, 150), st.floats(-20, 150))
def test_the_fan_curve_rises_and_stays_a_ratio(one: float, other: float) -> None:
    low, high = sorted((one, other))

    assert 0 <= fan_ratio(CARD, low) <= fan_ratio(CARD, high) <= 1


@given(st.floats(24, 90), st.floats(0, 1), st.floats(0, 1e6))
def test_no_step_is_unstable(start: float, load: float, seconds: float) -> None:
    state = advance(CARD, CardState(start), load, seconds)
    hottest = CARD.ambient_celsius + CARD.full_watts / CARD.conductance_still

    assert CARD.ambient_celsius <= state.temperature_celsius <= max(start, hottest)
    assert CARD.idle_watts <= state.power_watts <= CARD.power_limit_watts
