"""A GPU as one heat capacity behind one thermal resistance (pure): what heats where no GPU is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Card:
    """The constants of a card; the defaults are near a 300 W desktop card with three fans.

    Power in watts, heat capacity in joules per kelvin, conductance (one over the thermal
    resistance) in watts per kelvin: ``conductance_still`` without fans, ``conductance_fan`` more at
    full speed. ``fan_curve`` has points of Celsius and ratio, rising. From ``slowdown_celsius`` on the
    driver throttles to ``throttle_ratio`` of the demand, until ``slowdown_recovery`` degrees below.
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


@dataclass(frozen=True, slots=True)
class CardState:
    """A card at one moment. ``capped`` is whether the power limit holds it back."""

    temperature_celsius: float
    power_watts: float = 0.0
    fan_ratio: float = 0.0
    capped: bool = False
    throttled: bool = False


def fan_ratio(card: Card, temperature: float) -> float:
    """Return the fan speed that the card's curve asks for at ``temperature``, at most ``fan_limit``."""
    points = card.fan_curve
    ratio = points[0][1] if temperature <= points[0][0] else points[-1][1]
    for (low, slow), (high, fast) in pairwise(points):
        if low < temperature <= high:
            ratio = slow + (fast - slow) * (temperature - low) / (high - low)
    return min(ratio, card.fan_limit)


def advance(card: Card, state: CardState, load: float, seconds: float) -> CardState:
    """Return the state after ``seconds`` at a constant ``load`` (0 to 1).

    The step is exact for a constant fan speed, so it is stable however long it is; a second or
    less at a time keeps the fan honest too.
    """
    recovers_at = card.slowdown_celsius - card.slowdown_recovery
    throttled = state.temperature_celsius >= (recovers_at if state.throttled else card.slowdown_celsius)
    demand = card.idle_watts + load * (card.full_watts - card.idle_watts)
    allowed = max(card.idle_watts, demand * card.throttle_ratio) if throttled else demand
    power = min(allowed, card.power_limit_watts)
    fan = fan_ratio(card, state.temperature_celsius)
    conductance = card.conductance_still + card.conductance_fan * fan
    settled = card.ambient_celsius + power / conductance
    left = math.exp(-seconds * conductance / card.heat_capacity)
    temperature = settled + (state.temperature_celsius - settled) * left
    return CardState(temperature, power, fan, demand > card.power_limit_watts, throttled)
