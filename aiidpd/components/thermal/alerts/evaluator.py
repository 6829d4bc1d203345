"""The thermal worker's alerts and forecasts: evaluates each reading, and saves the baselines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from aiidpd.alerts.manager import AlertClient
from aiidpd.components.thermal.alerts.evaluate import Memory, evaluate, miss
from aiidpd.components.thermal.alerts.restored import remembered, vanished
from aiidpd.components.thermal.forecast.baseline import Baselines, from_baselines, to_baselines
from aiidpd.components.thermal.forecast.forecast import Forecast
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.components.thermal.signals.checked import CheckedSnapshot
from aiidpd.components.thermal.xid import XidEvent
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.latest import Latest
from aiidpd.platform.statefile import StateFile

_SAVE_EVERY = 600.0  # seconds: as much may be lost of what is learnt over days


@dataclass(slots=True)
class EvaluatorMemory:
    """The memory that outlives the worker: made once, handed to each evaluator in turn.

    ``unread`` is why the baselines of ``file`` could not be read, until it is written anew; ``reported`` is
    the problem that was published last.
    """

    forecasts: Latest[tuple[Forecast, ...]]
    file: StateFile[Baselines]
    memory: Memory = field(default_factory=Memory)
    loaded: bool = False
    saved_at: float = 0.0
    unread: str = ""
    reported: str = ""

    @property
    def problem(self) -> str:
        """The last failure of the file, as a sentence; empty where there was none."""
        failed = self.file.problem
        return f"{failed}; what was learnt ends with the daemon" if failed else self.unread

    def load(self) -> None:
        """Take over the baselines that the last daemon left. Blocks."""
        self.loaded = True
        found, unread = self.file.load_or_set_aside()
        self.unread = f"{unread}; baselines are learnt anew" if unread else ""
        if found is not None:
            self.memory = replace(self.memory, baselines=from_baselines(found))


class AlertEvaluator:
    """Evaluates the alert rules on each snapshot. One per run of the worker."""

    def __init__(
        self,
        settings: GpuSettings,
        memory: EvaluatorMemory,
        *,
        alerts: AlertClient,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._memory = memory
        self._alerts = alerts
        self._bus = bus
        self._clock = clock
        restored = alerts.restored
        if restored:
            memory.memory = remembered(memory.memory, restored)

    def on_snapshot(self, snapshot: CheckedSnapshot) -> None:
        """Evaluate the rules on ``snapshot``, and publish what changed."""
        mine, now = self._memory, snapshot.now
        if not mine.loaded:
            mine.saved_at = now
            mine.load()
        mine.memory, observed, forecasts = evaluate(mine.memory, snapshot, self._settings)
        mine.forecasts.put(forecasts)
        self._alerts.observe(observed, simulated=snapshot.simulated)
        gone = vanished(self._alerts.restored, snapshot, mine.memory)
        if gone:
            self._alerts.withdraw(gone, "the driver no longer lists that GPU")
        if now - mine.saved_at >= _SAVE_EVERY:
            self.save()
        if mine.problem != mine.reported:
            mine.reported = mine.problem
            if mine.reported:
                event = Event(
                    self._clock.time(),
                    "thermal",
                    "gpu.baselines_failed",
                    mine.reported,
                    severity=Severity.WARNING,
                )
                self._bus.publish(event)

    def on_failure(self, error: Unavailable, xids: Iterable[XidEvent], *, simulated: bool) -> None:
        """Take that nothing could be read, and the Xid events that were caught all the same."""
        mine = self._memory
        mine.forecasts.clear()
        mine.memory, observed = miss(mine.memory, error, xids, self._clock.monotonic())
        self._alerts.observe(observed, simulated=simulated)

    def on_release(self) -> None:
        """Take that nothing is read now, on purpose: nothing is known of any alert."""
        self._memory.forecasts.clear()
        self._alerts.observe(())

    def save(self) -> None:
        """Have what was learnt written, in the background."""
        self._memory.saved_at = self._clock.monotonic()
        if self._memory.loaded and self._memory.memory.simulated is False:
            self._memory.unread = ""
            self._memory.file.save_soon(to_baselines(self._memory.memory.baselines))
