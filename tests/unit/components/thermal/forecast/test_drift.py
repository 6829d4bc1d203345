"""Dust: as much is shown as a card gathers, and nothing else is shown as dust.

Some CPU seconds each: hours and hours of many days are simulated. The short forms take the most dust, and
an hour of each day, on the card that is harder to read.
"""

from __future__ import annotations

import copy
import statistics

import pytest

from aiidpd.components.thermal.rc_model import Card
from aiidpd.components.thermal.settings import AlertSettings
from tests.forms import LONG, short_and_long
from tests.unit.components.thermal.forecast.dusty_room import Room

CARDS = {
    "the model's own": Card(),
    "one that is cooled well without fans": Card(conductance_still=3.0, conductance_fan=6.0),
}


@pytest.fixture(
    scope="module",
    params=[
        "the model's own",
        pytest.param("one that is cooled well without fans", marks=LONG),
    ],
)
def learnt(request: pytest.FixtureRequest) -> Room:
    room = Room(CARDS[request.param])
    room.live(days=12)
    return room


@pytest.fixture
def room(learnt: Room) -> Room:
    again = copy.copy(learnt)
    again.rng, again.shown = copy.copy(learnt.rng), []
    return again


@pytest.mark.parametrize(
    ("growth", "error"),
    [pytest.param(1.15, 0.05, marks=LONG), pytest.param(1.3, 0.05, marks=LONG), (1.6, 0.08)],
)
def test_what_is_shown_is_the_dust_that_is_there(room: Room, growth: float, error: float) -> None:
    room.gather(growth)
    room.live(days=3)
    assert statistics.median(room.shown) == pytest.approx(growth, abs=error)
    lowest, *_, highest = statistics.quantiles(room.shown, n=10)
    assert lowest == pytest.approx(growth, abs=2 * error)
    assert highest == pytest.approx(growth, abs=2 * error)


@short_and_long("hours", 1.0, 3.0)
def test_thirty_days_of_seasons_and_another_fan_curve_are_no_dust(room: Room, hours: float) -> None:
    for day in range(30):
        room.season = 8.0 * (day - 15) / 15
        if day == 10:
            room.turn_fans([(45.0, 0.0), (50.0, 0.4), (68.0, 0.7), (80.0, 1.0)])
        if day == 20:
            room.turn_fans([(45.0, 0.0), (52.0, 0.25), (75.0, 0.6), (88.0, 1.0)])
        room.live(days=1, hours=hours)
    assert len(room.shown) > 1000 * hours
    assert statistics.median(room.shown) == pytest.approx(1.0, abs=0.05)
    assert max(room.shown) < 1 + AlertSettings().resistance_drift_percent / 100
