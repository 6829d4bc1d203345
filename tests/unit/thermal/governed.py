"""A GPU on the RC model that obeys the governor: what the governor is tried on."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from aiidpd.workers.thermal.commands import Command, LockClocks, ResetClocks, SetPowerLimit
from aiidpd.workers.thermal.governor.decide import step
from aiidpd.workers.thermal.governor.governing import Effect, GovernorPolicy, GovernorState, Mode, Move
from aiidpd.workers.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.workers.thermal.rc_model import Card, CardState, advance

UUID = "GPU-0"
TOP_HERTZ = 2.6e9
ON = GovernorPolicy(mode=Mode.ON)


def reading(temperature: float | None = 60.0, **figures: object) -> GpuReading:
    """Return what a desktop card of 300 W (100 to 350) says whose driver throttles from 92 °C."""
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


def snapshot(*gpus: GpuReading) -> GpuSnapshot:
    return GpuSnapshot(gpus, "580", simulated=False)


@dataclass
class Rig:
    """One card, its load, and the governor."""

    card: Card = field(default_factory=Card)
    policy: GovernorPolicy = ON
    noise: float = 0.0
    seed: int = 0
    temperature: float = 45.0
    seconds: float = 1.0
    now: float = 0.0
    limit: float = 300.0
    clock: float = TOP_HERTZ
    throttled: float = 0.0
    hottest: float = -273.0
    state: GovernorState = field(default_factory=GovernorState)
    effects: list[Effect] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._card = CardState(self.temperature)

    def run(self, seconds: float, load: Callable[[float], float] = lambda _: 1.0) -> Rig:
        until = self.now + seconds
        while self.now < until:
            self.now += self.seconds
            self._heat(load(self.now))
            self._govern()
        return self

    def _heat(self, load: float) -> None:
        card = replace(self.card, power_limit_watts=self.limit, clock_ratio=self.clock / TOP_HERTZ)
        self._card = advance(card, self._card, load, self.seconds)
        self.throttled += self.seconds * self._card.throttled
        self.hottest = max(self.hottest, self._card.temperature_celsius)

    def _govern(self) -> None:
        noise = self._random.uniform(-self.noise, self.noise)
        told = reading(
            float(round(self._card.temperature_celsius + noise)),
            slowdown_celsius=self.card.slowdown_celsius,
            power_watts=self._card.power_watts,
            power_limit_set_watts=self.limit,
            clock_events=("sw_thermal_slowdown",) if self._card.throttled else (),
        )
        self.state, effects = step(self.state, snapshot(told), self.now, self.policy)
        self.effects += effects
        for move in (effect for effect in effects if isinstance(effect, Move)):
            self.obey(move)

    def obey(self, move: Move) -> None:
        self.commands += move.commands
        for command in move.commands:
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
        """How often it went up after it went down, or down after up."""
        ways = [move.after > move.before for move in self.moves]
        return sum(one != other for one, other in pairwise(ways))

    @property
    def level(self) -> int:
        return self.state.gpus[UUID].level
