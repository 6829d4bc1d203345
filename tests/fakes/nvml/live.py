"""A GPU of the fake NVML that heats by the thermal model and obeys what is set through the library."""

from __future__ import annotations

from dataclasses import replace

from aiidpd.components.thermal.rc_model import Card, CardState, advance, hotspot_celsius, memory_celsius
from tests.fakes.nvml import FakeNvml


class LiveGpu:
    """Moves the figures of GPU ``index`` of ``fake`` along the model of ``card``.

    Before each step the power limit and the locked clocks are taken over as a setter of the library left
    them. ``top_megahertz`` is the clock at full power; ``hottest`` the core temperature at which a card
    with T.Limit says that no margin is left.
    """

    def __init__(
        self,
        fake: FakeNvml,
        card: Card,
        *,
        index: int = 0,
        start: float = 45.0,
        top_megahertz: float = 2600.0,
        hottest: float = 90.0,
    ) -> None:
        self._fake = fake
        self._own = card
        self._index = index
        self._top = top_megahertz
        self._hottest = hottest
        self.card = card
        self.state = CardState(start)
        self._write(0.0)

    def advance(self, load: float, seconds: float = 1.0) -> CardState:
        """Let ``seconds`` pass at ``load`` (0 to 1); return the state that the library now tells."""
        limit = self._fake.was_set(f"{self._index}.power_limit_milliwatts")
        clocks = self._fake.was_set(f"{self._index}.locked_clocks_megahertz")
        self.card = replace(
            self._own,
            power_limit_watts=float(limit) / 1000 if limit else self._own.power_limit_watts,
            clock_ratio=min(1.0, float(clocks.split()[1]) / self._top) if clocks else 1.0,
        )
        self.state = advance(self.card, self.state, load, seconds)
        self._write(load)
        return self.state

    def _write(self, load: float) -> None:
        state = self.state
        bits = 0x1 * (load == 0) | 0x4 * state.capped | 0x20 * state.throttled
        milliwatts = round(state.power_watts * 1000)
        figures: dict[str, object] = {
            "temperature": round(state.temperature_celsius),
            "hotspot_temperature": round(hotspot_celsius(self.card, state)),
            "margin": round(self._hottest - state.temperature_celsius),
            "power_milliwatts": milliwatts,
            "fan.0.percent": round(state.fan_ratio * 100),
            "fan.1.percent": round(state.fan_ratio * 100),
            "utilisation_percent": round(load * 100),
            "clock_event_bits": bits,
            "field.74": round(state.capped_seconds * 1e9),
            "field.82": round(memory_celsius(self.card, state)),
            "field.83": round(state.energy_joules * 1000),
            "field.185": milliwatts,
            "field.186": milliwatts,
            "field.269": round(state.throttled_seconds * 1e9),
        }
        self._fake.set({f"{self._index}.{key}": value for key, value in figures.items()})
