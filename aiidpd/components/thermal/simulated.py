"""Simulated GPUs: they heat, throttle, obey and idle like real ones; their names contain SIMULATED."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any, Final, assert_never

from aiidpd.components.thermal.commands import (
    Command,
    LockClocks,
    ResetClocks,
    ResetPowerLimit,
    SetPowerLimit,
)
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.gpu import Fan, GpuProcess, GpuReading, GpuSnapshot, clock_event_names
from aiidpd.components.thermal.rc_model import Card, CardState, advance, hotspot_celsius, memory_celsius
from aiidpd.kernel.clock import Clock

_GIB = 1024**3
_TOP_GRAPHICS_HERTZ = 2.6e9
_MEMORY_HERTZ = 14e9
_BUS_BITS = 256.0
_FULL_RPM = 3200.0
_LIMIT_RANGE = (0.5, 1.1)  # of the default limit
_LONGEST_CATCH_UP = 600.0  # seconds: a card has settled by then, so more would only take time
_IDLE, _POWER_CAP, _SW_THERMAL = 0x001, 0x004, 0x020
_NOTHING_WRONG: Final[dict[str, Any]] = {
    "pcie_replay_count": 0.0,
    "ecc_corrected_count": 0.0,
    "ecc_uncorrected_count": 0.0,
    "ecc_aggregate_corrected_count": 0.0,
    "ecc_aggregate_uncorrected_count": 0.0,
    "retired_pages_corrected_count": 0.0,
    "retired_pages_uncorrected_count": 0.0,
    "remapped_rows_corrected_count": 0.0,
    "remapped_rows_uncorrected_count": 0.0,
    "sync_boost_throttle_seconds": 0.0,
    "hw_thermal_throttle_seconds": 0.0,
    "hw_power_brake_throttle_seconds": 0.0,
}


@dataclass(slots=True)
class _Gpu:
    """One simulated GPU and its load: phases of steady load, of random length."""

    index: int
    card: Card
    default_limit: float
    random: random.Random
    state: CardState = field(default_factory=lambda: CardState(temperature_celsius=45.0))
    load: float = 0.5
    phase_left: float = 20.0

    @property
    def uuid(self) -> str:
        return f"GPU-SIMULATED-{self.index}"

    @property
    def limits(self) -> tuple[float, float]:
        low, high = _LIMIT_RANGE
        return low * self.default_limit, high * self.default_limit

    def advance(self, seconds: float) -> None:
        while seconds > 0:
            stride = min(1.0, seconds)
            self.state = advance(self.card, self.state, self.load, stride)
            seconds -= stride
            self.phase_left -= stride
            if self.phase_left <= 0:
                self.phase_left = self.random.uniform(15, 90)
                self.load = self.random.choice((0.0, self.random.uniform(0.3, 0.8), 1.0))

    def apply(self, command: Command) -> GpuFault | None:
        match command:
            case SetPowerLimit():
                low, high = self.limits
                if not low <= command.watts <= high:
                    return GpuFault(self.index, "nvmlDeviceSetPowerManagementLimit", 2, "INVALID_ARGUMENT")
                self.card = replace(self.card, power_limit_watts=command.watts)
            case ResetPowerLimit():
                self.card = replace(self.card, power_limit_watts=self.default_limit)
            case LockClocks():
                ratio = min(1.0, max(0.1, command.max_hertz / _TOP_GRAPHICS_HERTZ))
                self.card = replace(self.card, clock_ratio=ratio)
            case ResetClocks():
                self.card = replace(self.card, clock_ratio=1.0)
            case _:
                assert_never(command)
        return None

    def reading(self) -> GpuReading:
        state, card = self.state, self.card
        bits = _IDLE * (self.load == 0) | _POWER_CAP * int(state.capped) | _SW_THERMAL * int(state.throttled)
        busy = (state.power_watts - card.idle_watts) / (card.full_watts - card.idle_watts)
        # Dynamic power grows with about the cube of the clock.
        clock = round(_TOP_GRAPHICS_HERTZ * max(busy, 0.001) ** (1 / 3), -6)
        used = float(11 * _GIB if self.load else 10 * _GIB)
        low, high = self.limits
        fan = round(state.fan_ratio, 2)
        return GpuReading(
            index=self.index,
            uuid=self.uuid,
            name="SIMULATED GPU 16 GiB",
            temperature_celsius=float(round(state.temperature_celsius)),
            memory_temperature_celsius=float(round(memory_celsius(card, state))),
            hotspot_temperature_celsius=float(round(hotspot_celsius(card, state))),
            gpu_max_celsius=card.slowdown_celsius - 2,
            slowdown_celsius=card.slowdown_celsius,
            shutdown_celsius=card.slowdown_celsius + 3,
            memory_max_celsius=110.0,
            target_celsius=card.slowdown_celsius - 9,
            power_watts=round(state.power_watts + self.random.uniform(-1, 1), 3),
            power_instant_watts=round(state.power_watts + self.random.uniform(-5, 5), 3),
            power_limit_watts=card.power_limit_watts,
            power_limit_set_watts=card.power_limit_watts,
            power_limit_default_watts=self.default_limit,
            power_limit_min_watts=low,
            power_limit_max_watts=high,
            energy_joules=round(state.energy_joules, 3),
            fan_ratio=fan,
            utilisation_ratio=round(self.load, 2),
            memory_controller_utilisation_ratio=round(0.8 * self.load, 2),
            memory_used_bytes=used,
            memory_total_bytes=float(16 * _GIB),
            graphics_clock_hertz=clock,
            sm_clock_hertz=clock,
            memory_clock_hertz=_MEMORY_HERTZ if self.load else 0.4e9,
            video_clock_hertz=round(clock * 0.88, -6),
            graphics_clock_max_hertz=_TOP_GRAPHICS_HERTZ,
            memory_clock_max_hertz=_MEMORY_HERTZ,
            memory_bus_width_bits=_BUS_BITS,
            power_cap_throttle_seconds=state.capped_seconds,
            sw_thermal_throttle_seconds=state.throttled_seconds,
            pcie_generation=5.0,
            pcie_generation_max=5.0,
            pcie_width_lanes=16.0,
            pcie_width_max_lanes=16.0,
            retired_pages_pending=False,
            remapped_rows_pending=False,
            remapped_rows_failed=False,
            ecc_enabled=True,
            mig_enabled=False,
            clock_event_bits=bits,
            clock_events=clock_event_names(bits),
            fans=(Fan(0, fan, round(_FULL_RPM * fan)), Fan(1, fan, round(_FULL_RPM * fan))),
            xids=(),
            processes=(GpuProcess(4000 + self.index, "compute", "SIMULATED", used - 0.5 * _GIB),),
            **_NOTHING_WRONG,
        )


class SimulatedGpus:
    """``count`` GPUs that live by ``clock``; the same ``seed`` and reading times give the same readings."""

    simulated: Final = True
    holding: Final = False

    def __init__(self, clock: Clock, *, count: int = 1, seed: int = 0, card: Card | None = None) -> None:
        self._clock = clock
        self._read_at = clock.monotonic()
        card = card or Card()
        self._gpus = [
            _Gpu(index, card, card.power_limit_watts, random.Random(f"{seed}/{index}"))  # noqa: S311 -- no secret
            for index in range(count)
        ]
        for gpu in self._gpus:
            gpu.advance(1.0)

    async def read(self, *, fast: bool = False) -> GpuSnapshot:  # noqa: ARG002 -- each reading costs the same
        now = self._clock.monotonic()
        elapsed, self._read_at = now - self._read_at, now
        for gpu in self._gpus:
            gpu.advance(min(elapsed, _LONGEST_CATCH_UP))
        readings = tuple(gpu.reading() for gpu in self._gpus)
        return GpuSnapshot(gpus=readings, driver_version="SIMULATED", simulated=True)

    async def apply(self, command: Command) -> GpuFault | None:
        for gpu in self._gpus:
            if gpu.uuid == command.uuid:
                return gpu.apply(command)
        return GpuFault(None, "nvmlDeviceGetHandleByUUID", 6, "NOT_FOUND")

    async def aclose(self) -> None:
        """Nothing is held."""
