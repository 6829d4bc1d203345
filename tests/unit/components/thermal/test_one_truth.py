"""One validated reading for alerts, governor, polling and emergency: a faulty sensor moves none of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.alerts.state import Change
from aiidpd.components.thermal import emergency
from aiidpd.components.thermal.alerts import rules
from aiidpd.components.thermal.emergency import Emergency, EmergencyState
from aiidpd.components.thermal.faults import IMPLAUSIBLE, GpuFault
from aiidpd.components.thermal.governor import decide
from aiidpd.components.thermal.governor.state import Blind, Effect, GovernorState, Move
from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.components.thermal.polling import PollRate, next_rate
from aiidpd.components.thermal.settings import GovernorMode, GovernorSettings, GpuSettings
from tests.unit.components.thermal.alerts.evaluating import Bench
from tests.unit.components.thermal.governor.governed import ON, reading

REFUSED = 2.0**32
DRY_RUN = ON.model_copy(update={"mode": GovernorMode.DRY_RUN})
SETTINGS = GpuSettings()
OTHER = replace(reading(40.0), index=1, uuid="GPU-1")


@dataclass
class House:
    """All that goes by the temperature, on the same snapshots."""

    bench: Bench = field(default_factory=Bench)
    policy: GovernorSettings = ON
    governor: GovernorState = field(default_factory=GovernorState)
    rate: PollRate = field(default_factory=lambda: PollRate(1.0))
    emergency: EmergencyState = field(default_factory=EmergencyState)
    effects: list[tuple[float, Effect]] = field(default_factory=list)
    emergencies: list[Emergency] = field(default_factory=list)
    rates: list[PollRate] = field(default_factory=list)

    def see(self, *gpus: GpuReading) -> None:
        """Take one reading; a temperature of 2^32 is one that was refused where it was read."""
        now = self.bench.now
        faults = tuple(
            GpuFault(gpu.index, f"temperature_celsius of {REFUSED:.10g}", None, IMPLAUSIBLE)
            for gpu in gpus
            if gpu.temperature_celsius == REFUSED
        )
        readings = tuple(
            replace(gpu, temperature_celsius=None) if gpu.temperature_celsius == REFUSED else gpu
            for gpu in gpus
        )
        checked = self.bench.take(GpuSnapshot(readings, "580", simulated=False, faults=faults))
        self.rate = next_rate(self.rate, checked, SETTINGS)
        self.rates.append(self.rate)
        self.emergency, began = emergency.step(self.emergency, checked)
        self.emergencies += began
        self.governor, effects = decide.step(self.governor, checked, self.policy)
        self.effects += ((now, effect) for effect in effects)

    def read(self, temperatures: Iterable[float | None], **figures: float) -> House:
        for temperature in temperatures:
            self.see(reading(temperature, shutdown_celsius=100.0, **figures), OTHER)
        return self

    @property
    def blind(self) -> list[tuple[float, str]]:
        return [(now, effect.reason) for now, effect in self.effects if isinstance(effect, Blind)]

    @property
    def moves(self) -> list[Move]:
        return [effect for _, effect in self.effects if isinstance(effect, Move)]


def test_a_frozen_sensor_makes_the_governor_blind_when_the_alert_fires() -> None:
    house = House()
    for swing in range(6):
        house.read([70.0] * 60, power_watts=40.0 if swing % 2 else 280.0)
    fired = house.bench.fired_at(rules.SENSOR_FROZEN)
    ((went, reason),) = house.blind
    assert went == fired == pytest.approx(120, abs=20)
    assert reason.startswith("its temperature is not believed: it is frozen")
    assert house.moves == []

    now = house.bench.now
    house.read([71.0])
    assert house.blind[1:] == [(now, "")]
    assert rules.SENSOR_FROZEN not in house.bench.firing


def test_a_gpu_whose_sensor_froze_stays_where_the_governor_had_it_and_is_read_as_often() -> None:
    house = House().read([86.0, 88.0, 90.0])
    moved = house.moves
    for swing in range(6):
        house.read([91.0] * 60, power_watts=40.0 if swing % 2 else 280.0)
    level = house.governor.gpus["GPU-0"].level
    assert house.blind
    assert moved
    assert level > 0
    house.read([91.0] * 600)
    assert house.governor.gpus["GPU-0"].level == level
    assert {rate.interval for rate in house.rates[-600:]} == {0.25}


WILD = [0.0, -5.0, 126.0, 111.0, 20.0, REFUSED, None]


@pytest.mark.parametrize(
    ("usual", "wild"), [*((60.0, wild) for wild in (*WILD, 91.0, 99.0)), *((84.0, wild) for wild in WILD)]
)
def test_one_wild_reading_moves_nothing(usual: float, wild: float | None) -> None:
    quiet = House().read([usual] * 60)
    house = House().read([usual] * 30)
    house.read([wild]).read([usual] * 29)

    changes = [each.change for _, each in house.bench.transitions if each.change is not Change.PENDING]
    assert changes == [
        each.change for _, each in quiet.bench.transitions if each.change is not Change.PENDING
    ]
    assert [rate.interval for rate in house.rates] == [rate.interval for rate in quiet.rates]
    assert house.emergencies == []
    assert [move.after for move in house.moves] == [move.after for move in quiet.moves]
    if wild is not None:  # a card that stops giving a temperature is another matter
        assert house.blind == []


def test_a_wild_reading_of_a_gpu_that_is_near_a_limit_does_not_slow_the_polling_for_a_cool_one() -> None:
    house = House().read([84.0] * 5)
    for wild in (20.0, REFUSED, 5.0):
        house.read([wild])
        assert house.rate.interval == 0.25
    house.read([84.0, 70.0])
    assert house.rate.interval == 1.0


@pytest.mark.parametrize("wild", [99.0, 111.0, 20.0, REFUSED, None])
def test_a_row_of_wild_readings_is_no_emergency_and_no_step_of_the_governor(wild: float | None) -> None:
    house = House().read([60.0] * 30)
    for _ in range(5):
        house.read([wild, 60.0])
    house.read([60.0] * 5)
    assert house.emergencies == []
    assert house.moves == []
    assert rules.TEMPERATURE_CRITICAL not in house.bench.changes_fired()


def test_a_sensor_that_never_agrees_with_itself_makes_the_governor_blind_soon() -> None:
    house = House().read([60.0] * 10)
    house.read([0.0, 126.0] * 20)
    ((went, reason),) = house.blind
    assert 10 + 10 <= went <= 10 + 20
    assert "not believed" in reason
    assert house.bench.firing == {rules.IMPLAUSIBLE}


@pytest.mark.parametrize("usual", [45.0, 60.0])
def test_a_jump_that_is_true_moves_all_of_them_in_time(usual: float) -> None:
    house = House().read([usual] * 30)
    jumped = house.bench.now
    house.read([95.0] * 14)
    first = next(now for now, effect in house.effects if isinstance(effect, Move))
    assert first - jumped <= 11.0, "no later than without validation: its own filter is what takes so long"
    assert house.blind == []
    assert len(house.emergencies) == 1
    assert house.rate.interval == 0.25
    assert house.bench.fired_at(rules.TEMPERATURE_CRITICAL) - jumped <= 6


@given(
    st.lists(st.integers(70, 95).map(float), min_size=2, max_size=40),
    st.sampled_from([0.0, 126.0, 5.0, REFUSED]),
    st.data(),
)
def test_the_governor_goes_on_after_a_wild_reading_as_if_it_had_not_been_made(
    temperatures: list[float], wild: float, data: st.DataObject
) -> None:
    place = data.draw(st.integers(1, len(temperatures) - 1))
    # Nothing is set: a limit that is read as another than was set is true whatever the temperature is.
    house, without = House(policy=DRY_RUN), House(policy=DRY_RUN)
    house.read([*temperatures[:place], wild, *temperatures[place:]])
    without.read(temperatures[:place])
    without.see(OTHER)
    without.read(temperatures[place:])
    assert house.governor == without.governor
    assert house.moves == without.moves
