"""Forecasts of a card that follows physics (the RC model)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.alerts import rules
from aiidpd.components.thermal.forecast.baseline import LearningPolicy, learn
from aiidpd.components.thermal.forecast.forecast import Forecast, ForecastPolicy
from aiidpd.components.thermal.forecast.resistance import Baseline, Operation, expect, fit
from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.rc_model import Card, CardState, advance
from aiidpd.components.thermal.settings import GpuSettings
from tests.tables import made
from tests.unit.components.thermal.alerts.evaluating import COOL, UUID, Bench

HOUR = 3600.0
DAY = 24 * HOUR


class Rig:
    """A card of the RC model before the evaluation, with readings in whole degrees and noise on the power."""

    def __init__(self, card: Card | None = None, *, bench: Bench | None = None, start: float = 45.0) -> None:
        self.card = card or Card()
        self.state = CardState(start)
        self.bench = bench or Bench()
        self.rng = random.Random(11)

    @property
    def forecast(self) -> Forecast:
        return self.bench.forecasts[0]

    def reading(self, load: float) -> GpuReading:
        return replace(
            COOL,
            temperature_celsius=float(round(self.state.temperature_celsius)),
            power_watts=self.state.power_watts + self.rng.uniform(-3, 3),
            power_limit_watts=self.card.power_limit_watts,
            fan_ratio=round(self.state.fan_ratio, 2),
            utilisation_ratio=load,
            slowdown_celsius=self.card.slowdown_celsius,
            shutdown_celsius=self.card.slowdown_celsius + 3,
        )

    def run(self, seconds: float, load: float = 1.0) -> None:
        until = self.bench.now + seconds
        while self.bench.now < until:
            self.state = advance(self.card, self.state, load, self.bench.period)
            self.bench.see(self.reading(load))

    def worsen(self, factor: float) -> None:
        """Raise the thermal resistance."""
        self.card = replace(
            self.card,
            conductance_still=self.card.conductance_still / factor,
            conductance_fan=self.card.conductance_fan / factor,
        )


def dead_fan(card: Card) -> Card:
    """The fan stands still, and the driver goes on to report the speed that it asks for."""
    return replace(card, conductance_fan=0.0)


# Time to the threshold


def test_a_gpu_that_heats_has_a_time_at_which_it_will_be_too_hot():
    rig = Rig()
    rig.run(600, load=0.9)
    rig.card = dead_fan(rig.card)
    rig.run(12, load=0.9)
    assert rig.forecast.threshold == "warning"
    predicted = rig.forecast.seconds_to_threshold
    assert predicted is not None
    began = rig.bench.now
    while rig.state.temperature_celsius < 85:
        rig.run(1, load=0.9)
    assert predicted == pytest.approx(rig.bench.now - began, rel=0.6)


@pytest.mark.parametrize("slope", [0.05, 0.2, 1.0])
def test_on_a_straight_line_the_prediction_is_right(slope: float):
    bench = Bench()
    for second in range(40):
        bench.see(replace(COOL, temperature_celsius=40.0 + slope * second))
    [forecast] = bench.forecasts
    left = 85.0 - (40.0 + slope * 39)
    assert forecast.seconds_to_threshold == pytest.approx(left / slope, rel=0.01)
    assert forecast.heating_celsius_per_second == pytest.approx(slope, rel=0.01)


def test_what_does_not_heat_has_no_prediction():
    bench = Bench()
    rng = random.Random(5)
    for _ in range(3000):
        bench.see(replace(COOL, temperature_celsius=float(round(70 + rng.gauss(0, 0.4)))))
        assert bench.forecasts[0].seconds_to_threshold is None
    for second in range(60):
        bench.see(replace(COOL, temperature_celsius=70.0 - 0.3 * second))
    assert bench.forecasts[0].seconds_to_threshold is None


def test_wild_readings_do_not_move_the_rate():
    bench = Bench()
    for second in range(60):
        wild = 20.0 if second % 8 == 3 else 0.0
        bench.see(replace(COOL, temperature_celsius=50.0 + 0.2 * second + wild))
    rate = bench.forecasts[0].heating_celsius_per_second
    assert rate == pytest.approx(0.2, abs=0.1)


def test_the_next_threshold_is_the_nearest_that_lies_ahead():
    bench = Bench()
    for second in range(40):
        bench.see(replace(COOL, temperature_celsius=75.0 + 0.3 * second, slowdown_celsius=89.0))
    assert bench.forecasts[0].threshold == "slowdown"


# Thermal resistance


def test_the_resistance_is_that_of_the_card():
    rig = Rig()
    rig.run(300, load=0.9)
    resistance = rig.forecast.resistance
    assert resistance is not None
    conductance = rig.card.conductance_still + rig.card.conductance_fan * rig.state.fan_ratio
    assert resistance == pytest.approx(1 / conductance, rel=0.05)
    assert rig.forecast.baseline is None  # not learnt yet
    rig.run(1900, load=0.9)
    assert rig.forecast.drift_ratio == pytest.approx(1.0, abs=0.03)


def test_while_the_load_changes_there_is_none():
    rig = Rig()
    for _ in range(20):
        rig.run(30, load=0.9)
        rig.run(30, load=0.4)
        assert rig.forecast.resistance is None


def test_an_idle_gpu_tells_the_ambient():
    rig = Rig()
    rig.run(HOUR, load=0.0)
    rig.run(600, load=0.9)
    resistance, idle = rig.forecast.resistance, rig.card.ambient_celsius + 15 / 1.5
    assert resistance == pytest.approx(
        (rig.state.temperature_celsius - idle) / rig.state.power_watts, rel=0.05
    )


def days(rig: Rig, course: Iterable[Callable[[Card], Card]]) -> float | None:
    """Let the card idle and work on each of some days, five apart; return the day on which drift fires."""
    for number, change in enumerate(course):
        rig.card = change(rig.card)
        rig.run(0.3 * HOUR, load=0.0)
        rig.run(0.9 * HOUR, load=0.9)
        rig.run(0.5 * HOUR, load=0.6)
        rig.bench.now += 5 * DAY
        if rules.RESISTANCE_DRIFT in rig.bench.changes_fired():
            return 5.0 * number
    return None


def slow_bench() -> Bench:
    # A card that is known after 3 hours of settled work, where it would be a day: that much less to simulate.
    forecasting = ForecastPolicy(learning=LearningPolicy(young=3 * HOUR))
    return Bench(made(GpuSettings, interval=10.0), period=10.0, forecasting=forecasting)


def dusty(factor: float) -> Callable[[Card], Card]:
    return lambda card: replace(
        card,
        conductance_still=card.conductance_still / factor,
        conductance_fan=card.conductance_fan / factor,
    )


def test_dust_is_seen_before_anything_is_too_hot():
    rig = Rig(bench=slow_bench())
    clean = [dusty(1.0)] * 3
    sixty_days = [dusty(1.3 ** (5 / 60))] * 12
    day = days(rig, clean + sixty_days + clean)
    assert day is not None
    assert 40 <= day <= 75
    assert rig.bench.changes_fired() == {rules.RESISTANCE_DRIFT}


def test_the_seasons_are_no_dust():
    rig = Rig(bench=slow_bench())

    def season(celsius: float) -> Callable[[Card], Card]:
        return lambda card: replace(card, ambient_celsius=celsius)

    assert days(rig, [season(celsius) for celsius in (24, 26, 28, 30, 32, 30, 26, 22, 18, 18, 22)]) is None
    assert rig.bench.changes_fired() == set()


def test_a_card_that_was_cleaned_is_fine_again():
    rig = Rig()
    rig.run(900, load=0.0)
    rig.run(HOUR, load=0.9)
    rig.worsen(1.4)
    rig.run(900, load=0.0)
    rig.run(HOUR, load=0.9)
    assert rules.RESISTANCE_DRIFT in rig.bench.firing
    assert "where" in rig.bench.reason(rules.RESISTANCE_DRIFT)
    rig.worsen(1 / 1.4)
    rig.run(900, load=0.0)
    rig.run(HOUR, load=0.9)
    assert rules.RESISTANCE_DRIFT not in rig.bench.firing


def test_a_dead_fan_is_seen_before_the_card_throttles():
    rig = Rig()
    rig.run(900, load=0.9)
    rig.card = dead_fan(rig.card)
    died = rig.bench.now
    while not rig.state.throttled:
        rig.run(1, load=0.9)
    assert rules.FAN_INEFFECTIVE in rig.bench.firing
    assert rig.bench.fired_at(rules.FAN_INEFFECTIVE) - died < 30
    assert "though its fan is set to" in rig.bench.reason(rules.FAN_INEFFECTIVE)


def test_a_load_that_comes_and_goes_is_no_dead_fan():
    rig = Rig()
    for _ in range(6):
        rig.run(400, load=0.0)
        rig.run(700, load=1.0)
        rig.run(300, load=0.4)
    assert rules.FAN_INEFFECTIVE not in {each.rule.name for _, each in rig.bench.transitions}


def test_a_dead_fan_at_a_load_that_it_can_bear_shows_as_drift():
    rig = Rig()
    rig.run(0.5 * HOUR, load=0.0)
    rig.run(HOUR, load=0.26)
    rig.card = dead_fan(rig.card)
    rig.run(0.5 * HOUR, load=0.0)
    rig.run(HOUR, load=0.26)
    assert rig.bench.firing & {rules.RESISTANCE_DRIFT, rules.FAN_INEFFECTIVE}


def bands(*fans: float, still: float = 0.3, slope: float = 0.12) -> tuple[Baseline, ...]:
    """Return what a card is known by whose heatsink is worth ``still`` without its fan."""
    known = []
    for fan in fans:
        seen = Operation(1.0, 100.0 + 300.0 * fan, fan, 15.0, 0.0)
        known.append(Baseline(replace(seen, rise=slope * seen.path(still)), 7200.0))
    return tuple(known)


@pytest.mark.parametrize("still", [0.1, 0.2, 0.3, 0.5, 1.0])
def test_a_fan_speed_never_used_is_compared_with_what_the_others_lead_to_expect(still: float):
    known = bands(0.35, 0.45, 0.6, still=still)
    cools = tuple(
        Baseline(replace(base.usual, rise=rise, power=15.0, fan=fan, rate=1.0), 600.0)
        for base, rise, fan in zip(known, (8.0, 20.0, 25.0), (0.0, 0.3, 0.5), strict=True)
    )
    cools = tuple(
        replace(base, usual=replace(base.usual, rate=base.usual.loss(still, 0.12) / 350)) for base in cools
    )
    assert fit(known, cools) == pytest.approx(still, rel=0.2)
    dusty = Operation(1.0, 280.0, 0.85, 15.0, 0.0)
    assert expect(known, dusty, cools) == pytest.approx(0.12 * dusty.path(still), rel=0.03)


def test_a_card_of_which_nothing_is_known_is_expected_to_do_nothing():
    assert expect((), Operation(30.0, 200.0, 0.5)) is None


operations = st.builds(
    Operation,
    rise=st.floats(0.1, 100),
    power=st.floats(40, 1000),
    fan=st.floats(0, 1),
    reference_power=st.floats(0, 60),
    reference_fan=st.floats(0, 1),
    rate=st.floats(-2, 2),
)
baselines = st.lists(st.builds(Baseline, operations, st.floats(1, 1e7)), max_size=8).map(tuple)


@given(baselines, baselines, operations)
def test_whatever_was_learnt_what_is_expected_is_a_rise_or_nothing(
    known: tuple[Baseline, ...], cools: tuple[Baseline, ...], seen: Operation
):
    cools = tuple(base for base in cools if base.usual.rate >= 0.001)
    expected = expect(known, seen, cools)
    assert expected is None or 0 < expected < 1e9


@given(operations, st.floats(0.1, 1), st.floats(0, 0.5))
def test_more_air_is_never_expected_to_cool_less(usual: Operation, fan: float, more: float):
    known = (Baseline(replace(usual, reference_power=0.0), 7200.0),)
    slow, fast = (expect(known, Operation(1.0, 200.0, speed)) for speed in (fan, fan + more))
    assert slow is not None
    assert fast is not None
    assert fast <= slow * (1 + 1e-9)


@given(operations, st.floats(1.02, 3.0))
def test_what_is_learnt_at_one_place_shows_there_as_it_is(usual: Operation, growth: float):
    known = {"idle/10": Baseline(replace(usual, fan=0.5), 1e6)}
    _, expected = learn(known, "idle", replace(usual, fan=0.5), 0.0, LearningPolicy())
    if expected is not None:
        assert growth * usual.rise / expected == pytest.approx(growth)


@pytest.mark.parametrize("source", ["assumed", "idle"])
def test_baselines_of_another_ambient_tell_nothing(source: str):
    bench = Bench()
    bench.memory = replace(
        bench.memory, baselines={UUID: {f"{source}/12": Baseline(Operation(40.0, 200.0, 0.6), 1e6)}}
    )
    bench.run(140, fan_ratio=0.6, temperature_celsius=65.0)
    [forecast] = bench.forecasts
    # A GPU that is known to idle is not measured against a guess.
    assert forecast.resistance == (pytest.approx(0.2) if source == "assumed" else None)
    assert forecast.drift_ratio == (pytest.approx(1.0) if source == "assumed" else None)


def test_what_was_learnt_is_there_after_a_restart():
    rig = Rig()
    rig.run(HOUR, load=0.9)
    again = Rig()
    again.bench.memory = replace(again.bench.memory, baselines=rig.bench.memory.baselines)
    again.worsen(1.4)
    again.run(HOUR, load=0.9)
    assert rules.RESISTANCE_DRIFT in again.bench.firing


@pytest.mark.parametrize(("factor", "expected"), [(1.1, 0.1 / (3 * 365)), (0.9, -0.1 / 7), (0.97, 0.0)])
def test_a_baseline_follows_dust_over_years_and_a_cleaning_over_days(factor: float, expected: float):
    bench = Bench(period=9.9)
    known = Baseline(Operation(35.0 / factor, 200.0, 0.5), 1e6)
    bench.memory = replace(bench.memory, baselines={UUID: {"assumed/10": known}})
    bench.run(0.1 * DAY)
    after = bench.memory.baselines[UUID]["assumed/10"].usual.rise
    assert after / known.usual.rise - 1 == pytest.approx(0.1 * expected, rel=0.1)


def test_what_a_warmer_room_would_explain_is_no_dust_where_the_room_is_assumed():
    bench = Bench()
    known = Baseline(Operation(35.0, 200.0, 0.5), 1e6)
    bench.memory = replace(bench.memory, baselines={UUID: {"assumed/10": known}})
    bench.run(1.5 * HOUR, temperature_celsius=60.0 + 8.0)
    assert bench.forecasts[0].drift_ratio == pytest.approx(1.23, abs=0.01)
    assert bench.changes(rules.RESISTANCE_DRIFT) == []
    bench.run(HOUR, temperature_celsius=60.0 + 14.0)
    assert rules.RESISTANCE_DRIFT in bench.firing
    bench.run(HOUR)
    assert rules.RESISTANCE_DRIFT not in bench.firing


def test_a_reference_that_is_an_hour_old_is_none():
    rig = Rig()
    rig.run(900, load=0.0)
    rig.run(0.9 * HOUR, load=0.9)
    assert rig.forecast.resistance is not None
    rig.run(0.2 * HOUR, load=0.9)
    assert rig.forecast.resistance is None
