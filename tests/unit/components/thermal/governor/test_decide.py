"""Decisions of the governor: on the RC model, on noise, and on examples of hypothesis."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiidpd.components.thermal.commands import LockClocks, ResetClocks, SetPowerLimit
from aiidpd.components.thermal.faults import DIED, NO_ANSWER, GpuFault
from aiidpd.components.thermal.governor.decide import over_target, step
from aiidpd.components.thermal.governor.ladder import Actuator
from aiidpd.components.thermal.governor.refusals import refused
from aiidpd.components.thermal.governor.state import (
    BackOff,
    Blind,
    Effect,
    GovernorState,
    Move,
    Restored,
    Yielded,
)
from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.rc_model import Card
from aiidpd.components.thermal.settings import GovernorMode, GovernorSettings
from tests.believed import believed_gpu
from tests.forms import short_and_long
from tests.unit.components.thermal.governor.governed import ON, UUID, Rig, reading, snapshot

BLOCKED = replace(Card(), fan_limit=0.0)
WEAK = replace(Card(), fan_limit=0.3)
TARGET = 87.0  # 92 °C less the margin


def test_with_a_blocked_fan_the_driver_never_throttles_where_it_did_without_the_governor() -> None:
    ungoverned = Rig(BLOCKED, GovernorSettings(mode=GovernorMode.OFF)).run(3600)
    governed = Rig(BLOCKED).run(3600)

    assert ungoverned.throttled > 600
    assert governed.throttled == 0
    assert governed.hottest <= TARGET + 1
    assert any(move.step.clock_hertz for move in governed.moves), "the power limit alone would not have done"


@pytest.mark.parametrize("seed", range(6))
def test_what_is_said_of_the_target_is_so(seed: int) -> None:
    rig = Rig(BLOCKED, noise=2.0, seed=seed, seconds=0).run(1800)
    rig.card = WEAK
    rig.run(1800)
    said = [move for move in rig.moves if "its target" in move.reason]
    for move in said:
        over = move.evidence["over_target_celsius"]
        side = "at" if not over else "above" if over > 0 else "below"
        assert f"{side} its target" in move.reason
        assert "is 0 °C" not in move.reason
    assert len(said) >= 5


def test_a_gpu_that_rises_fast_above_its_target_is_said_to_be_above_it() -> None:
    # Its trend lags behind: by the readings before, it would still be below.
    state = GovernorState()
    moves: list[Move] = []
    for now, celsius in enumerate([*[TARGET - 4.0] * 30, *[TARGET + 3.0] * 3]):
        state, effects = step(state, snapshot(reading(celsius), now=float(now)), ON)
        moves += [effect for effect in effects if isinstance(effect, Move)]
    assert "it is 3 °C above its target and rises by " in moves[0].reason


def heats(card: Card) -> float:
    """Return how fast ``card`` heats at the target with its fan blocked, in Celsius a second."""
    lost = card.conductance_still * (TARGET - card.ambient_celsius)
    return (card.power_limit_watts - lost) / card.heat_capacity


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    heat_capacity=st.floats(100, 3000),
    still=st.floats(1, 2.5),
    ambient=st.floats(10, 40),
    noise=st.sampled_from([0.0, 2.0]),
    delay=st.sampled_from([0.0, 0.5]),
    start=st.floats(30, 86),
    load=st.sampled_from([0.0, 0.5, 1.0]),
    blocked_after=st.floats(1, 60),
    left=st.sampled_from([0.0, 0.2]),
    seed=st.integers(0, 2**32),
)
def test_whatever_the_cooler_and_whenever_its_fan_stops_the_overshoot_is_small(
    *,
    heat_capacity: float,
    still: float,
    ambient: float,
    noise: float,
    delay: float,
    start: float,
    load: float,
    blocked_after: float,
    left: float,
    seed: int,
) -> None:
    """At most 1 °C; or what a card so light gains in five readings and the delay of a setting."""
    card = Card(heat_capacity=heat_capacity, conductance_still=still, ambient_celsius=ambient)
    rig = Rig(card, noise=noise, seconds=0, delay=delay, temperature=start, seed=seed)
    rig.run(blocked_after, lambda _: load)
    rig.card = replace(card, fan_limit=left)
    rig.run(min(400, heat_capacity))

    assert rig.throttled == 0
    assert rig.hottest <= TARGET + max(1.0, heats(card) * (5 * 0.25 + delay))


@pytest.mark.parametrize("heat_capacity", [350.0, 1000.0, 2500.0])
@pytest.mark.parametrize("noise", [0.0, 2.0])
@pytest.mark.parametrize("delay", [0.0, 0.5])
def test_a_cooler_of_a_real_cards_weight_is_never_1_degree_too_hot(
    heat_capacity: float, noise: float, delay: float
) -> None:
    for seed in range(3):
        rig = Rig(
            replace(BLOCKED, heat_capacity=heat_capacity), noise=noise, seconds=0, delay=delay, seed=seed
        )
        rig.run(600).run(200, lambda _: 0.0).run(600)
        assert rig.throttled == 0
        assert rig.hottest <= TARGET + 1


@pytest.mark.parametrize("fan", [0.15, 0.3, 0.35])
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_no_more_power_is_taken_than_the_target_asks_for(fan: float, noise: float) -> None:
    card = replace(Card(), fan_limit=fan)
    most = (card.conductance_still + card.conductance_fan * fan) * (TARGET - card.ambient_celsius)
    rig = Rig(card, noise=noise, seconds=0).run(3600)
    before = rig.joules
    rig.run(3600)

    assert 0.92 * most < (rig.joules - before) / 3600 < 1.01 * most


def test_where_the_clocks_must_do_it_the_power_is_within_two_of_their_steps() -> None:
    most = BLOCKED.conductance_still * (TARGET - BLOCKED.ambient_celsius)
    rig = Rig(BLOCKED, seconds=0).run(3600)
    before = rig.joules
    rig.run(3 * 3600)

    assert 0.7 * most < (rig.joules - before) / (3 * 3600) < 1.01 * most


def test_a_load_that_comes_and_goes_is_met_each_time() -> None:
    rig = Rig(BLOCKED).run(4 * 3600, lambda now: float(now % 900 < 450))

    assert rig.throttled == 0
    assert rig.hottest <= TARGET + 1


@short_and_long("hours", 3, 24)
def test_a_healthy_card_is_left_alone_for_a_day_of_noise(hours: int) -> None:
    rig = Rig(noise=2.0, seconds=0).run(hours * 3600)

    assert rig.moves == []


@short_and_long("hours", 3, 24)
def test_a_weak_fan_is_lived_with_and_not_tried_out_every_minute(hours: int) -> None:
    rig = Rig(WEAK, noise=2.0, seconds=0).run(hours * 3600)

    assert rig.throttled == 0
    assert rig.hottest <= TARGET + 1
    assert rig.reversals < 2 * hours + 20  # an hour between tries, and the first ones closer together
    assert rig.limit >= 150


def test_it_goes_down_in_order_and_up_in_reverse() -> None:
    rig = Rig(BLOCKED).run(900)
    hot = rig.moves[:]
    down = [move.step for move in hot if move.after > move.before]
    powers = [each.power_watts for each in down if each.clock_hertz is None]
    assert powers == sorted(powers, reverse=True)
    assert all(each.power_watts == 150 for each in down if each.clock_hertz is not None)

    rig.run(3600, lambda _: 0.0)
    up = rig.moves[len(hot) :]
    assert [move.after for move in up] == sorted({move.after for move in up}, reverse=True)
    assert up[-1].after == 0
    assert (rig.limit, rig.clock) == (300.0, 2.6e9)
    assert isinstance(rig.effects[-1], Restored)
    assert not rig.state.gpus[UUID].touched


def test_back_off_is_requested_last_and_ends_first() -> None:
    rig = Rig(BLOCKED, ON.model_copy(update={"clock_floor_percent": 90})).run(300)
    requests = [effect for effect in rig.effects if isinstance(effect, BackOff)]
    assert [request.requested for request in requests] == [True]
    assert rig.level == len(rig.state.gpus[UUID].ladder) - 1

    rig.run(3600, lambda _: 0.0)
    requests = [effect for effect in rig.effects if isinstance(effect, BackOff)]
    assert [request.requested for request in requests] == [True, False]


def test_turned_off_it_goes_to_the_baseline_at_once() -> None:
    rig = Rig(BLOCKED).run(120)
    assert rig.level > 10
    rig.settings = GovernorSettings(mode=GovernorMode.OFF)
    rig.run(2)

    assert (rig.level, rig.limit, rig.clock) == (0, 300.0, 2.6e9)
    assert isinstance(rig.effects[-1], Restored)


def test_a_dry_run_publishes_what_it_would_do_and_does_nothing() -> None:
    rig = Rig(BLOCKED, ON.model_copy(update={"mode": GovernorMode.DRY_RUN})).run(600)

    assert rig.moves
    assert all(move.dry_run and not move.commands for move in rig.moves)
    assert rig.throttled > 0
    assert not rig.state.gpus[UUID].touched


def test_a_limit_that_an_administrator_lowered_is_the_baseline_and_is_given_back() -> None:
    rig = Rig(BLOCKED, limit=250.0).run(120)
    assert rig.limit < 250
    rig.run(7200, lambda _: 0.0)

    assert rig.limit == 250.0


def test_a_limit_that_somebody_else_sets_meanwhile_is_the_new_baseline() -> None:
    rig = Rig(BLOCKED).run(120)
    rig.limit = 137.0
    rig.run(5)
    assert [effect.watts for effect in rig.effects if isinstance(effect, Yielded)] == [137.0]

    rig.run(7200, lambda _: 0.0)
    assert (rig.limit, rig.clock) == (137.0, 2.6e9)
    assert not rig.state.gpus[UUID].touched


def test_a_setting_that_was_lost_is_set_again() -> None:
    rig = Rig(BLOCKED).run(120)
    before = rig.limit
    rig.limit = 300.0  # as after a reset of the card
    rig.run(5)

    assert rig.limit == before
    assert not any(isinstance(effect, Yielded) for effect in rig.effects)


def test_throttling_is_answered_even_where_the_temperature_is_fine() -> None:
    gpu = reading(60.0, clock_events=("hw_thermal_slowdown",))
    _, effects = step(GovernorState(), snapshot(gpu), ON)

    (move,) = effects
    assert isinstance(move, Move)
    assert "throttles already (hw_thermal_slowdown)" in move.reason


def test_a_power_cap_is_no_throttling() -> None:
    gpu = reading(60.0, clock_events=("sw_power_cap",))

    assert step(GovernorState(), snapshot(gpu), ON)[1] == ()


def test_the_nearer_of_the_cards_own_limits_counts_in_either_family() -> None:
    assert over_target(believed_gpu(reading(80.0)), ON) == 80 - 87
    assert over_target(believed_gpu(reading(80.0, gpu_max_celsius=88.0)), ON) == 80 - 83
    offsets = reading(
        80.0, slowdown_celsius=None, temperature_margin_celsius=9.0, slowdown_margin_celsius=-2.0
    )
    assert over_target(believed_gpu(offsets), ON) == 5 - 11
    assert over_target(believed_gpu(replace(offsets, gpu_max_margin_celsius=0.0)), ON) == 5 - 9


def test_an_absolute_target_counts_and_never_lies_above_the_cards_own_limit() -> None:
    assert over_target(believed_gpu(reading(80.0)), ON.model_copy(update={"target_celsius": 75.0})) == 5
    assert (
        over_target(believed_gpu(reading(80.0)), ON.model_copy(update={"target_celsius": 110.0})) == 80 - 91
    )
    assert (
        over_target(
            believed_gpu(reading(80.0, slowdown_celsius=None)), ON.model_copy(update={"target_celsius": 75.0})
        )
        == 5
    )


def test_a_card_that_names_no_limit_is_reported_once_and_not_touched() -> None:
    mute = reading(99.0, slowdown_celsius=None)
    state, effects = step(GovernorState(), snapshot(mute), ON)
    assert [type(effect) for effect in effects] == [Blind]
    state, effects = step(state, snapshot(mute, now=1.0), ON)
    assert effects == ()
    _, effects = step(state, snapshot(reading(60.0), now=2.0), ON)
    assert effects == (Blind(0, UUID, ""),)


def test_without_a_temperature_a_gpu_stays_where_it_is() -> None:
    rig = Rig(BLOCKED).run(120)
    level = rig.level
    blind = reading(None, power_limit_set_watts=rig.limit)
    for second in range(600):
        rig.state, effects = step(rig.state, snapshot(blind, now=rig.now + second), ON)
        assert not any(isinstance(effect, Move) for effect in effects)
    assert rig.level == level


def test_a_card_without_a_power_limit_is_governed_by_its_clocks() -> None:
    gpu = reading(95.0, power_limit_set_watts=None, power_limit_min_watts=None)
    _, effects = step(GovernorState(), snapshot(gpu), ON)

    (move,) = effects
    assert isinstance(move, Move)
    assert [type(command) for command in move.commands] == [LockClocks]
    assert move.baseline_watts is None


def test_a_card_with_no_actuator_at_all_leaves_only_the_request() -> None:
    gpu = reading(95.0, power_limit_set_watts=None, graphics_clock_max_hertz=None)
    _, effects = step(GovernorState(), snapshot(gpu), ON)

    assert [type(effect) for effect in effects] == [Move, BackOff]


def test_clocks_that_were_never_locked_are_never_unlocked() -> None:
    rig = Rig(replace(Card(), fan_limit=0.4)).run(3600)
    assert rig.moves
    rig.run(3600, lambda _: 0.0)

    assert not any(isinstance(command, ResetClocks | LockClocks) for command in rig.commands)
    assert rig.limit == 300.0


def hot_move(state: GovernorState | None = None, now: float = 0.0) -> tuple[GovernorState, Move]:
    state, effects = step(state or GovernorState(), snapshot(reading(95.0), now=now), ON)
    (move,) = [effect for effect in effects if isinstance(effect, Move)]
    return state, move


def fault(name: str, code: int | None = 1) -> GpuFault:
    return GpuFault(0, "nvmlDeviceSetPowerManagementLimit", code, name)


def test_without_the_right_it_goes_on_as_a_dry_run_and_nothing_counts_as_touched() -> None:
    state, move = hot_move()
    state, refusal = refused(state, move, move.commands[0], fault("NO_PERMISSION", 4), retry_at=10.0)
    assert refusal.final
    assert not state.permitted
    assert not state.gpus[UUID].touched
    _, again = hot_move(state, 20.0)

    assert again.dry_run
    assert again.commands == ()


def test_an_actuator_that_the_card_does_not_have_is_left_out_at_once() -> None:
    state, move = hot_move()
    state, refusal = refused(state, move, move.commands[0], fault("NOT_SUPPORTED", 3), retry_at=10.0)
    assert refusal.actuator is Actuator.POWER
    state, move = hot_move(state, 5.0)

    assert [type(command) for command in move.commands] == [LockClocks]
    state, _ = refused(state, move, move.commands[0], fault("NOT_SUPPORTED", 3), retry_at=10.0)
    _, effects = step(state, snapshot(reading(95.0), now=10.0), ON)
    assert [type(effect) for effect in effects] == [Move, BackOff]


@pytest.mark.parametrize("name", [NO_ANSWER, DIED, "TIMEOUT", "UNKNOWN", "GPU_IS_LOST"])
def test_after_a_hang_or_a_crash_nobody_knows_so_all_is_set_again(name: str) -> None:
    state, move = hot_move()
    state, refusal = refused(state, move, move.commands[0], fault(name, None), retry_at=10.0)
    assert not refusal.final
    assert state.gpus[UUID].touched, "it may have been set all the same"
    state, effects = step(state, snapshot(reading(60.0), now=5.0), ON)
    assert effects == ()
    for second in range(10, 30):
        state, effects = step(state, snapshot(reading(60.0), now=float(second)), ON)
        if effects:
            break

    (again,) = effects
    assert isinstance(again, Move)
    assert (again.before, again.after) == (0, 0)
    assert again.commands == (SetPowerLimit(UUID, 300.0),)


def test_a_restore_that_is_refused_is_tried_until_it_is_read_back() -> None:
    rig = Rig(BLOCKED).run(60)
    off = GovernorSettings(mode=GovernorMode.OFF)
    gpu = reading(60.0, power_limit_set_watts=rig.limit)
    for second in range(0, 100, 20):
        now = rig.now + 1 + second
        rig.state, (move,) = step(rig.state, snapshot(gpu, now=now), off)
        assert isinstance(move, Move)
        assert move.after == 0
        assert SetPowerLimit(UUID, 300.0) in move.commands
        rig.state, _ = refused(rig.state, move, move.commands[0], fault("UNKNOWN", 999), retry_at=now + 10)
    rig.state, _ = step(rig.state, snapshot(gpu, now=rig.now + 200), off)
    rig.state, effects = step(rig.state, snapshot(reading(60.0), now=rig.now + 201), off)
    assert [type(effect) for effect in effects] == [Restored]


def test_a_gpu_that_is_gone_for_a_while_is_held_as_it_was() -> None:
    rig = Rig(BLOCKED).run(120)
    before = rig.state
    state, effects = step(before, snapshot(now=rig.now + 1), ON)

    assert effects == ()
    assert state.gpus[UUID] == before.gpus[UUID]


temperatures = st.one_of(st.none(), st.integers(-50, 200).map(float))
limits = st.one_of(st.none(), st.integers(1, 600).map(float))


@given(
    st.lists(st.tuples(temperatures, st.integers(1, 40), st.booleans(), st.booleans()), max_size=60),
    st.tuples(limits, limits, limits, limits, st.sampled_from([None, 2.6e9, 3e5])),
)
def test_whatever_a_card_says_no_setting_leaves_its_range_and_the_baseline_comes_back(
    passes: list[tuple[float | None, int, bool, bool]],
    figures: tuple[float | None, float | None, float | None, float | None, float | None],
) -> None:
    card = _Card(*figures)
    state, now = GovernorState(), 0.0
    for temperature, seconds, throttled, fails in passes:
        now += seconds
        state, effects = step(state, snapshot(card.reading(temperature, throttled), now=now), ON)
        state = card.obey(state, effects, now, fails=fails)
    off = GovernorSettings(mode=GovernorMode.OFF)
    for _ in range(4):
        now += 20
        state, effects = step(state, snapshot(card.reading(60.0, throttled=False), now=now), off)
        state = card.obey(state, effects, now, fails=False)

    assert (card.limit, card.clock) == (figures[0], figures[4])
    assert not state.gpus[UUID].touched


@given(st.lists(st.tuples(temperatures, st.integers(1, 40), st.booleans()), max_size=40))
def test_cool_for_long_enough_it_is_always_back_at_its_baseline(
    passes: list[tuple[float | None, int, bool]],
) -> None:
    card = _Card(300.0, 300.0, 100.0, 350.0, 2.6e9)
    state, now = GovernorState(), 0.0
    for temperature, seconds, fails in passes:
        now += seconds
        state, effects = step(state, snapshot(card.reading(temperature, throttled=False), now=now), ON)
        state = card.obey(state, effects, now, fails=fails)
    for _ in range(200):
        now += 5.0
        state, effects = step(state, snapshot(card.reading(40.0, throttled=False), now=now), ON)
        state = card.obey(state, effects, now, fails=False)

    assert (card.limit, card.clock) == (300.0, 2.6e9)
    assert not state.gpus[UUID].touched


class _Card:
    """A card that takes each setting, or fails to answer: and then it may have taken it or not."""

    def __init__(
        self,
        limit: float | None,
        default: float | None,
        lowest: float | None,
        highest: float | None,
        top: float | None,
    ) -> None:
        self.limit, self.clock = limit, top
        self._first = limit
        self._default, self._lowest, self._highest, self._top = default, lowest, highest, top
        self._random = random.Random(1)
        self._steps: list[tuple[float, float]] = []

    def reading(self, temperature: float | None, throttled: bool) -> GpuReading:
        return reading(
            temperature,
            power_limit_set_watts=self.limit,
            power_limit_default_watts=self._default,
            power_limit_min_watts=self._lowest,
            power_limit_max_watts=self._highest,
            graphics_clock_max_hertz=self._top,
            clock_events=("hw_slowdown",) if throttled else (),
        )

    def obey(
        self, state: GovernorState, effects: tuple[Effect, ...], now: float, *, fails: bool
    ) -> GovernorState:
        for move in (effect for effect in effects if isinstance(effect, Move)):
            self._in_order(state, move)
            for command in move.commands:
                if fails and self._random.random() < 0.5:
                    if self._random.random() < 0.5:
                        self._take(command)
                    return refused(state, move, command, fault(NO_ANSWER, None), retry_at=now + 10)[0]
                self._take(command)
        return state

    def _take(self, command: object) -> None:
        match command:
            case SetPowerLimit(watts=watts):
                own = watts == self._first
                assert own or (self._lowest is not None and watts >= self._lowest)
                assert own or (self._highest is not None and watts <= self._highest)
                self.limit = watts
            case LockClocks(max_hertz=hertz):
                assert self._top is not None
                self.clock = hertz
            case ResetClocks():
                self.clock = self._top

    def _in_order(self, state: GovernorState, move: Move) -> None:
        """Every step takes at least as much by each actuator as the one before it."""
        ladder = state.gpus[UUID].ladder
        for before, after in pairwise(ladder):
            assert (after.power_watts or 1e9) <= (before.power_watts or 1e9)
            assert (after.clock_hertz or 1e12) <= (before.clock_hertz or 1e12)
            assert after.back_off >= before.back_off
        assert 0 <= move.after < max(1, len(ladder))


def test_a_gpu_that_vanishes_while_it_can_not_be_governed_is_no_longer_reported_for_that():
    state, effects = step(GovernorState(), snapshot(reading(None), now=0.0), ON)
    assert [effect.reason for effect in effects if isinstance(effect, Blind)] == [
        "its temperature can't be read"
    ]
    other = reading(60.0, index=1, uuid="GPU-1")
    state, effects = step(state, snapshot(other, now=1.0), ON)
    assert effects == (Blind(0, UUID, ""),)
    assert step(state, snapshot(other, now=2.0), ON)[1] == ()
    _, effects = step(state, snapshot(reading(None), other, now=3.0), ON)
    assert [effect.reason for effect in effects if isinstance(effect, Blind)] == [
        "its temperature can't be read"
    ]
