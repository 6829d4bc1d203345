"""A governed GPU on the RC model: it takes each setting, and heats and cools by it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

from aiidpd.components.thermal.commands import Command, LockClocks, ResetClocks, SetPowerLimit
from aiidpd.components.thermal.governor.decide import step
from aiidpd.components.thermal.governor.state import Effect, GovernorState, Move
from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.components.thermal.polling import PollRate, next_rate
from aiidpd.components.thermal.rc_model import Card, CardState, advance
from aiidpd.components.thermal.settings import GovernorMode, GovernorSettings, GpuSettings
from aiidpd.components.thermal.signals.checked import CheckedSnapshot
from aiidpd.components.thermal.signals.validate import Sensors, validate
from tests.believed import believed

UUID = "GPU-0"
TOP_HERTZ = 2.6e9
ON = GovernorSettings(mode=GovernorMode.ON)
_SETTINGS = GpuSettings()


def reading(temperature: float | None = 60.0, **figures: object) -> GpuReading:
    """Return a reading of a desktop card of 300 W (100 to 350) whose driver throttles from 92 °C."""
    known = GpuReading(
        0,
        UUID,
        "card",
        temperature_celsius=temperature,
        slowdown_celsius=92.0,
        power_watts=280.0,
        power_limit_set_watts=300.0,
        power_limit_default_watts=300.0,
        power_limit_min_watts=100.0,
        power_limit_max_watts=350.0,
        graphics_clock_max_hertz=TOP_HERTZ,
        clock_events=(),
    )
    return replace(known, **figures)  # type: ignore[arg-type]


@lru_cache(maxsize=4096)
def raw_snapshot(celsius: float, watts: float, limit: float, slowdown: float, throttled: bool) -> GpuSnapshot:
    """Return a reading in whole degrees and watts; made once, since a day has 345,600 readings."""
    gpu = reading(
        celsius,
        slowdown_celsius=slowdown,
        power_watts=watts,
        power_limit_set_watts=limit,
        clock_events=("sw_thermal_slowdown",) if throttled else (),
    )
    return GpuSnapshot((gpu,), "580", simulated=False)


def snapshot(*gpus: GpuReading, now: float = 0.0) -> CheckedSnapshot:
    """Return ``gpus`` as read at ``now`` (monotonic seconds), with every temperature believed."""
    return believed(gpus, now)


@dataclass
class Rig:
    """One card, its load, and the governor.

    It is read every ``seconds``; where that is 0 as often as the thermal worker reads: once a second, and
    four times near a limit. ``noise`` is the largest error of the sensor, which has whole degrees.
    A setting takes effect ``delay`` seconds after it was made.
    """

    card: Card = field(default_factory=Card)
    settings: GovernorSettings = ON
    noise: float = 0.0
    seed: int = 0
    temperature: float = 45.0
    seconds: float = 1.0
    delay: float = 0.0
    now: float = 0.0
    limit: float = 300.0
    clock: float = TOP_HERTZ
    throttled: float = 0.0
    hottest: float = -273.0
    joules: float = 0.0
    sensors: Sensors = field(default_factory=Sensors)
    state: GovernorState = field(default_factory=GovernorState)
    effects: list[Effect] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._at = CardState(self.temperature)
        self._rate = PollRate(self.seconds or _SETTINGS.interval)
        self._set = self.card, 0.0, 0.0, self.card
        self._coming: list[tuple[float, Command]] = []

    def run(self, seconds: float, load: Callable[[float], float] = lambda _: 1.0) -> Rig:
        until = self.now + seconds
        while self.now < until:
            pause = self._rate.interval
            self.now += pause
            while self._coming and self._coming[0][0] < self.now:
                self._take(self._coming.pop(0)[1])
            self._heat(load(self.now), pause)
            self._govern()
        return self

    def _heat(self, load: float, seconds: float) -> None:
        if self._set[:3] != (self.card, self.limit, self.clock):
            obeys = replace(self.card, power_limit_watts=self.limit, clock_ratio=self.clock / TOP_HERTZ)
            self._set = self.card, self.limit, self.clock, obeys
        self._at = advance(self._set[3], self._at, load, seconds)
        self.throttled = self._at.throttled_seconds
        self.joules = self._at.energy_joules
        self.hottest = max(self.hottest, self._at.temperature_celsius)

    def _govern(self) -> None:
        at, noise = self._at, self._random.uniform(-self.noise, self.noise)
        celsius, watts = float(round(at.temperature_celsius + noise)), float(round(at.power_watts))
        raw = raw_snapshot(celsius, watts, self.limit, self.card.slowdown_celsius, at.throttled)
        self.sensors, seen = validate(self.sensors, raw, self.now, self.now, _SETTINGS)
        if not self.seconds:
            self._rate = next_rate(self._rate, seen, _SETTINGS)
        self.state, effects = step(self.state, seen, self.settings)
        self.effects += effects
        for effect in effects:
            if isinstance(effect, Move):
                self.obey(effect)

    def obey(self, move: Move) -> None:
        self.commands += move.commands
        for command in move.commands:
            if self.delay:
                self._coming.append((self.now + self.delay, command))
            else:
                self._take(command)

    def _take(self, command: Command) -> None:
        match command:
            case SetPowerLimit(watts=watts):
                assert 100 <= watts <= 350
                self.limit = watts
            case LockClocks(max_hertz=hertz):
                assert 0 < hertz <= TOP_HERTZ
                self.clock = hertz
            case ResetClocks():
                self.clock = TOP_HERTZ

    @property
    def moves(self) -> list[Move]:
        return [effect for effect in self.effects if isinstance(effect, Move)]

    @property
    def reversals(self) -> int:
        """Count of moves up after one down, or down after one up."""
        ways = [move.after > move.before for move in self.moves]
        return sum(one != other for one, other in pairwise(ways))

    @property
    def level(self) -> int:
        return self.state.gpus[UUID].level
