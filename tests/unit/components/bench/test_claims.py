"""Claims held against what is measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aiidpd.components.bench.claims import TYPE, ClaimWatch
from aiidpd.components.bench.view import EndpointView
from aiidpd.contracts.claims import ClaimBounds, ClaimedFigure, ClaimsView
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Severity
from tests.fakes.clock import FakeClock
from tests.unit.components.bench.regression.monitored import sample

SPEED = ClaimBounds(
    "own-speed", "local: 70-100 tok/s", ClaimedFigure.DECODE, "local", False, 70.0, 100.0, 112.0
)
FIRST = ClaimBounds("own-first", "local: 40-80 ms", ClaimedFigure.TTFT, "local", False, 0.04, 0.08, None)
BATCH = replace(SPEED, name="own-batch", of_batch=True, low=1000.0, high=2000.0)


class Room:
    """A watch of one endpoint."""

    def __init__(self, *claims: ClaimBounds) -> None:
        self.claims: ClaimsView | None = ClaimsView(claims)
        self.conditions = Conditions(FakeClock(), EventBus())
        self.watch = ClaimWatch(self.conditions, lambda: self.claims)
        self.view = EndpointView("local", "http://127.0.0.1:8000", "m", simulated=False)
        self.watch.begin((self.view,))

    def probe(self, *speeds: float | None, first: float | None = 0.06, throttled: str = "") -> None:
        for speed in speeds:
            found = replace(sample(speed, first), throttled=throttled)
            self.view = self.view.measured(found, 1.0, 1.0)
            self.watch.measured(self.view)

    def active(self) -> dict[str, Condition]:
        assert {each.type for each in self.conditions.active()} <= {TYPE}
        return {each.subject: each for each in self.conditions.active()}


def test_one_that_falls_past_its_bounds_is_a_condition_and_one_that_is_back_is_none():
    room = Room(SPEED, FIRST)
    room.probe(60.0, 61.0)
    assert room.active() == {}  # two are no three
    room.probe(62.0)
    (found,) = room.active().values()
    assert (found.subject, found.severity) == ("own-speed", Severity.WARNING)
    assert (
        "local: 61 tokens/s of one request, the median of 3, worse than claimed (70 tokens/s to"
        in found.reason
    )
    room.probe(80.0)
    assert "own-speed" in room.active()  # one is an outlier
    room.probe(81.0)
    assert room.active() == {}


def test_one_that_rises_past_its_bounds_asks_for_a_better_claim():
    room = Room(SPEED)
    room.probe(105.0, 106.0, 107.0)
    found = room.active()["own-speed"]
    assert found.severity is Severity.INFO
    assert "better than claimed" in found.reason


def test_less_is_better_for_the_first_token():
    room = Room(FIRST)
    room.probe(80.0, 80.0, 80.0, first=0.2)
    assert "200 ms of one request, the median of 3, worse than claimed (40 ms to 80 ms)" in (
        room.active()["own-first"].reason
    )
    room.probe(80.0, 80.0, 80.0, first=0.01)
    assert "better than claimed" in room.active()["own-first"].reason


def test_what_physics_forbids_says_so():
    room = Room(SPEED)
    room.probe(150.0, 150.0, 150.0)
    assert "beyond what physics allows (112 tokens/s)" in room.active()["own-speed"].reason


def test_the_speed_of_one_request_is_never_held_against_that_of_a_batch():
    room = Room(BATCH)
    room.probe(80.0, 80.0, 80.0)
    assert room.active() == {}


def test_throttled_samples_and_figures_that_are_withheld_do_not_count():
    room = Room(SPEED)
    room.probe(10.0, 10.0, 10.0, throttled="GPU 0: heat")
    room.probe(None, None, None)
    assert room.active() == {}


@pytest.mark.parametrize("change", ["endpoint", "claim", "model"])
def test_a_condition_ends_with_its_endpoint_its_model_and_its_claim(change: str):
    room = Room(SPEED)
    room.probe(10.0, 10.0, 10.0)
    assert room.active()
    if change == "claim":
        room.claims = None
        room.watch.begin((room.view,))
    else:
        others = () if change == "endpoint" else (replace(room.view, model="other", sample=None),)
        room.watch.begin(others)
    assert room.active() == {}


def test_what_is_made_up_says_so():
    room = Room(SPEED)
    room.view = replace(room.view, simulated=True)
    room.watch.begin((room.view,))
    room.probe(10.0, 10.0, 10.0)
    assert room.active()["own-speed"].simulated
