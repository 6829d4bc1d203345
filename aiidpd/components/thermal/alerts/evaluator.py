"""The thermal worker's alerts and foresight: looks at each reading, tells the board, keeps what must last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from aiidpd.alerts.manager import AlertClient
from aiidpd.components.thermal.alerts.evaluate import Memory, Policies, look, miss
from aiidpd.components.thermal.alerts.restored import remembered, vanished
from aiidpd.components.thermal.forecast.baseline_file import BaselineFile
from aiidpd.components.thermal.forecast.forecast import Forecast
from aiidpd.components.thermal.gpu import GpuSnapshot
from aiidpd.components.thermal.xid import XidEvent
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.latest import Latest

_SAVE_EVERY = 600.0  # seconds: as much may be lost of what is learnt over days


@dataclass(slots=True)
class EvaluatorMemory:
    """What outlives the worker: made once, handed to each watch in turn."""

    foreseen: Latest[tuple[Forecast, ...]]
    file: BaselineFile
    memory: Memory = field(default_factory=Memory)
    loaded: bool = False
    saved_at: float = 0.0
    told: str = ""


class AlertEvaluator:
    """Made with each worker, from the configuration as it then is. It neither blocks nor waits."""

    def __init__(
        self, policies: Policies, memory: EvaluatorMemory, *, feed: AlertClient, bus: EventBus, clock: Clock
    ) -> None:
        self._policies = policies
        self._kept = memory
        self._feed = feed
        self._bus = bus
        self._clock = clock
        restored = feed.restored
        if restored:
            memory.memory = remembered(memory.memory, restored)

    def observe(self, snapshot: GpuSnapshot, now: float) -> None:
        """Take ``snapshot``, read just now, at ``now`` in monotonic seconds."""
        kept = self._kept
        if not kept.loaded:
            kept.loaded, kept.saved_at = True, now
            kept.memory = replace(kept.memory, baselines=kept.file.read())
        kept.memory, observed, foreseen = look(kept.memory, snapshot, now, self._policies)
        kept.foreseen.put(foreseen)
        self._feed.observe(observed, simulated=snapshot.simulated)
        gone = vanished(self._feed.restored, snapshot, kept.memory)
        if gone:
            self._feed.withdraw(gone, "the driver no longer lists that GPU")
        if now - kept.saved_at >= _SAVE_EVERY:
            self.save()
        if kept.file.problem != kept.told:
            kept.told = kept.file.problem
            if kept.told:
                event = Event(
                    self._clock.time(),
                    "thermal",
                    "gpu.baselines_failed",
                    kept.told,
                    severity=Severity.WARNING,
                )
                self._bus.publish(event)

    def missing(self, error: Unavailable, xids: Iterable[XidEvent], *, simulated: bool) -> None:
        """Take that nothing could be read, and the Xid events that were caught all the same."""
        kept = self._kept
        kept.foreseen.clear()
        kept.memory, observed = miss(kept.memory, error, xids, self._clock.monotonic(), self._policies)
        self._feed.observe(observed, simulated=simulated)

    def rest(self) -> None:
        """Take that nobody looks now, on purpose: nothing is known of any alert."""
        self._kept.foreseen.clear()
        self._feed.observe(())

    def save(self) -> None:
        """Have what was learnt written, in the background."""
        self._kept.saved_at = self._clock.monotonic()
        if self._kept.loaded and self._kept.memory.simulated is False:
            self._kept.file.write(self._kept.memory.baselines)
