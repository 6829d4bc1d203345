"""A card in a room with days and seasons, under a load that comes and goes: what its dust shows as."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from aiidpd.components.thermal.forecast.baseline import Bands, LearningPolicy
from aiidpd.components.thermal.forecast.forecast import Forecast, ForecastPolicy, ForecastState, predict
from aiidpd.components.thermal.rc_model import Card, CardState, advance
from tests.believed import believed_gpu
from tests.unit.components.thermal.alerts.evaluating import COOL

HOUR = 3600.0
DAY = 24 * HOUR
NEW = 16 * HOUR  # of settled work, where it would be a day: that much less to simulate
_STEP = 10.0
AMBIENT = 25.0  # what is assumed of a room where a GPU never idles
_PARTS = 4  # of a step, for the fan's sake


class Room:
    """The sensor rounds to whole degrees and has noise, the power too; the room swings by 3 °C each day."""

    def __init__(self, card: Card, seed: int = 4) -> None:
        self.clean = self.card = card
        self.rng = random.Random(seed)
        self.policy = ForecastPolicy(learning=LearningPolicy(young=NEW))
        self.now = 0.0
        self.season = 0.0
        self.state = CardState(40.0)
        self.load, self.left = 0.0, 0.0
        self.forecasting = ForecastState()
        self.bands: Bands = {}
        self.shown: list[float] = []

    def gather(self, factor: float) -> None:
        """Let the thermal resistance be ``factor`` times that of the clean card."""
        still, fan = self.clean.conductance_still / factor, self.clean.conductance_fan / factor
        self.card = replace(self.card, conductance_still=still, conductance_fan=fan)

    def turn_fans(self, curve: Sequence[tuple[float, float]]) -> None:
        """Have the card's firmware run its fans by another ``curve``."""
        self.card = replace(self.card, fan_curve=tuple(curve))

    def live(self, days: int, hours: float = 6.0) -> None:
        """Read some hours of each of ``days``, at another time of each day."""
        for _ in range(days):
            until = self.now + hours * HOUR
            while self.now < until:
                self._read()
            self.now += self.rng.uniform(0.7, 1.0) * (DAY - hours * HOUR) + 2 * HOUR

    def _read(self) -> None:
        if self.left <= 0:
            idle = self.rng.random() < 0.35
            self.load = 0.0 if idle else self.rng.uniform(0.4, 1.0)
            self.left = self.rng.uniform(900, 2400) if idle else self.rng.uniform(600, 3600)
        self.left -= _STEP
        ambient = 24 + self.season + 3 * math.sin(2 * math.pi * self.now / DAY)
        card = replace(self.card, ambient_celsius=ambient)
        for _ in range(_PARTS):
            self.state = advance(card, self.state, self.load, _STEP / _PARTS)
        self.now += _STEP
        forecast = self._predict(float(round(self.state.temperature_celsius + self.rng.gauss(0, 0.3))))
        if forecast.drift_ratio is not None:
            self.shown.append(forecast.drift_ratio)

    def _predict(self, temperature: float) -> Forecast:
        reading = replace(
            COOL,
            temperature_celsius=temperature,
            power_watts=self.state.power_watts + self.rng.uniform(-3, 3),
            fan_ratio=round(self.state.fan_ratio, 2),
        )
        gpu = believed_gpu(reading, self.now, seconds=_STEP)
        self.forecasting, self.bands, forecast = predict(
            self.forecasting, self.bands, gpu, AMBIENT, self.policy
        )
        return forecast
