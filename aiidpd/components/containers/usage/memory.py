"""Memory of the readings of use: what outlives the task that reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from aiidpd.components.containers.usage import unkillable
from aiidpd.components.containers.usage.growth import Trend
from aiidpd.components.containers.usage.oom import MachineOomKills
from aiidpd.components.containers.usage.reader import UseReading
from aiidpd.components.containers.usage.unkillable import Undying
from aiidpd.contracts.containers import ContainerUses
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.latest import Latest

_TRUE_FOR: Final = 90.0  # seconds


class UseMemory:
    """Last use by each container and its trend; ``machine_oom_kills`` has those of the whole machine."""

    def __init__(self, clock: Clock) -> None:
        self.latest: Latest[ContainerUses] = Latest(clock, _TRUE_FOR)
        self.readings: dict[str, UseReading] = {}
        self.trends: dict[str, Trend] = {}
        self._clock = clock
        self.machine_oom_kills = MachineOomKills()
        self._undying: dict[str, Mapping[tuple[int, int], Undying]] = {}

    def oom_kills(self, identity: str, started: float) -> int | None:
        """Return how many processes of a container the kernel had killed for memory, when it was last read.

        None where that was not in the run that ``started`` then (Unix seconds). What the kernel killed
        between the last reading and the end of the container is not in it.
        """
        reading = self.readings.get(identity)
        if reading is None:
            return None
        ago = self._clock.monotonic() - reading.use.read
        return reading.use.oom_kills if started <= self._clock.time() - ago else None

    def cannot_be_killed(self, identity: str) -> Undying | None:
        """Return the process of a container that does not die of SIGKILL, None where there is none."""
        return unkillable.cannot_be_killed(self._undying.get(identity, {}).values())

    def undying(self) -> frozenset[str]:
        """Return the containers with a process that has not obeyed SIGKILL so far."""
        return frozenset(identity for identity, found in self._undying.items() if found)

    def put(self, found: Mapping[str, UseReading], gone: Iterable[str], now: float) -> None:
        """Take over the readings ``found`` at ``now``; of those ``gone`` nothing is left to read."""
        for identity in gone:
            self.readings.pop(identity, None)
            self.trends.pop(identity, None)
            self._undying.pop(identity, None)
        for identity, reading in found.items():
            self.readings[identity] = reading
            undying = unkillable.step(self._undying.get(identity, {}), reading.pending, now)
            self._undying[identity] = undying
        uses = {identity: reading.use for identity, reading in self.readings.items()}
        self.latest.put(ContainerUses(MappingProxyType(uses)))
