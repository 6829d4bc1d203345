"""GPUs that are made up: they heat, throttle and idle like real ones, and their names say SIMULATED."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from aiidpd.kernel.clock import Clock
from aiidpd.workers.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.workers.thermal.rc_model import Card, CardState, advance

_GIB = 1024**3
_TOP_GRAPHICS_HERTZ = 2.6e9
_MEMORY_HERTZ = 14e9
_LONGEST_CATCH_UP = 600.0  # seconds: a card has settled by then, so more would only take time


@dataclass(slots=True)
class _Gpu:
    """One simulated GPU and the work that keeps it busy: phases of steady load, of random length."""

    index: int
    card: Card
    random: random.Random
    state: CardState = field(default_factory=lambda: CardState(temperature_celsius=45.0))
    load: float = 0.5
    phase_left: float = 20.0

    def advance(self, seconds: float) -> None:
        while seconds > 0:
            stride = min(1.0, seconds)
            self.state = advance(self.card, self.state, self.load, stride)
            seconds -= stride
            self.phase_left -= stride
            if self.phase_left <= 0:
                self.phase_left = self.random.uniform(15, 90)
                self.load = self.random.choice((0.0, self.random.uniform(0.3, 0.8), 1.0))

    def reading(self) -> GpuReading:
        state, card = self.state, self.card
        events = {
            "gpu_idle": self.load == 0,
            "sw_power_cap": state.capped,
            "sw_thermal_slowdown": state.throttled,
        }
        busy = (state.power_watts - card.idle_watts) / (card.full_watts - card.idle_watts)
        return GpuReading(
            index=self.index,
            uuid=f"GPU-SIMULATED-{self.index}",
            name="SIMULATED GPU 16 GiB",
            temperature_celsius=float(round(state.temperature_celsius)),
            slowdown_celsius=card.slowdown_celsius,
            shutdown_celsius=card.slowdown_celsius + 3,
            power_watts=round(state.power_watts + self.random.uniform(-1, 1), 3),
            power_limit_watts=card.power_limit_watts,
            fan_ratio=round(state.fan_ratio, 2),
            utilisation_ratio=round(self.load, 2),
            memory_controller_utilisation_ratio=round(0.8 * self.load, 2),
            memory_used_bytes=float(11 * _GIB if self.load else 10 * _GIB),
            memory_total_bytes=float(16 * _GIB),
            # Dynamic power grows with about the cube of the clock.
            graphics_clock_hertz=round(_TOP_GRAPHICS_HERTZ * max(busy, 0.001) ** (1 / 3), -6),
            memory_clock_hertz=_MEMORY_HERTZ if self.load else 0.4e9,
            clock_events=tuple(name for name, active in events.items() if active),
        )


class SimulatedGpus:
    """``count`` GPUs that live by ``clock``; the same ``seed`` and reading times give the same readings."""

    simulated: Final = True

    def __init__(self, clock: Clock, *, count: int = 1, seed: int = 0, card: Card | None = None) -> None:
        self._clock = clock
        self._read_at = clock.monotonic()
        self._gpus = [
            _Gpu(index, card or Card(), random.Random(f"{seed}/{index}"))  # noqa: S311 -- no secret
            for index in range(count)
        ]
        for gpu in self._gpus:
            gpu.advance(1.0)

    async def read(self) -> GpuSnapshot:
        now = self._clock.monotonic()
        elapsed, self._read_at = now - self._read_at, now
        for gpu in self._gpus:
            gpu.advance(min(elapsed, _LONGEST_CATCH_UP))
        readings = tuple(gpu.reading() for gpu in self._gpus)
        return GpuSnapshot(gpus=readings, driver_version="SIMULATED", simulated=True)

    async def aclose(self) -> None:
        """Nothing is held."""
