"""24 h of sensors that are off by up to 2 °C, around each threshold, read as often as the product reads.

The short forms take an hour or two in which the most happens.

Near a limit that is four times a second: 345,600 readings a day. Alerts: what decides about heat, and the
state machine, take the day at that rate; the whole evaluation, which costs ten times as much, takes it once a
second. The governor takes it whole. Short runs try other seeds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.alerts.rule import by_name
from aiidpd.alerts.state import Alert, Change, Key, step
from aiidpd.components.thermal.alerts import rules, temperature
from aiidpd.components.thermal.alerts.temperature import TemperatureMemory
from aiidpd.components.thermal.governor import decide, tuning
from aiidpd.components.thermal.governor.state import GovernorState, Move
from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.polling import PollRate, next_rate
from aiidpd.components.thermal.settings import GovernorMode, GpuSettings
from tests.believed import believed_gpu
from tests.forms import examples, short_and_long
from tests.tables import made
from tests.unit.components.thermal.alerts.evaluating import COOL, Bench
from tests.unit.components.thermal.governor.governed import ON, reading, snapshot

HOUR = 3600
DAY = 86_400
NOISE = 2.0
TARGET = 87.0  # 92 °C, from where the driver throttles the governor's card, less the margin
SETTINGS = GpuSettings()
WHOLE = (-3, -2, -1, 0, 1, 2, 3)


def sensor_values(middle: float) -> dict[float, float]:
    """Return the values of a sensor of whole degrees at ``middle``, and their shares."""
    found = {}
    for each in WHOLE:
        degrees = float(round(middle) + each)
        share = min(degrees + 0.5, middle + NOISE) - max(degrees - 0.5, middle - NOISE)
        if share > 1e-9:
            found[degrees] = share
    return found


def pause(readings: list[GpuReading]) -> float:
    """Return how long the worker waits between ``readings``; where that depends, the shortest."""
    polling, near = GpuSettings(), PollRate(1.0)
    for gpu in readings:
        near = next_rate(near, snapshot(gpu), polling)
    return min(next_rate(near, snapshot(gpu), polling).interval for gpu in readings)


# Alerts


@dataclass(frozen=True)
class Hover:
    """Where core and memory stay after a minute at ``first``, and what each alert shall then do in a day."""

    name: str
    core: float
    memory: float
    first: tuple[float, float]
    expected: Mapping[str, tuple[Change, ...]]
    settings: GpuSettings = SETTINGS
    slowdown: float = 97.0

    def gpu(self, core: float, memory: float) -> GpuReading:
        return replace(
            COOL,
            temperature_celsius=core,
            memory_temperature_celsius=memory,
            slowdown_celsius=self.slowdown,
            shutdown_celsius=self.slowdown + 8,
        )

    def readings(
        self, seed: int, interval: float | None, seconds: float
    ) -> Iterator[tuple[float, GpuReading]]:
        """Yield monotonic seconds and readings, ``interval`` seconds apart; None: as the worker reads."""
        chances = {
            self.gpu(core, memory): often * also
            for core, often in sensor_values(self.core).items()
            for memory, also in sensor_values(self.memory).items()
        }
        gpus, weights = list(chances), list(chances.values())
        wait = pause(gpus) if interval is None else interval
        now, hot = 0.0, self.gpu(*self.first)
        while now < 60:
            yield now, hot
            now += wait
        for gpu in random.Random(seed).choices(gpus, weights, k=round(seconds / wait)):
            yield now, gpu
            now += wait


ROSE = (Change.PENDING, Change.FIRING)
FELL = (Change.PENDING, Change.FIRING, Change.RESOLVED)
HOVERS = (
    Hover(
        "warning, margin and memory are met, critical is left",
        core=85.0,
        memory=100.0,
        first=(89.0, 90.0),
        settings=made(GpuSettings, critical_celsius=88),
        slowdown=90.0,
        expected={
            rules.TEMPERATURE_WARNING: ROSE,
            rules.NEAR_SLOWDOWN: ROSE,
            rules.MEMORY_TEMPERATURE: ROSE,
            rules.TEMPERATURE_CRITICAL: FELL,
            rules.HOT_TOO_LONG: (Change.FIRING,),
        },
    ),
    Hover(
        "critical is met, margin and memory are left",
        core=90.0,
        memory=97.0,
        first=(94.0, 103.0),
        slowdown=98.0,
        expected={
            rules.TEMPERATURE_CRITICAL: ROSE,
            rules.TEMPERATURE_WARNING: ROSE,
            rules.NEAR_SLOWDOWN: FELL,
            rules.MEMORY_TEMPERATURE: FELL,
            rules.HOT_TOO_LONG: (Change.FIRING,),
        },
    ),
    Hover(
        "warning is left",
        core=82.0,
        memory=80.0,
        first=(86.0, 80.0),
        expected={rules.TEMPERATURE_WARNING: FELL},
    ),
    Hover(
        "hot for 10 minutes of an hour, more or less",
        core=84.5 - NOISE + 4 / 6,  # a sixth of the values is then 85 °C
        memory=80.0,
        first=(86.0, 80.0),
        settings=made(GpuSettings, hysteresis_celsius=5),  # only the time above is to hover
        expected={rules.TEMPERATURE_WARNING: ROSE, rules.HOT_TOO_LONG: (Change.FIRING,)},
    ),
)
ABOUT_HEAT = {name for hover in HOVERS for name in hover.expected}


def evaluated(hover: Hover, seed: int, seconds: float) -> dict[str, tuple[Change, ...]]:
    """Return the changes of each alert about heat, in order."""
    settings, count = hover.settings, 0
    known = {name: rule for name, rule in by_name(rules.rules(settings.alerts)).items() if name in ABOUT_HEAT}
    alerts: Mapping[Key, Alert] = {}
    memory, before, changes = TemperatureMemory(), 0.0, dict[str, tuple[Change, ...]]()
    for now, gpu in hover.readings(seed, None, seconds):
        checked = believed_gpu(gpu, now, seconds=now - before, settings=settings)
        memory, observed = temperature.evaluate(memory, checked, settings.alerts)
        alerts, transitions = step(alerts, observed, now, known)
        for each in transitions:
            changes[each.rule.name] = (*changes.get(each.rule.name, ()), each.change)
        before, count = now, count + 1
    assert count >= 4 * seconds, "so near to a limit it is read four times a second"
    return changes


@short_and_long("seconds", 2 * HOUR, DAY)
@pytest.mark.parametrize("hover", HOVERS, ids=lambda hover: hover.name)
def test_an_alert_makes_no_second_transition_in_a_day_around_its_threshold(
    hover: Hover, seconds: float
) -> None:
    assert evaluated(hover, 3, seconds) == hover.expected


@examples(20)
@given(st.sampled_from(HOVERS[:3]), st.integers(0, 2**32))
def test_nor_does_it_with_another_seed(hover: Hover, seed: int) -> None:
    expected = {name: went for name, went in hover.expected.items() if name != rules.HOT_TOO_LONG}
    assert evaluated(hover, seed, 300) == expected


@short_and_long("seconds", 2 * HOUR, DAY)
def test_the_whole_evaluation_makes_no_second_transition_in_a_day_either(seconds: float) -> None:
    hover = HOVERS[0]
    bench = Bench(hover.settings)
    for _, gpu in hover.readings(4, 1.0, seconds):
        bench.see(gpu)
    assert {name: tuple(bench.changes(name)) for name in bench.rules if bench.changes(name)} == hover.expected


# The governor


def moves(below: float, seed: int, seconds: float, *, held: int = 0) -> list[tuple[int, int]]:
    """Return the steps, from level to level, while the card stays ``below`` its target whatever is set.

    First the card is hot until it is at level ``held`` or further down.
    """
    settings = ON.model_copy(update={"mode": GovernorMode.DRY_RUN})  # what it sets has no effect here
    state, now, found = GovernorState(), 0.0, list[tuple[int, int]]()
    while held and (not state.gpus or next(iter(state.gpus.values())).level < held):
        now += 1.0
        state, _ = decide.step(state, snapshot(reading(TARGET + 1), now=now), settings)
    chances = sensor_values(TARGET - below)
    gpus = [reading(degrees) for degrees in chances]
    wait = pause(gpus)
    for gpu in random.Random(seed).choices(gpus, list(chances.values()), k=round(seconds / wait)):
        now += wait
        state, effects = decide.step(state, snapshot(gpu, now=now), settings)
        found += [(effect.before, effect.after) for effect in effects if isinstance(effect, Move)]
    return found


EDGES = [
    (0.0, 0),  # the target
    (tuning.HYSTERESIS, 0),  # from here on it takes what is likely for what will be
    (tuning.HYSTERESIS, 5),  # and from here down it gives back
    (tuning.HYSTERESIS + NOISE + 0.5, 5),  # where no reading is nearer than that any more
    (tuning.IDLE, 5),  # it no longer waits longer for each relapse
]


@short_and_long("seconds", 2 * HOUR, DAY)
@pytest.mark.parametrize(("below", "held"), EDGES)
def test_the_governor_never_turns_back_in_a_day_around_an_edge(
    below: float, held: int, seconds: float
) -> None:
    found = moves(below, 5, seconds, held=held)

    down = [after > before for before, after in found]
    assert len(set(down)) <= 1
    assert any(down) == (below == 0), "it goes down at the target and nowhere below"


@examples(20)
@given(st.floats(-3, 30), st.integers(0, 2**32), st.sampled_from([0, 5]))
def test_nor_does_it_anywhere_near_with_another_seed(below: float, seed: int, held: int) -> None:
    assert len({after > before for before, after in moves(below, seed, 300, held=held)}) <= 1
