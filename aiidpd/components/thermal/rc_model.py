"""RC model of a GPU (pure): one heat capacity behind one thermal resistance, for simulated cards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Card:
    """Constants of a card; the defaults are near a 300 W desktop card with three fans.

    Power in watts, heat capacity in joules per kelvin, conductance (one over the thermal
    resistance) in watts per kelvin: ``conductance_still`` without fans, ``conductance_fan`` more at
    full speed. ``fan_curve`` has points of Celsius and ratio, rising. From ``slowdown_celsius`` on the
    driver throttles to ``throttle_ratio`` of the demand, until ``slowdown_recovery`` degrees below.
    ``clock_ratio`` is the highest clock that is allowed, as a share of the card's own highest: dynamic
    power grows with about its cube. The hottest spot lies above the core by ``hotspot_resistance`` kelvin
    per watt, the memory by ``memory_resistance``.
    """

    idle_watts: float = 15.0
    full_watts: float = 320.0
    power_limit_watts: float = 300.0
    heat_capacity: float = 350.0
    conductance_still: float = 1.5
    conductance_fan: float = 8.0
    ambient_celsius: float = 24.0
    fan_curve: tuple[tuple[float, float], ...] = ((45.0, 0.0), (50.0, 0.3), (70.0, 0.6), (85.0, 1.0))
    fan_limit: float = 1.0
    slowdown_celsius: float = 92.0
    slowdown_recovery: float = 3.0
    throttle_ratio: float = 0.25
    clock_ratio: float = 1.0
    hotspot_resistance: float = 0.04
    memory_resistance: float = 0.05


@dataclass(frozen=True, slots=True)
class CardState:
    """A card at one moment. ``capped`` is whether the power limit holds it back.

    The counters add up from the state that the first step began with: ``energy_joules``, and the seconds
    in which the power limit and the driver's thermal slowdown held the card back.
    """

    temperature_celsius: float
    power_watts: float = 0.0
    fan_ratio: float = 0.0
    capped: bool = False
    throttled: bool = False
    energy_joules: float = 0.0
    capped_seconds: float = 0.0
    throttled_seconds: float = 0.0


def fan_ratio(card: Card, temperature: float) -> float:
    """Return the fan speed of the card's curve at ``temperature``, at most ``fan_limit``."""
    points = card.fan_curve
    ratio = points[0][1] if temperature <= points[0][0] else points[-1][1]
    for (low, slow), (high, fast) in pairwise(points):
        if low < temperature <= high:
            ratio = slow + (fast - slow) * (temperature - low) / (high - low)
    return min(ratio, card.fan_limit)


def advance(card: Card, state: CardState, load: float, seconds: float) -> CardState:
    """Return the state after ``seconds`` at a constant ``load`` (0 to 1).

    The step is exact for a constant fan speed, so it is stable however long it is; a second or
    less at a time follows the fan curve too.
    """
    recovers_at = card.slowdown_celsius - card.slowdown_recovery
    throttled = state.temperature_celsius >= (recovers_at if state.throttled else card.slowdown_celsius)
    demand = card.idle_watts + load * (card.full_watts - card.idle_watts) * card.clock_ratio**3
    allowed = max(card.idle_watts, demand * card.throttle_ratio) if throttled else demand
    power = min(allowed, card.power_limit_watts)
    fan = fan_ratio(card, state.temperature_celsius)
    conductance = card.conductance_still + card.conductance_fan * fan
    settled = card.ambient_celsius + power / conductance
    left = math.exp(-seconds * conductance / card.heat_capacity)
    temperature = settled + (state.temperature_celsius - settled) * left
    capped = demand > card.power_limit_watts
    return CardState(
        temperature,
        power,
        fan,
        capped,
        throttled,
        energy_joules=state.energy_joules + power * seconds,
        capped_seconds=state.capped_seconds + capped * seconds,
        throttled_seconds=state.throttled_seconds + throttled * seconds,
    )


def hotspot_celsius(card: Card, state: CardState) -> float:
    """Return the temperature of the hottest part of the die."""
    return state.temperature_celsius + card.hotspot_resistance * state.power_watts


def memory_celsius(card: Card, state: CardState) -> float:
    """Return the temperature of the memory."""
    return state.temperature_celsius + card.memory_resistance * state.power_watts
